"""L-BFGS on the pixels, one evaluation a step, preconditioned by the loss's spectrum.

Liu and Nocedal 1989, in the vector-free form of Chen, Wang and Zhou 2014 (algorithm 3): the
direction is a combination of the remembered pairs (s, y) and the gradient, and its coefficients
follow from the inner products of these vectors alone. Three products of the memory with a vector
add the new inner products, and one pass over the memory makes the direction; the usual two loops,
on numbers, are two triangular systems.

The departure: pairs and steps are those of z = W^-1 x, in which the loss is about equally steep
along every frequency and color of the picture. `Spectrum` learns the filter W from the pairs. A
step is taken in full: the minimizer takes it back if the loss rose.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from impasto.machine.buffers import Buffers
from impasto.machine.exchange import ALONE, mean_of, sum_of
from impasto.machine.strips import Strips
from impasto.optimizers.shared_spectrum import SharedSpectrum
from impasto.optimizers.spectrum import Spectrum

FIRST_STEP = 0.02  # root mean square change of the first step, in units of full brightness:
# what Adam, too, moves at first; a tenth of it is lost in the rounding of bfloat16
CARRIED_STEP = 0.005  # the same where a coarser scale has done its part: more often leads uphill
CURVATURE = 1e-4  # a pair counts if s.y > CURVATURE |s| |y|: less is rounding noise
BOLDER = 1.0  # preconditioned, the first guess of the inverse curvature, s.y / y.y, is longer by
# this times the filled part of the memory: s.y / y.y is right along what is steep, which by then
# the pairs see to, and the rest is flatter
BACK = 0.25  # of a step that led uphill, where the pair it gave does not make it shorter
WIDE_VALUES = 2**21  # of narrower rows that are widened at a time: 8 MB in float32
WIDE_VALUES_ELSEWHERE = 2**25  # where each start of a kernel costs as much as a few MB


class Lbfgs:
    """Limited-memory BFGS with full steps and no line search: one evaluation a step.

    `precondition`: with a `Spectrum`, for pixels of shape 1 c h w; without it this is the
    textbook's L-BFGS. `known` is the scale of a spectrum that was learned of the same loss at
    another size. The first step goes down the gradient by `first_step` (torch.optim.LBFGS scales it
    by the gradient's sum, and refuses pairs with s.y < 1e-10: both depend on the scale of the
    loss). `buffers` lend their memory between evaluations. Pairs are kept in `dtype`, else in that
    of the pixels; their products are those of what is kept, so that they fit together whatever
    rounding took. Of several `strips` the pixels are this member's: products are sums over all.
    """

    def __init__(
        self,
        pixels: Tensor,
        lr: float = 1.0,
        history: int = 12,
        first_step: float = FIRST_STEP,
        precondition: bool = False,
        known: Tensor | None = None,
        buffers: Buffers | None = None,
        dtype: torch.dtype | None = None,
        strips: Strips | None = None,
    ) -> None:
        # no torch.optim.Optimizer: making the first one loads PyTorch's compiler, for a second
        self.pixels, self.lr, self.history, self.first_step = pixels, lr, history, first_step
        self.buffers = buffers or Buffers()
        self.exchange = ALONE if strips is None else strips.exchange
        self.spectrum = _spectrum(pixels, known, strips) if precondition else None
        # s of slot i in row 2i, y in row 2i + 1
        self.vectors = pixels.new_zeros(2 * history, pixels.numel(), dtype=dtype)
        numbers = "cpu" if pixels.device.type == "mps" else pixels.device  # MPS has no float64
        self.products = torch.zeros(2 * history, 2 * history, dtype=torch.float64, device=numbers)
        self.slots: list[int] = []  # filled slots, the oldest pair first
        # of z, by the step before; the caller makes a new gradient for every step
        self.gradient: Tensor | None = None
        self.change: Tensor | None = None

    @torch.no_grad()
    def step(self) -> None:
        """Move the pixels, whose `grad` is set, by one step."""
        assert self.pixels.grad is not None
        self._renew()
        gradient = self._seen(self.pixels.grad)
        if self.gradient is None or self.change is None:
            change = self._first(gradient)
        else:
            along = self._remember(self.change, gradient - self.gradient, gradient)
            change = self._direction(gradient, along)
        self.gradient, self.change = gradient, change.mul_(self.lr)
        self.pixels.add_(self._moved(self.change))

    @torch.no_grad()
    def retreat(self) -> None:
        """Take the last step back and a better one instead, when it led uphill.

        The pixels' `grad` is that of where it led. The pair of this step is kept: it is as true as
        any, and makes the new step shorter.
        """
        assert self.pixels.grad is not None
        assert self.gradient is not None
        assert self.change is not None
        change, before = self.change, self.gradient
        along = self._remember(change, self._seen(self.pixels.grad) - before, before)
        self.pixels.sub_(self._moved(change))
        learned = self._direction(before, along).mul_(self.lr)
        shorter = self._length(learned) < self._length(change)
        self.change = learned if shorter else change.mul(BACK)
        self.pixels.add_(self._moved(self.change))

    def state(self) -> dict[str, Any]:
        """All that `load` needs to go on: the filled rows, their products, the last step."""
        found: dict[str, Any] = {"slots": list(self.slots), "products": self.products}
        if self.gradient is not None and self.change is not None:
            found |= {"gradient": self.gradient, "change": self.change}
        if self.slots:
            found["vectors"] = self.vectors[: 2 * len(self.slots)]
        if self.spectrum is not None:
            found |= self.spectrum.state()
        return found

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what another run of the same history remembered."""
        self.slots = list(state["slots"])
        self.products.copy_(state["products"])
        if "gradient" in state:
            # Copies: a file's bytes may lie where sums are taken in another order.
            self.gradient = state["gradient"].to(self.pixels, copy=True)
            self.change = state["change"].to(self.pixels, copy=True)
        if self.slots:
            self.vectors[: 2 * len(self.slots)] = state["vectors"].to(self.vectors)
        if self.spectrum is not None:
            self.spectrum.load(state)

    def _seen(self, gradient: Tensor) -> Float[Tensor, " n"]:
        """The pixels' gradient as that of z."""
        seen = gradient if self.spectrum is None else self.spectrum.gradients(gradient)
        return seen.reshape(-1)

    def _moved(self, change: Float[Tensor, " n"]) -> Tensor:
        """A change of z as one of the pixels."""
        z = change.view(self.pixels.shape)
        return z if self.spectrum is None else self.spectrum.changes(z)

    def _renew(self) -> None:
        """From time to time, scale all that is remembered by what was learned since."""
        spectrum = self.spectrum
        ratio = None if spectrum is None else spectrum.renew()
        if ratio is None or spectrum is None or self.change is None or self.gradient is None:
            return
        shape, inverse = self.pixels.shape, 1 / ratio

        def step(z: Tensor) -> Tensor:
            return spectrum.changes(z.view(shape), inverse).reshape(-1)

        def slope(z: Tensor) -> Tensor:
            return spectrum.gradients(z.view(shape), ratio).reshape(-1)

        self.change, self.gradient = step(self.change), slope(self.gradient)
        m = 2 * len(self.slots)
        for i in range(m):
            row = self.vectors[i].to(self.pixels)
            self.vectors[i] = slope(row) if i % 2 else step(row)
        self.products.zero_()
        for _, rows in self._rows():
            self.products[:m, :m] += rows @ rows.T
        self.products = sum_of(self.products, self.exchange)

    def _first(self, gradient: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Down the gradient: what is known without a memory."""
        squares = self._moved(gradient).square()
        size = mean_of(squares, self.exchange).sqrt().clamp_min(1e-30)
        return gradient * (-self.first_step / size)

    def _length(self, vector: Float[Tensor, " n"]) -> Tensor:
        """The norm of a vector of which each member has a part."""
        if self.exchange.members == 1:
            own: Tensor = vector.norm()
            return own
        return sum_of(vector @ vector, self.exchange).sqrt()

    def _remember(
        self, s: Float[Tensor, " n"], y: Float[Tensor, " n"], gradient: Float[Tensor, " n"]
    ) -> Float[Tensor, " m"]:
        """Take in a pair, if its curvature is positive; the gradient's product with every row."""
        if self.spectrum is not None:
            self.spectrum.see(s.view(self.pixels.shape), y.view(self.pixels.shape))
        if not bool(_curved(*self.exchange.sum([s @ s, s @ y, y @ y]))):
            return self._along(gradient[None])[0]
        full = len(self.slots) == self.history
        slot = self.slots.pop(0) if full else len(self.slots)
        self.slots.append(slot)
        pair = torch.stack([s, y, gradient], out=self.buffers.take(s, 3, len(s)))
        rows = slice(2 * slot, 2 * slot + 2)
        self.vectors[rows] = pair[:2]
        pair[:2] = self.vectors[rows]  # as they are kept
        along = self._along(pair)  # of all three: reading the memory takes most of the time
        self.products[rows, : along.shape[1]] = along[:2]
        self.products[: along.shape[1], rows] = along[:2].T
        return along[2]

    def _along(self, vectors: Float[Tensor, "k n"]) -> Float[Tensor, "k m"]:
        """The products of vectors with the filled rows."""
        along = self.products.new_zeros(len(vectors), 2 * len(self.slots))
        for values, rows in self._rows():
            along += (vectors[:, values] @ rows.T).to(along)
        return sum_of(along, self.exchange)

    def _rows(self) -> Iterator[tuple[slice, Float[Tensor, "m n"]]]:
        """The filled rows in the type of the pixels: some values at a time where they are kept in
        a narrower type. The memory is the same each time."""
        rows = self.vectors[: 2 * len(self.slots)]
        if rows.dtype == self.pixels.dtype:
            yield slice(None), rows
            return
        m, n = rows.shape
        most = WIDE_VALUES if rows.device.type == "cpu" else WIDE_VALUES_ELSEWHERE
        values = min(n, max(1, most // len(self.vectors)))
        wide = self.buffers.take(self.pixels, m * values)
        for left in range(0, n, values):
            some = rows[:, left : left + values]
            yield slice(left, left + values), wide[: some.numel()].view(some.shape).copy_(some)

    def _direction(
        self, gradient: Float[Tensor, " n"], along: Float[Tensor, " m"]
    ) -> Float[Tensor, " n"]:
        """-H g."""
        if not self.slots:
            return self._first(gradient)
        rows, own = self._coefficients(along)
        made = gradient * -own.to(gradient)
        rows = rows.to(gradient)
        for values, known in self._rows():
            made[values].addmv_(known.T, rows, alpha=-1)
        return made

    def _coefficients(
        self, along: Float[Tensor, " m"]
    ) -> tuple[Float[Tensor, " m"], Float[Tensor, ""]]:
        """H g as coefficients of the rows and of the gradient, without a loop over the pairs.

        With the upper triangle R of S^T Y, its diagonal D and the first guess `scale` of the
        inverse curvature, those of s are R^-T ((D + scale Y^T Y) u - scale Y^T g), of y -scale u,
        u = R^-1 S^T g (Byrd, Nocedal and Schnabel 1994, eq. 3.1). A renewed pair whose curvature is
        no longer positive does not count: it has 1 in R and 0 in all else.
        """
        k, oldest = len(self.slots), 2 * self.slots[0]
        table = self.products[: 2 * k, : 2 * k].roll((-oldest, -oldest), (0, 1))
        table = table.view(k, 2, k, 2)  # from the oldest pair on
        s, y = along.roll(-oldest).view(k, 2).unbind(1)
        ss, sy, yy = table[:, 0, :, 0], table[:, 0, :, 1], table[:, 1, :, 1]
        counts = _curved(ss.diagonal(), sy.diagonal(), yy.diagonal())
        scale = self._scale(counts, sy.diagonal(), yy.diagonal())
        both = counts[:, None] & counts
        upper = torch.where(both, sy, 0).triu() + torch.diag((~counts).to(sy))
        u = torch.linalg.solve_triangular(upper, (s * counts)[:, None], upper=True)
        change = torch.where(both, yy, 0) @ u - (y * counts)[:, None]
        change = (sy.diagonal() * counts)[:, None] * u + scale * change
        of_s = torch.linalg.solve_triangular(upper.T, change, upper=False)
        rows = torch.cat([of_s, -scale * u], 1)
        return rows.flatten().roll(oldest), scale

    def _scale(
        self, counts: Bool[Tensor, " k"], sy: Float[Tensor, " k"], yy: Float[Tensor, " k"]
    ) -> Float[Tensor, ""]:
        """The first guess of the inverse curvature: s.y / y.y of the newest pair that counts."""
        numbers = torch.arange(len(counts), device=counts.device)
        newest = torch.where(counts, numbers, -1).argmax()
        scale = sy[newest] / yy[newest].clamp_min(1e-300)
        if self.spectrum is None:
            return scale
        return scale * (1 + BOLDER * len(counts) / self.history)


def _spectrum(pixels: Tensor, known: Tensor | None, strips: Strips | None) -> Spectrum:
    """The spectrum of the pixels, or of the picture that they are a strip of."""
    if strips is None or not strips.shared:
        return Spectrum(pixels, known)
    return SharedSpectrum(pixels, known, strips)


def _curved(ss: Tensor, sy: Tensor, yy: Tensor) -> Bool[Tensor, "..."]:
    """Whether pairs have positive curvature, beyond noise."""
    return sy > CURVATURE * (ss * yy).sqrt()
