"""Every control in tiles against the same in one piece: how far apart, and in how much memory.

    python -m benchmarks.options [--size 1500] [--memory-limit 1500M] [--steps 1] [--json FILE]

Each case is two processes of its own, in float32, that take some steps from the photo, one with the
limit, one without. They go down the gradient, so that pictures differ as gradients do: L-BFGS, for
whose memory the limit leaves no room, divides by differences of gradients, and Adam by their size.
"""

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.shared.report import EXAMPLES, ROOT, parser, publish

FACE, SKY = EXAMPLES / "masks" / "astronaut-face.png", EXAMPLES / "masks" / "china-sky.png"
CASES: dict[str, dict[str, Any]] = {
    "two styles, scale, crop, turn, mask, self-similarity, tv": {
        "style": ["great-wave", "poppies"], "style_weights": "0.7,0.3", "style_scale": 0.7,
        "style_crop": "0:0:1:0.8", "style_turn": "0,30", "mask": str(FACE),
        "structure_weight": 1.0, "tv_weight": 1.0,
    },
    "regions, wasserstein, transfer": {
        "photo": "china.jpg", "region": ["great-wave", str(SKY), 0.7],
        "style_loss": "wasserstein,meanstd", "keep_colors": "transfer",
    },
    "transparent, luminance": {"photo": "flower-cutout.png", "keep_colors": "luminance"},
    "seamless": {"seamless": True},
}  # fmt: skip
"""Controls together: what is exact alone must be so in company."""


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--size", type=int, default=1500, help="long side, px")
    options.add_argument("--memory-limit", default="1500M")
    options.add_argument("--steps", type=int, default=1)
    options.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    options.add_argument("--one", type=json.loads, help="paint one case")
    given = options.parse_args()
    if given.one:
        print(json.dumps(painted(**given.one)))
        return
    rows = []
    for name in given.only:
        with tempfile.TemporaryDirectory() as folder:
            case = {"size": given.size, "steps": given.steps} | CASES[name]
            limited = run(case | {"memory_limit": given.memory_limit}, Path(folder) / "a.npy")
            whole = run(case, Path(folder) / "b.npy")
            apart = np.abs(np.load(Path(folder) / "a.npy") - np.load(Path(folder) / "b.npy"))
        rows.append(
            {
                "case": name, "tile": limited["tile"] or "-", "peak GiB": limited["bytes"] / 2**30,
                "untiled GiB": whole["bytes"] / 2**30, "largest difference": float(apart.max()),
                "mean difference": float(apart.mean()),
                "root mean square": float(np.sqrt(np.square(apart).mean())),
                "share over 1e-5": float((apart > 1e-5).mean()),
                "loss": abs(limited["loss"] / whole["loss"] - 1),
            }
        )  # fmt: skip
        print(rows[-1], file=sys.stderr, flush=True)
    settings = {"size": given.size, "steps": given.steps, "memory_limit": given.memory_limit}
    publish("options", rows, given.json, **settings)


def run(case: dict[str, Any], target: Path) -> dict[str, Any]:
    """`painted` in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.options", "--one"]
    words.append(json.dumps({"case": case, "target": str(target)}))
    done = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def painted(case: dict[str, Any], target: str) -> dict[str, Any]:
    """Some steps of a case; its pixels go into the file."""
    from impasto.painting.optimized import OptimizedRun
    from impasto.scene import Region, Scene
    from impasto.settings import settings_for

    photo = EXAMPLES / case.pop("photo", "astronaut.jpg")
    style, mask = case.pop("style", "great-wave"), case.pop("mask", None)
    region = case.pop("region", None)
    regions = [Region(region[0], region[1], region[2])] if region else []
    settings = settings_for(coarsest=0, precision="float32", optimizer="sgd", **case)
    scene = Scene(photo, "poppies" if region else style, settings, mask, None, regions)
    run = OptimizedRun(scene)
    tile = run.footprint(run.sizes[-1]).tile
    *_, last = run.paint()
    np.save(target, last.picture().pixels.numpy())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"bytes": peak, "tile": tile, "loss": last.losses["total"]}


if __name__ == "__main__":
    main()
