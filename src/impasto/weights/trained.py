"""Networks that were trained to paint in one style: their files, and those that ship."""

import os
from importlib.resources import files
from pathlib import Path

NETWORK = ".safetensors"  # the suffix of a network that was trained to paint in one style


def networks() -> list[str]:
    """The names of the networks that ship: a painting's and `.safetensors`."""
    folder = _networks()
    return sorted(file.name for file in folder.glob(f"*{NETWORK}")) if folder.is_dir() else []


def network_path(name: str | os.PathLike[str]) -> Path:
    """The file of a network: the one of that name, or else the one that ships."""
    built_in, path = _networks() / Path(name).name, Path(os.path.expanduser(name))  # noqa: PTH111
    return built_in if str(name) in networks() and not path.exists() else path


def is_network(source: object) -> bool:
    """True for what names a trained network: a file of that suffix, or one that ships."""
    return isinstance(source, str | os.PathLike) and Path(source).suffix == NETWORK


def _networks() -> Path:
    return Path(str(files("impasto"))) / "data" / "networks"
