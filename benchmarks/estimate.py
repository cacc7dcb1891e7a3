"""What impasto says beforehand that a run will take, against what it takes.

    python -m benchmarks.estimate [--preset draft] [--json FILE]

Each case is a process of its own: a whole run, in one piece and in tiles. Seconds are those
of painting; bytes are the peak of the process.
"""

import json
import resource
import subprocess
import sys
import time
from typing import Any

from benchmarks.shared.report import EXAMPLES, ROOT, parser, publish

CASES: tuple[dict[str, Any], ...] = (
    {"size": 256},
    {"size": 512},
    {"size": 512, "tile": 256},
    {"size": 1024},
    {"size": 1024, "memory_limit": "2G"},
    {"size": 1024, "precision": "float32", "memory_limit": "3G"},
)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--preset", default="draft")
    options.add_argument("--one", type=json.loads, help="measure one case, print it as JSON")
    given = options.parse_args()
    if given.one:
        print(json.dumps(measure(given.one)))
        return
    rows = []
    for case in CASES:
        words = [sys.executable, "-m", "benchmarks.estimate"]
        words += ["--one", json.dumps(case | {"preset": given.preset})]
        done = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        options_text = " ".join(f"{name} {value}" for name, value in case.items())
        rows.append({"case": options_text} | found)
        print(rows[-1], file=sys.stderr, flush=True)
    publish("estimate", rows, given.json, preset=given.preset)


def measure(case: dict[str, Any]) -> dict[str, Any]:
    """Estimated and taken seconds and bytes of one run."""
    from impasto import images
    from impasto.images import paintings
    from impasto.painting.optimized import OptimizedRun
    from impasto.scene import Scene
    from impasto.settings import settings_for

    photo = images.read(EXAMPLES / "astronaut.jpg")
    run = OptimizedRun(Scene(photo, paintings.read("great-wave"), settings_for(**case)))
    plan = run.footprint(run.sizes[-1])
    seconds, size = run.estimate()
    began = time.perf_counter()
    for _ in run.paint():
        pass
    taken = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "way": f"tiles of {plan.tile}" if plan.tile else "whole",
        "estimated s": seconds, "s": taken, "s / estimate": taken / seconds,
        "estimated GB": size / 1e9, "GB": peak / 1e9, "GB / estimate": peak / size,
    }  # fmt: skip


if __name__ == "__main__":
    main()
