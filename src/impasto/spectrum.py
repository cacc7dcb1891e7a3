"""What the squares of a picture share: how steep the loss is along each of their frequencies.

A square's pixels are told apart by colour and frequency: brightness and two differences of colours,
each by its discrete cosine transform. Along each of these coefficients the mean curvature of all
squares, sum s . y / sum s . s, says how long a step should be; L-BFGS begins with one number for
all of them, and in many dimensions it is long before a square's own pairs correct that. So it works
in coefficients divided by the square root of that curvature, in which all are equally steep:
what is called a diagonal preconditioner, learnt on the way.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

COLOURS = ((1, 1, 1), (1, -1, 0), (1, 1, -2))  # the rows: brightness, red - green, yellow - blue
FIRST_PAIRS = 8  # of each square, before the curvatures are used
LONGER = 1.5  # times as many pairs before they are measured anew
LEAST = 0.2  # times the median curvature: less is taken for that, negative ones as well


class Spectrum:
    """The curvature of each coefficient of squares of c by side by side pixels.

    `scale` multiplies the coefficients of a gradient and divides those of a change: z of both.
    """

    def __init__(self, channels: int, side: int, like: Tensor) -> None:
        self.shape = (channels, side, side)
        colours = torch.tensor(COLOURS) if channels == 3 else torch.eye(channels)
        self.colours = _unit(colours.double()).to(like)
        self.cosines = _cosines(side).to(like)
        size = channels * side * side
        self.scale = like.new_ones(size)
        self.ss, self.sy = like.new_zeros(size), like.new_zeros(size)
        self.pairs, self.due = 0, FIRST_PAIRS

    def of_gradients(self, squares: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
        """Gradients of pixels as gradients of z."""
        return self._turned(squares, self.cosines, self.colours) * self.scale

    def of_changes(self, squares: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
        """Changes of pixels as changes of z."""
        return self._turned(squares, self.cosines, self.colours) / self.scale

    def pixels(self, changes: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
        """Changes of z as changes of pixels."""
        return self._turned(changes * self.scale, self.cosines.T, self.colours.T)

    def see(self, s: Float[Tensor, "b n"], y: Float[Tensor, "b n"]) -> None:
        """Take in a pair of every square, in z."""
        self.ss += (s * self.scale).square().sum(0)
        self.sy += (s * y).sum(0)
        self.pairs += 1

    def renew(self) -> Tensor | None:
        """What the scale is multiplied by from now on, if it is time to."""
        if self.pairs < self.due:
            return None
        curvature = self.sy / self.ss.clamp_min(1e-30)
        usual = curvature.median()
        self.pairs, self.due = 0, math.ceil(self.due * LONGER)
        self.ss.zero_()
        self.sy.zero_()
        if not usual > 0:
            return None
        scale = curvature.clamp_min(LEAST * usual).rsqrt()
        scale /= scale.log().mean().exp()
        change = scale / self.scale
        self.scale = scale
        return change

    def memory(self) -> dict[str, Any]:
        """All that `remember` needs to go on."""
        return {"scale": self.scale, "ss": self.ss, "sy": self.sy, "seen": [self.pairs, self.due]}

    def remember(self, memory: dict[str, Any]) -> None:
        """Go on from what another run remembered."""
        for name in ("scale", "ss", "sy"):
            setattr(self, name, memory[name].to(self.ss, copy=True))
        self.pairs, self.due = memory["seen"]

    def _turned(self, squares: Tensor, cosines: Tensor, colours: Tensor) -> Float[Tensor, "b n"]:
        made = cosines @ squares.view(-1, *self.shape) @ cosines.T
        turned: Tensor = torch.einsum("dc,bcij->bdij", colours, made).flatten(1)
        return turned


def _cosines(side: int) -> Float[Tensor, "n n"]:
    """The orthonormal discrete cosine transform (DCT-II): frequencies by positions."""
    n = torch.arange(side, dtype=torch.float64)
    return _unit(torch.cos(torch.pi / side * n[:, None] * (n + 0.5)))


def _unit(rows: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
    """Rows of length 1."""
    unit: Tensor = rows / rows.norm(dim=1, keepdim=True)
    return unit
