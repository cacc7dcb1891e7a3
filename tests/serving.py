"""A studio in a process of its own, for tests; processes that are spawned import it by name."""

import contextlib
import multiprocessing
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil


@dataclass
class Running:
    """A studio: its address, its process, its temporary folder, and what it said to whom."""

    url: str
    process: psutil.Process
    folder: Path
    connection: Connection

    def connected(self) -> list[str]:
        """The hosts that the page and Python's own resolver were asked for."""
        self.connection.send("connected")
        found: list[str] = self.connection.recv()
        return found

    def files(self) -> set[Path]:
        """All files of the studio."""
        walk = os.walk(self.folder)
        return {Path(place, name) for place, _, names in walk for name in names}

    def visits(self) -> list[Path]:
        """Those in the folders of the visitors."""
        found = self.files()
        return [f for f in found if f.parent.parent.name.startswith("impasto-studio-")]


def serve(connection: Connection, folder: str) -> None:
    """A studio that notes each address which its process connects to or looks up."""
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    said: list[str] = []
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def noted_connect(self: socket.socket, address: Any) -> None:
        said.append(str(address[0] if isinstance(address, tuple) else address))
        return connect(self, address)

    def noted_look_up(host: Any, *given: Any, **more: Any) -> Any:
        said.append(str(host))
        return look_up(host, *given, **more)

    socket.socket.connect = noted_connect  # type: ignore[method-assign,assignment]
    socket.getaddrinfo = noted_look_up
    from impasto.studio import Options, opened, visits
    from impasto.studio.uploads import Limits

    visits.GRACE, visits.EVERY, visits.UNUSED = 0.5, 0.2, 2.0
    limits, settings = Limits(2_000_000, 1_000_000, 128), {"device": "cpu", "threads": 1}
    with opened(Options(browser=False, limits=limits, settings=settings)) as page:
        connection.send(page.local_url)
        while connection.recv() == "connected":
            connection.send(said)
    connection.send([thread.name for thread in threading.enumerate()])


@contextlib.contextmanager
def studio(folder: Path) -> Iterator[Running]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, str(folder)))
    process.start()
    theirs.close()
    try:
        assert ours.poll(300)
        yield Running(ours.recv(), psutil.Process(process.pid), folder, ours)
    finally:
        with contextlib.suppress(OSError):
            ours.send(None)
        process.join(60)
        process.kill()
