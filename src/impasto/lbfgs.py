"""L-BFGS whose cost is two passes over its memory, whatever the history.

Liu and Nocedal 1989, in the vector-free form of Chen, Wang and Zhou 2014 (algorithm 3): the
direction is a combination of the remembered pairs (s, y) and the gradient, and its coefficients
follow from the inner products of these vectors alone. Three products of the memory with a vector
add the new inner products, one pass makes the direction; the usual two loops run on numbers.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

FIRST_STEP = 0.02  # root mean square change of the first step, in units of full brightness:
# what Adam, too, moves at first; a tenth of it is lost in the rounding of bfloat16
CARRIED_STEP = 0.005  # the same where a coarser scale has done its part: more often leads uphill
CURVATURE = 1e-4  # a pair enters the memory if s.y > CURVATURE |s| |y|: less is rounding noise
BACK = 0.25  # of a step that led uphill, where what it taught does not make it shorter
BLOCK_VALUES = 2**20  # of the direction that are made at a time, to stay in the processor's cache


class Lbfgs(torch.optim.Optimizer):
    """Limited-memory BFGS with full steps and no line search: one evaluation a step.

    The first step goes down the gradient by `first_step` (torch.optim.LBFGS scales it by the
    gradient's sum, and refuses pairs with s.y < 1e-10: both depend on the scale of the loss).
    """

    def __init__(
        self, pixels: Tensor, lr: float = 1.0, history: int = 20, first_step: float = FIRST_STEP
    ) -> None:
        super().__init__([pixels], {"lr": lr})
        self.pixels, self.history, self.first_step = pixels, history, first_step
        n = pixels.numel()
        self.vectors = pixels.new_zeros(2 * history, n)  # s of slot i in row 2i, y in row 2i + 1
        self.products = torch.zeros(2 * history, 2 * history, dtype=torch.float64)
        self.slots: list[int] = []  # filled slots, the oldest pair first
        self.gradient: Tensor | None = None  # of the step before, flat
        self.change: Tensor | None = None  # of the step before, flat

    @torch.no_grad()
    def step(self, closure: object = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """Move the pixels, whose `grad` is set, by one step."""
        assert self.pixels.grad is not None
        gradient = self.pixels.grad.flatten()
        rate: float = self.param_groups[0]["lr"]
        if self.gradient is None or self.change is None:
            size = gradient.square().mean().sqrt().clamp_min(1e-30)
            self.change = gradient * (-self.first_step * rate / size)
        else:
            along = self._remember(self.change, gradient - self.gradient, gradient)
            self.change = self._direction(gradient, along).mul_(rate)
        self.gradient = gradient  # the caller makes a new one for every step
        self.pixels.add_(self.change.view_as(self.pixels))

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
        self._remember(change, self.pixels.grad.flatten() - before, before)
        along = (self.vectors[: 2 * len(self.slots)] @ before).cpu().double()
        self.pixels.sub_(change.view_as(self.pixels))
        rate: float = self.param_groups[0]["lr"]
        learned = self._direction(before, along).mul_(rate)
        self.change = learned if learned.norm() < change.norm() else change.mul(BACK)
        self.pixels.add_(self.change.view_as(self.pixels))

    def memory(self) -> dict[str, Any]:
        """All that `remember` needs to go on: the filled rows, their products, the last step."""
        found: dict[str, Any] = {"slots": list(self.slots), "products": self.products}
        if self.gradient is not None and self.change is not None:
            found |= {"gradient": self.gradient, "change": self.change}
        if self.slots:
            found["vectors"] = self.vectors[: 2 * len(self.slots)]
        return found

    def remember(self, memory: dict[str, Any]) -> None:
        """Go on from what another run of the same history remembered."""
        self.slots = list(memory["slots"])
        self.products.copy_(memory["products"])
        if "gradient" in memory:
            # Copies: a file's bytes may lie where sums are taken in another order.
            self.gradient = memory["gradient"].to(self.vectors, copy=True)
            self.change = memory["change"].to(self.vectors, copy=True)
        if self.slots:
            self.vectors[: 2 * len(self.slots)] = memory["vectors"].to(self.vectors)

    def _remember(self, s: Tensor, y: Tensor, gradient: Tensor) -> Float[Tensor, "m"]:
        """Take in a pair, if its curvature is positive; the gradient's product with every row."""
        rows = self.vectors[: 2 * len(self.slots)]
        own = torch.stack([s @ s, s @ y, y @ y, s @ gradient, y @ gradient])
        found = torch.cat([own, rows @ s, rows @ y, rows @ gradient]).cpu().double()
        (ss, sy, yy, sg, yg), products = found[:5], found[5:].view(3, -1)
        if sy <= CURVATURE * (ss * yy).sqrt():
            return products[2]
        full = len(self.slots) == self.history
        slot = self.slots.pop(0) if full else len(self.slots)
        self.slots.append(slot)
        first, second, m = 2 * slot, 2 * slot + 1, 2 * len(self.slots)
        self.vectors[first], self.vectors[second] = s, y
        along = torch.zeros(m, dtype=torch.float64)
        along[: products.shape[1]] = products[2]
        along[first], along[second] = sg, yg
        for row, column in zip((first, second), products, strict=False):
            self.products[row, : len(column)] = self.products[: len(column), row] = column
        pair = torch.stack([ss, sy, sy, yy]).view(2, 2)
        self.products[first : second + 1, first : second + 1] = pair
        return along

    def _direction(self, gradient: Tensor, along: Float[Tensor, "m"]) -> Float[Tensor, "n"]:
        """-H g by the two-loop recursion, on coefficients of the rows and of the gradient."""
        if not self.slots:
            size = gradient.square().mean().sqrt().clamp_min(1e-30)
            return gradient * (-self.first_step / size)
        g = len(along)  # the index of the gradient's coefficient
        table = torch.zeros(g + 1, g + 1, dtype=torch.float64)
        table[:g, :g] = self.products[:g, :g]
        table[:g, g] = along
        q = torch.zeros(g + 1, dtype=torch.float64)
        q[g] = 1.0
        alphas = {}
        for i in reversed(self.slots):
            s, y = 2 * i, 2 * i + 1
            alphas[i] = (table[s] @ q) / table[s, y]
            q[y] -= alphas[i]
        s, y = 2 * self.slots[-1], 2 * self.slots[-1] + 1
        q *= table[s, y] / table[y, y]
        for i in self.slots:
            s, y = 2 * i, 2 * i + 1
            beta = (table[y] @ q) / table[s, y]
            q[s] += alphas[i] - beta
        return self._combined(gradient, [-weight for weight in q.tolist()])

    def _combined(self, gradient: Tensor, weights: list[float]) -> Float[Tensor, "n"]:
        """The sum of the rows and, last, the gradient, each times its weight."""
        made = gradient * weights[-1]
        size = BLOCK_VALUES if made.device.type == "cpu" else made.numel()
        for start in range(0, made.numel(), size):
            block = slice(start, start + size)
            for row, weight in zip(self.vectors, weights[:-1], strict=False):
                made[block].add_(row[block], alpha=weight)
        return made
