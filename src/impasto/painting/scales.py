"""The scales of a run, coarse to fine: their sizes and steps, and the way to the next."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from impasto import images
from impasto.errors import PictureError
from impasto.images import enlarged
from impasto.networks.layer_names import stride_of
from impasto.networks.tiles import GRID
from impasto.settings import Settings

SHALLOW_STRIDE = 4  # px between neighbors at the deepest of the shallow layers: relu3_1 or so
DETAIL_COST = 0.5  # of a detail step, in steps of the whole objective
MATCHING_COST = 1.3  # of a step that matches, finding strokes in every fifth, in steps that do not


def scale_sizes(
    size: tuple[int, int], settings: Settings, smallest_side: int
) -> list[tuple[int, int]]:
    """Width and height of each scale, the smallest first: from `coarsest` on, in even ratios.

    size: of the photo, whose proportions all scales have. Scales whose short side would be under
    `smallest_side` are left out; PictureError if the last one is among them.
    """
    last = fitted(size, settings.size, settings)
    if min(last) < smallest_side:
        needed = -(-smallest_side * max(size) // min(size))
        raise PictureError(
            f"a picture of {size[0]}x{size[1]} px is {last[0]}x{last[1]} px at size "
            f"{settings.size}, too small for the network: use --size {needed} or more"
        )
    if not 0 < settings.coarsest < settings.size:
        return [last]
    ratio = settings.size / settings.coarsest
    count = max(1, round(math.log(ratio) / math.log(settings.scale_ratio)))
    sides = [round(settings.coarsest * ratio ** (i / count)) for i in range(count)]
    smaller = [fitted(size, side, settings) for side in sides]
    return [scale for scale in smaller if min(scale) >= smallest_side] + [last]


def fitted(size: tuple[int, int], long_side: int, settings: Settings) -> tuple[int, int]:
    """The size with that long side, px; in multiples of 16 px where opposite edges meet."""
    width, height = images.fit(size, long_side)
    if not settings.seamless:
        return width, height
    return max(GRID, round(width / GRID) * GRID), max(GRID, round(height / GRID) * GRID)


def carry_up(
    painted: Float[Tensor, "1 3 h w"],
    before: Float[Tensor, "1 3 h w"],
    after: Float[Tensor, "1 3 height width"],
    seamless: bool = False,
) -> Float[Tensor, "1 3 height width"]:
    """What was painted at one scale, taken to the next with the start picture's own detail there.

    x_fine = c_fine + up(x_coarse - c_coarse), where c is the picture the run started from
    (`before` at the coarse scale, `after` at the fine one): only the change is enlarged, so no
    edge of the photo is blurred. A departure from the usual enlargement of x itself.
    """
    height, width = after.shape[-2:]
    return after + enlarged(painted - before, height, width, seamless)


class Phase(NamedTuple):
    """Which steps of a scale one memory of the optimizer is good for: those of one objective."""

    detail: bool
    """Whether the shallow style layers alone count."""
    matching: bool

    @property
    def name(self) -> str:
        """As checkpoints have it."""
        return ("detail" if self.detail else "whole") + ("-matching" if self.matching else "")

    @property
    def cost(self) -> float:
        """Of a step, in steps of the whole objective without matching."""
        return (DETAIL_COST if self.detail else 1.0) * (MATCHING_COST if self.matching else 1.0)


@dataclass(frozen=True)
class Schedule:
    """The scales of a run, the smallest first, and their steps."""

    sizes: tuple[tuple[int, int], ...]
    """Width and height, px."""
    details: tuple[int, ...]
    """How many steps each scale begins with that match the style's shallow layers alone."""
    counts: tuple[int, ...]
    """How many steps each scale takes in all."""
    matching: tuple[int, ...]
    """How many of them, the last ones, match strokes."""

    def phase(self, scale: int, taken: int) -> Phase:
        """What the step of a scale after so many is for."""
        left = self.counts[scale] - taken
        return Phase(taken < self.details[scale], left <= self.matching[scale])

    def age(self, scale: int, taken: int) -> int:
        """How many of so many steps of a scale belong to the phase of the next."""
        edges = self.details[scale], self.counts[scale] - self.matching[scale]
        return taken - max([edge for edge in edges if edge <= taken], default=0)

    @property
    def work(self) -> float:
        """Pixels times steps of the whole run: what decides how long it takes."""
        return sum(self.work_of(scale, steps) for scale, steps in enumerate(self.counts))

    def work_before(self, scale: int, taken: int) -> float:
        """Pixels times steps of all scales before one, and of so many steps of it."""
        done = sum(self.work_of(i, self.counts[i]) for i in range(scale))
        return done + self.work_of(scale, taken)

    def work_of(self, scale: int, steps: int) -> float:
        """Pixels times so many of a scale's steps, from its first."""
        width, height = self.sizes[scale]
        return width * height * self.cost(scale, steps)

    def cost(self, scale: int, steps: int) -> float:
        """What so many of a scale's steps cost, in steps of the whole objective."""
        return sum((self.phase(scale, taken).cost for taken in range(steps)), start=0.0)


def schedule_of(sizes: Sequence[tuple[int, int]], settings: Settings, reach: float) -> Schedule:
    """The steps at these sizes. The less a painting reaches (`Strength.reach`), the fewer of
    them are for detail; there are none at the first scale, nor without shallow layers."""
    details, counts, matching = [], [], []
    for scale in range(len(sizes)):
        asked = settings.detail_steps[min(scale, len(settings.detail_steps)) - 1]
        some = scale > 0 and bool(shallow_layers(settings))
        details.append(round(asked * reach) if some else 0)
        counts.append(settings.steps[min(scale, len(settings.steps) - 1)] + details[-1])
        matched = settings.matching_steps[min(scale, len(settings.matching_steps) - 1)]
        matching.append(min(matched, counts[-1]) if settings.matching_weight else 0)
    return Schedule(tuple(sizes), tuple(details), tuple(counts), tuple(matching))


def shallow_layers(settings: Settings) -> tuple[str, ...]:
    """The style layers that steps for detail match."""
    return tuple(n for n, _ in settings.style_layers if stride_of(n) <= SHALLOW_STRIDE)
