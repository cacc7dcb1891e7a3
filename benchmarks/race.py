"""Seconds to the loss that a textbook implementation reaches after so many steps.

    python -m benchmarks.race [--size 512] [--steps 300 1000] [--repeats 1] [--json FILE]

The textbook (benchmarks/textbook.py) and impasto minimise the same objective with the same
weights from the same start, in turn in one process. impasto's clock starts with nothing but the
two pictures in memory: loading the network and painting all coarser scales are in its time. Its
loss is taken in float32, by the textbook's own code, whenever its own falls below the goal.
"""

import time
from typing import Any

import torch

from benchmarks.report import EXAMPLES, parser, publish
from benchmarks.textbook import Objective, minimise
from impasto import device, images, paint, paintings
from impasto.settings import Settings, changed, settings_for


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--size", type=int, default=512, help="long side, px")
    options.add_argument(
        "--steps", type=int, nargs="+", default=[300, 1000], help="of the textbook"
    )
    options.add_argument("--repeats", type=int, default=1, help="how often both run")
    given = options.parse_args()
    best = settings_for(size=given.size)
    last = len(paint.scale_sizes((given.size, given.size), best, 16)) - 1
    settings = changed(best, steps=(*best.steps[:last], 2000))
    photo = images.read(EXAMPLES / "astronaut.jpg")
    painting = paintings.read("great-wave")
    rows: list[dict[str, Any]] = []
    for repeat in range(given.repeats):
        objective, start = objective_of(photo, painting, settings)
        goals = textbook(objective, start, sorted(given.steps))
        for steps, (goal, seconds) in goals.items():
            mine, taken, reached = impasto(photo, painting, settings, objective, goal)
            rows.append(
                {
                    "repeat": repeat + 1, "textbook steps": steps, "loss": goal,
                    "textbook s": seconds, "impasto s": mine, "impasto steps": taken,
                    "impasto loss": reached, "times faster": seconds / mine,
                }
            )  # fmt: skip
    publish("race", rows, given.json, size=given.size)


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
    objective: Objective, start: torch.Tensor, marks: list[int]
) -> dict[int, tuple[float, float]]:
    """The loss after each of these numbers of steps, and the seconds to it."""
    found = {}
    began = time.perf_counter()
    spent = 0.0  # on evaluations that only the table needs
    for step, (image, _) in enumerate(minimise(objective, start, marks[-1]), 1):
        if step in marks:
            now = time.perf_counter()
            with torch.no_grad():
                loss = float(objective(image))
            found[step] = (loss, now - began - spent)
            spent += time.perf_counter() - now
    return found


def impasto(
    photo: images.Picture,
    painting: images.Picture,
    settings: Settings,
    objective: Objective,
    goal: float,
) -> tuple[float, int, float]:
    """Seconds and steps until the float32 loss is at most the goal, and that loss."""
    device.keep_large_buffers()
    began = time.perf_counter()
    spent = 0.0
    for step in paint.steps(photo, painting, settings):
        if step.scale == step.scales and step.losses["total"] <= goal * 1.01:
            now = time.perf_counter()
            with torch.no_grad():
                loss = float(objective(step.picture().pixels))
            if loss <= goal:
                return now - began - spent, step.step, loss
            spent += time.perf_counter() - now
    raise SystemExit(f"impasto never reached a loss of {goal:.4g}")


if __name__ == "__main__":
    main()
