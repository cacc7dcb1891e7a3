"""L-BFGS whose cost is two passes over its memory, whatever the history.

Liu and Nocedal 1989, in the vector-free form of Chen, Wang and Zhou 2014 (algorithm 3): the
direction is a combination of the remembered pairs (s, y) and the gradient, and its coefficients
follow from the inner products of these vectors alone. One matrix product per step adds the new
inner products, one makes the direction; the usual two loops run on numbers.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

FIRST_STEP = 0.02  # root mean square change of the first step, in units of full brightness:
# what Adam, too, moves at first; a tenth of it is lost in the rounding of bfloat16
CURVATURE = 1e-4  # a pair enters the memory if s.y > CURVATURE |s| |y|: less is rounding noise


class Lbfgs(torch.optim.Optimizer):
    """Limited-memory BFGS with full steps and no line search: one evaluation a step.

    The first step goes down the gradient by FIRST_STEP (torch.optim.LBFGS scales it by the
    gradient's sum, and refuses pairs with s.y < 1e-10: both depend on the scale of the loss).
    """

    def __init__(self, pixels: Tensor, lr: float = 1.0, history: int = 20) -> None:
        super().__init__([pixels], {"lr": lr})
        self.pixels, self.history = pixels, history
        n = pixels.numel()
        self.vectors = pixels.new_zeros(2 * history, n)  # s of slot i in row i, y in row i + h
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
            self.change = gradient * (-FIRST_STEP * rate / size)
        else:
            along = self._remember(self.change, gradient - self.gradient, gradient)
            self.change = self._direction(gradient, along).mul_(rate)
        self.gradient = gradient.clone()
        self.pixels.add_(self.change.view_as(self.pixels))

    def memory(self) -> dict[str, Any]:
        """All that `remember` needs to go on: the filled rows, their products, the last step."""
        found: dict[str, Any] = {"slots": list(self.slots), "products": self.products}
        if self.gradient is not None and self.change is not None:
            found |= {"gradient": self.gradient, "change": self.change}
        if self.slots:
            filled = sorted(self.slots)
            found["vectors"] = self.vectors[filled + [i + self.history for i in filled]]
        return found

    def remember(self, memory: dict[str, Any]) -> None:
        """Go on from what another run of the same history remembered."""
        self.slots = list(memory["slots"])
        self.products.copy_(memory["products"])
        if "gradient" in memory:
            self.gradient = memory["gradient"].to(self.vectors)
            self.change = memory["change"].to(self.vectors)
        if self.slots:
            filled = sorted(self.slots)
            rows = filled + [i + self.history for i in filled]
            self.vectors[rows] = memory["vectors"].to(self.vectors)

    def _remember(self, s: Tensor, y: Tensor, gradient: Tensor) -> Float[Tensor, "m"]:
        """Take in a pair, if its curvature is positive; the gradient's product with every row."""
        new = torch.stack([s, y, gradient], 1)  # n 3
        own = (new.mT @ new).cpu().double()
        accepted = bool(own[0, 1] > CURVATURE * (own[0, 0] * own[1, 1]).sqrt())
        if accepted:
            h = self.history
            slot = len(self.slots) if len(self.slots) < h else self.slots.pop(0)
            self.slots.append(slot)
            self.vectors[slot], self.vectors[slot + h] = s, y
        found = (self.vectors @ new).cpu().double()  # 2h 3
        if accepted:
            for row, column in ((slot, 0), (slot + h, 1)):
                self.products[row, :] = self.products[:, row] = found[:, column]
        return found[:, 2]

    def _direction(self, gradient: Tensor, along: Float[Tensor, "m"]) -> Float[Tensor, "n"]:
        """-H g by the two-loop recursion, on coefficients of the rows and of the gradient."""
        if not self.slots:
            size = gradient.square().mean().sqrt().clamp_min(1e-30)
            return gradient * (-FIRST_STEP / size)
        h, g = self.history, 2 * self.history  # g: the index of the gradient's coefficient
        table = torch.zeros(g + 1, g + 1, dtype=torch.float64)
        table[:g, :g] = self.products
        table[:g, g] = along
        q = torch.zeros(g + 1, dtype=torch.float64)
        q[g] = 1.0
        alphas = {}
        for i in reversed(self.slots):
            alphas[i] = (table[i] @ q) / table[i, i + h]
            q[i + h] -= alphas[i]
        last = self.slots[-1]
        q *= table[last, last + h] / table[last + h, last + h]
        for i in self.slots:
            beta = (table[i + h] @ q) / table[i, i + h]
            q[i] += alphas[i] - beta
        weights = q.to(gradient)
        return (weights[:g] @ self.vectors).add_(gradient, alpha=float(q[g])).neg_()
