"""L-BFGS with features in bfloat16 against float32: the same final loss within 2 %?

    python -m benchmarks.precision [--formats float32 bfloat16] [--device auto] [--json FILE]

The runs paint examples/astronaut.jpg in the style of great-wave with the preset `best`, one
after the other. The loss of each final picture is then measured anew, in float32.
"""

import time
from typing import Any

import torch

from benchmarks.shared.report import EXAMPLES, parser, publish
from impasto.images import read
from impasto.images.paintings import read as read_painting
from impasto.objective import Objective
from impasto.painting import Result, stylize
from impasto.painting.optimized import OptimizedRun
from impasto.scene import Scene
from impasto.settings import changed, settings_for


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--size", type=int, default=512, help="long side, px")
    options.add_argument(
        "--formats", nargs="+", default=["float32", "bfloat16"], help="the first is compared with"
    )
    options.add_argument("--device", default="auto")
    given = options.parse_args()
    settings = settings_for(size=given.size, device=given.device)
    photo, painting = read(EXAMPLES / "astronaut.jpg"), read_painting("great-wave")
    judge = OptimizedRun(Scene(photo, painting, changed(settings, precision="float32")))
    with judge.compute.tuned():
        objective = judge._objective(judge.scene.at(judge.sizes[-1]), None)
    rows = []
    for precision in given.formats:
        began = time.perf_counter()
        result = stylize(photo, painting, settings, precision=precision)
        seconds = time.perf_counter() - began
        with judge.compute.tuned():
            judged = loss(objective, result)
        rows.append({"features": precision, "loss": judged, "seconds": seconds})
    publish(
        "precision",
        rows,
        given.json,
        loss_ratio=rows[-1]["loss"] / rows[0]["loss"],
        speedup=rows[0]["seconds"] / rows[-1]["seconds"],
    )


def loss(objective: Objective, result: Result) -> Any:
    """The float32 loss of a finished picture."""
    with torch.no_grad():
        pixels = result.picture.pixels.to(objective.network.mean.device)
        return float(objective.terms(pixels)["total"])


if __name__ == "__main__":
    main()
