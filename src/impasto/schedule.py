"""How many steps each scale of a run takes, which are for detail, and what all that costs."""

from collections.abc import Sequence
from dataclasses import dataclass

from impasto import vgg
from impasto.settings import Settings

SHALLOW_STRIDE = 4  # px between neighbours at the deepest of the shallow layers: relu3_1 or so
DETAIL_COST = 0.5  # of a step for detail, in steps of the whole objective


@dataclass(frozen=True)
class Schedule:
    """The scales of a run, the smallest first, and their steps."""

    sizes: tuple[tuple[int, int], ...]
    """Width and height, px."""
    details: tuple[int, ...]
    """How many steps each scale begins with that match the style's shallow layers alone."""
    counts: tuple[int, ...]
    """How many steps each scale takes in all."""

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
        details = min(steps, self.details[scale])
        return steps - details + DETAIL_COST * details


def schedule_of(sizes: Sequence[tuple[int, int]], settings: Settings, reach: float) -> Schedule:
    """The steps at these sizes. The less a painting reaches (see `scene.Part.reach`), the fewer of
    them are for detail; there are none at the first scale, nor without shallow layers."""
    details, counts = [], []
    for scale in range(len(sizes)):
        asked = settings.detail_steps[min(scale, len(settings.detail_steps)) - 1]
        some = scale > 0 and bool(shallow_layers(settings))
        details.append(round(asked * reach) if some else 0)
        counts.append(settings.steps[min(scale, len(settings.steps) - 1)] + details[-1])
    return Schedule(tuple(sizes), tuple(details), tuple(counts))


def shallow_layers(settings: Settings) -> tuple[str, ...]:
    """The style layers that steps for detail match."""
    return tuple(n for n, _ in settings.style_layers if vgg.stride_of(n) <= SHALLOW_STRIDE)
