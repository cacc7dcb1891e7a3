"""Loss and gradient as one call: a CUDA graph of all that an evaluation does.

An evaluation is some thousand small operations, and the processor starts each of them by itself.
For a small picture a fast card is done with each before the next one is started. CUDA can record
them once and start them all together from then on, in the same memory each time (a CUDA graph).
"""

import time
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from impasto import device as machine
from impasto.objective import Objective

Terms = dict[str, Float[Tensor, ""]]
Evaluate = Callable[[Tensor], tuple[Terms, Tensor]]
"""A picture to its loss terms and the gradient of their sum."""

WARM = 2  # evaluations first: cuDNN times its algorithms, libraries take their memory
LEAST_STEPS = 12  # recording takes about as long as a few of them
MOST_PIXELS = 2**22  # of larger pictures each operation takes longer than its start
WAITING_LOSSES = {"wasserstein"}  # its eigenvalues are asked for by the processor
AGREEMENT = 1e-2  # of the gradient: as far as kernels that add up in another order may differ


def pays(objective: Objective, steps: int) -> bool:
    """True where an evaluation can be recorded, so many steps are to come, and each is short."""
    height, width = objective.size
    return (
        objective.network.mean.device.type == "cuda"
        and len(objective.tiles) == 1
        and not WAITING_LOSSES.intersection(objective.style_losses)
        and steps >= LEAST_STEPS
        and height * width <= MOST_PIXELS
    )


class Replayed:
    """An evaluation of pictures of one size, recorded when it is warm and replayed from then on.

    It stays as it is where recording fails, and where a replay is no faster or does not give the
    same: both are tried once, with the picture of that step.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        device: torch.device,
        record: Callable[[Evaluate, Tensor], Evaluate] | None = None,
    ) -> None:
        self.evaluate, self.device, self.record = evaluate, device, record or recorded
        self.calls, self.replays = 0, False

    def __call__(self, image: Float[Tensor, "1 3 h w"]) -> tuple[Terms, Tensor]:
        """The loss terms of a picture and their gradient."""
        self.calls += 1
        return self.evaluate(image) if self.calls != WARM + 1 else self._tried(image)

    def _tried(self, image: Tensor) -> tuple[Terms, Tensor]:
        """The evaluation of this step, and the choice of those to come."""
        found, usual = self._timed(partial(self.evaluate, image))
        try:
            replay = self.record(self.evaluate, image)
            replay(image)  # the first takes the graph to the card
            again, seconds = self._timed(partial(replay, image))
        except RuntimeError:  # memory ran out, or a library does what cannot be recorded
            return found
        if seconds < usual and _agree(found[1], again[1]):
            self.evaluate, self.replays = replay, True
        return found

    def _timed(
        self, call: Callable[[], tuple[Terms, Tensor]]
    ) -> tuple[tuple[Terms, Tensor], float]:
        """What a call gives, and the seconds until the device is done with it."""
        machine.wait_for(self.device)
        began = time.perf_counter()
        found = call()
        machine.wait_for(self.device)
        return found, time.perf_counter() - began


def recorded(evaluate: Evaluate, image: Float[Tensor, "1 3 h w"]) -> Evaluate:
    """The same evaluation of any picture of that size as a CUDA graph.

    Raises RuntimeError where something in it cannot be recorded, or memory runs out.
    """
    still, graph = image.detach().clone(), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        terms, gradient = evaluate(still)

    def replay(image: Tensor) -> tuple[Terms, Tensor]:
        still.copy_(image)
        graph.replay()
        # copies: the next replay writes to the same memory
        return {name: value.clone() for name, value in terms.items()}, gradient.clone()

    return replay


def _agree(one: Tensor, other: Tensor) -> bool:
    """True where two gradients are the same but for rounding."""
    return bool((one - other).norm() <= AGREEMENT * one.norm())
