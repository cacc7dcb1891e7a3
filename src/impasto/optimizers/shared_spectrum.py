"""The spectrum of a picture that several members have strips of.

A Fourier transform over a picture is one along the rows, which each member makes of its own, and
one along the columns: for that the members turn what they have, so that each has all rows of some
waves (`Strips.turned`). Mirroring above and below, the filter and its way back happen there, and
the result is turned back. It is the transform of the whole picture, but for rounding.
"""

from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from impasto.machine.exchange import mean_of
from impasto.machine.strips import Strips
from impasto.optimizers.spectrum import Spectrum


class SharedSpectrum(Spectrum):
    """The spectrum of the whole picture; `like` and all pictures are this member's strip of it.

    `bins` and filters are those of the member's waves. All members call each method together.
    """

    def __init__(
        self,
        like: Float[Tensor, "1 c h w"],
        known: Float[Tensor, "c bins"] | None,
        strips: Strips,
    ) -> None:
        self.strips = strips
        super().__init__(like, known, strips.height)
        first, end = self.middle[0].start, min(self.middle[0].stop, strips.height)
        edges = [min(max(edge, first), end) for edge in strips.edges]
        self.seen_rows = [b - a for a, b in pairwise(edges)]
        mine = strips.exchange.rank
        own = slice(edges[mine] - strips.top, edges[mine + 1] - strips.top)
        self.middle = own, self.middle[1]

    def see(self, s: Float[Tensor, "1 c h w"], y: Float[Tensor, "1 c h w"]) -> None:
        """Take in a pair of z; all members have the same sums."""
        before = self.ss.clone(), self.sy.clone()
        self.ss.zero_()
        self.sy.zero_()
        super().see(s, y)
        own = self.strips.exchange.sum([self.ss, self.sy])
        self.ss, self.sy = before[0] + own[0], before[1] + own[1]

    def _bins_of(self, size: tuple[int, ...]) -> Float[Tensor, "h m"]:
        return self._own_waves(super()._bins_of(size))

    def _mean(self, values: Float[Tensor, "c h m"]) -> Float[Tensor, ""]:
        return mean_of(values, self.strips.exchange)

    def _waves(self, part: Float[Tensor, "h w"]) -> Tensor:
        rows = torch.fft.rfft(part, self.seen[1])[None]
        waves: Tensor = torch.fft.fft(self.strips.turned(rows, self.seen_rows)[0], self.seen[0], 0)
        return waves

    def _changed(self, z: Tensor, filter: Float[Tensor, "c y m"]) -> Float[Tensor, "1 c h w"]:
        left, right, _, _ = self.margins
        wide = F.pad(self._mixed(self.colors, z), (left, right, 0, 0), mode="reflect")[0]
        waves = self.strips.turned(torch.fft.rfft(wide), self.strips.heights())
        waves = _filtered(waves[:, self._mirrored(0, waves.device)], filter)
        top = self.margins[2]
        made = self._pixels(waves[:, top : top + self.strips.height])
        return self._mixed(self.colors.T, made[..., left : left + z.shape[-1]])

    def _sloped(self, g: Tensor, filter: Float[Tensor, "c y m"]) -> Float[Tensor, "1 c h w"]:
        left, right, top, bottom = self.margins
        wide = F.pad(self._mixed(self.colors, g), (left, right))[0]
        waves = self.strips.turned(torch.fft.rfft(wide), self.strips.heights())
        waves = _filtered(F.pad(waves, (0, 0, top, bottom)), filter)
        folded = waves.new_zeros(len(waves), self.strips.height, waves.shape[2])
        folded.index_add_(1, self._mirrored(0, waves.device), waves)
        made = self._pixels(folded)
        narrow = torch.zeros_like(g).index_add_(3, self._mirrored(1, g.device), made)
        return self._mixed(self.colors.T, narrow)

    def _pixels(self, waves: Tensor) -> Float[Tensor, "1 c h w"]:
        """This member's rows, mirrored left and right, of waves along the rows."""
        width = self.size[1]
        rows = self.strips.turned_back(waves, width // 2 + 1)
        made: Tensor = torch.fft.irfft(rows, width)
        return made[None]

    def _mirrored(self, axis: int, device: torch.device) -> Int[Tensor, " n"]:
        """Which row (axis 0) or column of a picture each of its mirrored ones is."""
        left, right, top, bottom = self.margins
        before, after = ((top, bottom), (left, right))[axis]
        side = self.size[axis] - before - after
        index = torch.arange(-before, side + after, device=device).abs()
        return torch.where(index < side, index, 2 * (side - 1) - index)

    def _own_waves(self, whole: Float[Tensor, "h m"]) -> Float[Tensor, "h n"]:
        edges, rank = self.strips.columns(whole.shape[-1]), self.strips.exchange.rank
        return whole[..., edges[rank] : edges[rank + 1]]


def _filtered(waves: Tensor, filter: Float[Tensor, "c y m"]) -> Tensor:
    """Waves along the rows, filtered along the columns, too."""
    made: Tensor = torch.fft.ifft(torch.fft.fft(waves, dim=1).mul_(filter), dim=1)
    return made
