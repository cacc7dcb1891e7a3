"""One painter for all tests of a module, and small jobs for it."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from impasto.studio import desk
from impasto.studio.jobs import Event, Job, Still, Waiting, paint
from impasto.studio.queue import Atelier
from impasto.studio.uploads import Limits

TINY: dict[str, Any] = {
    "size": 48, "coarsest": 0, "steps": 3, "detail_steps": 0, "matching_weight": 0,
    "style_layers": "relu1_1,relu2_1", "content_layers": "relu2_1",
    "precision": "float32",
}  # fmt: skip
"""A picture of three short steps, by the first layers of the network alone."""
JobMaker = Callable[..., Job]


@pytest.fixture(scope="session")
def painter_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What is measured of paintings goes here, whichever test asks first."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMPASTO_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def atelier(painter_cache: Path) -> Iterator[Atelier]:
    with Atelier(device="cpu", threads=1) as made:
        assert made.ready.wait(120)
        yield made


@pytest.fixture
def job(photo: Path, tmp_path: Path) -> JobMaker:
    """A job of three steps at 48 px; what it may be instead, by name."""

    def make(name: str = "picture", **given: Any) -> Job:
        changes = TINY | given.pop("changes", {})
        target = tmp_path / f"{name}.png"
        return Job(photo, ("great-wave",), changes, target, **given)

    return make


class Inline:
    """A painter within this process, for what is no matter of processes."""

    def __init__(self, **_: Any) -> None:
        self.pace, self.asked, self.forgotten = 0.1, list[Job](), list[str]()
        self.stopped, self.busy = False, set[str]()

    def paint(self, _: str, job: Job, every: float | None = None) -> Iterator[Event]:
        self.asked.append(job)
        yield Still() if every else Waiting(1)
        yield from paint(job, lambda: self.stopped)

    def is_painting(self, visitor: str) -> bool:
        return visitor in self.busy

    def stop(self, _: str, quick: bool | None = None) -> None:
        self.stopped = not quick  # instant ones are over before they could be stopped

    def forget(self, visitor: str) -> None:
        self.forgotten.append(visitor)

    def close(self) -> None:
        pass


@pytest.fixture
def studio(
    monkeypatch: pytest.MonkeyPatch, painter_cache: Path, tmp_path: Path
) -> Iterator[desk.Desk]:
    """A desk with a painter of this process, and limits of 2 MB, 1 million pixels and 128 px; all
    temporary files lie below `tmp_path`."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(desk, "Atelier", Inline)
    with desk.Desk(Limits(2_000_000, 1_000_000, 128)) as made:
        yield made
