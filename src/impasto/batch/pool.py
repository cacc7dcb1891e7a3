"""Work done by several processes, each of which makes its own tools once and can be replaced.

A `Pool` has workers; a worker has one task in hand, or none. `work_off` keeps them all busy. Where
a worker is lost (killed by hand, or by a system whose memory ran out), a new one takes its place,
and its task is done again; a task that loses one worker after another is given up.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any, Protocol

from impasto.errors import ImpastoError

if TYPE_CHECKING:  # a pool alone needs no PyTorch
    from impasto.machine.tasks import Make, Work

TRIES = 3  # of a task whose workers are lost
TICK = 0.5  # seconds between two looks at how far workers are
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
WATCH = 0.5  # seconds between two looks at whether the first process is still there


@dataclass(frozen=True)
class Begun:
    """A task is in hand now."""

    task: Any


@dataclass(frozen=True)
class Done:
    """A task is done; `result` is what the work returned."""

    task: Any
    result: Any


@dataclass(frozen=True)
class Failed:
    """A task was given up: its workers were lost, or the work raised the cause."""

    task: Any
    error: str
    cause: Exception | None = None


@dataclass(frozen=True)
class Tick:
    """How far the tasks in hand are, 0 to 1 each."""

    shares: tuple[float, ...]


Event = Begun | Done | Failed | Tick


@dataclass(frozen=True)
class Lost:
    """A worker went away with its task; there is a new one."""

    why: str


class Pool(Protocol):
    """Workers that do tasks, one at a time each."""

    workers: int

    def give(self, worker: int, task: Any) -> None:
        """Let a worker that has no task begin one."""

    def ended(self, seconds: float) -> list[tuple[int, Any]]:
        """The workers whose tasks ended, and each one's result, the Exception that was raised, or
        Lost; after so many seconds at most."""

    def shares(self) -> Sequence[float]:
        """How far each worker is with the task, 0 to 1."""

    def close(self) -> None:
        """End all workers at once, whatever they have in hand."""


def work_off(pool: Pool, tasks: Iterable[Any]) -> Iterator[Event]:
    """Do all tasks, in any order; the first are begun first. The pool is closed at the end."""
    waiting, rest = deque[tuple[Any, int]](), iter(tasks)
    hands: dict[int, tuple[Any, int]] = {}
    free = deque(range(pool.workers))
    try:
        while True:
            while free and (chosen := _next(waiting, rest)) is not None:
                worker = free.popleft()
                hands[worker] = chosen
                yield Begun(chosen[0])
                pool.give(worker, chosen[0])
            if not hands:
                return
            for worker, result in pool.ended(TICK):
                free.append(worker)
                task, lost = hands.pop(worker)
                match result:
                    case Lost(why) if lost + 1 >= TRIES:
                        yield Failed(task, f"{why}, {TRIES} times: use a smaller --size")
                    case Lost():
                        waiting.append((task, lost + 1))
                    case Exception():
                        yield Failed(task, _one_line(result), result)
                    case _:
                        yield Done(task, result)
            shares = pool.shares()
            yield Tick(tuple(shares[worker] for worker in sorted(hands)))
    finally:
        pool.close()


def _next(waiting: deque[tuple[Any, int]], rest: Iterator[Any]) -> tuple[Any, int] | None:
    """The next task and how many workers it has lost: new ones first."""
    for task in rest:
        return task, 0
    return waiting.popleft() if waiting else None


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or "no more is known"
    if isinstance(error, ImpastoError):
        return text
    return f"{type(error).__name__}: {text} (not foreseen)"


class LocalPool:
    """Processes of this machine, one for each of `makes`, each with so many threads and, where
    given, an environment of its own. They begin when they get a task."""

    def __init__(
        self,
        makes: "Sequence[Make[Any, Any]]",
        threads: int = 1,
        seen: Sequence[Mapping[str, str]] = (),
    ) -> None:
        self.workers = len(makes)
        own = seen or [{}] * len(makes)
        self._environments = [dict.fromkeys(THREADS, str(threads)) | dict(each) for each in own]
        self._context = multiprocessing.get_context("spawn")  # CUDA cannot be forked
        self._shares = self._context.RawArray("d", len(makes))  # no lock: nobody can die with it
        self._makes = list(makes)
        self._executors: list[ProcessPoolExecutor | None] = [None] * len(makes)
        self._processes: dict[int, BaseProcess] = {}
        self._futures: dict[Future[Any], int] = {}

    def give(self, worker: int, task: Any) -> None:
        """See `Pool`."""
        self._shares[worker] = 0.0
        with _no_interrupt(), _environment(self._environments[worker]):
            before = set(multiprocessing.active_children())
            executor = self._executors[worker] or self._begin(worker)
            try:
                future = executor.submit(_work, task)
            except BrokenProcessPool:  # it was killed while it had nothing to do
                future = self._begin(worker).submit(_work, task)
            self._futures[future] = worker
            for process in set(multiprocessing.active_children()) - before:
                self._processes[worker] = process

    def ended(self, seconds: float) -> list[tuple[int, Any]]:
        """See `Pool`."""
        done, _ = wait(self._futures, seconds, FIRST_COMPLETED)
        return [self._outcome(future) for future in done]

    def shares(self) -> Sequence[float]:
        """See `Pool`."""
        return list(self._shares)

    def close(self) -> None:
        """See `Pool`."""
        for worker, executor in enumerate(self._executors):
            if executor is not None and worker in self._futures.values():
                self._processes[worker].kill()
        for executor in self._executors:
            if executor is not None:
                executor.shutdown(wait=True, cancel_futures=True)
        self._executors = [None] * self.workers

    def _begin(self, worker: int) -> ProcessPoolExecutor:
        tools = self._makes[worker], self._shares, worker, os.getpid()
        executor = ProcessPoolExecutor(1, self._context, _begin, tools)
        self._executors[worker] = executor
        return executor

    def _outcome(self, future: Future[Any]) -> tuple[int, Any]:
        worker = self._futures.pop(future)
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            executor = self._executors[worker]
            if executor is not None:
                executor.shutdown(wait=False)
            self._executors[worker] = None
            return worker, Lost("the process that painted it was killed (is memory short?)")
        return worker, future.result() if error is None else error


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Let signals wait inside: a process that has half begun cannot be ended. Processes that begin
    inside never hear Ctrl-C, which is this one's."""
    from impasto.machine.stopping import Unbroken

    block = getattr(signal, "pthread_sigmask", None)  # Windows has none
    with Unbroken() as waiting:
        before = block(signal.SIG_BLOCK, [signal.SIGINT]) if block else ()
        try:
            yield
        finally:
            if block:
                block(signal.SIG_SETMASK, before)
    waiting.deliver()


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Inside, processes begin with these changes of the environment."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ |= {} if value is None else {name: value}


@dataclass
class _Worker:
    """What a worker's process knows."""

    make: "Make[Any, Any]"
    shares: Any
    """Those of all workers."""
    number: int
    work: "Work[Any, Any] | None" = None


_WORKERS: list[_Worker] = []
"""In a worker's process: that one."""


def _begin(make: "Make[Any, Any]", shares: Any, worker: int, parent: int) -> None:
    """The beginning of a worker's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _WORKERS.append(_Worker(make, shares, worker))


def _work(task: Any) -> Any:
    (own,) = _WORKERS

    def show(share: float) -> None:
        own.shares[own.number] = share

    own.work = own.work or own.make()
    return own.work(task, show)


def _end_with(parent: int) -> None:
    """End this process where the first one is gone: it may have been killed."""
    while os.getppid() == parent:
        time.sleep(WATCH)
    os._exit(1)
