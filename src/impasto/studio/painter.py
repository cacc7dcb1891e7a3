"""The painter: a process of its own, which paints one job at a time and can be replaced.

A crash, or memory that ran out, takes no page with it; and what PyTorch keeps goes with the
process. It is told what to do through a pipe: ("paint", ticket, job), ("stop", ticket) or None for
the end; it answers ("ready", pace) once and (ticket, event) for each event. Instant jobs come
between two steps of a long one.
"""

import os
import signal
import time
from collections import deque
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from impasto.studio import jobs

TRIAL_SIDE = 128  # px: the instant picture that tells how fast the machine is


class Inbox:
    """What is to be done, as it came through the pipe. Raises EOFError where nobody is left."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.quick: deque[tuple[int, Any]] = deque()
        self.long: deque[tuple[int, Any]] = deque()
        self.stopped: set[int] = set()
        self.over = False

    def look(self, wait: float | None = 0) -> None:
        """Take in what has come; wait so many seconds for the first word, None for ever."""
        while self.connection.poll(wait):
            message = self.connection.recv()
            wait = 0
            if message is None:
                self.over = True
            elif message[0] == "stop":
                self._stop(message[1])
            else:
                (self.quick if message[2].quick else self.long).append(message[1:])

    def _stop(self, ticket: int) -> None:
        """Stop a job. One that waits for its turn goes at once: the step that is painted just now
        may take longer than the page has patience."""
        for waiting in (self.quick, self.long):
            for entry in [entry for entry in waiting if entry[0] == ticket]:
                waiting.remove(entry)
                self.connection.send((ticket, jobs.Failed(jobs.NOT_BEGUN)))
                return
        self.stopped.add(ticket)

    def is_stopped(self, ticket: int) -> bool:
        """Whether somebody asks to stop this job."""
        self.look()
        return self.over or ticket in self.stopped


def main(connection: Connection, settings: dict[str, Any]) -> None:
    """The process's life. `settings` (device, threads, ...) hold for every job."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the page's, which ends this one
    try:
        connection.send(("ready", _pace(settings)))
        inbox = Inbox(connection)
        while not inbox.over:
            inbox.look(None if not (inbox.quick or inbox.long) else 0)
            if inbox.quick:
                _work(inbox, settings, *inbox.quick.popleft())
            elif inbox.long:
                _work(inbox, settings, *inbox.long.popleft())
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass
    finally:
        os._exit(0)  # a page that is gone wants no goodbye of PyTorch


def _work(inbox: Inbox, settings: dict[str, Any], ticket: int, job: Any) -> None:
    """Paint one job, and between its steps the instant ones that came."""
    job = replace(job, changes=dict(job.changes) | settings)
    for event in jobs.paint(job, lambda: inbox.is_stopped(ticket)):
        inbox.connection.send((ticket, event))
        inbox.look()
        while not job.quick and inbox.quick:
            _work(inbox, settings, *inbox.quick.popleft())
    inbox.stopped.discard(ticket)


def _pace(settings: dict[str, Any]) -> float:
    """Seconds of an instant picture of 128 px, the networks loaded; makes everything warm."""
    import numpy as np

    import impasto

    small: dict[str, Any] = {"preset": "instant", "size": TRIAL_SIDE, **settings}
    photo = np.random.default_rng(0).random((TRIAL_SIDE, TRIAL_SIDE, 3), np.float32)
    impasto.stylize(photo, "great-wave", **small)
    began = time.perf_counter()
    impasto.stylize(photo, "great-wave", **small)
    return time.perf_counter() - began
