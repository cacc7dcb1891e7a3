"""What the workers of the pools under test do, in processes of their own."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Show = Callable[[float], None]


def make() -> Callable[[Any, Show], Any]:
    return work


def broken() -> Callable[[Any, Show], Any]:
    raise RuntimeError("no tools")


def work(task: Any, show: Show) -> Any:
    """Square a number; or do what a word says."""
    show(0.5)
    match task:
        case int():
            return task * task, os.getpid()
        case ("raise", words):
            raise ValueError(words)
        case ("die", folder, times):  # so many times, then no more
            deaths = Path(folder)
            if len(list(deaths.iterdir())) < times:
                (deaths / str(time.time_ns())).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return "alive"
        case ("wait", file):
            Path(file).write_text(str(os.getpid()))
            while Path(file).exists():
                time.sleep(0.02)
            return "waited"
        case ("threads",):
            return os.environ["OMP_NUM_THREADS"]
        case ("signal",):
            ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
            return ignored and signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    raise AssertionError(task)


class Here:
    """A pool whose one worker is this process: quick, as nothing is spawned."""

    workers = 1

    def __init__(self, make: Callable[[], Callable[[Any, Show], Any]]) -> None:
        self.make, self.results, self.closed = make, [], False

    def give(self, worker: int, task: Any) -> None:
        try:
            result = self.make()(task, lambda _: None)
        except Exception as error:
            result = error
        self.results = [(worker, result)]

    def ended(self, _: float) -> list[tuple[int, Any]]:
        found, self.results = self.results, []
        return found

    def shares(self) -> list[float]:
        return [0.0]

    def close(self) -> None:
        self.closed = True
