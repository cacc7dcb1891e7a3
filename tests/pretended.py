"""A card that is not there: tensors that say they lie on `meta`, and keep their values.

What a card refuses is refused here: operations on tensors of two devices, and a card's values in
numpy. All else is computed by the processor, so whole runs can be tried with `device="meta"`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

ACROSS = {"copy_", "_to_copy"}  # operations from one device to another
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}  # a card takes indices of a CPU


class OnCard(Tensor):
    """A tensor on the card; `held` are its values."""

    held: Tensor
    is_meta = False  # there are values
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> "OnCard":
        return Tensor._make_wrapper_subclass(  # type: ignore[attr-defined, no-any-return]
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, layout=held.layout, device="meta",
        )  # fmt: skip

    def __init__(self, held: Tensor) -> None:
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


class _Card(TorchDispatchMode):
    """Sees what is made on the card, or comes there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


class _Literals(TorchFunctionMode):
    """Numbers become tensors on the processor, and go to the card: PyTorch makes them of C."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.tensor and _is_card(kwargs.get("device")):
            del kwargs["device"]
            return torch.tensor(*args, **kwargs).to("meta")
        if func is Tensor.new_tensor and isinstance(args[0], OnCard):
            dtype = kwargs.get("dtype") or args[0].dtype
            return torch.tensor(args[1], dtype=dtype).to("meta")
        return func(*args, **kwargs)


@contextmanager
def pretended_card() -> Iterator[None]:
    """Inside, tensors on `meta` have values, and nobody waits for the device."""
    with _Literals(), _Card(), mock.patch.object(torch.accelerator, "synchronize"):
        yield


def _computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What a card makes of an operation, or its error."""
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    cards = [x for x in tensors if isinstance(x, OnCard)]
    _check(func, args, tensors, cards)
    there = _is_card(kwargs["device"]) if kwargs.get("device") is not None else bool(cards)
    if "device" in kwargs:
        kwargs = kwargs | {"device": "cpu" if kwargs["device"] is not None else None}
    known = {id(x.held): x for x in cards}
    found = func(*tree_map(_held, args), **tree_map(_held, kwargs))

    def placed(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        if id(x) in known:  # what was changed in place
            return known[id(x)]
        return OnCard(x) if there else x

    return tree_map(placed, found)


def _check(func: Any, args: Any, tensors: list[Tensor], cards: list[OnCard]) -> None:
    """RuntimeError where tensors of two devices meet, but for single numbers."""
    name = func.overloadpacket.__name__
    if any(x.is_meta and not isinstance(x, OnCard) for x in tensors):
        raise AssertionError(f"{name} of a tensor on meta that has no values")
    others = [x for x in tensors if not isinstance(x, OnCard) and x.dim()]
    if not cards or not others or name in ACROSS:
        return
    if name in INDEXING and isinstance(args[0], OnCard):
        values = args[2] if len(args) > 2 else None
        if values is None or isinstance(values, OnCard) or not values.dim():
            return
    shapes = [tuple(x.shape) for x in others]
    raise RuntimeError(
        f"Expected all tensors to be on the same device: {name} of a card's and a CPU's {shapes}"
    )


def _held(x: Any) -> Any:
    return x.held if isinstance(x, OnCard) else x


def _is_card(device: Any) -> bool:
    return device is not None and torch.device(device).type == "meta"
