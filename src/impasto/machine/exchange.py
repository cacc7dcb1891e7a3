"""What the members that paint one picture tell each other: sums, parts, the largest, an order.

A picture is painted by this process (`ALONE`), or by several members, each in a process of its own
(`Group`). Both have the same few calls, so that a formula is written once: a sum over the picture
is the sum over the members of what each has. All members make the same calls in the same order,
and what all get has the same bits on each.
"""

import math
from collections.abc import Sequence
from datetime import timedelta
from functools import reduce
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

WAIT = timedelta(minutes=30)  # for a member that does not answer, and did not die
LOCAL = "127.0.0.1"  # members on one machine listen to no other


class Lost(Exception):
    """A member died or does not answer: what all were to make together has no result."""


@runtime_checkable
class Exchange(Protocol):
    """The calls that members share."""

    @property
    def rank(self) -> int:
        """The number of this member, from 0."""

    @property
    def members(self) -> int:
        """How many there are."""

    @property
    def sent(self) -> int:
        """Bytes of tensors that this member has handed over so far: a sum's once, whichever way
        they take; of a swap's those that are for others. Orders are not counted."""

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The sums over all members of tensors, which have the same shapes on each: one message."""

    def largest(self, value: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """The largest of all members' values."""

    def swap(self, parts: Sequence[Tensor], shapes: Sequence[Sequence[int]]) -> list[Tensor]:
        """A part for each member, for the parts that they have for this one, of these shapes.

        All parts are of one dtype.
        """

    def told(self, order: str = "") -> str:
        """What the first member says, on every member."""


class Alone:
    """The exchange of a process that paints by itself: what it gives is what it gets."""

    rank, members, sent = 0, 1, 0

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The tensors as they are."""
        return list(tensors)

    def largest(self, value: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """The value as it is."""
        return value

    def swap(self, parts: Sequence[Tensor], shapes: Sequence[Sequence[int]]) -> list[Tensor]:
        """The parts as they are."""
        del shapes
        return list(parts)

    def told(self, order: str = "") -> str:
        """The order as it is."""
        return order


ALONE = Alone()


class Group:
    """The exchange of a member with others over `torch.distributed`, in processes or threads.

    `store` is where the members meet; this returns when all are there. gloo carries the messages,
    those of cards by way of the CPU; with `cards`, NCCL carries what lies on CUDA cards, each of
    which has one member. `local`: all are on this machine, and listen to no other. Raises Lost
    where a member does not come. Every call may raise it later; the group is of no use then.
    """

    def __init__(
        self, store: Any, rank: int, members: int, cards: bool = False, local: bool = True
    ) -> None:
        from torch import distributed

        c10d: Any = distributed
        gloo = c10d.ProcessGroupGloo
        self.rank, self.members, self.sent = rank, members, 0
        self.most = c10d.ReduceOp.MAX
        options = gloo._Options()
        options._timeout = WAIT
        device = gloo.create_device(hostname=LOCAL) if local else gloo.create_default_device()
        options._devices = [device]
        try:
            self.gloo: Any = gloo(store, rank, members, options)
            self.nccl: Any = None
            if cards:
                options = c10d.ProcessGroupNCCL.Options()
                apart = c10d.PrefixStore("cards", store)
                self.nccl = c10d.ProcessGroupNCCL(apart, rank, members, options)
        except RuntimeError as error:
            raise Lost(_first_line(error)) from error

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """See `Exchange`; in the widest of the tensors' types, float32 at least."""
        wide = reduce(torch.promote_types, (t.dtype for t in tensors), torch.float32)
        flat = torch.cat([tensor.reshape(-1).to(wide) for tensor in tensors])
        self.sent += flat.nbytes
        sums = torch.split(self._reduced(flat), [tensor.numel() for tensor in tensors])
        return [own.view(t.shape).to(t.dtype) for own, t in zip(sums, tensors, strict=True)]

    def largest(self, value: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """See `Exchange`."""
        self.sent += value.nbytes
        return self._reduced(value.reshape(1).clone(), self.most)[0]

    def swap(self, parts: Sequence[Tensor], shapes: Sequence[Sequence[int]]) -> list[Tensor]:
        """See `Exchange`; as bytes, so that any type will do."""
        like = parts[self.rank]
        goes = [_bytes(part) for part in parts]
        goes[self.rank] = goes[self.rank][:0]
        counts = [math.prod(shape) * like.itemsize for shape in shapes]
        counts[self.rank] = 0
        carrier, out = self._carried(torch.cat(goes))
        self.sent += len(out)
        come = out.new_empty(sum(counts))
        self._call(lambda: carrier.alltoall_base(come, out, counts, [len(part) for part in goes]))
        come = come.to(like.device)
        return [
            like if i == self.rank else _typed(part, like.dtype).view(tuple(shapes[i]))
            for i, part in enumerate(torch.split(come, counts))
        ]

    def told(self, order: str = "") -> str:
        """See `Exchange`."""
        data = torch.frombuffer(bytearray(order.encode() or b" "), dtype=torch.uint8)
        length = torch.tensor([len(data)])
        self._call(lambda: self.gloo.broadcast(length, 0))
        if self.rank:
            data = torch.empty(int(length), dtype=torch.uint8)
        self._call(lambda: self.gloo.broadcast(data, 0))
        return bytes(data.tolist()).decode()

    def _reduced(self, flat: Tensor, *how: Any) -> Tensor:
        carrier, carried = self._carried(flat)
        self._call(lambda: carrier.allreduce(carried, *how))
        return carried.to(flat.device)

    def _carried(self, message: Tensor) -> tuple[Any, Tensor]:
        """What carries a message, and the message where that can take it."""
        if self.nccl is not None and message.device.type == "cuda":
            return self.nccl, message
        return self.gloo, message.cpu()

    def _call(self, begin: Any) -> None:
        try:
            begin().wait()
        except RuntimeError as error:
            raise Lost(_first_line(error)) from error


def mean_of(values: Tensor, exchange: Exchange) -> Float[Tensor, ""]:
    """The mean of the values of all members together."""
    if exchange.members == 1:
        return values.mean()
    wide = torch.float32 if values.device.type == "mps" else torch.float64  # MPS has no float64
    count = torch.tensor(values.numel(), dtype=wide, device=values.device)
    total, count = exchange.sum([values.sum(dtype=wide), count])
    return (total / count).to(values.dtype)


def sum_of(value: Tensor, exchange: Exchange) -> Tensor:
    """The sum of all members' values."""
    return exchange.sum([value])[0]


def _bytes(part: Tensor) -> Shaped[Tensor, " n"]:
    """The bytes of a tensor, row by row."""
    flat = torch.view_as_real(part) if part.is_complex() else part
    return flat.contiguous().reshape(-1).view(torch.uint8)


def _typed(data: Shaped[Tensor, " n"], dtype: torch.dtype) -> Tensor:
    """What `_bytes` was made of, flat."""
    if not dtype.is_complex:
        return data.view(dtype)
    return torch.view_as_complex(data.view(dtype.to_real()).view(-1, 2))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
