"""What tests of several packages share: where things are, small settings, a command of its own."""

import contextlib
import hashlib
import http.server
import io
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

import impasto
from impasto import weights

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
REFERENCES = ROOT / "tests" / "data"  # numbers of independent implementations

Run = Callable[..., tuple[int, str, str]]
"""The fixture `impasto`: words to exit status, stdout and stderr."""

SMALL: dict[str, Any] = {
    "size": 64, "coarsest": 32, "scale_ratio": 2, "steps": (4, 3), "detail_steps": 2,
    "precision": "float32",
}  # fmt: skip
SMALL_WORDS = (
    "--size", 64, "--coarsest", 32, "--steps", "3,2", "--detail-steps", 1,
    "--precision", "float32",
)  # fmt: skip


def painted(photo: object, style: object = "great-wave", **changes: object) -> impasto.Result:
    return impasto.stylize(photo, style, **(SMALL | changes))


def command(*words: object, **options: object) -> subprocess.Popen[bytes]:
    """The command as a process of its own, with Ctrl-C on: in the background it may be off."""
    environment = dict(os.environ)
    return subprocess.Popen(
        [sys.executable, "-m", "impasto", *map(str, words)], env=environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL), **options,
    )  # fmt: skip  # type: ignore[call-overload]


def bomb(width: int, height: int) -> bytes:
    """A small PNG file that says it is a huge picture."""
    body = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + body + struct.pack(">I", zlib.crc32(b"IHDR" + body))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """A data set whose pictures are painted as they are taken out.

    It is here because workers that are spawned import it by its module's name.
    """

    def __init__(self, batch: torch.Tensor, transform: "impasto.StyleTransfer") -> None:
        self.batch, self.transform = batch, transform

    def __len__(self) -> int:
        return len(self.batch)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        found: tuple[torch.Tensor, int] = self.transform(self.batch[index], index)
        return found


def elsewhere(make: Callable[[], Any], tasks: Sequence[Any]) -> Iterator[Any]:
    """Spread tasks as over other processes, but here: all is pickled, the last comes first."""
    work = pickle.loads(pickle.dumps(make))()
    for task in reversed(pickle.loads(pickle.dumps(tasks))):
        yield pickle.loads(pickle.dumps(work(task, lambda part: None)))


class Server(http.server.BaseHTTPRequestHandler):
    """Serves one file, with ranges; can break off in the middle or refuse ranges."""

    body = b""
    ranges = True
    break_after: int | None = None
    requests: list[str | None]

    def do_GET(self) -> None:
        wanted = self.headers.get("Range") if self.ranges else None
        self.requests.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if start >= len(self.body):
            self.send_error(416)
            return
        part = self.body[start:]
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part[: self.break_after])

    def log_message(self, *_: object) -> None:
        pass


def tiny_vgg() -> dict[str, torch.Tensor]:
    """A VGG-16 of torchvision's form, two channels wide, with a classifier."""
    generator = torch.Generator().manual_seed(0)
    state, index, channels = {}, 0, 3
    for count in weights.VGG16_CONVOLUTIONS:
        for _ in range(count):
            state[f"features.{index}.weight"] = torch.randn(2, channels, 3, 3, generator=generator)
            state[f"features.{index}.bias"] = torch.randn(2, generator=generator)
            index, channels = index + 2, 2
        index += 1
    for layer in (0, 3, 6):
        state[f"classifier.{layer}.weight"] = torch.zeros(4, 4)
    return state


@contextlib.contextmanager
def serving(name: str, state: dict[str, torch.Tensor], cache: Path) -> Iterator[type[Server]]:
    """A local server of these tensors in place of an entry's own, with a cache of its own."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    handler = type("Handler", (Server,), {"body": buffer.getvalue(), "requests": []})
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    entry = replace(
        weights.entry(name),
        url=f"http://127.0.0.1:{running.server_port}/{name[:5]}-tiny.pth",
        download_sha256=hashlib.sha256(handler.body).hexdigest()[:8],
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(weights.CATALOGUE, name, entry)
        patch.setenv("IMPASTO_CACHE", str(cache))
        yield handler
    running.shutdown()
    running.server_close()
    thread.join()
