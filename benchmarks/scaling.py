"""Microseconds and bytes for each pixel and step: whole, in tiles, and under a limit.

    python -m benchmarks.scaling [--sizes 256 512 1024 2048 4096 8192] [--json FILE]

Every case is a process of its own, whose peak resident memory the system reports (on CUDA, what
PyTorch took of the card's); bytes per pixel
are what it takes beyond that of a picture of 64 px, with L-BFGS's memory of 12 pairs full. `tiles`
are of 512 px. Above 2048 px a limit is set: 3 GiB for 4096 px, 6 GiB for 8192 px; there a
step takes minutes, and one is taken. Times are those of evaluating loss and gradient and moving
the pixels.
"""

import json
import resource
import subprocess
import sys
import time
from typing import Any

from benchmarks.shared.report import ROOT, parser, publish

LARGEST_WHOLE = 2048  # px
TILE = 512  # px
LIMITS = {4096: "3G", 8192: "6G"}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024, 2048, 4096, 8192])
    options.add_argument("--one", type=json.loads, help="measure one case, print it as JSON")
    given = options.parse_args()
    if given.one:
        print(json.dumps(measure(**given.one)))
        return
    base = measured({"size": 64})["bytes"]
    rows: list[dict[str, Any]] = []
    for size in given.sizes:
        for way, case in ways(size).items():
            found = measured({"size": size} | case)
            rows.append(
                {
                    "px": size, "way": way, "optimizer": found["optimizer"],
                    "us/px/step": found["us"], "peak GiB": found["bytes"] / 2**30,
                    "bytes/px": (found["bytes"] - base) / size**2,
                    "estimated GiB": found["estimate"] / 2**30,
                }
            )  # fmt: skip
            print(rows[-1], file=sys.stderr, flush=True)
    publish("scaling", rows, given.json, base_gib=base / 2**30)


def ways(size: int) -> dict[str, dict[str, Any]]:
    """What is measured at a size: the settings of each case."""
    if size > LARGEST_WHOLE:
        limit = LIMITS[size]
        return {f"{limit} limit": {"memory_limit": limit}}
    found: dict[str, dict[str, Any]] = {"whole": {}}
    if size > TILE:
        found["tiles"] = {"tile": TILE}
    return found


def measured(case: dict[str, Any]) -> dict[str, Any]:
    """`measure` in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.scaling", "--one", json.dumps(case)]
    done = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(size: int, **options: Any) -> dict[str, Any]:
    """A few steps of one scale: microseconds per pixel and step, peak and estimated bytes."""
    import torch

    from impasto import images
    from impasto.images import paintings
    from impasto.machine import device
    from impasto.optimizers.lbfgs import Lbfgs
    from impasto.painting.canvas import Canvas
    from impasto.painting.optimized import OptimizedRun
    from impasto.scene import Scene
    from impasto.settings import settings_for

    style = paintings.read("great-wave")
    photo = images.Picture(style.pixels.flip(-1)).resized(min(size, 2048), min(size, 2048))
    count = 1 if size > LARGEST_WHOLE else 6
    settings = settings_for(size=size, coarsest=0, steps=count, **options)
    run = OptimizedRun(Scene(photo, style, settings))
    estimate = run.footprint(run.sizes[-1]).bytes
    times, began = [], 0.0
    loss = Canvas.loss

    def timed(canvas: Canvas, pixels: torch.Tensor) -> Any:
        nonlocal began
        device.wait_for(run.device)
        began = time.perf_counter()  # not before: the photo's features come first
        return loss(canvas, pixels)

    Canvas.loss = timed  # type: ignore[method-assign, assignment]
    for step in run.paint():  # noqa: B007 - the last one is used
        device.wait_for(run.device)
        times.append(time.perf_counter() - began)
        optimizer = run.minimizer.optimizer if run.minimizer else None
        if len(times) == 1 and isinstance(optimizer, Lbfgs):
            optimizer.vectors.zero_()  # takes the memory that further steps would fill
    step.result().encoded("PNG")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if run.device.type == "cuda":
        peak = torch.cuda.max_memory_reserved(run.device)
    late = sorted(times[2:] or times)
    return {
        "us": late[len(late) // 2] * 1e6 / size**2,
        "bytes": float(peak),
        "estimate": float(estimate),
        "optimizer": run.optimizers[-1],
    }


if __name__ == "__main__":
    main()
