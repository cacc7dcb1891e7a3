"""What the painter's process hears, and how it answers."""

from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from impasto.studio.jobs import NOT_BEGUN, Failed, Job
from impasto.studio.painter import Inbox


@pytest.fixture
def ends() -> Iterator[tuple[Connection, Inbox]]:
    """The page's end of the pipe, and the painter's inbox."""
    ours, theirs = Pipe()
    with ours, theirs:
        yield ours, Inbox(theirs)


def order(quick: bool = False) -> Job:
    return Job(Path("photo.png"), ("great-wave",), {}, Path("picture.png"), quick=quick)


def test_instant_pictures_have_a_line_of_their_own(ends: tuple[Connection, Inbox]) -> None:
    page, inbox = ends
    page.send(("paint", 1, order()))
    page.send(("paint", 2, order(quick=True)))
    inbox.look(60.0)
    assert [number for number, _ in inbox.long] == [1]
    assert [number for number, _ in inbox.quick] == [2]


def test_what_is_painted_is_stopped_and_nothing_else(ends: tuple[Connection, Inbox]) -> None:
    page, inbox = ends
    page.send(("stop", 1))
    assert inbox.is_stopped(1)
    assert not inbox.is_stopped(2)


def test_what_waits_is_answered_while_another_step_is_painted(
    ends: tuple[Connection, Inbox],
) -> None:
    """The step may take longer than the page waits before it replaces the painter."""
    page, inbox = ends
    page.send(("paint", 2, order(quick=True)))
    page.send(("stop", 2))
    assert not inbox.is_stopped(1)
    assert page.poll(60)
    assert page.recv() == (2, Failed(NOT_BEGUN))
    assert not inbox.quick
    assert not inbox.stopped


def test_the_end_stops_everything(ends: tuple[Connection, Inbox]) -> None:
    page, inbox = ends
    page.send(None)
    assert inbox.is_stopped(1)
    assert inbox.over


def test_a_page_that_is_gone_ends_the_painter(ends: tuple[Connection, Inbox]) -> None:
    page, inbox = ends
    page.close()
    with pytest.raises(EOFError):
        inbox.is_stopped(1)
