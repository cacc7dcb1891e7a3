"""L-BFGS that learns each square of the picture's curvature by itself.

Liu and Nocedal 1989, in the vector-free form of Chen, Wang and Zhou 2014 (algorithm 3): the
direction is a combination of the remembered pairs (s, y) and the gradient, and its coefficients
follow from the inner products of these vectors alone. Three products of the memory with a vector
add the new inner products, one pass makes the direction; the usual two loops, on numbers, are two
triangular systems in every square.

The departure: all that happens in every square of the picture apart, as in the partitioned
quasi-Newton methods of Griewank and Toint 1982. The losses are sums over positions, each of which
sees a part of the picture, so one evaluation tells something of every square's curvature, where a
single pair for all of them tells it once. What squares share, the moments, is in each pair anyhow:
they all moved together. What they share besides is how steep the loss is along each frequency:
pairs and steps are those of z, in which it is equally steep along all (see `spectrum`). With one
memory for the whole picture it is the textbook's L-BFGS.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from impasto.machine.buffers import Buffers
from impasto.optimizers.spectrum import Spectrum

FIRST_STEP = 0.02  # root mean square change of the first step, in units of full brightness:
# what Adam, too, moves at first; a tenth of it is lost in the rounding of bfloat16
CARRIED_STEP = 0.005  # the same where a coarser scale has done its part: more often leads uphill
CURVATURE = 1e-4  # a pair counts if s.y > CURVATURE |s| |y|: less is rounding noise
SQUARE_CURVATURE = 0.05  # the same in one square of several, which others disturb
LONGEST = 3.0  # times the usual (median) step: no square takes a longer one
SLOPE = 0.01  # times the steepest gradient: squares with less, such as masked ones, are not usual
BOLDER = 1.0  # a square's first guess, s.y / y.y, is longer by this times the filled part of the
# memory: it is right along what is steep, which by then the pairs see to, and the rest is flatter
BACK = 0.25  # of a step that led uphill, where what it taught does not make it shorter
WIDE_VALUES = 2**21  # of narrower rows that are widened at a time: 8 MB in float32
WIDE_VALUES_ELSEWHERE = 2**25  # where each start of a kernel costs as much as a few MB


class Lbfgs:
    """Limited-memory BFGS with full steps and no line search: one evaluation a step.

    `block` is the side of the squares in px, for pixels of shape 1 c h w; 0 for one memory of the
    whole, which pictures no larger than that have, too. `known` is the scale of a `Spectrum` that
    was learned of the same loss at another size. The first step goes down the gradient by
    `first_step` (torch.optim.LBFGS scales it by the gradient's sum, and refuses pairs with s.y <
    1e-10: both depend on the scale of the loss). `buffers` lend their memory between evaluations.
    Pairs are kept in `dtype`, else in that of the pixels; their products are those of what is kept,
    so that they fit together whatever rounding took.
    """

    def __init__(
        self,
        pixels: Tensor,
        lr: float = 1.0,
        history: int = 12,
        first_step: float = FIRST_STEP,
        block: int = 0,
        known: Tensor | None = None,
        buffers: Buffers | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        # no torch.optim.Optimizer: making the first one loads PyTorch's compiler, for a second
        self.pixels, self.lr, self.history, self.first_step = pixels, lr, history, first_step
        self.buffers = buffers or Buffers()
        self.side = block if pixels.dim() == 4 and block < max(pixels.shape[2:]) else 0
        self.spectrum = Spectrum(pixels, known) if self.side else None
        squares, values = self._split(pixels).shape
        self.curvature = CURVATURE if squares == 1 else SQUARE_CURVATURE
        # s of slot i in row 2i, y in row 2i + 1, each square's by itself
        self.vectors = pixels.new_zeros(squares, 2 * history, values, dtype=dtype)
        numbers = "cpu" if pixels.device.type == "mps" else pixels.device  # MPS has no float64
        self.products = torch.zeros(
            squares, 2 * history, 2 * history, dtype=torch.float64, device=numbers
        )
        self.slots: list[int] = []  # filled slots, the oldest pair first
        # of z, in squares, by the step before; the caller makes a new gradient for every step
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

        The pixels' `grad` is that of where it led. What it taught is kept: the pair of this step
        is as true as any, and makes the new one shorter.
        """
        assert self.pixels.grad is not None
        assert self.gradient is not None
        assert self.change is not None
        change, before = self.change, self.gradient
        along = self._remember(change, self._seen(self.pixels.grad) - before, before)
        self.pixels.sub_(self._moved(change))
        learned = self._direction(before, along).mul_(self.lr)
        self.change = learned if learned.norm() < change.norm() else change.mul(BACK)
        self.pixels.add_(self._moved(self.change))

    def state(self) -> dict[str, Any]:
        """All that `load` needs to go on: the filled rows, their products, the last step."""
        found: dict[str, Any] = {"slots": list(self.slots), "products": self.products}
        if self.gradient is not None and self.change is not None:
            found |= {"gradient": self.gradient, "change": self.change}
        if self.slots:
            found["vectors"] = self.vectors[:, : 2 * len(self.slots)].contiguous()
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
            self.vectors[:, : 2 * len(self.slots)] = state["vectors"].to(self.vectors)
        if self.spectrum is not None:
            self.spectrum.load(state)

    def _seen(self, gradient: Tensor) -> Float[Tensor, "b n"]:
        """The pixels' gradient as that of z, in squares."""
        return self._split(gradient if self.spectrum is None else self.spectrum.gradients(gradient))

    def _moved(self, change: Float[Tensor, "b n"]) -> Tensor:
        """A change of z as one of the pixels."""
        joined = self._joined(change)
        return joined if self.spectrum is None else self.spectrum.changes(joined)

    def _renew(self) -> None:
        """From time to time, scale all that is remembered by what was learned since."""
        spectrum = self.spectrum
        change = None if spectrum is None else spectrum.renew()
        if change is None or spectrum is None or self.change is None or self.gradient is None:
            return
        rows, inverse = self.vectors[:, : 2 * len(self.slots)], 1 / change

        def step(squares: Tensor) -> Tensor:
            return self._split(spectrum.changes(self._joined(squares), inverse))

        def slope(squares: Tensor) -> Tensor:
            return self._split(spectrum.gradients(self._joined(squares), change))

        self.change, self.gradient = step(self.change), slope(self.gradient)
        m = rows.shape[1]
        for i in range(m):
            row = rows[:, i].to(self.pixels)
            rows[:, i] = slope(row) if i % 2 else step(row)
        self.products.zero_()
        for squares, _, known in self._rows():
            self.products[squares, :m, :m] += torch.bmm(known, known.transpose(1, 2))

    def _first(self, gradient: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
        """Down the gradient: what is known without a memory."""
        size = self._moved(gradient).square().mean().sqrt().clamp_min(1e-30)
        return gradient * (-self.first_step / size)

    def _remember(
        self, s: Float[Tensor, "b n"], y: Float[Tensor, "b n"], gradient: Float[Tensor, "b n"]
    ) -> Float[Tensor, "b m"]:
        """Take in a pair, if its curvature is positive; the gradient's product with every row."""
        if self.spectrum is not None:
            self.spectrum.see(self._joined(s), self._joined(y))
        if not bool(self._curved(_dot(s, s), _dot(s, y), _dot(y, y)).any()):
            return self._along(gradient[:, None])[:, 0]
        full = len(self.slots) == self.history
        slot = self.slots.pop(0) if full else len(self.slots)
        self.slots.append(slot)
        pair = torch.stack([s, y, gradient], 1, out=self.buffers.take(s, len(s), 3, s.shape[1]))
        rows = slice(2 * slot, 2 * slot + 2)
        self.vectors[:, rows] = pair[:, :2]
        pair[:, :2] = self.vectors[:, rows]  # as they are kept
        along = self._along(pair)  # of all three: reading the memory takes most of the time
        self.products[:, rows, : along.shape[2]] = along[:, :2]
        self.products[:, : along.shape[2], rows] = along[:, :2].transpose(1, 2)
        return along[:, 2]

    def _along(self, vectors: Float[Tensor, "b k n"]) -> Float[Tensor, "b k m"]:
        """The products of vectors with the filled rows, in every square."""
        b, k, _ = vectors.shape
        along = self.products.new_zeros(b, k, 2 * len(self.slots))
        for squares, values, rows in self._rows():
            # the vectors to the left: the other way round, MKL's batches take four times as long
            along[squares] += torch.bmm(vectors[squares, :, values], rows.transpose(1, 2))
        return along

    def _rows(self) -> Iterator[tuple[slice, slice, Float[Tensor, "b m n"]]]:
        """The filled rows in the type of the pixels: some squares at a time, or of the only one
        some values, where they are kept in a narrower type. The memory is the same each time."""
        rows = self.vectors[:, : 2 * len(self.slots)]
        if rows.dtype == self.pixels.dtype:
            yield slice(None), slice(None), rows
            return
        b, m, n = rows.shape
        most = WIDE_VALUES if rows.device.type == "cpu" else WIDE_VALUES_ELSEWHERE
        values = min(n, max(1, most // self.vectors.shape[1]))
        squares = min(b, max(1, most // self.vectors[0].numel()))
        wide = self.buffers.take(self.pixels, squares * m * values)
        for first in range(0, b, squares):
            for left in range(0, n, values):
                some = rows[first : first + squares, :, left : left + values]
                known = wide[: some.numel()].view(some.shape).copy_(some)
                yield slice(first, first + squares), slice(left, left + values), known

    def _curved(self, ss: Tensor, sy: Tensor, yy: Tensor) -> Bool[Tensor, "..."]:
        """In which squares a pair has positive curvature, beyond noise."""
        return sy > self.curvature * (ss * yy).sqrt()

    def _direction(
        self, gradient: Float[Tensor, "b n"], along: Float[Tensor, "b m"]
    ) -> Float[Tensor, "b n"]:
        """-H g in every square, none much longer than the others."""
        if not self.slots:
            return self._first(gradient)
        rows, own = self._coefficients(along)
        made = gradient * -own.to(gradient)[:, None]
        rows = -rows.to(gradient)[:, None]
        for squares, values, known in self._rows():
            made[squares, None, values].baddbmm_(rows[squares], known)
        lengths = made.norm(dim=1)
        steep = gradient.norm(dim=1)
        moved = steep > SLOPE * steep.max()
        ordered = lengths.where(moved, math.inf).sort().values
        usual = ordered.gather(0, (moved.sum(0, keepdim=True) - 1).clamp_min(0) // 2)  # the median
        return made.mul_((LONGEST * usual / lengths.clamp_min(1e-30)).clamp_max(1)[:, None])

    def _coefficients(self, along: Float[Tensor, "b m"]) -> tuple[Tensor, Float[Tensor, "b"]]:
        """H g as coefficients of the rows and of the gradient, without a loop over the pairs.

        With the upper triangle R of S^T Y and its diagonal D, those of s are
        R^-T ((D + scale Y^T Y) u - scale Y^T g), of y -scale u, u = R^-1 S^T g (Byrd, Nocedal and
        Schnabel 1994, eq. 3.1). A pair that does not count has 1 in R and 0 in all else. Squares
        without a usable one take the curvature of all the others.
        """
        k, oldest = len(self.slots), 2 * self.slots[0]
        table = self.products[:, : 2 * k, : 2 * k].roll((-oldest, -oldest), (1, 2))
        table = table.view(-1, k, 2, k, 2)  # from the oldest pair on
        s, y = along.roll(-oldest, 1).view(-1, k, 2).unbind(2)
        ss, sy, yy = table[:, :, 0, :, 0], table[:, :, 0, :, 1], table[:, :, 1, :, 1]
        curvature, size = (part.diagonal(dim1=1, dim2=2) for part in (sy, yy))
        counts = self._curved(ss.diagonal(dim1=1, dim2=2), curvature, size)
        scale = self._scale(counts, curvature, size)
        both = counts[:, :, None] & counts[:, None]
        upper = torch.where(both, sy, 0).triu() + torch.diag_embed((~counts).to(sy))
        u = torch.linalg.solve_triangular(upper, (s * counts)[..., None], upper=True)
        change = torch.where(both, yy, 0) @ u - (y * counts)[..., None]
        change = (curvature * counts)[..., None] * u + scale[:, None, None] * change
        of_s = torch.linalg.solve_triangular(upper.mT, change, upper=False)
        rows = torch.cat([of_s, -scale[:, None, None] * u], 2)
        return rows.flatten(1).roll(oldest, 1), scale

    def _scale(
        self, counts: Bool[Tensor, "b k"], sy: Float[Tensor, "b k"], yy: Float[Tensor, "b k"]
    ) -> Float[Tensor, "b"]:
        """s.y / y.y of every square's newest pair that counts: the inverse curvature to begin with.
        Of the others it is that of all squares that count for the newest."""
        k = counts.shape[1]
        numbers = torch.arange(1, k + 1, device=counts.device)
        newest = torch.where(counts, numbers, 0).amax(1, keepdim=True)
        own = (sy / yy).gather(1, (newest - 1).clamp_min(0))
        usual = (sy * counts)[:, -1].sum() / (yy * counts)[:, -1].sum().clamp_min(1e-300)
        scale = torch.where(newest > 0, own, usual)[:, 0]
        return scale * (1 + BOLDER * k / self.history) if self.side else scale

    def _split(self, picture: Tensor) -> Float[Tensor, "b n"]:
        """A picture in squares: a row of values each; beyond the border they are 0."""
        side = self.side
        if not side:
            return picture.reshape(1, -1)
        _, c, h, w = picture.shape
        rows, columns = -(-h // side), -(-w // side)
        whole = F.pad(picture, (0, columns * side - w, 0, rows * side - h))
        cut = whole.view(c, rows, side, columns, side).permute(1, 3, 0, 2, 4)
        return cut.reshape(rows * columns, c * side * side)

    def _joined(self, squares: Float[Tensor, "b n"]) -> Tensor:
        """The reverse of `_split`."""
        side = self.side
        if not side:
            return squares.view(self.pixels.shape)
        _, c, h, w = self.pixels.shape
        rows, columns = -(-h // side), -(-w // side)
        laid = squares.view(rows, columns, c, side, side).permute(2, 0, 3, 1, 4)
        return laid.reshape(1, c, rows * side, columns * side)[..., :h, :w]


def _dot(one: Float[Tensor, "b n"], other: Float[Tensor, "b n"]) -> Float[Tensor, "b"]:
    """The inner product in every square."""
    products: Tensor = torch.linalg.vecdot(one, other)
    return products
