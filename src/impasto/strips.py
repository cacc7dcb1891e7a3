"""Feature maps some rows at a time: what a convolution reads, and what a pooling makes of it.

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

from impasto.buffers import Buffers

BLOCK_VALUES = 2**19  # of a map that are worked on at a time: 2 MB in float32
BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes of a value
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


class Pooled:
    """The maximum of each 2x2 window of maps and zero, so many b h w c; an odd last row or column
    is left out. `wins`: remember which value of a window won.
    """

    def __init__(
        self, like: Tensor, shape: tuple[int, int, int, int], wins: bool, buffers: Buffers
    ) -> None:
        b, h, w, c = self.shape = shape
        small = b, h // 2, w // 2, c
        self.maxima = buffers.take(like, *small)
        self.won: tuple[Tensor, ...] = ()
        if wins:  # the right one of both columns; of what they leave, the upper or the lower one
            right = buffers.take(like, b, h // 2, 2, w // 2, c, dtype=torch.bool)
            rows = (buffers.take(like, *small, dtype=torch.bool) for _ in range(2))
            self.won = (right, *rows)

    def take(self, pictures: slice, top: int, maps: Float[Tensor, "b h w c"]) -> None:
        """Pool a strip of maps that begins at an even row."""
        _, h2, w2, _ = self.maxima.shape
        count = min(maps.shape[1] // 2, h2 - top // 2)
        self.take_windows(pictures, top, _windows(maps, count, w2))

    def take_windows(
        self, pictures: slice, top: int, windows: Float[Tensor, "b h2 2 w2 2 c"]
    ) -> None:
        """The same of windows."""
        h2, w2 = self.maxima.shape[1:3]
        part = pictures, slice(top // 2, min(h2, top // 2 + windows.shape[1]))
        maxima = self.maxima[part]
        left, right = windows[:, : maxima.shape[1], :, :w2].unbind(4)
        rows = torch.maximum(left, right)
        upper, lower = rows.unbind(2)
        torch.maximum(upper, lower, out=maxima)
        maxima.clamp_min_(0)
        if self.won:
            won_right, won_upper, won_lower = (won[part] for won in self.won)
            # comparisons as values first, in a quarter of the time
            won_lower.copy_(torch.gt(lower, upper, out=torch.empty_like(upper)))
            won_right.copy_(torch.gt(right, left, out=rows))
            won_upper.copy_(maxima)  # true where it is positive: else no value has a gradient
            won_lower.logical_and_(won_upper)
            won_upper.logical_and_(~won_lower)


class Unpooled:
    """The gradient of pooled maps, b c h2 w2, as that of the maps that went in: each value goes to
    the window's maximum, the first of equal ones, if that was positive.
    """

    def __init__(
        self, gradient: Tensor, won: tuple[Tensor, ...], shape: tuple[int, int, int, int]
    ) -> None:
        self.like = self.gradient = gradient.permute(0, 2, 3, 1)
        self.won, self.shape = won, shape

    def put(self, pictures: slice, rows: slice, out: Float[Tensor, "b h w c"]) -> None:
        """Write these rows, from an even one to another or to the last, to `out`."""
        h2, w2, c = self.gradient.shape[1:]
        part = pictures, slice(rows.start // 2, min(h2, rows.stop // 2))
        gradient = self.gradient[part]
        right, upper, lower = (won[part] for won in self.won)
        b, count = gradient.shape[:2]
        kept = gradient.new_empty(b, count, 2, w2, c)
        _keep(gradient, upper, kept[:, :, 0])
        _keep(gradient, lower, kept[:, :, 1])
        windows = _windows(out, count, w2)
        _keep(kept, right, windows[..., 1, :])
        torch.sub(kept, windows[..., 1, :], out=windows[..., 0, :])
        out[:, 2 * count :].zero_()
        out[:, :, 2 * w2 :].zero_()


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


def rows_of(maps: Float[Tensor, "b c h w"]) -> list[slice]:
    """Rows to be worked on at a time, so that what is made on the way stays small."""
    height, values = maps.shape[2], maps.shape[1] * maps.shape[3]
    rows = max(1, BLOCK_VALUES // values)
    return [slice(top, top + rows) for top in range(0, height, rows)]


def sides(source: Source, around: int) -> tuple[int, int]:
    """Height and width of what a 3x3 convolution makes of maps with so many positions around."""
    _, height, width, _ = source.shape
    return height + 2 * around - 2, width + 2 * around - 2


def repeated(side: int, padding: Padding) -> tuple[int, int]:
    """Which positions of a side the one before the first and the one behind the last repeat."""
    if padding == "circular":
        return side - 1, 0
    return (1, side - 2) if padding == "reflect" else (0, side - 1)


def _windows(maps: Tensor, h2: int, w2: int) -> Float[Tensor, "b h2 2 w2 2 c"]:
    """So many 2x2 windows down and across, as a view."""
    even = maps[:, : 2 * h2, : 2 * w2]
    return even.view(len(maps), h2, 2, w2, 2, maps.shape[3])


def _keep(values: Tensor, mask: Tensor, out: Tensor) -> None:
    """The values where the mask says so, else 0: as bits, which takes a third of the time."""
    bits = BITS[values.element_size()]
    torch.mul(values.view(bits), mask.view(torch.int8), out=out.view(bits))
