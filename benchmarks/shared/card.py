"""What `benchmarks/gpu.sh` measures of impasto on a card; each part is a process of its own.

    python -m benchmarks.shared.card PART [--device cuda] [--size 512] [--json FILE]

`machine` tells what card, driver and libraries there are, and what `impasto doctor` says; `paint`
paints one picture: seconds, peak of the card's memory, loss; `graphs` paints it with and without
CUDA graphs; `memory` compares a picture whose evaluation does not fit with the same one that does;
`batch` paints forty small photos by one command.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch
from PIL import Image
from torch import Tensor

from benchmarks.shared.report import EXAMPLES, ROOT, machine
from impasto.machine import device as devices
from impasto.machine.cuda_graph import Replayed
from impasto.networks.vgg import VGG
from impasto.painting import Step
from impasto.painting.optimized import OptimizedRun
from impasto.scene import Scene
from impasto.settings import Settings, settings_for

PHOTO, PAINTING = EXAMPLES / "astronaut.jpg", "great-wave"
LEFT = 0.6  # of the card's memory that a whole picture takes: enough for its tiles
FEW_STEPS = 3  # of the picture whose memory runs out
DOCTOR_SECONDS = 40
CROPS, FEW_CROPS = 40, 4  # photos of the batch
BATCH_SIZE, SMALL_BATCH_SIZE = 128, 48  # px, of the batch's pictures


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("part", choices=list(PARTS))
    options.add_argument("--device", default="cuda")
    options.add_argument("--preset", default="best")
    options.add_argument("--size", type=int, default=512, help="long side, px")
    options.add_argument("--tries", type=int, help="algorithms that cuDNN tries; 10 if not given")
    options.add_argument("--small", action="store_true", help="a few photos")
    options.add_argument("--json", type=Path, help="write the figures to this file")
    given = options.parse_args()
    found = PARTS[given.part](given)
    key = "figures" if isinstance(found, dict) else "rows"
    _write({"benchmark": given.part, key: found}, given.json)


def _write(found: dict[str, Any], target: Path | None) -> None:
    text = json.dumps(found, indent=1)
    print(text)
    if target is not None:
        target.write_text(text + "\n", "utf-8")


def facts(given: argparse.Namespace) -> dict[str, Any]:
    """The card, its driver and libraries, the commit, and the lines of `impasto doctor`."""
    found = machine() | {
        "device": given.device,
        "commit": _said(["git", "rev-parse", "--short", "HEAD"]),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "driver": _said(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]),
        "doctor": _doctor(),
    }
    if torch.device(given.device).type == "cuda":
        card = torch.cuda.get_device_properties(given.device)
        found |= {
            "gpu_gb": card.total_memory / 2**30,
            "compute_capability": f"{card.major}.{card.minor}",
            "multiprocessors": card.multi_processor_count,
        }
    return found


def _doctor() -> list[str]:
    """The lines of `impasto doctor`, or why there are none: it times a picture, and may last."""
    words = [sys.executable, "-m", "impasto", "doctor"]
    try:
        done = subprocess.run(
            words, cwd=ROOT, check=False, capture_output=True, text=True, timeout=DOCTOR_SECONDS
        )
    except subprocess.TimeoutExpired:
        return [f"the doctor took more than {DOCTOR_SECONDS} s"]
    return (done.stdout or done.stderr).splitlines()


def _said(words: list[str]) -> str | None:
    """The first line that a command says; None where it is not there or fails."""
    if shutil.which(words[0]) is None:
        return None
    done = subprocess.run(words, cwd=ROOT, check=False, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    return lines[0] if lines and done.returncode == 0 else None


def paint(given: argparse.Namespace) -> dict[str, Any]:
    """One picture by a preset: seconds, peak of memory, loss before the last step."""
    if given.tries is not None:
        torch.backends.cudnn.benchmark_limit = given.tries
    settings = settings_for(given.preset, size=given.size, device=given.device)
    found, step = painted(settings)
    with tempfile.TemporaryDirectory() as folder:
        step.result().save(Path(folder) / "painted.png")
    since = time.time() - psutil.Process().create_time()
    return found | {"s of the command": since}


def painted(
    settings: Settings, each: Callable[[OptimizedRun], None] | None = None
) -> tuple[dict[str, Any], Step]:
    """What painting the photo took, and the last step; `each` sees the run after every step."""
    devices.keep_large_buffers()
    run = OptimizedRun(Scene(PHOTO, PAINTING, settings))
    if run.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(run.device)
    ends, note = [time.perf_counter()], ""
    for step in run.paint():
        ends.append(time.perf_counter())
        note = step.note or note
        if each is not None:
            each(run)
    last = step.steps - sum(run.schedule.counts[:-1])
    late = sorted(b - a for a, b in zip(ends[-last:-1], ends[1 - last :], strict=True))
    return {
        "s of painting": run.seconds,
        "s a step of the last scale": late[len(late) // 2] if late else run.seconds,
        "steps": step.steps,
        "peak GB": peak(run.device) / 1e9,
        "loss at the end": step.losses["total"],
        "tile": run.tiling.side,
        "note": note,
    }, step


def peak(on: torch.device) -> float:
    """The most bytes so far: what PyTorch gave out of a card's, or of the process."""
    if on.type == "cuda":
        return float(torch.cuda.max_memory_allocated(on))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def graphs(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds and loss without CUDA graphs and with them, without matching, which is not recorded.

    The first run, which tries cuDNN's algorithms, does not count.
    """
    rows: list[dict[str, Any]] = []
    for recorded in (False, False, True):
        replays: list[bool] = []

        def note(run: OptimizedRun, replays: list[bool] = replays) -> None:
            evaluate = run.canvas.evaluate if run.canvas is not None else None
            replays.append(isinstance(evaluate, Replayed) and evaluate.replays)

        settings = settings_for(
            size=given.size, device=given.device, matching_weight=0.0, cuda_graphs=recorded
        )
        found, _ = painted(settings, note)
        taken = ("s of painting", "s a step of the last scale", "peak GB", "loss at the end")
        row = {"graphs": "on" if recorded else "off", "steps replayed": sum(replays)}
        rows.append(row | {name: found[name] for name in taken})
    return rows[1:]


def memory(given: argparse.Namespace) -> list[dict[str, Any]]:
    """A few steps with all memory there is, and with so little that only tiles fit: both in
    float32, and the differences of the first loss and of the pictures."""
    settings = settings_for(
        size=given.size, device=given.device, precision="float32", coarsest=0, steps=(FEW_STEPS,),
        matching_steps=(1,),
    )  # fmt: skip
    if torch.device(given.device).type == "cuda":
        painted(settings)  # cuDNN's trials take more memory than what they choose
    whole, step = painted(settings)
    picture, losses = step.picture().pixels, step.result().history
    most = whole["peak GB"] * 1e9
    del step
    with short_of_memory(torch.device(given.device), LEFT * most, given.size):
        tiled, step = painted(settings)
    if not tiled["note"]:
        raise SystemExit("memory did not run out: nothing was measured")
    first, again = float(losses[0]["total"]), float(step.result().history[0]["total"])
    names = ("s of painting", "peak GB", "tile", "note")
    return [
        {"memory": "enough", "loss differs by": 0.0, "levels of 255": 0.0}
        | {name: whole[name] for name in names},
        {
            "memory": f"{LEFT:.0%} of that",
            "loss differs by": abs(again / first - 1),
            "levels of 255": float((step.picture().pixels - picture).abs().mean()) * 255,
        }
        | {name: tiled[name] for name in names},
    ]


@contextmanager
def short_of_memory(on: torch.device, count: float, side: int) -> Iterator[None]:
    """Inside, the card gives out no more than so many bytes; a processor says so of the first
    evaluation of a whole picture of that side, px."""
    if on.type == "cuda":
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(on).total_memory
        number = on.index or 0  # this one function takes no device without a number
        torch.cuda.set_per_process_memory_fraction(min(1.0, count / total), number)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, number)
        return
    forward = VGG.__call__

    def refusing(self: VGG, image: Tensor, layers: Any) -> Any:
        if image.requires_grad and max(image.shape) == side:
            raise torch.OutOfMemoryError("CUDA out of memory (made up)")
        return forward(self, image, layers)

    VGG.__call__ = refusing  # type: ignore[method-assign]
    try:
        yield
    finally:
        VGG.__call__ = forward  # type: ignore[method-assign]


def batch(given: argparse.Namespace) -> dict[str, Any]:
    """Seconds of `impasto batch` for small photos: crops of those in examples/."""
    count = FEW_CROPS if given.small else CROPS
    side = SMALL_BATCH_SIZE if given.small else BATCH_SIZE
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "photos").mkdir()
        for number, crop in enumerate(crops(count, 2 * side)):
            crop.save(folder / "photos" / f"{number:02}.png")
        words = ["batch", f"{folder}/photos", "--styles", PAINTING, "-o", f"{folder}/out"]
        words += ["--preset", "draft", "--size", str(side), "--device", given.device]
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "impasto", *words], cwd=ROOT, check=False)
        seconds = time.perf_counter() - began
        if done.returncode:
            raise SystemExit(f"impasto batch ended with status {done.returncode}")
        lines = (folder / "out" / "manifest.jsonl").read_text("utf-8").splitlines()
        pictures = len([*(folder / "out").rglob("*.png"), *(folder / "out").rglob("*.jpg")])
    if pictures < count:
        raise SystemExit(f"impasto batch painted {pictures} of {count} photos")
    return {
        "photos": count, "px": side, "s of the command": seconds, "s a photo": seconds / count,
        "lines of the manifest": len(lines),
    }  # fmt: skip


def crops(count: int, side: int) -> Iterator[Image.Image]:
    """So many squares out of the photos in examples/, each at another place."""
    photos = sorted(EXAMPLES.glob("*.jpg"))
    for number in range(count):
        with Image.open(photos[number % len(photos)]) as photo:
            width, height = photo.size
            turn = number // len(photos) * side // 4
            left, top = turn % max(1, width - side), turn % max(1, height - side)
            yield photo.convert("RGB").crop((left, top, left + side, top + side))


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any] | list[dict[str, Any]]]] = {
    "machine": facts,
    "paint": paint,
    "graphs": graphs,
    "memory": memory,
    "batch": batch,
}


if __name__ == "__main__":
    main()
