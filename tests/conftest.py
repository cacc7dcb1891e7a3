"""What the tests share: the real network, loaded once, and small pictures made here."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image
from torch import Tensor

from impasto.networks import vgg
from small import EXAMPLES

# no test depends on how fast the machine is
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
# Workers side by side share the cores: two threads each would fight. Commands that tests start in
# processes of their own read the environment.
THREADS = 1 if "PYTEST_XDIST_WORKER" in os.environ else 2
os.environ |= {"OMP_NUM_THREADS": str(THREADS), "MKL_NUM_THREADS": str(THREADS)}
torch.set_num_threads(THREADS)


@pytest.fixture(scope="session", autouse=True)
def _nothing_at_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No library of paintings, and nothing kept of paintings, where a test does not ask for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMPASTO_DATA", str(tmp_path_factory.getbasetemp() / "no-data"))
        patch.setenv("IMPASTO_CACHE_MB", "0")
        yield


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library of one's own paintings, empty."""
    monkeypatch.setenv("IMPASTO_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "paintings"


@pytest.fixture
def kept_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what is measured of paintings, empty, with a cache of 500 MB."""
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("IMPASTO_CACHE_MB", "500")
    return tmp_path / "cache" / "styles"


@pytest.fixture(scope="session")
def network() -> vgg.VGG:
    """VGG-19 in float32 with zero padding, all layers."""
    return vgg.load("vgg19", padding="zero")


@pytest.fixture(scope="session")
def astronaut() -> torch.Tensor:
    """The upper left 64x64 px of the astronaut."""
    with Image.open(EXAMPLES / "astronaut.jpg") as image:
        pixels = np.asarray(image.convert("RGB"))[:64, :64].copy()
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo of 96x64 px on disk."""
    path = tmp_path_factory.mktemp("photos") / "photo.png"
    with Image.open(EXAMPLES / "china.jpg") as image:
        image.convert("RGB").resize((96, 64)).save(path)
    return path


@pytest.fixture
def impasto(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process: its exit status, stdout and stderr."""
    from impasto.cli import main

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of its own for what is measured of paintings."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMPASTO_CACHE", str(folder))
        patch.setenv("IMPASTO_CACHE_MB", "500")
        yield folder


@pytest.fixture(scope="session")
def batch() -> Tensor:
    """Six different pictures, 32x32 px, uint8."""
    names = ("astronaut", "chelsea", "china", "coffee", "flower", "rocket")
    found = []
    for name in names:
        with Image.open(EXAMPLES / f"{name}.jpg") as image:
            found.append(np.asarray(image.convert("RGB").resize((32, 32))).copy())
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).contiguous()
