"""Stopping from outside: a question that is asked before each tile, and ends the run if so.

What several members do together cannot be left in the middle by one of them: `unbroken` lets
questions and signals wait until it is done.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP


class Stopped(Exception):
    """Somebody asked the run to stop. The steps before stay valid."""


_ASKED: ContextVar[Callable[[], bool] | None] = ContextVar("asked", default=None)


@contextmanager
def stoppable(asked: Callable[[], bool]) -> Iterator[None]:
    """Inside, `check` raises Stopped once `asked()` says so. It is called once a tile: let it be
    quick."""
    token = _ASKED.set(asked)
    try:
        yield
    finally:
        _ASKED.reset(token)


def check() -> None:
    """Raise Stopped if that is asked for."""
    asked = _ASKED.get()
    if asked is not None and asked():
        raise Stopped


class Unbroken:
    """Inside this context nobody is asked for a stop, and signals wait for `deliver`."""

    def __enter__(self) -> "Unbroken":
        self.came: list[tuple[int, FrameType | None]] = []
        self.before: dict[int, Any] = {}
        self.token = _ASKED.set(None)
        if threading.current_thread() is threading.main_thread():
            for number in filter(None, (getattr(signal, name, None) for name in SIGNALS)):
                if callable(signal.getsignal(number)):
                    self.before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        _ASKED.reset(self.token)
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def deliver(self) -> None:
        """Do what the signals that came ask for, which may raise, and ask for a stop."""
        for number, frame in self.came:
            self.before[number](number, frame)
        check()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came.append((number, frame))
