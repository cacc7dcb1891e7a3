"""The house: every module has its floor, every package its tests, every shape its check."""

import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError

import impasto
from small import ROOT

SOURCE = ROOT / "src" / "impasto"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PACKAGES = sorted(folder.parent.name for folder in SOURCE.glob("*/__init__.py"))
TORCHLESS = {"batch", "cli", "settings", "studio"}  # packages without a tensor in their signatures


def test_the_packages_and_their_size() -> None:
    """21 packages, about nine modules in each (commands apart), five files beside them."""
    assert len(PACKAGES) == 21
    for name in PACKAGES:
        modules = [file for file in (SOURCE / name).glob("*.py") if file.name != "__init__.py"]
        assert 2 <= len(modules) <= 10, name
    assert len(list(SOURCE.glob("*.py"))) == 5


def test_the_architecture_names_every_package_and_floor() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    for name in PACKAGES:
        assert re.search(rf"^ +{name}/ +\w", page, re.M), name
    contract = PYPROJECT["tool"]["importlinter"]["contracts"][0]
    floors = [line.strip() for line in page.split("## The floors")[1].splitlines()]
    for layer in contract["layers"]:
        if layer != "__main__":
            assert layer in floors


def test_the_ten_hops_are_real() -> None:
    """Every file and name that ARCHITECTURE.md gives for the way of a picture is there."""
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    for file in re.findall(r"`([\w/]+\.py)`", page):
        assert (SOURCE / file).is_file(), file
    for dotted in re.findall(r"`((?:scene|painting|objective|optimizers|machine)\.\w+)", page):
        package, name = dotted.split(".")
        module = importlib.import_module(f"impasto.{package}")
        home = hasattr(module, name) or any(
            hasattr(importlib.import_module(f"impasto.{package}.{file.stem}"), name)
            for file in (SOURCE / package).glob("*.py")
        )
        assert home or dotted == "scene.at", dotted


def test_each_package_has_tests() -> None:
    for name in PACKAGES:
        assert list((ROOT / "tests" / name).glob("test_*.py")), name


def test_a_module_outside_the_floors_is_refused(tmp_path: Path) -> None:
    """lint-imports fails on a copy of the source with one package more, and on an arrow up."""
    shutil.copytree(SOURCE, tmp_path / "impasto", ignore=shutil.ignore_patterns("data", "*.pyc"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)

    def lint() -> subprocess.CompletedProcess[str]:
        code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
        words = [sys.executable, "-c", code, "--no-cache"]
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)

    whole = lint()
    assert whole.returncode == 0, whole.stdout + whole.stderr
    (tmp_path / "impasto" / "attic.py").write_text('"""No floor has it."""\n')
    assert "attic" in lint().stdout
    (tmp_path / "impasto" / "attic.py").unlink()
    (tmp_path / "impasto" / "losses" / "up.py").write_text("from impasto.networks import vgg\n")
    found = lint()
    assert found.returncode != 0
    assert "impasto.losses" in found.stdout


def test_shapes_are_checked_in_each_package() -> None:
    """The canary: jaxtyping's hook wrapped the functions of every package that takes tensors.

    `--jaxtyping-packages` names packages by hand, and a package that it forgets is not checked.
    """
    option = PYPROJECT["tool"]["pytest"]["ini_options"]["addopts"]
    hooked = re.search(r"--jaxtyping-packages=(\S+)", option)
    assert hooked is not None
    names = {name.removeprefix("impasto.") for name in hooked[1].split(",")[:-1]}
    assert set(PACKAGES) - TORCHLESS <= names


@pytest.mark.parametrize("package", sorted(set(PACKAGES) - TORCHLESS))
def test_a_wrong_shape_fails(package: str, tmp_path: Path) -> None:
    """A canary module of each package, imported as the package's modules are, refuses a shape."""
    name = f"impasto.{package}.canary"
    file = tmp_path / "canary.py"
    file.write_text(
        "from jaxtyping import Float\nfrom torch import Tensor\n\n\n"
        'def sing(x: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "1 3 h w"]:\n    return x\n'
    )
    module = importlib.import_module(f"impasto.{package}")
    module.__path__.append(str(tmp_path))
    try:
        canary = importlib.import_module(name)
        canary.sing(torch.zeros(1, 3, 2, 2))
        with pytest.raises(TypeCheckError):
            canary.sing(torch.zeros(3, 2, 2))
    finally:
        module.__path__.remove(str(tmp_path))
        sys.modules.pop(name, None)
        vars(module).pop("canary", None)


def test_public_names_are_there() -> None:
    for name in impasto.__all__:
        assert getattr(impasto, name) is not None
    assert set(dir(impasto)) >= {"__version__"}
    with pytest.raises(AttributeError, match="no attribute 'stylise'"):
        _ = impasto.stylise
