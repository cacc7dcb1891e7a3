"""Loss and gradient as one call: a CUDA graph of all that an evaluation does.

An evaluation is some thousand small operations, and the processor starts each of them by itself.
For a small picture a fast card is done with each before the next one is started. CUDA can record
them once and start them all together from then on, in the same memory each time (a CUDA graph).
"""

import time
from collections.abc import Callable
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.machine.device import wait_for

WARM = 2  # evaluations first: cuDNN times its algorithms, libraries take their memory
LEAST_STEPS = 12  # recording takes about as long as a few of them
MOST_PIXELS = 2**22  # of larger pictures each operation takes longer than its start
AGREEMENT = 1e-2  # of terms and gradient: kernels that add up in another order may differ so far

Terms = dict[str, Tensor]
Evaluate = Callable[[Tensor], tuple[Terms, Tensor]]
"""A picture to numbers by name, and a gradient."""


class Replayed:
    """An evaluation of pictures of one size, recorded when it is warm and replayed from then on.

    It stays as it is where recording fails, and where a replay is no faster or does not give the
    same: both are tried once, with another picture than the recorded one.
    """

    def __init__(self, evaluate: Evaluate) -> None:
        self.evaluate, self.calls, self.replays = evaluate, 0, False

    def __call__(self, image: Float[Tensor, "1 3 h w"]) -> tuple[Terms, Tensor]:
        """The loss terms of a picture and their gradient."""
        self.calls += 1
        return self.evaluate(image) if self.calls != WARM + 1 else self._tried(image)

    def _tried(self, image: Tensor) -> tuple[Terms, Tensor]:
        """The evaluation of this step, and the choice of those to come."""
        found, other = self.evaluate(image), image.flip(-1)
        expected, usual = _timed(self.evaluate, other)
        try:
            replay = recorded(self.evaluate, image)
            replay(other)  # the first takes the graph to the card
            again, seconds = _timed(replay, other)
        except RuntimeError:  # memory ran out, or a library does what cannot be recorded
            return found
        if seconds < usual and _agree(expected, again):
            self.evaluate, self.replays = replay, True
        return found


def recorded(evaluate: Evaluate, image: Float[Tensor, "1 3 h w"]) -> Evaluate:
    """The same evaluation of any picture of that size as a CUDA graph.

    Raises RuntimeError where something in it cannot be recorded, or memory runs out.
    """
    card, still, graph = image.device, image.detach().clone(), torch.cuda.CUDAGraph()
    with torch.cuda.device(card), torch.cuda.graph(graph, stream=_stream(card)):
        terms, gradient = evaluate(still)

    def replay(image: Tensor) -> tuple[Terms, Tensor]:
        still.copy_(image)
        with torch.cuda.device(card):
            graph.replay()
        # copies: the next replay writes to the same memory
        return {name: value.clone() for name, value in terms.items()}, gradient.clone()

    return replay


@cache
def _stream(card: torch.device) -> torch.cuda.Stream:
    """What a card's recordings are made on: libraries keep some memory for each stream."""
    return torch.cuda.Stream(card)  # type: ignore[no-untyped-call]


def _timed(evaluate: Evaluate, image: Tensor) -> tuple[tuple[Terms, Tensor], float]:
    """An evaluation, and the seconds until the device is done with it."""
    wait_for(image.device)
    began = time.perf_counter()
    found = evaluate(image)
    wait_for(image.device)
    return found, time.perf_counter() - began


def _agree(one: tuple[Terms, Tensor], other: tuple[Terms, Tensor]) -> bool:
    """True where losses and gradients are the same but for rounding."""
    (terms, gradient), (terms_again, again) = one, other
    pairs = [(terms[name], terms_again[name]) for name in terms] + [(gradient, again)]
    return all(bool((a - b).norm() <= AGREEMENT * a.norm()) for a, b in pairs)
