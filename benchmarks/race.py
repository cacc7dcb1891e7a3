"""Seconds to the loss that a textbook implementation reaches after so many steps.

    python -m benchmarks.race [--size 512] [--steps 300 1000] [--repeats 2]
        [--photo astronaut] [--painting great-wave] [--json FILE]

The textbook (benchmarks/textbook.py) and impasto minimise the same objective with the same
weights from the same photo, which impasto first gives the painting's colours. In turn: at each of
these steps the textbook waits, its clock stopped, while impasto races to every loss reached so
far, each in a fresh process. impasto's clock starts with nothing but the two pictures in memory:
loading the network, recolouring and painting all coarser scales are in its time. Its loss is taken
in float32, by the textbook's own code, once its own falls below the goal. Neither keeps its pixels
within [0, 1] on the way, so both are taken as they are.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch

from benchmarks.report import EXAMPLES, parser, publish
from benchmarks.textbook import Objective, minimise
from impasto import device, images, paintings, scales
from impasto.painter import Painter
from impasto.scene import Scene
from impasto.settings import Settings, changed, settings_for

MOST_STEPS = 2000  # of impasto at the last scale


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--size", type=int, default=512, help="long side, px")
    options.add_argument(
        "--steps", type=int, nargs="+", default=[300, 1000], help="of the textbook"
    )
    options.add_argument("--repeats", type=int, default=2, help="races to each loss at each stop")
    options.add_argument("--photo", default="astronaut", help="of examples/")
    options.add_argument("--painting", default="great-wave")
    given = options.parse_args()
    rows: list[dict[str, Any]] = []
    goals: dict[int, tuple[float, float]] = {}
    pair = str(EXAMPLES / f"{given.photo}.jpg"), given.painting
    for steps, loss, seconds in textbook(pair, given.size, sorted(given.steps)):
        goals[steps] = loss, seconds
        for _ in range(given.repeats):
            for mark, (goal, slow) in goals.items():
                fast, taken, reached = raced(pair, given.size, goal)
                rows.append(
                    {
                        "textbook steps": mark, "loss": goal, "textbook s": slow,
                        "impasto s": fast, "impasto steps": taken, "impasto loss": reached,
                        "times faster": slow / fast,
                    }
                )  # fmt: skip
                print(rows[-1], flush=True)
    publish("race", rows, given.json, size=given.size, photo=given.photo, painting=given.painting)


def settings_of(size: int) -> Settings:
    """Those of `best`, with more steps at the last scale than needed."""
    best = settings_for(size=size, range_weight=0)
    last = len(scales.scale_sizes((size, size), best, 16)) - 1
    return changed(best, steps=(*best.steps[:last], MOST_STEPS))


def objective_of(
    photo: images.Picture, painting: images.Picture, settings: Settings
) -> tuple[Objective, torch.Tensor]:
    """The textbook's objective at the last scale of these settings, and the start picture."""
    width, height = images.fit(photo.size, settings.size)
    content = photo.resized(width, height).pixels
    side = min(settings.size, max(painting.size))
    style = painting.resized(*images.fit(painting.size, side)).pixels
    return Objective(content, style, settings.content_weight), content


def textbook(
    pair: tuple[str, str], size: int, marks: list[int]
) -> Iterator[tuple[int, float, float]]:
    """Each of these numbers of steps, the loss after it and the seconds to it."""
    photo, painting = images.read(pair[0]), paintings.read(pair[1])
    objective, start = objective_of(photo, painting, settings_of(size))
    began = time.perf_counter()
    for step, (image, _) in enumerate(minimise(objective, start, marks[-1]), 1):
        if step in marks:
            stopped = time.perf_counter()
            with torch.no_grad():
                loss = float(objective(image))
            yield step, loss, stopped - began
            began += time.perf_counter() - stopped


def raced(pair: tuple[str, str], size: int, goal: float) -> tuple[float, int, float]:
    """`race` in a process of its own: the allocator's settings hold for all of one."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(race, pair, size, goal).result()


def race(pair: tuple[str, str], size: int, goal: float) -> tuple[float, int, float]:
    """Seconds and steps until impasto's float32 loss is at most the goal, and that loss."""
    photo, painting = images.read(pair[0]), paintings.read(pair[1])
    settings = settings_of(size)
    objective, _ = objective_of(photo, painting, settings)
    device.keep_large_buffers()
    began = time.perf_counter()
    painter = Painter(Scene(photo, painting, settings))
    for step in painter.paint():
        if (
            step.scale == step.scales
            and "detail" not in step.losses
            and step.losses["total"] <= goal * 1.01
        ):
            stopped = time.perf_counter()
            assert painter.minimiser is not None
            with torch.no_grad():
                loss = float(objective(painter.minimiser.pixels))
            if loss <= goal:
                return stopped - began, step.step, loss
            began += time.perf_counter() - stopped
    raise SystemExit(f"impasto never reached a loss of {goal:.4g}")


if __name__ == "__main__":
    main()
