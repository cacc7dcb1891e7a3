"""Feature maps some rows at a time: what a convolution reads.

A map of the first layers is larger than a processor's cache, and memory is slow: a map that is
padded, rectified or pooled whole goes through it once more each time. So the convolutions of a CPU
take their maps strip by strip from a `Frame`, and give back strips that are rectified or pooled
while they are at hand.

Axes are b h w c, by position; pooled maps have sides h2 and w2.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.layers.pooling import Unpooled
from impasto.machine.buffers import Buffers

Padding = Literal["zero", "reflect", "replicate", "circular"]


class Maps:
    """Maps as they are; as zero where `alive`, other maps, are not positive. Both are b c h w."""

    def __init__(self, maps: Tensor, alive: Tensor | None = None) -> None:
        self.like = maps.permute(0, 2, 3, 1)
        self.alive = None if alive is None else alive.permute(0, 2, 3, 1)
        b, h, w, c = self.like.shape
        self.shape = b, h, w, c

    def put(self, pictures: slice, rows: slice, out: Float[Tensor, "b h w c"]) -> None:
        """Write these rows of these pictures to `out`."""
        part = self.like[pictures, rows]
        if self.alive is None:
            out.copy_(part)
        else:
            alive = self.alive[pictures, rows]
            torch.ops.aten.threshold_backward(part, alive, 0, grad_input=out)


Source = Maps | Unpooled
"""Maps that a convolution takes, made when it asks for them."""


class Frame:
    """So many rows at a time of one picture's maps, or of a `batch` of them, with what lies around:
    `around` positions on each side, zeros or by another `padding`, which knows one position only,
    and more zeros up to a width. The memory is the same each time.
    """

    def __init__(
        self,
        source: Source,
        around: int,
        rows: int,
        width: int,
        buffers: Buffers,
        padding: Padding = "zero",
        batch: int = 1,
    ) -> None:
        self.source, self.around, self.padding = source, around, padding
        _, self.height, w, c = source.shape
        self.inside = slice(around, around + w)
        # one row more above and one below, for windows of a pooling that are cut
        self.buffer = buffers.take(source.like, batch, rows + 2, width, c)
        self.buffer[:, :, : self.inside.start].zero_()
        self.buffer[:, :, self.inside.stop :].zero_()

    def rows(self, pictures: slice, first: int, count: int) -> Float[Tensor, "b h w c"]:
        """So many rows; the first may lie above the maps, where its number is negative."""
        base = first - first % 2
        start, stop = max(0, base), first + count
        stop = min(self.height, stop + stop % 2)
        made = self.buffer[:, : count + 2]
        self._put(pictures, slice(start, stop), base)
        made[:, : start - base].zero_()
        made[:, stop - base :].zero_()
        if self.padding != "zero":
            self._repeat(pictures, base, first, first + count)
        return made[:, first - base : first - base + count]

    def _put(self, pictures: slice, rows: slice, base: int) -> None:
        out = self.buffer[:, rows.start - base : rows.stop - base, self.inside]
        self.source.put(pictures, rows, out)

    def _repeat(self, pictures: slice, base: int, first: int, end: int) -> None:
        """The position around the maps, where it is among these rows."""
        above, below = repeated(self.height, self.padding)
        for row, seen in ((-1, above), (self.height, below)):
            if first <= row < end:
                out = self.buffer[:, row - base : row - base + 1, self.inside]
                self.source.put(pictures, slice(seen, seen + 1), out)
        left, right = self.inside.start, self.inside.stop
        before, behind = repeated(right - left, self.padding)
        self.buffer[:, :, left - 1].copy_(self.buffer[:, :, left + before])
        self.buffer[:, :, right].copy_(self.buffer[:, :, left + behind])


def sides(source: Source, around: int) -> tuple[int, int]:
    """Height and width of what a 3x3 convolution makes of maps with so many positions around."""
    _, height, width, _ = source.shape
    return height + 2 * around - 2, width + 2 * around - 2


def repeated(side: int, padding: Padding) -> tuple[int, int]:
    """Which positions of a side the one before the first and the one behind the last repeat."""
    if padding == "circular":
        return side - 1, 0
    return (1, side - 2) if padding == "reflect" else (0, side - 1)
