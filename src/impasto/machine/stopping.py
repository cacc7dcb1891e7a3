"""Stopping from outside: a question that is asked before each tile, and ends the run if so."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


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
