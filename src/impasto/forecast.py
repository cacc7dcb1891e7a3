"""How long a run will take, from a few evaluations that were timed.

An evaluation costs something by itself and the rest by its pixels, so small ones are timed at two
sizes; larger ones take longer by their pixels alone.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

SIDES = (128, 256)  # px: longest sides of the evaluations that are timed
CARD_SIDES = (512, 1024)  # on a card, to which smaller ones are all the same
TIMES = 3  # how often each is timed, after one to warm up
START_COST = 1.2  # of a scale's targets, its first picture and its memory, in steps
UPDATE_COST = 1.05  # of a step, in evaluations of loss and gradient
TILED_COST = 4 / 3  # of loss and gradient of tiles, which see the picture a second time forward


class Trial(NamedTuple):
    """What one evaluation of a picture took."""

    pixels: int
    seconds: float


class Work(NamedTuple):
    """What is left of a scale."""

    steps: float
    begins: bool
    areas: Sequence[int]
    """Pixels of each tile with its margin, or of the whole."""


def trial(pixels: int, evaluate: Callable[[], object]) -> Trial:
    """The median of several evaluations of so many pixels."""
    times = []
    for _ in range(1 + TIMES):
        began = time.perf_counter()
        evaluate()
        times.append(time.perf_counter() - began)
    return Trial(pixels, statistics.median(times[1:]))


def seconds(trials: Sequence[Trial], scales: Sequence[Work]) -> float:
    """What the scales will take, by one trial or by a small and a larger one."""
    small, large = trials[0], trials[-1]

    def lasts(pixels: int) -> float:
        if pixels >= large.pixels or small.pixels == large.pixels:
            return large.seconds * pixels / large.pixels
        slope = (large.seconds - small.seconds) / (large.pixels - small.pixels)
        return max(small.seconds + slope * (pixels - small.pixels), 0.0)

    total = 0.0
    for steps, begins, areas in scales:
        passes = 1 if len(areas) == 1 else TILED_COST
        total += (steps + START_COST * begins) * passes * sum(map(lasts, areas))
    return total * UPDATE_COST
