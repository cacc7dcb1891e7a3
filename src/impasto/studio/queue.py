"""The queue before the painter: fair to all visitors, with one's place in it.

The next picture is that of the visitor who was served the longest time ago, so that twenty photos
of one visitor keep nobody else waiting for more than one. Instant pictures go to the painter at
once: they come between two steps of what is being painted.
"""

import itertools
import multiprocessing
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import psutil

from impasto.studio import painter
from impasto.studio.jobs import LAST, NOT_BEGUN, Event, Failed, Job, Still, Waiting

PATIENCE = 10.0  # seconds that the painter may take to stop before it is replaced
MOST_GROWN = 600_000_000  # bytes that an idle painter may have grown by before it is replaced
MOST_WAITING = 40  # pictures that one visitor may have waiting
MOST_QUICK = 8  # instant pictures that the painter is told of at a time: its pipe is small
REPLACED = "the painter ended, most likely for want of memory: choose a smaller size, or try again"
CLOSED = "the studio is closed"
TOO_MANY = f"{MOST_WAITING} pictures of yours wait: let some of them be painted first"
BROKEN = "the painter could not begin: `impasto doctor` in a terminal may tell why"


@dataclass(eq=False)
class _Ticket:
    """One job and where its events go."""

    number: int
    visitor: str
    job: Job
    events: "queue.Queue[Event]" = field(default_factory=queue.Queue)
    begun: bool = False
    over: bool = False
    told: int | None = None
    """How many are before it, as it was told last."""
    asked_at: float | None = None
    """When somebody asked to stop it."""


class Atelier:
    """One painter for one device, and the queue before it.

    `settings` hold for every picture: device, threads, memory limit and so on. Use as a context
    manager, or `close` it. Methods may be called from any thread.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.lock = threading.RLock()
        self.numbers = itertools.count(1)
        self.tickets: dict[int, _Ticket] = {}
        self.served: dict[str, int] = {}
        """When each visitor was served last, as the number of that service."""
        self.pace = 0.0
        self.closed = False
        self.ready = threading.Event()
        self._start()
        self.watch = threading.Thread(target=self._watch, name="impasto-watch", daemon=True)
        self.watch.start()

    def __enter__(self) -> "Atelier":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def paint(self, visitor: str, job: Job, every: float | None = None) -> Iterator[Event]:
        """Paint a job in its turn: first `Waiting`, if need be, last `Painted` or `Failed`; `Still`
        whenever nothing happened for `every` seconds.

        Whoever stops listening stops the job. A visitor's instant picture takes the place of
        the one before.
        """
        ticket = self._enter(visitor, job)
        try:
            while True:
                try:
                    event = ticket.events.get(timeout=every)
                except queue.Empty:
                    event = Still()
                yield event
                if isinstance(event, LAST):
                    return
        finally:
            self._stop(ticket)

    def is_painting(self, visitor: str) -> bool:
        """Whether a picture of the visitor is painted or waits, instant ones aside."""
        with self.lock:
            tickets = self.tickets.values()
            return any(t.visitor == visitor and not t.job.quick for t in tickets)

    def stop(self, visitor: str, quick: bool | None = None) -> None:
        """Stop what is painted for a visitor, or waits; the picture so far is kept. `quick`: only
        instant pictures, or only others."""
        with self.lock:
            for ticket in list(self.tickets.values()):
                if ticket.visitor == visitor and quick in (None, ticket.job.quick):
                    self._stop(ticket)

    def forget(self, visitor: str) -> None:
        """Stop all of a visitor who left."""
        with self.lock:
            self.stop(visitor)
            self.served.pop(visitor, None)

    def close(self) -> None:
        """End the painter, and every job with it."""
        with self.lock:
            self.closed = True
            self._end_all(CLOSED)
            self._replace(start=False)
        for thread in (self.watch, self.reader):
            thread.join(2)

    # The queue

    def _enter(self, visitor: str, job: Job) -> _Ticket:
        with self.lock:
            if job.quick:
                self.stop(visitor, quick=True)
            ticket = _Ticket(next(self.numbers), visitor, job)
            already = sum(t.visitor == visitor for t in self.tickets.values())
            if self.closed or already >= MOST_WAITING:
                self._finish(ticket, Failed(CLOSED if self.closed else TOO_MANY))
                return ticket
            self.tickets[ticket.number] = ticket
            if self.broken:
                self._replace()
            self._go_on()
        return ticket

    def _go_on(self) -> None:
        """Give the painter what is next, and tell the others their place."""
        if not self.ready.is_set():
            return
        waiting = [t for t in self.tickets.values() if not t.begun]
        begun = [t.job.quick for t in self.tickets.values() if t.begun]
        for ticket in [t for t in waiting if t.job.quick][: max(0, MOST_QUICK - sum(begun))]:
            self._begin(ticket)
        busy = not all(begun)
        order = self._order([t for t in waiting if not t.job.quick])
        if order and not busy:
            self._begin(order.pop(0))
            busy = True
        for place, ticket in enumerate(order):
            before = place + busy
            if ticket.told != before:
                ticket.told = before
                ticket.events.put(Waiting(before))

    def _order(self, waiting: list[_Ticket]) -> list[_Ticket]:
        """Who comes when: in rounds, each visitor's next picture in each; those that were served
        longest ago first."""
        rounds: dict[str, int] = {}
        keyed = []
        for ticket in waiting:
            turn = rounds[ticket.visitor] = rounds.get(ticket.visitor, -1) + 1
            keyed.append((turn, self.served.get(ticket.visitor, 0), ticket.number, ticket))
        return [ticket for *_, ticket in sorted(keyed, key=lambda entry: entry[:3])]

    def _begin(self, ticket: _Ticket) -> None:
        ticket.begun = True
        if not ticket.job.quick:
            self.served[ticket.visitor] = next(self.numbers)
        self._send(("paint", ticket.number, ticket.job))

    def _stop(self, ticket: _Ticket) -> None:
        """Take a job out of the queue, or ask the painter to stop it."""
        with self.lock:
            if ticket.over or ticket.asked_at is not None:
                return
            if ticket.begun:
                ticket.asked_at = time.monotonic()
                self._send(("stop", ticket.number))
            else:
                self._finish(ticket, Failed(NOT_BEGUN))
                self._go_on()

    def _finish(self, ticket: _Ticket, event: Event) -> None:
        ticket.over = True
        self.tickets.pop(ticket.number, None)
        ticket.events.put(event)

    def _end_all(self, why: str, begun: bool | None = None) -> None:
        for ticket in list(self.tickets.values()):
            if begun in (None, ticket.begun):
                self._finish(ticket, Failed(why))

    # The painter's process

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=painter.main, args=(theirs, self.settings), name="impasto-painter", daemon=True
        )
        self.process.start()
        self.broken = False
        theirs.close()
        self.size_at_first: int | None = None
        self.reader = threading.Thread(
            target=self._read, args=(self.connection,), name="impasto-reader", daemon=True
        )
        self.reader.start()

    def _read(self, connection: Connection) -> None:
        """Hand on what the painter says, until it is gone."""
        while True:
            try:
                message = connection.recv()
            except (EOFError, OSError):
                break
            with self.lock:
                if connection is not self.connection:
                    break
                self._take(message)
        connection.close()
        with self.lock:
            if connection is not self.connection or self.closed:
                return
            if self.ready.is_set():
                self._end_all(REPLACED, begun=True)
                self._replace()
            else:  # another would fare no better: it is tried with the next job
                self._end_all(BROKEN)
                self.broken = True

    def _take(self, message: tuple[Any, Any]) -> None:
        """One word of the painter."""
        if message[0] == "ready":
            self.pace = message[1]
            self.ready.set()
            self._go_on()
            return
        number, event = message
        ticket = self.tickets.get(number)
        if ticket is None:
            return
        if not isinstance(event, LAST):
            ticket.events.put(event)
            return
        self._finish(ticket, event)
        if not self.tickets and self._has_grown():
            self._replace()
        self._go_on()

    def _has_grown(self) -> bool:
        """Whether the idle painter keeps much more than it had after its first picture."""
        try:
            now = psutil.Process(self.process.pid).memory_info().rss
        except psutil.Error:
            return False
        if self.size_at_first is None:
            self.size_at_first = now
        return now > self.size_at_first + MOST_GROWN

    def _replace(self, start: bool = True) -> None:
        """End the process, and begin another."""
        self.ready.clear()
        self.process.kill()
        self.process.join(PATIENCE)
        if start and not self.closed:
            self._start()

    def _send(self, message: object) -> None:
        with suppress(OSError):  # the reader finds that nobody is there, and says so
            self.connection.send(message)

    def _watch(self) -> None:
        """Replace a painter that does not stop when it is asked to."""
        while not self.closed:
            time.sleep(0.25)
            with self.lock:
                now = time.monotonic()
                asked = [t.asked_at for t in self.tickets.values() if t.asked_at is not None]
                if self.closed or not asked or now - min(asked) < PATIENCE:
                    continue
                self._end_all("the painter did not stop, and was replaced", begun=True)
                self._replace()
