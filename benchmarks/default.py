"""Seconds and the judge's numbers of the presets as they are, from command to file.

python -m benchmarks.default [--sizes 256 512 1024] [--presets best draft] [--json FILE]
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.shared.report import EXAMPLES, parser, publish
from impasto.evaluation.judge import Judge
from impasto.images.paintings import read

PAIRS = (("astronaut", "great-wave"), ("china", "village-street-in-auvers"))


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024])
    options.add_argument("--presets", nargs="+", default=["best", "draft"])
    given = options.parse_args()
    rows: list[dict[str, Any]] = []
    for photo, painting in PAIRS:
        judge = Judge(EXAMPLES / f"{photo}.jpg", read(painting))
        for preset in given.presets:
            for size in given.sizes:
                rows.append(painted(judge, photo, painting, preset, size))
    publish("default", rows, given.json)


def painted(judge: Judge, photo: str, painting: str, preset: str, size: int) -> dict[str, Any]:
    """One command, timed by the clock on the wall, and its picture, judged."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "out.png"
        words = ["stylize", EXAMPLES / f"{photo}.jpg", painting, "-o", target, "--quiet"]
        words += ["--preset", preset, "--size", str(size)]
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "impasto", *map(str, words)], check=True)
        seconds = time.perf_counter() - began
        verdict = judge.judge(target)
    return {
        "photo": photo, "painting": painting, "preset": preset, "px": size, "seconds": seconds,
        "lpips": verdict.lpips, "style": verdict.style, "score": verdict.score,
        "checkerboard": verdict.checkerboard, "halo": verdict.halo, "bare": verdict.bare,
    }  # fmt: skip


if __name__ == "__main__":
    main()
