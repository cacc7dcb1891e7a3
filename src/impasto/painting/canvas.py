"""The canvas: the loss of one scale as a function of the pixels that are painted."""

import copy
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.machine import cuda_graph
from impasto.machine.cuda_graph import Replayed
from impasto.objective import Objective, Terms
from impasto.painting.budget import Tiling
from impasto.painting.scales import Phase
from impasto.scene import View

WAITING_LOSSES = {"wasserstein"}  # its eigenvalues are asked for by the processor


class Canvas:
    """An objective of the picture that is seen: the photo shows where nothing is painted.

    `tiling` says how large tiles are, and makes them smaller where memory runs out. `graphs`:
    record the evaluation as a CUDA graph where that pays for so many `steps`. Where the objective
    is that of a strip, so are pixels, loss and gradient, and all members ask for them together.
    """

    def __init__(
        self, objective: Objective, view: View, tiling: Tiling, graphs: bool, steps: int
    ) -> None:
        device, strips = objective.network.mean.device, objective.strips
        self.mask = None if view.canvas is None else strips.own(view.canvas).contiguous().to(device)
        self.photo = None if self.mask is None else strips.own(view.photo).contiguous().to(device)
        self.tiling, self.graphs = tiling, graphs
        self._take(objective, steps)

    def _take(self, objective: Objective, steps: int) -> None:
        self.objective = objective
        recorded = self.graphs and pays(objective, steps)
        self.evaluate = Replayed(objective.loss) if recorded else objective.loss

    def limited(self, phase: Phase, shallow: Iterable[str], steps: int) -> "Canvas":
        """The same canvas with the objective of one phase, for so many steps; `shallow` are the
        style layers of detail."""
        made = copy.copy(self)
        made._take(self.objective.limited(shallow if phase.detail else None, phase.matching), steps)
        return made

    def loss(self, pixels: Float[Tensor, "1 3 h w"]) -> tuple[Terms, Float[Tensor, "1 3 h w"]]:
        """The loss terms, and their gradient in the pixels; in smaller tiles from now on if memory
        runs out.

        The mask is inside the loop, so that what is painted knows what it borders on.
        """
        seen = pixels
        if self.mask is not None and self.photo is not None:
            seen = torch.lerp(self.photo, pixels, self.mask)

        def evaluate(tile: int | None) -> tuple[Terms, Tensor]:
            if tile != self.objective.tile:
                self.objective.use_tiles(tile)
            return self.evaluate(seen)

        if self.objective.strips.shared:  # one member cannot begin anew by itself
            terms, gradient = self.evaluate(seen)
        else:
            terms, gradient = self.tiling.fit(evaluate, self.objective.tile, max(pixels.shape))
        return terms, gradient if self.mask is None else gradient * self.mask


def pays(objective: Objective, steps: int) -> bool:
    """True where an evaluation can be recorded, so many steps are to come, and each is short."""
    height, width = objective.size
    return (
        objective.network.mean.device.type == "cuda"
        and len(objective.tiles) == 1
        and not objective.strips.shared  # what members tell each other cannot be recorded
        and not objective.matching.weights  # matches are found anew, but not in every step
        and not WAITING_LOSSES.intersection(objective.spec.style_losses)
        and steps >= cuda_graph.LEAST_STEPS
        and height * width <= cuda_graph.MOST_PIXELS
    )
