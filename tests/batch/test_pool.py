"""Processes that do tasks: all are done, whoever is killed on the way."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import workers
from impasto.batch.pool import TRIES, Begun, Done, Event, Failed, LocalPool, Tick, work_off


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deaths").mkdir()
    return tmp_path


def done(tasks: list[Any], count: int = 1) -> list[Event]:
    return [
        e for e in work_off(LocalPool([workers.make] * count), tasks) if not isinstance(e, Tick)
    ]


def test_all_tasks_are_done_by_all_members() -> None:
    events = done(list(range(8)), 2)
    begun = [event.task for event in events if isinstance(event, Begun)]
    found = {e.task: e.result for e in events if isinstance(e, Done)}
    assert begun == list(range(8))
    assert {task: result[0] for task, result in found.items()} == {n: n * n for n in range(8)}
    assert len({pid for _, pid in found.values()}) == 2
    assert os.getpid() not in {pid for _, pid in found.values()}


def test_what_a_task_raises_ends_it_alone() -> None:
    events = done([("raise", "two\nlines"), 3])
    (failed,) = (e for e in events if isinstance(e, Failed))
    assert failed.error == "ValueError: two lines (not foreseen)"
    assert [e.task for e in events if isinstance(e, Done)] == [3]


def test_tools_that_cannot_be_made_fail_each_task() -> None:
    events = list(work_off(LocalPool([workers.broken]), [1, 2]))
    found = [event.error for event in events if isinstance(event, Failed)]
    assert found == ["RuntimeError: no tools (not foreseen)"] * 2


def test_a_task_whose_member_is_killed_is_done_by_another(folder: Path) -> None:
    task = ("die", str(folder / "deaths"), TRIES - 1)
    events = done([task, 2])
    assert {repr(e.task): e.result for e in events if isinstance(e, Done)}[repr(task)] == "alive"
    assert [e.task for e in events if isinstance(e, Begun)] == [task, 2, task, task]


def test_a_task_that_kills_every_member_is_given_up(folder: Path) -> None:
    events = done([("die", str(folder / "deaths"), 99), 2])
    (failed,) = (e for e in events if isinstance(e, Failed))
    assert failed.error.startswith("the process that painted it was killed (is memory short?)")
    assert len(list((folder / "deaths").iterdir())) == TRIES
    assert [e.task for e in events if isinstance(e, Done)] == [2]


def until(file: Path) -> int:
    """The number of the process that waits, once it does."""
    while not (file.exists() and file.read_text()):
        time.sleep(0.02)
    return int(file.read_text())


def test_ticks_tell_how_far_each_is_and_a_closed_pool_ends_its_members(folder: Path) -> None:
    events = work_off(LocalPool([workers.make]), [("wait", str(folder / "waits"))])
    assert isinstance(next(events), Begun)
    for event in events:
        if isinstance(event, Tick) and event.shares == (0.5,):
            break
    pid = until(folder / "waits")
    assert psutil.pid_exists(pid)
    events.close()  # type: ignore[attr-defined]
    assert not psutil.pid_exists(pid)


def test_members_are_deaf_to_ctrl_c() -> None:
    (found,) = (e.result for e in done([("signal",)]) if isinstance(e, Done))
    assert found is True
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_members_have_their_threads_and_this_process_its_own() -> None:
    before = os.environ.get("OMP_NUM_THREADS")
    (found,) = (
        event.result
        for event in work_off(LocalPool([workers.make], 3), [("threads",)])
        if isinstance(event, Done)
    )
    assert found == "3"
    assert os.environ.get("OMP_NUM_THREADS") == before


SCRIPT = """
import sys
import workers
from impasto.batch.pool import LocalPool, work_off
if __name__ == "__main__":
    for event in work_off(LocalPool([workers.make]), [("wait", sys.argv[1])]):
        pass
"""


@pytest.fixture
def driver(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    (folder / "driver.py").write_text(SCRIPT)
    path = os.pathsep.join([str(Path(workers.__file__).parent), *sys.path])
    process = subprocess.Popen(
        [sys.executable, folder / "driver.py", folder / "waits"],
        env=os.environ | {"PYTHONPATH": path},
    )
    yield process
    process.kill()
    process.wait()


def test_members_end_with_a_driver_that_was_killed(
    folder: Path, driver: subprocess.Popen[bytes]
) -> None:
    pid = until(folder / "waits")
    driver.kill()
    driver.wait()
    psutil.Process(pid).wait() if psutil.pid_exists(pid) else None
