"""Seconds to the loss that a textbook implementation reaches after so many steps.

    python -m benchmarks.race [--objective authors] [--size 512] [--steps 300 1000] [--repeats 2]
        [--photo astronaut] [--painting great-wave] [--device auto] [--json FILE]

The textbook (benchmarks/shared/textbook.py) and impasto minimize the same objective with the same
weights from the same photo: `authors` is what the script of the paper's first author minimizes,
`best` the moments and the content of that preset, without matching, for which impasto first gives
the photo the painting's colors.
In turn: at each of these steps the textbook waits, its clock stopped, while impasto races to every
loss reached so far, each in a fresh process; then it takes ten steps more, and waits again. A
machine's speed wanders, and the textbook runs for most of an hour: `beside` counts its steps at
the pace that was measured right before and right after the races of a row. Both clocks start
before the network is loaded; recoloring and painting all coarser scales are in impasto's time.
impasto's loss is taken in float32, by the textbook's own code, once its own falls below the goal.
Neither keeps its pixels within [0, 1] on the way, so both are taken as they are.
"""

import time
from concurrent.futures import ProcessPoolExecutor
from itertools import islice, pairwise
from multiprocessing import get_context
from typing import Any, NamedTuple

import torch

from benchmarks.shared.report import EXAMPLES, parser, publish
from benchmarks.shared.textbook import (
    CHANNELS,
    STYLE_LAYERS,
    Authors,
    Objective,
    Relative,
    minimize,
)
from impasto import images
from impasto.images import paintings
from impasto.machine import device
from impasto.painting import scales
from impasto.painting.optimized import OptimizedRun
from impasto.scene import Scene
from impasto.settings import Settings, changed, settings_for

MOST_STEPS = 2000  # of impasto at the last scale
BESIDE = 10  # steps of the textbook before and after the races of a row
OBJECTIVES: dict[str, tuple[type[Objective], dict[str, Any]]] = {
    "authors": (
        Authors,
        {
            "padding": "zero",
            "loss_scale": "mean",
            "content_weight": 1,
            "style_loss": "gram",
            "style_weight": 1e3,
            "style_layers": {
                name: 1 / count**2 for name, count in zip(STYLE_LAYERS, CHANNELS, strict=True)
            },
            "start": "content",
            "matching_weight": 0,
            "history": 20,
            "steps": (10, 10, 10),
            "detail_steps": (0,),  # shallow layers alone lead astray where they weigh so much
        },
    ),
    "best": (
        Relative,
        {"content_weight": 0.1, "matching_weight": 0, "steps": (40, 40, 24), "detail_steps": (10,)},
    ),
}
"""The textbook's objective, and impasto's settings for the same one."""


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--objective", choices=list(OBJECTIVES), default="authors")
    options.add_argument("--size", type=int, default=512, help="long side, px")
    options.add_argument(
        "--steps", type=int, nargs="+", default=[300, 1000], help="of the textbook"
    )
    options.add_argument("--repeats", type=int, default=2, help="races to each loss at each stop")
    options.add_argument("--photo", default="astronaut", help="of examples/")
    options.add_argument("--painting", default="great-wave")
    options.add_argument("--device", default="auto", help="of both")
    given = options.parse_args()
    least = BESIDE * (given.repeats + 1)
    for earlier, later in pairwise((0, *sorted(given.steps))):
        if later - earlier < least:
            options.error(f"--steps: {earlier} and {later} are not {least} apart, see `beside`")
    rows: list[dict[str, Any]] = []
    goals: dict[int, tuple[float, float]] = {}
    photo = str(EXAMPLES / f"{given.photo}.jpg")
    on = str(device.choose_device(given.device))
    race = Race(given.objective, photo, given.painting, given.size, on)
    textbook = Textbook(race, max(given.steps) + BESIDE * given.repeats)
    for steps in sorted(given.steps):
        textbook.advance(steps - textbook.steps - BESIDE)
        before = textbook.advance(BESIDE)
        goals[steps] = textbook.loss(), textbook.seconds
        for _ in range(given.repeats):
            runs = {mark: raced(race, goal) for mark, (goal, _) in goals.items()}
            after = textbook.advance(BESIDE)
            for mark, (fast, taken, reached) in runs.items():
                goal, slow = goals[mark]
                beside = mark * (before + after) / (2 * BESIDE)
                rows.append(
                    {
                        "textbook steps": mark, "loss": goal, "textbook s": slow,
                        "beside s": beside, "impasto s": fast, "impasto steps": taken,
                        "impasto loss": reached, "times faster": slow / fast,
                        "beside": beside / fast,
                    }
                )  # fmt: skip
                print(rows[-1], flush=True)
            before = after
    pair = {"photo": given.photo, "painting": given.painting, "device": on}
    publish("race", rows, given.json, objective=given.objective, size=given.size, **pair)


class Race(NamedTuple):
    """What is raced for."""

    objective: str
    photo: str
    painting: str
    size: int
    device: str = "cpu"


def settings_of(race: Race) -> Settings:
    """The recipe of `best` for the objective, with more steps at the last scale than needed."""
    size = race.size
    changes = OBJECTIVES[race.objective][1] | {"device": race.device}
    best = settings_for(size=size, range_weight=0, **changes)
    last = len(scales.scale_sizes((size, size), best, 16)) - 1
    return changed(best, steps=(*best.steps[:last], MOST_STEPS))


def objective_of(race: Race) -> tuple[Objective, torch.Tensor]:
    """The textbook's objective at the last scale, and the start picture."""
    photo, painting = images.read(race.photo), paintings.read(race.painting)
    content = photo.resized(*images.fit(photo.size, race.size)).pixels
    side = min(race.size, max(painting.size))
    style = painting.resized(*images.fit(painting.size, side)).pixels
    content, style = content.to(race.device), style.to(race.device)
    return OBJECTIVES[race.objective][0](content, style), content


class Textbook:
    """A run of the textbook of so many steps, its clock and its steps so far."""

    def __init__(self, race: Race, most: int) -> None:
        began = time.perf_counter()
        self.objective, start = objective_of(race)
        self.run = minimize(self.objective, start, most)
        self.image, self.steps = start, 0
        device.wait_for(start.device)
        self.seconds = time.perf_counter() - began

    def advance(self, count: int) -> float:
        """Take so many steps; the seconds of these."""
        began = time.perf_counter()
        for image, _ in islice(self.run, count):
            self.image = image
        self.steps += count
        device.wait_for(self.image.device)
        taken = time.perf_counter() - began
        self.seconds += taken
        return taken

    def loss(self) -> float:
        """That of the picture after the last step."""
        with torch.no_grad():
            return float(self.objective(self.image))


def raced(race: Race, goal: float) -> tuple[float, int, float]:
    """`run` in a process of its own: the allocator's settings hold for all of one."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(run, race, goal).result()


def run(race: Race, goal: float) -> tuple[float, int, float]:
    """Seconds and steps until impasto's float32 loss is at most the goal, and that loss."""
    photo, painting = images.read(race.photo), paintings.read(race.painting)
    settings = settings_of(race)
    objective, _ = objective_of(race)
    device.keep_large_buffers()
    began = time.perf_counter()
    run = OptimizedRun(Scene(photo, painting, settings))
    for step in run.paint():
        if (
            step.scale == step.scales
            and "detail" not in step.losses
            and step.losses["total"] <= goal * 1.01
        ):
            device.wait_for(run.device)
            stopped = time.perf_counter()
            assert run.minimizer is not None
            with torch.no_grad():
                loss = float(objective(run.minimizer.pixels))
            if loss <= goal:
                return stopped - began, step.step, loss
            began += time.perf_counter() - stopped
    raise SystemExit(f"impasto never reached a loss of {goal:.4g}")


if __name__ == "__main__":
    main()
