"""A picture cut into strips of rows, one for each member that paints it.

A member has the rows of its strip alone. What looks beyond them, as a network does, sees the outer
strip: with border rows of its neighbors, which come before an evaluation (`bordered`); what the
evaluation says of border rows goes back to where they belong, and is added there (`unbordered`).
What goes along columns, as a Fourier transform does, is turned: each member then has all rows of
some columns. A picture that one process paints is one strip, and all this does nothing.

Strides are those of feature maps: the cuts lie on the grid of the deepest layer's.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import torch
from jaxtyping import Shaped
from torch import Tensor

from impasto.machine.exchange import ALONE, Exchange


@dataclass(frozen=True)
class Strips:
    """The strips of a picture: member i has the rows from edge i to edge i + 1, px.

    `margin`: how many rows of its neighbors an outer strip has on each side, fewer at the
    picture's border. `wrap`: the first strip borders on the last.
    """

    exchange: Exchange
    edges: tuple[int, ...]
    margin: int = 0
    wrap: bool = False

    @classmethod
    def whole(cls, height: int) -> "Strips":
        """A picture in one piece."""
        return cls(ALONE, (0, height))

    @classmethod
    def balanced(
        cls, exchange: Exchange, height: int, grid: int, margin: int, wrap: bool
    ) -> "Strips":
        """Strips of about the same height, with cuts at multiples of the grid, px."""
        count = exchange.members
        inside = [round(i * height / count / grid) * grid for i in range(1, count)]
        return cls(exchange, (0, *inside, height), margin, wrap)

    @property
    def shared(self) -> bool:
        """Whether other members have a part of the picture."""
        return self.exchange.members > 1

    @property
    def height(self) -> int:
        """The whole picture's, px."""
        return self.edges[-1]

    @property
    def top(self) -> int:
        """The first row of this member's strip."""
        return self.edges[self.exchange.rank]

    @property
    def bottom(self) -> int:
        """The row behind the last one of this member's strip."""
        return self.edges[self.exchange.rank + 1]

    @property
    def first(self) -> int:
        """The first row of the outer strip, counted in the picture: below 0 where opposite
        borders meet."""
        return self.top - (self.margin if self.wrap else min(self.margin, self.top))

    @property
    def end(self) -> int:
        """The row behind the last one of the outer strip."""
        beyond = self.height - self.bottom
        return self.bottom + (self.margin if self.wrap else min(self.margin, beyond))

    def heights(self, stride: int = 1) -> list[int]:
        """How many rows of a map of that stride each member has."""
        return [b // stride - a // stride for a, b in pairwise(self.edges)]

    def own(self, whole: Shaped[Tensor, "*_ h w"], stride: int = 1) -> Tensor:
        """This member's rows of a map of the whole picture: a view."""
        return whole[..., self.top // stride : self.bottom // stride, :]

    def around(self, whole: Shaped[Tensor, "*_ h w"], stride: int = 1) -> Tensor:
        """The outer strip's rows of a map of the whole picture: a copy; all of a single piece."""
        if not self.shared:
            return whole
        rows = torch.arange(self.first // stride, self.end // stride) % whole.shape[-2]
        return whole[..., rows.to(whole.device), :]

    def inside(self, outer: Shaped[Tensor, "*_ h w"], stride: int = 1) -> Tensor:
        """This member's rows of a map of the outer strip: a view."""
        if not self.shared:
            return outer
        above = (self.top - self.first) // stride
        count = self.bottom // stride - self.top // stride
        return outer[..., above : above + count, :]

    def placed(self, own: Shaped[Tensor, "*_ h w"], stride: int = 1) -> Tensor:
        """A map of the outer strip with this member's rows, and zeros around them."""
        if not self.shared:
            return own
        count = self.end // stride - self.first // stride
        outer = own.new_zeros(*own.shape[:-2], count, own.shape[-1])
        self.inside(outer, stride).copy_(own)
        return outer

    def bordered(self, own: Shaped[Tensor, "*_ h w"], margin: int) -> Tensor:
        """The outer strip of what each member has, with so many rows of its neighbors on each
        side."""
        if not self.shared:
            return own
        outer, width = self.placed(own), own.shape[-1]
        wanted, given = self._borders(margin)
        parts = [own[..., rows, :] for rows in given]
        shapes = [(*own.shape[:-2], len(rows), width) for rows in wanted]
        for rows, part in zip(wanted, self.exchange.swap(parts, shapes), strict=True):
            outer[..., rows, :] = part
        return outer

    def unbordered(self, outer: Shaped[Tensor, "*_ h w"], margin: int) -> Tensor:
        """This member's rows of its outer strip, with what the others' have in them added: the
        reverse of `bordered`."""
        if not self.shared:
            return outer
        own, width = (
            self.inside(outer).clone(memory_format=torch.contiguous_format),
            outer.shape[-1],
        )
        wanted, given = self._borders(margin)
        parts = [outer[..., rows, :] for rows in wanted]
        shapes = [(*outer.shape[:-2], len(rows), width) for rows in given]
        for rows, part in zip(given, self.exchange.swap(parts, shapes), strict=True):
            own.index_add_(-2, torch.tensor(rows, device=own.device, dtype=torch.long), part)
        return own

    def gathered(self, own: Shaped[Tensor, "*_ h w"], stride: int = 1) -> Tensor | None:
        """The whole of a map that each member has its rows of, on the first member alone."""
        if not self.shared:
            return own
        counts = self.heights(stride)
        shape = own.shape[:-2], own.shape[-1]
        parts = [own if i == 0 else own[..., :0, :] for i in range(len(counts))]
        mine = [count if self.exchange.rank == 0 else 0 for count in counts]
        found = self.exchange.swap(parts, [(*shape[0], count, shape[1]) for count in mine])
        return torch.cat(found, -2) if self.exchange.rank == 0 else None

    def scattered(
        self, whole: Tensor | None, shape: Sequence[int], dtype: torch.dtype, stride: int = 1
    ) -> Tensor:
        """This member's rows of a map of that shape, which the first member alone has, on the CPU:
        the reverse of `gathered`."""
        width = shape[-1]
        edges = [edge // stride for edge in self.edges]
        if whole is None:
            whole = torch.empty(*shape[:-2], 0, width, dtype=dtype)
            edges = [0] * len(edges)
        parts = [whole[..., a:b, :] for a, b in pairwise(edges)]
        count = self.bottom // stride - self.top // stride
        shapes = [(*shape[:-2], count if i == 0 else 0, width) for i in range(len(parts))]
        return self.exchange.swap(parts, shapes)[0]

    def handed(self, tensor: Tensor | None, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """What the first member has on the CPU, on all members."""
        count, sender = self.exchange.members, tensor is not None
        given = torch.empty(0, dtype=dtype) if tensor is None else tensor
        shapes = [shape if i == 0 else (0,) for i in range(count)]
        parts = [given] * count if sender else [given[:0]] * count
        return self.exchange.swap(parts, shapes)[0]

    def turned(self, rows: Shaped[Tensor, "c _ m"], counts: Sequence[int]) -> Tensor:
        """All rows of this member's columns, where each member has so many rows of all."""
        edges = self.columns(rows.shape[-1])
        parts = [rows[..., a:b] for a, b in pairwise(edges)]
        mine = edges[self.exchange.rank + 1] - edges[self.exchange.rank]
        shapes = [(rows.shape[0], count, mine) for count in counts]
        return torch.cat(self.exchange.swap(parts, shapes), 1)

    def turned_back(self, columns: Shaped[Tensor, "c _ m"], count: int) -> Tensor:
        """This member's rows of so many columns in all: the reverse of `turned`."""
        edges, heights = self.columns(count), self.heights()
        parts = list(torch.split(columns, heights, 1))
        mine = heights[self.exchange.rank]
        shapes = [(columns.shape[0], mine, b - a) for a, b in pairwise(edges)]
        return torch.cat(self.exchange.swap(parts, shapes), 2)

    def columns(self, count: int) -> list[int]:
        """Where so many columns are cut when they are turned."""
        members = self.exchange.members
        return [i * count // members for i in range(members + 1)]

    def _borders(self, margin: int) -> tuple[list[list[int]], list[list[int]]]:
        """For each other member: the rows of this outer strip that come from there, and those of
        this strip that go there."""
        rank, cut = self.exchange.rank, (self.edges, self.margin, self.wrap, margin)
        wanted = [rows for rows, _ in _border(*cut, rank)]
        given = [_border(*cut, member)[rank][1] for member in range(self.exchange.members)]
        return wanted, given


@cache
def _border(
    edges: tuple[int, ...], kept: int, wrap: bool, margin: int, member: int
) -> list[tuple[list[int], list[int]]]:
    """Where the rows beside a member's strip come from: for each owner, which rows of the member's
    outer strip they are, and which of the owner's strip."""
    height, top, bottom = edges[-1], edges[member], edges[member + 1]
    first = top - (kept if wrap else min(kept, top))
    found: list[tuple[list[int], list[int]]] = [([], []) for _ in edges[1:]]
    for row in (*range(top - margin, top), *range(bottom, bottom + margin)):
        if wrap or 0 <= row < height:
            owner = bisect_right(edges, row % height) - 1
            found[owner][0].append(row - first)
            found[owner][1].append(row % height - edges[owner])
    return found
