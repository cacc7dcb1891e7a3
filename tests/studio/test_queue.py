"""The painter's process and the queue before it: fair, stopped at once, replaced where it fails."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from impasto.studio import queue
from impasto.studio.jobs import Event, Failed, Job, Painted, Shown, Still, Waiting
from impasto.studio.queue import Atelier

JobMaker = Callable[..., Job]
LONG = {"steps": 100_000}  # steps: for ever, as far as a test is concerned


class Listener:
    """Takes what is told of a job, in a thread of its own, as the page does."""

    def __init__(self, atelier: Atelier, visitor: str, job: Job) -> None:
        self.events: list[Event] = []
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._listen, args=(atelier, visitor, job))
        before = len(atelier.tickets)
        self.thread.start()
        until(lambda: len(atelier.tickets) > before or bool(self.events))

    def _listen(self, atelier: Atelier, visitor: str, job: Job) -> None:
        for event in atelier.paint(visitor, job):
            with self.changed:
                self.events.append(event)
                self.changed.notify_all()

    def first(self, kind: type) -> Any:
        """The first event of a kind, once there is one."""
        with self.changed:
            assert self.changed.wait_for(lambda: self._of(kind), 60), self.events
            return self._of(kind)[0]

    def last(self) -> Event:
        """The last event."""
        self.thread.join(60)
        assert not self.thread.is_alive(), self.events
        return self.events[-1]

    def _of(self, kind: type) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds, a minute at most."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def idle(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test leaves work to the next one."""
    yield
    if "atelier" in request.fixturenames:
        shared = request.getfixturevalue("atelier")
        for ticket in list(shared.tickets.values()):
            shared.stop(ticket.visitor)
        until(lambda: not shared.tickets)


def test_a_picture_is_painted_in_another_process(atelier: Atelier, job: JobMaker) -> None:
    asked = job()
    *_, last = atelier.paint("anna", asked)
    assert isinstance(last, Painted)
    assert last.picture == asked.target
    assert asked.target.exists()
    assert atelier.process.pid != os.getpid()
    assert not atelier.tickets


def test_the_machines_pace_is_known_once_the_painter_is_ready(atelier: Atelier) -> None:
    assert atelier.pace > 0


def test_visitors_come_in_rounds(atelier: Atelier, job: JobMaker) -> None:
    """Anna paints and asks for two more, then come Ben with two and Cleo with one. Those who were
    not served yet come first, then each visitor's next picture in turn."""
    first = Listener(atelier, "anna", job("a0", changes=LONG))
    first.first(Shown)
    asked = ["a1", "a2", "b1", "b2", "c1"]
    names = {"a": "anna", "b": "ben", "c": "cleo"}
    others = {n: Listener(atelier, names[n[0]], job(n)) for n in asked}
    places = {"b1": 1, "c1": 2, "a1": 3, "b2": 4, "a2": 5}
    expected = {name: Waiting(before) for name, before in places.items()}
    until(lambda: {n: one.events[-1] for n, one in others.items() if one.events} == expected)
    atelier.stop("anna", quick=True)  # only instant pictures: nothing happens
    with atelier.lock:
        painted = next(t for t in atelier.tickets.values() if t.begun)
        atelier._stop(painted)
    served = []
    for one in [first, *others.values()]:
        last = one.last()
        assert isinstance(last, Painted)
        served.append((last.picture.stat().st_mtime_ns, last.picture.stem))
    assert [name for _, name in sorted(served)] == ["a0", "b1", "c1", "a1", "b2", "a2"]


def test_stopping_keeps_the_picture_and_going_on_ends_as_if_nothing_had_happened(
    atelier: Atelier, job: JobMaker
) -> None:
    steps = {"steps": 12}
    *_, whole = atelier.paint("anna", job("whole", changes=steps))
    one = None
    for event in atelier.paint("anna", job("first", changes=steps)):
        if isinstance(event, Shown) and event.step == 1:
            atelier.stop("anna")
        one = event
    assert isinstance(whole, Painted)
    assert isinstance(one, Painted)
    assert one.stopped
    assert one.picture.exists()
    *_, two = atelier.paint("anna", replace(job("on", changes=steps), resume=one.checkpoint))
    assert isinstance(two, Painted)
    assert not two.stopped
    pixels = [np.asarray(Image.open(end.picture)) for end in (whole, two, one)]
    assert np.array_equal(pixels[0], pixels[1])
    assert not np.array_equal(pixels[0], pixels[2])


def test_who_stops_listening_stops_the_work(atelier: Atelier, job: JobMaker) -> None:
    events = atelier.paint("anna", job(changes=LONG))
    next(event for event in events if isinstance(event, Shown))
    assert atelier.is_painting("anna")
    events.close()  # type: ignore[attr-defined]
    until(lambda: not atelier.tickets)
    assert not atelier.is_painting("anna")


def test_who_listens_hears_now_and_then_that_nothing_happens(
    atelier: Atelier, job: JobMaker
) -> None:
    long = Listener(atelier, "anna", job(changes=LONG))
    long.first(Shown)
    waiting = atelier.paint("ben", job("other"), every=0.01)
    assert next(waiting) == Waiting(1)
    assert next(waiting) == Still()
    assert next(waiting) == Still()
    waiting.close()  # type: ignore[attr-defined]
    assert [ticket.visitor for ticket in atelier.tickets.values()] == ["anna"]


def test_instant_pictures_come_between_two_steps_and_change_nothing(
    atelier: Atelier, job: JobMaker
) -> None:
    instant = replace(job("instant"), changes={"preset": "instant", "size": 64}, quick=True)
    *_, alone = atelier.paint("anna", job("alone", changes={"steps": 8}))
    painted, seen = None, []
    for event in atelier.paint("anna", job("disturbed", changes={"steps": 8})):
        painted = event
        if isinstance(event, Shown) and not seen:
            seen = list(atelier.paint("ben", instant))
            assert atelier.is_painting("anna")
    assert isinstance(seen[-1], Painted)
    assert isinstance(alone, Painted)
    assert isinstance(painted, Painted)
    assert not painted.stopped
    pixels = [np.asarray(Image.open(end.picture)) for end in (alone, painted)]
    assert np.array_equal(*pixels)


def test_an_instant_picture_takes_the_place_of_the_one_before(
    atelier: Atelier, job: JobMaker
) -> None:
    """The page's slider moves faster than pictures come."""
    instant = replace(job("instant"), changes={"preset": "instant", "size": 64}, quick=True)
    with atelier.lock:  # the painter hears of nothing meanwhile
        first = atelier._enter("anna", instant)
        second = atelier._enter("anna", instant)
    assert first.events.get(timeout=60) is not None
    until(lambda: second.over)
    assert first.over
    assert not atelier.tickets


def test_a_visitor_who_waits_can_be_stopped(atelier: Atelier, job: JobMaker) -> None:
    long = Listener(atelier, "anna", job("long", changes=LONG))
    long.first(Shown)
    waiting = Listener(atelier, "ben", job("waiting"))
    assert waiting.first(Waiting) == Waiting(1)
    atelier.stop("ben")
    assert waiting.last() == Failed("stopped before it began")
    assert atelier.is_painting("anna")
    atelier.forget("anna")
    assert isinstance(long.last(), Painted)
    assert "anna" not in atelier.served


def test_nobody_has_more_than_so_many_waiting(
    atelier: Atelier, job: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "MOST_WAITING", 2)
    several = [Listener(atelier, "anna", job(f"{n}", changes=LONG)) for n in range(2)]
    (failed,) = atelier.paint("anna", job("more"))
    assert isinstance(failed, Failed)
    assert "let some of them be painted first" in failed.text
    atelier.stop("anna")
    assert {type(one.last()) for one in several} <= {Painted, Failed}


def test_what_fails_is_told_and_the_painter_lives_on(atelier: Atelier, job: JobMaker) -> None:
    pid = atelier.process.pid
    (failed,) = (e for e in atelier.paint("anna", job(changes={"size": 8})) if e != Waiting(0))
    assert isinstance(failed, Failed)
    *_, last = atelier.paint("anna", job())
    assert isinstance(last, Painted)
    assert atelier.process.pid == pid


def test_an_idle_painter_that_has_grown_is_replaced(
    atelier: Atelier, job: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced: list[int] = []
    monkeypatch.setattr(atelier, "_replace", lambda: replaced.append(len(atelier.tickets)))
    *_, last = atelier.paint("anna", job("first"))
    assert isinstance(last, Painted)
    assert not replaced
    monkeypatch.setattr(queue, "MOST_GROWN", -1_000_000_000_000)
    *_, last = atelier.paint("anna", job("second"))
    assert isinstance(last, Painted)
    assert replaced == [0]


def test_a_killed_painter_is_replaced_and_the_visitor_told(atelier: Atelier, job: JobMaker) -> None:
    long, pid = Listener(atelier, "anna", job("long", changes=LONG)), atelier.process.pid
    long.first(Shown)
    waiting = Listener(atelier, "ben", job("waiting"))
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert long.last() == Failed(queue.REPLACED)
    assert isinstance(waiting.last(), Painted), "who waited is served by the next painter"
    assert atelier.process.pid != pid
    assert not psutil.pid_exists(pid)


def test_a_painter_that_does_not_stop_is_replaced(
    atelier: Atelier, job: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last of the shared painter's tests: the next painter is not waited for."""
    long, pid = Listener(atelier, "anna", job("long", changes=LONG)), atelier.process.pid
    long.first(Shown)
    assert pid is not None
    psutil.Process(pid).suspend()
    monkeypatch.setattr(queue, "PATIENCE", 0.2)
    atelier.stop("anna")
    assert long.last() == Failed("the painter did not stop, and was replaced")
    assert atelier.process.pid != pid
    assert not psutil.pid_exists(pid)


def test_a_painter_that_cannot_begin_is_told_and_tried_again(
    job: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []

    def dies(self: Any) -> None:
        started.append(self)
        self._args = (None, {})  # no pipe: it ends at once
        begin(self)

    begin = multiprocessing.get_context("spawn").Process.start
    monkeypatch.setattr(multiprocessing.get_context("spawn").Process, "start", dies)
    with Atelier(device="cpu", threads=1) as broken:
        until(lambda: broken.broken)
        assert list(broken.paint("anna", job())) == [Failed(queue.BROKEN)]
    assert len(started) == 2


def test_closing_leaves_no_thread_and_no_process(job: JobMaker) -> None:
    threads = set(threading.enumerate())
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    with Atelier(device="cpu", threads=1) as made:
        waiting = Listener(made, "anna", job())
    assert waiting.last() == Failed(queue.CLOSED)
    assert list(made.paint("anna", job())) == [Failed(queue.CLOSED)]
    assert set(threading.enumerate()) <= threads
    left = {child.pid for child in psutil.Process().children(recursive=True)} - children
    assert not left
