"""The members that paint one picture: started beside this process, waited for, ended.

This process is the first member. The others are started by a function (`Start`): as processes of
this machine (`spawned`), or elsewhere. All meet at an address: a file where they are on one
machine, `tcp://host:port` else.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from impasto.machine.exchange import Group, Lost
from impasto.machine.stopping import SIGNALS

ARRIVAL = 600.0  # s, at most until all members are there: a busy machine takes long to start one
GLANCE = 0.05  # s between two looks at who is there
LENGTH_BYTES = 8  # of the number that a job begins with: how long it is
TRACEBACK = "IMPASTO_TRACEBACK"  # in the environment: members say on stderr what ended them


@runtime_checkable
class Started(Protocol):
    """A member as the one that started it sees it: a `subprocess.Popen`, say."""

    def poll(self) -> int | None:
        """None while the member is alive."""

    def kill(self) -> None:
        """End the member."""


Start = Callable[[int, int, str], Started]
"""Starts a member: its number, how many there are, and the address where they meet."""


class Crew:
    """So many members, of whom this process is the first.

    `host`: the name by which members on other machines reach this one; None for one machine.
    `cards`: each has a CUDA card of its own, see `Group`.
    """

    def __init__(
        self, members: int, start: Start, host: str | None = None, cards: bool = False
    ) -> None:
        self.members, self.start, self.host, self.cards = members, start, host, cards
        self.started: list[Started] = []
        self.folder = Path(tempfile.mkdtemp(prefix="impasto-"))  # that nobody else may open
        self.meetings = 0
        self.store: Any = None
        self.group: Group | None = None
        weakref.finalize(self, _end, self.started, self.folder)

    def begin(self) -> None:
        """Start the others, if they are not there; does not wait for them."""
        if self.started:
            return
        from torch import distributed

        c10d: Any = distributed
        self.meetings += 1
        if self.host is None:
            address = str(self.folder / f"meeting-{self.meetings}")
            self.store = c10d.FileStore(address)
        else:
            self.store = c10d.TCPStore(self.host, 0, is_master=True, wait_for_workers=False)
            address = f"tcp://{self.host}:{self.store.port}"
        for rank in range(1, self.members):
            self.started.append(self.start(rank, self.members, address))

    def joined(self) -> Group:
        """The exchange with the others, when all are there. Raises Lost where one does not come."""
        self.begin()
        if self.group is None:
            until = time.monotonic() + ARRIVAL
            while self.store.add("here", 0) < self.members - 1:
                if any(member.poll() is not None for member in self.started):
                    raise Lost("a member ended before it had begun")
                if time.monotonic() > until:
                    raise Lost(f"a member did not come within {ARRIVAL:.0f} s")
                time.sleep(GLANCE)
            self.group = Group(self.store, 0, self.members, self.cards, self.host is None)
        return self.group

    def reason(self) -> str:
        """What ended a member, as it said itself; nothing where it could not."""
        for rank in range(1, self.members):
            with suppress(RuntimeError):
                if self.store.check([f"end {rank}"]):
                    return bytes(self.store.get(f"end {rank}")).decode()
        return ""

    def end(self) -> None:
        """End the others."""
        self.group = None
        _end(self.started)


def take_part(
    rank: int,
    members: int,
    address: str,
    work: Callable[[Callable[[], Group]], None],
    cards: bool = False,
) -> None:
    """Be a member: work until that returns, or the others are gone.

    The work gets ready, and calls what it is given to meet the others. What else ends it is left
    for the first member to read, and raised.
    """
    from torch import distributed

    c10d: Any = distributed
    local = not address.startswith("tcp://")
    if local:
        store: Any = c10d.FileStore(address)
    else:
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        store = c10d.TCPStore(host, int(port), is_master=False)

    def join() -> Group:
        store.add("here", 1)
        return Group(store, rank, members, cards, local)

    try:
        work(join)
    except Lost:
        return
    except Exception as error:
        store.set(f"end {rank}", f"{type(error).__name__}: {error}".splitlines()[0])
        raise


def spawned(module: str, job: Callable[[], bytes]) -> Start:
    """Starts members as processes of this machine, which call `main` of a module.

    The job, made when it is needed, comes through stdin, which stays open: a member ends when this
    process does.
    """

    def start(rank: int, members: int, address: str) -> Started:
        words = [sys.executable, "-c", f"from {module} import main; main()"]
        told = None if os.environ.get(TRACEBACK) else subprocess.DEVNULL
        process = subprocess.Popen(
            [*words, str(rank), str(members), address],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=told,
        )  # fmt: skip
        threading.Thread(target=_feed, args=(process, job()), daemon=True).start()
        return process

    return start


def given() -> tuple[int, int, str, bytes]:
    """In a member that was `spawned`: its number, how many there are, the address, and the job.

    Signals are for the first member, which ends this one.
    """
    for name in SIGNALS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    length = int.from_bytes(sys.stdin.buffer.read(LENGTH_BYTES))
    job = sys.stdin.buffer.read(length)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    rank, members, address = sys.argv[1:]
    return int(rank), int(members), address, job


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)  # returns when the parent closes it, or is gone
    os._exit(1)


def _feed(process: "subprocess.Popen[bytes]", job: bytes) -> None:
    assert process.stdin is not None
    with suppress(OSError):  # it died: whoever waits for it will see
        process.stdin.write(len(job).to_bytes(LENGTH_BYTES) + job)
        process.stdin.flush()


def _end(started: list[Started], folder: Path | None = None) -> None:
    """End members, and remove the folder where they met."""
    while started:
        member = started.pop()
        member.kill()
        if isinstance(member, subprocess.Popen):
            if member.stdin is not None:
                with suppress(OSError):
                    member.stdin.close()
            member.wait()
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
