"""Microseconds and bytes for each pixel and step, whole and in tiles.

    python -m benchmarks.scaling [--sizes 256 512 1024 2048 4096 8192] [--json FILE]

Every size is a process of its own, whose peak resident memory the system reports; bytes per pixel
are what it takes beyond that of a picture of 64 px. Sizes above 2048 px are run in tiles only, and
for as few steps as tell their speed.
"""

import json
import resource
import subprocess
import sys
import time
from typing import Any

from benchmarks.report import ROOT, parser, publish

LARGEST_WHOLE = 2048  # px
TILE = 512  # px


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024, 2048, 4096, 8192])
    options.add_argument("--optimizer", default="lbfgs")
    options.add_argument("--one", type=json.loads, help="measure one case, print it as JSON")
    given = options.parse_args()
    if given.one:
        print(json.dumps(measure(**given.one)))
        return
    base = measured(64, 0, given.optimizer)["bytes"]
    rows: list[dict[str, Any]] = []
    for size in given.sizes:
        for tile in (0, TILE):
            if (tile == 0 and size > LARGEST_WHOLE) or (tile and size <= tile):
                continue
            found = measured(size, tile, given.optimizer)
            rows.append(
                {
                    "px": size, "tile": tile or "whole", "us/px/step": found["us"],
                    "peak GB": found["bytes"] / 1e9,
                    "bytes/px": (found["bytes"] - base) / size**2,
                    "estimated GB": found["estimate"] / 1e9,
                }
            )  # fmt: skip
            print(rows[-1], file=sys.stderr, flush=True)
    publish("scaling", rows, given.json, optimizer=given.optimizer, base_gb=base / 1e9)


def measured(size: int, tile: int, optimizer: str) -> dict[str, float]:
    """`measure` in a process of its own."""
    case = json.dumps({"size": size, "tile": tile, "optimizer": optimizer})
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scaling", "--one", case],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(size: int, tile: int, optimizer: str) -> dict[str, float]:
    """A few steps of one scale: microseconds per pixel and step, peak and estimated bytes."""
    from impasto import images, paint, paintings
    from impasto.settings import settings_for

    painting = paintings.read("great-wave")
    photo = images.Picture(painting.pixels.flip(-1)).resized(size, size)
    count = 2 if size > LARGEST_WHOLE else 6
    settings = settings_for(
        size=size, coarsest=0, steps=count, tile=tile or None, optimizer=optimizer
    )
    painter = paint.Painter(photo, painting, settings)
    estimate = painter.footprint(painter.sizes[-1]).bytes
    times = []
    began = time.perf_counter()
    for _ in painter.paint():
        now = time.perf_counter()
        times.append(now - began)
        began = now
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    late = sorted(times[1:])
    return {
        "us": late[len(late) // 2] * 1e6 / size**2,
        "bytes": float(peak),
        "estimate": float(estimate),
    }


if __name__ == "__main__":
    main()
