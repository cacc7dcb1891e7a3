"""Treat every command roughly, and say what it did not stand: run by hand, in some minutes.

    python tools/rough_treatment.py names      # each place of a name takes one of 300 bytes
    python tools/rough_treatment.py folders    # ... one in a folder that may not be entered
    python tools/rough_treatment.py full       # stdout, then stderr, on a full device
    python tools/rough_treatment.py stop       # SIGTERM at 20 random moments

What is right: no traceback, one line that says what is wrong, nothing left behind but whole files,
and after SIGTERM the picture so far.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
LONG = "x" * 300
SMALL = ["--size", "48", "--coarsest", "0", "--steps", "2"]
COMMANDS: dict[str, list[str]] = {
    "stylize": ["IN:photo.png", "IN:poppies", "-o", "OUT:a.png", *SMALL],
    "stylize, a plot": ["photo.png", "poppies", "-o", "a.png", "--plot", "OUT:p.png", *SMALL],
    "stylize, a film": ["photo.png", "poppies", "-o", "a.png", "--timelapse", "OUT:t.gif", *SMALL],
    "stylize, frames": [
        "photo.png", "poppies", "-o", "a.png", "--save-every", "1", "OUT:f", *SMALL,
    ],
    "stylize, state": ["photo.png", "poppies", "-o", "a.png", "--checkpoint", "OUT:c", *SMALL],
    "stylize, masks": ["photo.png", "poppies", "--mask", "IN:photo.png", "-o", "a.png", *SMALL],
    "texture": ["IN:poppies", "-o", "OUT:a.png", *SMALL],
    "rerun": ["IN:made.png", "-o", "OUT:a.png", "--content", "IN:photo.png"],
    "info": ["IN:made.png"],
    "video": ["IN:film.gif", "IN:poppies", "-o", "OUT:a.mp4", "--size", "48"],
    "augment": ["IN:classes", "-o", "OUT:copy", "--styles", "IN:poppies"],
    "train": [
        "IN:poppies", "--photos", "IN:classes", "-o", "OUT:n.safetensors", "--steps", "1",
        "--batch", "1", "--crop", "64", "--size", "64", "--checkpoint", "OUT:c",
    ],
    "export": ["IN:great-wave.safetensors", "-o", "OUT:n.onnx"],
    "evaluate": ["IN:photo.png", "IN:poppies", "IN:made.png", "--csv", "OUT:n.csv"],
    "classify": ["IN:photo.png", "-o", "OUT:c.png"],
    "study sheet": [
        "IN:photo.png", "--styles", "IN:poppies", "--seed", "1", "2", "-o", "OUT:s", *SMALL,
    ],
    "study inits": ["IN:photo.png", "--seeds", "0", "-o", "OUT:s", *SMALL],
    "styles": ["--sheet", "OUT:s.png"],
    "weights list": [],
    "weights verify": [],
    "weights get": ["IN:vgg19"],
    "doctor": [],
    "--help": [],
}  # fmt: skip
"""For each command its words; IN: and OUT: stand before names that may be replaced."""


def main() -> None:
    """Treat the commands as the word says, and exit with 1 if one did not stand it."""
    treatments: dict[str, Callable[[Path], Iterator[str]]] = {
        "names": lambda folder: replaced(folder, lambda name: LONG + Path(name).suffix),
        "folders": lambda folder: replaced(folder, lambda name: f"forbidden/{name}"),
        "full": full,
        "stop": stopped,
    }
    bad = 0
    for word in sys.argv[1:] or treatments:
        for complaint in treatments[word](prepared()):
            bad += complaint.startswith("BAD")
            print(complaint, flush=True)
    raise SystemExit(bool(bad))


def prepared() -> Path:
    """A folder with what the commands are given."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    with Image.open(ROOT / "examples" / "china.jpg") as image:
        small = image.resize((96, 64))
    small.save(folder / "photo.png")
    small.save(folder / "film.gif", save_all=True, append_images=[small, small])
    (folder / "classes" / "a").mkdir(parents=True)
    image.resize((96, 96)).save(folder / "classes" / "a" / "b.png")
    (folder / "forbidden").mkdir()
    assert run(["stylize", "photo.png", "poppies", "-o", "made.png", *SMALL], folder)[0] == 0
    (folder / "forbidden").chmod(0)
    return folder


def replaced(folder: Path, other: Callable[[str], str]) -> Iterator[str]:
    """Each name of each command by another, one at a time: refused in one line."""
    for command, words in COMMANDS.items():
        for index, word in enumerate(words):
            mark, colon, name = word.partition(":")
            if colon and mark in ("IN", "OUT"):
                given = [w.partition(":")[2] if w[:3] in ("IN:", "OUT") else w for w in words]
                given[index] = other(name)
                before = set(folder.rglob("*"))
                status, _, err = run([*command.split(",")[0].split(), *given, "--force"], folder)
                if "unknown option" in err.lower() or "nothing to do with '--force'" in err:
                    status, _, err = run([*command.split(",")[0].split(), *given], folder)
                new = [path.name for path in set(folder.rglob("*")) - before if path.is_file()]
                good = status == 2 and lines(err) == 1 and not new
                yield f"{'ok ' if good else 'BAD'} {command} {word}: {status} {shown(err)} {new}"


def full(folder: Path) -> Iterator[str]:
    """Stdout, then stderr, take nothing."""
    for command, words in COMMANDS.items():
        given = [w.partition(":")[2] if w[:3] in ("IN:", "OUT") else w for w in words]
        for stream in ("stdout", "stderr"):
            for path in ("a.png", "a.mp4", "p.png", "t.gif", "c", "n.onnx", "c.png", "s.png"):
                (folder / path).unlink(missing_ok=True)
            subprocess.run(["rm", "-rf", "f", "copy", "s", "n.safetensors"], cwd=folder, check=True)
            status, _, err = run([*command.split(",")[0].split(), *given], folder, full=stream)
            good = status in (0, 1) and "Traceback" not in err and "Exception" not in err
            yield f"{'ok ' if good else 'BAD'} {command} full {stream}: {status} {shown(err)}"


def stopped(folder: Path) -> Iterator[str]:
    """SIGTERM at random moments: the picture so far, or the word that there is none yet."""
    moments = random.Random(0)
    words = ["stylize", "photo.png", "poppies", "--size", "64", "--steps", "3000", "--force"]
    for _ in range(20):
        for left in folder.glob("a.*"):
            left.unlink()
        after = moments.uniform(0.5, 12)
        status, _, err = run([*words, "-o", "a.png", "--plot", "a.svg"], folder, stop=after)
        there, said = (folder / "a.png").exists(), "picture so far" in err or "wrote" in err
        if there:
            with Image.open(folder / "a.png") as image:
                image.load()
        parts = [path.name for path in folder.rglob("*.part")]
        good = status in (143, -15, 0) and there == said and not parts and "Traceback" not in err
        word = "ok " if good else "BAD"
        yield f"{word} SIGTERM after {after:.1f} s: {status} {shown(err)} {parts}"


def run(
    words: Sequence[str], folder: Path, full: str | None = None, stop: float | None = None
) -> tuple[int, str, str]:
    """A command in this folder, as a user who is not root: exit status, stdout and stderr."""
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    user = user if os.geteuid() == 0 else []
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "IMPASTO_CACHE": str(folder / "k")}
    with open("/dev/full", "wb") as device:  # noqa: PTH123
        process = subprocess.Popen(
            [*user, sys.executable, "-m", "impasto", *words],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=device if full == "stdout" else subprocess.PIPE,
            stderr=device if full == "stderr" else subprocess.PIPE,
        )
        try:
            out, err = process.communicate(timeout=stop or 300)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=60)
    return process.returncode, (out or b"").decode(), (err or b"").decode()


def lines(text: str) -> int:
    """How many lines of a text are impasto's refusal, and none is anything worse."""
    return (
        99
        if "Traceback" in text
        else sum(line.startswith("impasto: ") for line in text.split("\n"))
    )


def shown(text: str) -> str:
    """The end of a text, in one short line."""
    return text.strip().replace(LONG, "x...").split("\n")[-1][-160:]


if __name__ == "__main__":
    main()
