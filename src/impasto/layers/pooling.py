"""Max pooling of strips of maps, and the way back, which remembers the winners alone.

Axes are b h w c, by position; pooled maps have sides h2 and w2.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.machine.buffers import Buffers

BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes of a value


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


def _windows(maps: Tensor, h2: int, w2: int) -> Float[Tensor, "b h2 2 w2 2 c"]:
    """So many 2x2 windows down and across, as a view."""
    even = maps[:, : 2 * h2, : 2 * w2]
    return even.view(len(maps), h2, 2, w2, 2, maps.shape[3])


def _keep(values: Tensor, mask: Tensor, out: Tensor) -> None:
    """The values where the mask says so, else 0: as bits, which takes a third of the time."""
    bits = BITS[values.element_size()]
    torch.mul(values.view(bits), mask.view(torch.int8), out=out.view(bits))
