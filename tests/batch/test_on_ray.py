"""The same batch by actors of a Ray that is started here."""

import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import impasto
import workers
from impasto.batch.on_ray import RayPool
from impasto.batch.pool import TRIES, Begun, Done, Event, Failed, Tick, work_off
from impasto.errors import SettingError
from impasto.settings import settings_for
from small import EXAMPLES, Run

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning"
)


@pytest.fixture(autouse=True)
def _with_these_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Actors find what the tests import."""
    monkeypatch.setenv("PYTHONPATH", str(Path(workers.__file__).parent), prepend=os.pathsep)


def test_actors_do_all_tasks_and_are_replaced_when_they_are_killed(tmp_path: Path) -> None:
    tasks: list[Any] = [1, ("die", str(tmp_path / "few"), TRIES - 1), ("raise", "no\nmore"), 2]
    tasks.append(("die", str(tmp_path / "many"), 99))
    for name in ("few", "many"):
        (tmp_path / name).mkdir()
    pool = RayPool(lambda _: workers.make, "local", 1, 2, gpus=False)
    assert pool.workers == min(2, impasto.machine.cores())
    events: list[Event] = [e for e in work_off(pool, tasks) if not isinstance(e, Tick)]
    assert [e.task for e in events if isinstance(e, Begun)] == tasks
    found = {repr(e.task): e.result for e in events if isinstance(e, Done)}
    assert (found["1"][0], found["2"][0]) == (1, 4)
    assert found[repr(tasks[1])] == "alive"
    failed = {repr(e.task): e.error for e in events if isinstance(e, Failed)}
    assert failed[repr(tasks[2])] == "ValueError: no more (not foreseen)"
    assert "was lost 3 times" in failed[repr(tasks[4])]
    assert len(list((tmp_path / "many").iterdir())) == TRIES


def test_a_batch_on_ray_has_the_same_bytes(tmp_path: Path) -> None:
    settings = settings_for(preset="instant", size=48, threads=1)
    paint = partial(impasto.stylize_all, EXAMPLES / "china.jpg", "great-wave", settings=settings)
    before = signal.getsignal(signal.SIGTERM)
    (row,) = paint(output=tmp_path / "ray", ray="local")
    name = "china-great-wave.png"
    single = impasto.stylize(EXAMPLES / "china.jpg", "great-wave", settings)
    assert (tmp_path / "ray" / name).read_bytes() == single.encoded("PNG")
    assert row["output"] == name
    assert signal.getsignal(signal.SIGTERM) == before
    assert list(paint(output=tmp_path / "ray")) == [], "the manifest is the same, too"


def test_a_cluster_that_is_not_there_is_told() -> None:
    with pytest.raises(SettingError, match=r"reached at '127\.0\.0\.1:1' \(.*or use local"):
        RayPool(lambda _: workers.make, "127.0.0.1:1", 1, 2, gpus=False)


def test_one_picture_by_several_machines(impasto: Run, tmp_path: Path) -> None:
    """Two members on Ray paint what two processes paint."""
    words = ["stylize", EXAMPLES / "astronaut.jpg", "great-wave", "-q", "--device", "cpu,cpu"]
    words += ["--size", 128, "--coarsest", 0, "--steps", 2, "--threads", 1, "-o"]
    assert impasto(*words, tmp_path / "ray.png", "--ray", "local") == (0, "", "")
    assert impasto(*words, tmp_path / "here.png") == (0, "", "")
    assert (tmp_path / "ray.png").read_bytes() == (tmp_path / "here.png").read_bytes()


def test_one_device_needs_no_cluster(impasto: Run, tmp_path: Path) -> None:
    words = "stylize", EXAMPLES / "astronaut.jpg", "great-wave", "--device", "cpu"
    status, _, err = impasto(*words, "--ray", "local", "-o", tmp_path / "out.png")
    assert status == 2
    assert "device is cpu: name one for each machine" in err
