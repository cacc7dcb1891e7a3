"""A folder of photos: one batch against a shell's loop, two processes against one, and Ray.

    pip install 'impasto[ray]'
    python -m benchmarks.batch [--photos 40] [--size 128] [--preset draft] [--ways loop batch ...]
    python -m benchmarks.batch --kills 10 [--ways ray]

Ways: `loop`, a command for each photo, one after the other; `batch`, the command for all, by a
process a core; `one`, the same by one process with one thread; `ray`, by actors of one thread
each. `seconds` are those of the whole command, its start included; `painting` those of all
pictures at the pace between the first one's end and the last one's. `same`: how many pictures have
the bytes of a single command with one thread, of the first three.

With --kills, a batch is killed so many times, at random moments: a process that paints and the
first process, in turn; with --ways ray, an actor and the first process. `done` are the pictures in
the manifest then. Each must keep its file until the end, and at the end none may be missing.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from benchmarks.shared.report import EXAMPLES, ROOT, parser, publish

WAYS = ("loop", "batch", "one", "ray")
STYLE = "great-wave"
PATIENCE = 15.0  # seconds between two kills, or the first picture and a kill, at most


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--photos", type=int, default=40)
    options.add_argument("--size", type=int, default=128, help="long side, px")
    options.add_argument("--preset", default="draft")
    options.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    options.add_argument("--kills", type=int, default=0)
    options.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = made_photos(folder / "photos", given.photos)
        words = ["--preset", given.preset, "--size", str(given.size)]
        if given.kills:
            rows = killed(folder, words, given.kills, given.seed, "ray" in given.ways[:1])
            publish("batch-kills", rows, given.json)
            return
        rows = [timed(way, folder, photos, words) for way in given.ways]
        compare(folder, photos[:3], rows, words)
    publish("batch", rows, given.json, photos=given.photos, size=given.size, preset=given.preset)


def made_photos(folder: Path, count: int) -> list[Path]:
    """So many photos of 256 px, each a part of an example."""
    folder.mkdir()
    sources = sorted(EXAMPLES.glob("*.jpg"))
    for number in range(count):
        with Image.open(sources[number % len(sources)]) as image:
            side = min(image.size) * 3 // 4
            x, y = (number * 37 % (whole - side) for whole in image.size)
            part = image.convert("RGB").crop((x, y, x + side, y + side))
            part.resize((256, 256)).save(folder / f"photo-{number:02d}.jpg", quality=92)
    return sorted(folder.iterdir())


def timed(way: str, folder: Path, photos: list[Path], words: list[str]) -> dict[str, Any]:
    """Paint all photos in one of the ways."""
    out = folder / way
    out.mkdir()
    began = time.perf_counter()
    if way == "loop":
        for photo in photos:
            target = out / f"{photo.stem}-{STYLE}.png"
            run("stylize", str(photo), STYLE, "-o", str(target), "-q", *words)
    else:
        run("batch", str(folder / "photos"), "--styles", STYLE, "-o", str(out), *how(way), *words)
    seconds = time.perf_counter() - began
    return {"way": way, "seconds": seconds, "painting": painting_seconds(out), "same": 0}


def how(way: str) -> list[str]:
    """The options of a way."""
    return {
        "batch": ["--threads", "1"],
        "one": ["--workers", "1", "--threads", "1"],
        "ray": ["--ray", "local", "--threads", "1"],
    }[way]


def run(*words: str) -> None:
    command = [sys.executable, "-m", "impasto", *words]
    subprocess.run(command, check=True, cwd=ROOT, stderr=subprocess.DEVNULL)


def painting_seconds(out: Path) -> float:
    """The seconds of all pictures at the pace between the first one's end and the last one's."""
    times = sorted(file.stat().st_mtime for file in out.glob("*.png"))
    return (times[-1] - times[0]) * len(times) / max(1, len(times) - 1)


def compare(folder: Path, photos: list[Path], rows: list[dict[str, Any]], words: list[str]) -> None:
    """Count the pictures of each way that have the bytes of a single command with one thread."""
    for photo in photos:
        single = folder / f"{photo.stem}-{STYLE}.png"
        run("stylize", str(photo), STYLE, "-o", str(single), "-q", "--threads", "1", *words)
        for row in rows:
            row["same"] += (folder / row["way"] / single.name).read_bytes() == single.read_bytes()


def killed(
    folder: Path, words: list[str], kills: int, seed: int, on_ray: bool
) -> list[dict[str, Any]]:
    """Kill a batch again and again; what was lost each time, and what there is at the end."""
    out, chance = folder / "out", random.Random(seed)
    way = "ray" if on_ray else "batch"
    command = [
        sys.executable, "-m", "impasto", "batch", str(folder / "photos"), "--styles", STYLE,
        "-o", str(out), "-q", *how(way), *words,
    ]  # fmt: skip
    rows: list[dict[str, Any]] = []
    process: subprocess.Popen[bytes] | None = None
    before: dict[str, tuple[str, int]] = {}
    for number in range(kills):
        victim = ("worker", "driver")[number % 2]
        if process is None or process.poll() is not None:
            lines = begun(out)
            process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
            while begun(out) == lines and process.poll() is None:
                time.sleep(0.1)
        time.sleep(chance.uniform(1, PATIENCE))
        hand = kill(process, victim, on_ray)
        done = finished(out)
        assert before.items() <= done.items(), "what was done was painted again"
        rows.append({"kill": number + 1, "of": victim, "hit": hand, "done": len(done)})
        before = done
    if process is not None and process.poll() is None:
        process.wait()
    subprocess.run(command, check=True, cwd=ROOT)
    done = finished(out)
    assert before.items() <= done.items(), "what was done was painted again"
    assert set(done) == {f"{p.stem}-{STYLE}.png" for p in (folder / "photos").iterdir()}
    subprocess.run(command, check=True, cwd=ROOT)
    assert finished(out) == done, "a run with nothing to do painted something"
    rows.append({"kill": "end", "of": "none", "hit": 0, "done": len(done)})
    return rows


def kill(process: subprocess.Popen[bytes], victim: str, on_ray: bool) -> int:
    """Kill the first process, or one that paints; how many processes were killed."""
    if victim == "driver":
        process.kill()
        process.wait()
        return 1
    try:
        family = psutil.Process(process.pid).children(recursive=True)
        candidates = list(psutil.process_iter()) if on_ray else family  # actors are Ray's children
        mark = "ray::_Worker" if on_ray else "spawn_main"
        painters = [one for one in candidates if mark in " ".join(one.cmdline())]
    except psutil.Error:
        return 0
    for one in painters[:1]:
        one.kill()
    return len(painters[:1])


def begun(out: Path) -> int:
    """How many pictures the manifest says were begun."""
    file = out / "manifest.jsonl"
    return file.read_text().count('"begun"') if file.exists() else 0


def finished(out: Path) -> dict[str, tuple[str, int]]:
    """The pictures that the manifest has: their SHA-256, and when their file was written."""
    found: dict[str, tuple[str, int]] = {}
    file = out / "manifest.jsonl"
    lines = file.read_text().split("\n")[1:-1] if file.exists() else []
    for row in map(json.loads, lines):
        if "sha256" in row:
            path = out / row["output"]
            assert row["output"] not in found or found[row["output"]][0] == row["sha256"]
            found[row["output"]] = row["sha256"], path.stat().st_mtime_ns
    return found


if __name__ == "__main__":
    main()
