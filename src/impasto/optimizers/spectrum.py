"""What all of the picture shares: how steep the loss is along each frequency and color.

A convolutional network treats every place alike, and with it the losses: along waves of one length
and color (brightness and two differences of colors) they are about equally steep wherever the
waves are. sum s . y / sum s . s over the coefficients of a pair's Fourier transform is that
curvature, and over all directions and the last few pairs it is soon known. L-BFGS begins with one
number for all of them, and in many dimensions it is long before the pairs correct that. So it works
on z = W^-1 x, where W divides each wave by the square root of its curvature: in z all are equally
steep, which is called a preconditioner.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

COLORS = ((1, 1, 1), (1, -1, 0), (1, 1, -2))  # the rows: brightness, red - green, yellow - blue
BINS = 32  # of wave numbers, denser for long waves: evenly spaced in their square root
REACH = 32  # px beyond each border of a picture that are filtered with it
FIRST_PAIRS = 8  # before the curvatures are used
LONGER = 1.5  # times as many pairs before they are measured anew
LAST_PAIRS = 16  # of these, the newest, are measured: an average of more is no better
SEEN = 1024  # px: of larger pictures the middle is measured, with hundreds of waves of each length
LEAST = 0.2  # times the median curvature: less is taken for that, negative ones as well


class Spectrum:
    """The curvature by color and frequency of pictures as large as `like`, 1 c h w.

    `scale`, c by BINS, is what W multiplies the waves of each bin with, between the middles of bins
    interpolated; `known` is one that was learned before, at whatever size. Beyond its borders a
    picture is mirrored. `height` is the picture's, where `like` is one strip of it.
    """

    def __init__(
        self,
        like: Float[Tensor, "1 c h w"],
        known: Float[Tensor, "c bins"] | None = None,
        height: int | None = None,
    ) -> None:
        channels, rows, width = like.shape[1:]
        height = height or rows
        (left, right), (top, bottom) = _margins(width), _margins(height)
        self.margins = left, right, top, bottom
        self.size = top + height + bottom, left + width + right
        sides = tuple(zip((height, width), self.size, strict=True))
        self.seen = tuple(SEEN if side > SEEN else padded for side, padded in sides)
        self.middle = tuple(slice(max(0, (n - SEEN) // 2), (n + SEEN) // 2) for n, _ in sides)
        colors = torch.tensor(COLORS) if channels == 3 else torch.eye(channels)
        colors = colors.double()
        self.colors = (colors / colors.norm(dim=1, keepdim=True)).to(like)
        self.bins = self._bins_of(self.size).to(like)
        same = self.seen == self.size
        self.seen_bins = self.bins if same else self._bins_of(self.seen).to(like)
        sums = torch.float32 if like.device.type == "mps" else torch.float64
        self.ss = torch.zeros(channels, BINS, dtype=sums, device=like.device)
        self.sy = torch.zeros_like(self.ss)
        self.pairs, self.due = 0, FIRST_PAIRS
        self.learned = known is not None
        self.scale = like.new_ones(channels, BINS)
        self._use(self.scale if known is None else known.to(like))

    def changes(
        self, z: Float[Tensor, "1 c h w"], filter: Tensor | None = None
    ) -> Float[Tensor, "1 c h w"]:
        """W z: changes of z as changes of x. `filter` takes the place of W's, by wave.

        The same picture as long as nothing was learned.
        """
        if not self.learned and filter is None:
            return z
        return self._changed(z, self.filter if filter is None else filter)

    def gradients(
        self, g: Float[Tensor, "1 c h w"], filter: Tensor | None = None
    ) -> Float[Tensor, "1 c h w"]:
        """W^T g: gradients of x as gradients of z. `filter` as in `changes`."""
        if not self.learned and filter is None:
            return g
        return self._sloped(g, self.filter if filter is None else filter)

    def see(self, s: Float[Tensor, "1 c h w"], y: Float[Tensor, "1 c h w"]) -> None:
        """Take in a pair of z: of a large picture, its middle."""
        self.pairs += 1
        if self.due - self.pairs >= LAST_PAIRS:
            return
        index = self.seen_bins.round().long().flatten()

        def add(values: Tensor, sums: Float[Tensor, "bins"]) -> None:
            sums.index_add_(0, index, values.flatten().to(sums))

        rows, columns = self.middle
        pair = s[..., rows, columns], y[..., rows, columns]
        for i in range(len(self.colors)):  # one at a time, for the memory that waves take
            mixed = (self._mixed(self.colors[i : i + 1], part)[0, 0] for part in pair)
            change, slope = (self._waves(own) for own in mixed)
            add((change * slope.conj()).real, self.sy[i])
            add((change.abs() * self.seen_filter[i]).square(), self.ss[i])

    def renew(self) -> Float[Tensor, "c h m"] | None:
        """What W multiplies each wave with, beside what it did until now, if it is time to."""
        if self.pairs < self.due:
            return None
        curvature = self.sy / self.ss.clamp_min(1e-30)
        usual = curvature.median()
        self.pairs, self.due = 0, math.ceil(self.due * LONGER)
        self.ss.zero_()
        self.sy.zero_()
        if not usual > 0:
            return None
        before, self.learned = self.filter, True
        self._use(_smoothed(curvature.clamp_min(LEAST * usual)).rsqrt().to(self.scale))
        return self.filter / before

    def state(self) -> dict[str, Any]:
        """All that `load` needs to go on."""
        seen = [self.pairs, self.due, self.learned]
        return {"scale": self.scale, "ss": self.ss, "sy": self.sy, "seen": seen}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what another run remembered."""
        self.ss.copy_(state["ss"])
        self.sy.copy_(state["sy"])
        self.pairs, self.due, self.learned = state["seen"]
        self.scale = state["scale"].to(self.scale, copy=True)
        self._spread()

    def _use(self, scale: Float[Tensor, "c bins"]) -> None:
        """Take this scale from now on, divided by its geometric mean over all waves."""
        self.scale = scale / self._mean(_interpolated(scale, self.bins).log()).exp()
        self._spread()

    def _mean(self, values: Float[Tensor, "c h m"]) -> Float[Tensor, ""]:
        """The mean over all waves."""
        return values.mean()

    def _bins_of(self, size: tuple[int, ...]) -> Float[Tensor, "h m"]:
        """The bins of the waves of pictures of a size."""
        return _bins(size)

    def _spread(self) -> None:
        """The scale wave by wave: of the whole, and of what is seen of pairs."""
        self.filter = self.seen_filter = _interpolated(self.scale, self.bins)
        if self.seen_bins is not self.bins:
            self.seen_filter = _interpolated(self.scale, self.seen_bins)

    def _changed(self, z: Tensor, filter: Float[Tensor, "c y m"]) -> Float[Tensor, "1 c h w"]:
        """The filtered picture."""
        left, right, top, bottom = self.margins
        made = self._filtered(F.pad(z, self.margins, mode="reflect"), filter)
        height, width = self.size
        return made[..., top : height - bottom, left : width - right]

    def _sloped(self, g: Tensor, filter: Float[Tensor, "c y m"]) -> Float[Tensor, "1 c h w"]:
        """What `_changed` makes of gradients, on their way back through it."""
        made = self._filtered(F.pad(g, self.margins), filter)
        folded: Tensor = torch.ops.aten.reflection_pad2d_backward(made, g, self.margins)
        return folded

    def _waves(self, part: Float[Tensor, "h w"]) -> Tensor:
        """The waves of what is seen of a pair, in one color."""
        waves: Tensor = torch.fft.rfft2(part, s=self.seen)
        return waves

    def _filtered(self, picture: Tensor, filter: Float[Tensor, "c y m"]) -> Tensor:
        made = self._mixed(self.colors, picture)
        for own, factors in zip(made[0], filter, strict=True):
            own.copy_(torch.fft.irfft2(torch.fft.rfft2(own).mul_(factors), s=self.size))
        return self._mixed(self.colors.T, made)

    def _mixed(self, colors: Tensor, picture: Tensor) -> Float[Tensor, "1 c h w"]:
        return torch.einsum("dc,bchw->bdhw", colors, picture)


def _smoothed(curvature: Float[Tensor, "c bins"]) -> Float[Tensor, "c bins"]:
    """Half of each bin's own and a quarter of both neighbors', in logarithms: the bins of long
    waves have few of them, and one taken for ten times too flat is a step ten times too long."""
    logs = F.pad(curvature.log(), (1, 1), mode="replicate")
    return (logs[:, 1:-1] / 2 + (logs[:, :-2] + logs[:, 2:]) / 4).exp()


def _bins(size: tuple[int, ...]) -> Float[Tensor, "h m"]:
    """Where among the bins each wave of pictures of a height and width lies, in float64."""
    rows = torch.fft.fftfreq(size[0], dtype=torch.float64)
    columns = torch.fft.rfftfreq(size[1], dtype=torch.float64)
    number = (2 * (rows[:, None].square() + columns.square())).sqrt()  # 1 for a chessboard
    bins: Tensor = number.clamp_max(1).sqrt() * (BINS - 1)
    return bins


def _interpolated(
    scale: Float[Tensor, "c bins"], bins: Float[Tensor, "h m"]
) -> Float[Tensor, "c h m"]:
    """A scale at each wave's place among the bins."""
    lower = bins.floor().clamp_max(BINS - 2)
    index = lower.long()
    between: Tensor = torch.lerp(scale[:, index], scale[:, index + 1], bins - lower)
    return between


def _margins(side: int) -> tuple[int, int]:
    """How far a picture is mirrored, before and after: to a length with small factors."""
    before = min(REACH, side - 1)
    rest = -(side + 2 * before) % REACH
    return before, min(before + rest, side - 1)
