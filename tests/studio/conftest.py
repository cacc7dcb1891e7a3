"""One painter for all tests of a module, and small jobs for it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from impasto.studio.jobs import Job
from impasto.studio.queue import Atelier

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
