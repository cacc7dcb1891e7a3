"""The studio with many visitors at once: who is served, and what is left when they are gone.

    pip install 'impasto[studio]'
    python -m benchmarks.studio [--visitors 20] [--size 96] [--threads 1] [--json FILE]

The studio runs in a process of its own, with a temporary folder of its own. After one visitor, for
whom everything is loaded, the others come at once, each with a photo; of every five one cancels
after a second, one is a process that is killed after a second, and three wait for their picture.
Memory is what the page and its painter hold together (resident, MB), files are those in the
temporary folder. `opened`: at first. `before`: after the first
visitor. `most`: while the others are there. `after`:
when all visits are over. `closed`: when the studio is closed; 0 processes, files and bytes are due.
"""

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from benchmarks.shared.report import EXAMPLES, ROOT, parser, publish
from impasto.images import paintings

PHOTOS = ("astronaut", "chelsea", "china", "coffee", "flower", "rocket")
IMPATIENCE = 1.0  # seconds after which some visitors leave
SETTLED = 180.0  # seconds that all may take to be gone
PICTURE = 900.0  # seconds that a picture may take, those before it included


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--visitors", type=int, default=20)
    options.add_argument("--size", type=int, default=96, help="long side of a picture, px")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--visit", type=json.loads, help="be a visitor who is killed")
    given = options.parse_args()
    if given.visit:
        visit(*given.visit)[1].result()
        return
    rows, told = crowd(given.visitors, given.size, given.threads)
    publish("studio", rows, given.json, **told)


def crowd(visitors: int, size: int, threads: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What is there before, while and after so many visitors come, and what became of them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = [photo(folder, number) for number in range(visitors + 1)]
        inside = folder / "studio"
        inside.mkdir()
        with studio(inside, threads) as (url, process):
            rows = [state("opened", process, inside)]
            usual = len(files(inside))
            Visitor(url, photos[0], size, "stays").run()
            settle(inside, usual)
            rows.append(state("before", process, inside))
            came = [
                Visitor(url, file, size, kind_of(number)) for number, file in enumerate(photos[1:])
            ]
            began, most = time.monotonic(), [state("most", process, inside)]
            for visitor in came:
                visitor.start()
            while any(visitor.is_alive() for visitor in came):
                most.append(state("most", process, inside))
                time.sleep(0.5)
            seconds = time.monotonic() - began
            rows.append({key: max(row[key] for row in most) for key in most[0]})
            settle(inside, usual)
            time.sleep(15)  # the server's idle threads end after ten seconds
            rows.append(state("after", process, inside))
        rows.append(state("closed", process, inside))
    became = Counter(f"{visitor.kind}: {visitor.became}" for visitor in came)
    growth = rows[3]["MB"] / rows[1]["MB"] - 1
    return rows, {"visitors": dict(became), "seconds": seconds, "growth": growth}


def kind_of(number: int) -> str:
    """What the visitor with a number does."""
    return {1: "cancels", 3: "is killed"}.get(number % 5, "stays")


def photo(folder: Path, number: int) -> Path:
    """A photo of 160x120 px that no other visitor has."""
    place = folder / f"photo-{number}.jpg"
    with Image.open(EXAMPLES / f"{PHOTOS[number % len(PHOTOS)]}.jpg") as image:
        image.convert("RGB").resize((160, 120)).rotate(number).save(place)
    return place


class Visitor(threading.Thread):
    """One who asks for a picture; `became` says what became of that."""

    def __init__(self, url: str, file: Path, size: int, kind: str) -> None:
        super().__init__()
        self.url, self.file, self.size, self.kind, self.became = url, file, size, kind, "nothing"

    def run(self) -> None:
        asked = (self.url, str(self.file), self.size)
        if self.kind == "is killed":
            words = [sys.executable, "-m", "benchmarks.studio", "--visit", json.dumps(asked)]
            started = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE)
            assert started.stdout is not None
            started.stdout.readline()  # it has asked: Gradio's own words go elsewhere
            time.sleep(IMPATIENCE)
            started.kill()
            started.wait()
            started.stdout.close()
            self.became = "gone"
            return
        client, job = visit(*asked)
        try:
            if self.kind == "cancels":
                time.sleep(IMPATIENCE)
                job.cancel()
            picture = job.result(PICTURE)
            self.became = "served" if picture else "told"
        except Exception as error:  # whatever the client makes of it, the visitor hears it
            self.became = f"told {type(error).__name__}"
        finally:
            client.close()


def visit(url: str, file: str, size: int) -> tuple[Any, Any]:
    """Ask for a picture: the client and its job. Says so on stdout."""
    from gradio_client import Client, handle_file

    folder, patient = str(Path(file).with_suffix("")), {"timeout": PICTURE}
    client = Client(url, verbose=False, download_files=folder, httpx_kwargs=patient)
    style = next(iter(paintings.PAINTINGS))
    job = client.submit(handle_file(file), style, "draft", size, 0.5, api_name="/stylize")
    print("asked", flush=True)
    return client, job


@contextmanager
def studio(folder: Path, threads: int) -> Iterator[tuple[str, psutil.Process]]:
    """The studio in a process of its own: its address, and the process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, str(folder), threads))
    process.start()
    try:
        yield ours.recv(), psutil.Process(process.pid)
    finally:
        ours.send(None)
        process.join(60)


def serve(connection: Connection, folder: str, threads: int) -> None:
    """Open the studio until a word comes."""
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    from impasto.studio import Options, opened

    settings = {"device": "cpu", "threads": threads}
    with opened(Options(browser=False, settings=settings)) as page:
        connection.send(page.local_url)
        connection.recv()


def state(name: str, process: psutil.Process, folder: Path) -> dict[str, Any]:
    """What the studio holds now."""
    try:
        family = [process, *process.children(recursive=True)]
        held = sum(one.memory_info().rss for one in family)
        threads = process.num_threads()
    except psutil.NoSuchProcess:
        family, held, threads = [], 0, 0
    return {
        "when": name, "MB": held / 1e6, "processes": len(family), "threads": threads,
        "files": len(files(folder)),
    }  # fmt: skip


def files(folder: Path) -> list[Path]:
    return [Path(place, name) for place, _, names in os.walk(folder) for name in names]


def settle(folder: Path, usual: int) -> None:
    """Wait until no visitor's file is left."""
    end = time.monotonic() + SETTLED
    while len(files(folder)) > usual and time.monotonic() < end:
        time.sleep(0.5)


if __name__ == "__main__":
    main()
