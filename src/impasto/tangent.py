"""The style loss beyond the content's layers, taken for linear while it hardly bends.

Style layers deeper than the deepest content layer, such as relu5_1, take a sixth of a step, and
reach the pixels through the maps F of that content layer alone. Where the content weighs much, it
holds F near the photo's, and their gradient D = dL_deep/dF is nearly the same step after step.
Then, for a few steps, the loss is its tangent where it was evaluated last, at F_0:

    L_deep = L_deep(F_0) + <D, F - F_0>

and the network ends at the content layer. How much D changed decides how long, so the loss of
`best`, whose style bends with every step, is always evaluated.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

BEND = 0.2  # of the whole gradient in F: a larger change of D from one evaluation to the next is
# followed by another one at once; 0.05 of it is rounding (bfloat16, `authors`), in `best` it is 1
RISE = 1.1  # times the loss evaluated last: as much is not believed, L-BFGS would take it back


class Tangent:
    """L_deep as it was evaluated last; at most `most` steps in a row go by it.

    `left` counts the steps that may yet. The first evaluations are a step apart; while D changes
    by less than BEND |dL/dF|, each is twice as far from the next as from the one before.
    """

    def __init__(self, most: int) -> None:
        self.most, self.every, self.left = most, 1, 0
        self.gradient: Float[Tensor, "1 c h w"] | None = None  # D
        self.base = 0.0  # L_deep(F_0) - <D, F_0>
        self.loss = 0.0  # the whole loss at F_0

    def at(self, maps: Float[Tensor, "1 c h w"]) -> Float[Tensor, ""]:
        """L_deep of these F, on the tangent."""
        return _product(self.slope, maps) + self.base

    @property
    def slope(self) -> Float[Tensor, "1 c h w"]:
        """D."""
        assert self.gradient is not None
        return self.gradient

    def touch(
        self,
        maps: Float[Tensor, "1 c h w"],
        deep: Float[Tensor, ""],
        slope: Float[Tensor, "1 c h w"],
        whole: Float[Tensor, "1 c h w"],
    ) -> None:
        """Take in F, L_deep, its gradient D and that of the whole loss, as evaluated."""
        straight = False
        if self.gradient is not None:
            straight = bool(_norm(slope - self.gradient) <= BEND * _norm(whole))
        self.every = min(2 * self.every, self.most + 1) if straight else 1
        self.left = self.every - 1
        self.gradient, self.base = slope, float(deep - _product(slope, maps))

    def believed(self, loss: Float[Tensor, ""]) -> bool:
        """True if the whole loss, with L_deep on the tangent, may be right: that is a step less."""
        self.left -= 1
        return bool(loss <= RISE * self.loss)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What `load` needs to go on: tensors, numbers."""
        tensors = {} if self.gradient is None else {"tangent": self.gradient}
        names = ("every", "left", "base", "loss")
        return tensors, {name: getattr(self, name) for name in names}

    def load(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any], like: Tensor) -> None:
        """Go on from a state, on the device of `like`."""
        found = tensors.get("tangent")
        if found is not None:  # laid out as the network's maps: sums are taken in the same order
            self.gradient = found.to(like.device, memory_format=torch.channels_last, copy=True)
        self.every, self.left = numbers["every"], numbers["left"]
        self.base, self.loss = numbers["base"], numbers["loss"]


def _product(one: Tensor, other: Tensor) -> Float[Tensor, ""]:
    return (one * other).sum(dtype=_wide(one))


def _norm(maps: Tensor) -> Float[Tensor, ""]:
    found: Tensor = torch.linalg.vector_norm(maps, dtype=_wide(maps))
    return found


def _wide(maps: Tensor) -> torch.dtype:
    """What sums of maps are taken in."""
    return torch.promote_types(maps.dtype, torch.float32)
