"""Samples of a data set, nested as one likes: which of what they hold are pictures.

The rule is that of torchvision's transforms v2, without torchvision: what is of a picture's type,
else one plain tensor. A departure: v2 takes the first plain tensor, whatever it is, and so paints
label maps that stand before the picture.
"""

import copy
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from impasto.errors import PictureError

HOMES = ("torchvision.tv_tensors", "torchvision.datapoints")  # of torchvision's own types
LABELS = ("1", "P", "I", "F", "I;16", "I;16B")  # PIL's modes of label maps
GRAY = "L"  # that of photos or of label maps


def pictures_in(sample: Any) -> list[Any]:
    """The pictures of a sample. PictureError if there are none.

    `tv_tensors.Image`, `tv_tensors.Video` and PIL images in color; if there are none, PIL images in
    gray; if none, a plain tensor (see `_plain_picture`).
    """
    leaves = list(_leaves(sample))
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    typed = [leaf for leaf in tensors if type_of(leaf) in ("Image", "Video")]
    pil = [leaf for leaf in leaves if isinstance(leaf, Image.Image)]
    colored = [image for image in pil if image.mode not in (GRAY, *LABELS)]
    gray = [image for image in pil if image.mode == GRAY]
    plain = _plain_picture([leaf for leaf in tensors if not type_of(leaf)])
    found = typed + colored or gray or plain or pil
    if found:
        return found
    kinds = ", ".join(_kind(leaf) for leaf in leaves) or "nothing"
    raise PictureError(
        f"there is no picture in a sample of {kinds}: give a tensor ... 3 h w or "
        "... 1 h w, or a PIL image"
    )


def replaced(sample: Any, found: Mapping[int, Any]) -> Any:
    """The sample with some of what it holds replaced, by identity.

    Containers stay of their kind; one that holds nothing of it stays the same object.
    """
    if isinstance(sample, Mapping):
        values = {key: replaced(part, found) for key, part in sample.items()}
        if all(values[key] is part for key, part in sample.items()):
            return sample
        return _mapping(sample, values)
    if isinstance(sample, list | tuple):
        parts = [replaced(part, found) for part in sample]
        if all(new is part for new, part in zip(parts, sample, strict=True)):
            return sample
        return _sequence(sample, parts)
    return found.get(id(sample), sample)


def type_of(leaf: Tensor) -> str:
    """The name of torchvision's own type that a tensor is of, such as `Image` or `Mask`, without
    torchvision; empty for a plain tensor."""
    for kind in type(leaf).__mro__:
        if kind.__module__.startswith(HOMES):
            return kind.__name__
    return ""


def _leaves(sample: Any) -> Iterator[Any]:
    """What a sample holds, however deep."""
    if isinstance(sample, Mapping):
        sample = list(sample.values())
    if isinstance(sample, list | tuple):
        for part in sample:
            yield from _leaves(part)
    else:
        yield sample


def _mapping(like: Mapping[Any, Any], values: dict[Any, Any]) -> Mapping[Any, Any]:
    """A mapping of the same kind with other values, such as a defaultdict with the same default."""
    kind: Any = type(like)
    if not isinstance(like, MutableMapping):
        made: Mapping[Any, Any] = kind(values)
        return made
    copied = copy.copy(like)  # kinds are made of words that are their own
    for key, value in values.items():
        copied[key] = value
    return copied


def _sequence(like: Any, parts: list[Any]) -> Any:
    """A list or tuple of the same kind with other parts."""
    if isinstance(like, list):
        copied = copy.copy(like)
        copied[:] = parts
        return copied
    kind: Any = type(like)
    return kind._make(parts) if hasattr(like, "_make") else kind(parts)


def _plain_picture(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The one of these tensors that is the picture, if one has the shape: ... 3 h w or ... 1 h w.

    Of several it is the first that is no labels, before that one with 3 channels. Labels are
    classes (their channels sum to one everywhere), and a batch's label maps (b h w beside b c h w).
    """
    shaped = [x for x in tensors if x.dim() >= 3 and x.shape[-3] in (1, 3)]
    if len(shaped) < 2:
        return shaped
    maps = {x.shape[:-3] + x.shape[-2:] for x in shaped}
    return [min(shaped, key=lambda x: (x.shape in maps or _is_classes(x), x.shape[-3] == 1))]


def _is_classes(x: Tensor) -> bool:
    """True for the shares of 3 classes, place by place: one-hot labels, or soft ones."""
    if x.shape[-3] != 3 or x.is_meta or x.is_quantized or x.layout != torch.strided:
        return False
    return bool(((x.sum(-3, dtype=torch.float32) - 1).abs() < 1e-2).all())


def _kind(leaf: Any) -> str:
    shape = f" {tuple(leaf.shape)}" if isinstance(leaf, Tensor) else ""
    return f"{type(leaf).__name__}{shape}"
