"""What networks measured of paintings, kept in the user's cache: the next picture starts sooner.

A file's name is a fingerprint of everything that the numbers depend on, so that nothing is ever out
of date; what is measured anew has the same bits. The files read last are kept, 500 MB in all, or as
many MB as $IMPASTO_CACHE_MB says; 0 keeps nothing. Where the disk refuses, paintings are measured.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from impasto import fingerprint, weights
from impasto.errors import PictureError, SettingError
from impasto.images import make_folder, paintings, write_bytes

VERSION = 3  # of the numbers: raise it where the same painting is measured otherwise
LIMIT = 500  # MB
DIGEST = "digest"  # the entry with the SHA-256 of all others

Tensors = dict[str, Tensor]


def tensors(
    words: str,
    inputs: Mapping[str, Tensor | None],
    measure: Callable[[], Tensors],
    painting: str | None = None,
) -> Tensors:
    """What `measure` makes of the inputs, all on the CPU; out of the cache if it is there.

    `words` say everything else that the numbers depend on: the network, its layers and number
    format. `painting` is the name of the painting, if it has one. The version of PyTorch, the
    processor's instructions and the number of threads count, too: other ones round differently.
    """
    if not limit():
        return _contiguous(measure())
    file = folder() / _name(words, inputs, painting)
    found = _read(file)
    if found is None:
        found = _contiguous(measure())
        _write(file, found)
    return found


def folder() -> Path:
    """Where it is kept: a folder in $IMPASTO_CACHE or the user's cache."""
    return weights.cache_folder() / "styles"


def limit() -> float:
    """How many bytes are kept. SettingError for an $IMPASTO_CACHE_MB that is no number."""
    text = os.environ.get("IMPASTO_CACHE_MB") or str(LIMIT)
    if not text.strip().isdecimal():
        raise SettingError(f"IMPASTO_CACHE_MB is {text!r}: give whole megabytes, 0 for no cache")
    return int(text) * 1e6


def size() -> int:
    """The bytes that are kept now."""
    return sum(bytes for _, bytes, _ in _files())


def remove(painting: str) -> None:
    """Delete what is kept of a painting by its name; what cannot be deleted stays."""
    for _, _, file in _files():
        if file.name.startswith(f"{painting}."):
            with suppress(OSError):
                file.unlink()


def _name(words: str, inputs: Mapping[str, Tensor | None], painting: str | None) -> str:
    """The name of the file: of a painting that has a name that, too, so that `remove` finds it."""
    given = {name: value for name, value in inputs.items() if value is not None}
    shapes = [(name, tuple(value.shape)) for name, value in given.items()]
    capability = torch.backends.cpu.get_cpu_capability()
    machine = f"{torch.__version__} {capability} {torch.get_num_threads()}"
    key = fingerprint.sha256(f"{VERSION} {machine} {words} {shapes}", *given.values())[:32]
    named = painting is not None and paintings.is_painting(painting)
    return f"{painting}.{key}.safetensors" if named else f"{key}.safetensors"


def _read(file: Path) -> Tensors | None:
    """What a file holds; None if it is not there, or is not as it was written."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    with suppress(OSError, SafetensorError, KeyError, ValueError):
        stored = load(file.read_bytes())
        digest = bytes(stored.pop(DIGEST).tolist())
        if digest == _digest(stored):
            with suppress(OSError):
                os.utime(file)  # what was read last goes last
            # copies: tensors in a file's bytes lie where processors may add up otherwise
            return {name: value.clone() for name, value in stored.items()}
    return None


def _write(file: Path, found: Tensors) -> None:
    """Keep this, and drop the oldest beyond the limit, where the disk allows."""
    from safetensors.torch import save

    with suppress(OSError, PictureError):
        make_folder(file.parent)
        digest = torch.tensor(list(_digest(found)), dtype=torch.uint8)
        write_bytes(save(found | {DIGEST: digest}), file)
        _tidy()


def _digest(found: Tensors) -> bytes:
    """The SHA-256 of tensors with their names, shapes and types."""
    parts: list[str | Tensor] = []
    for name, value in sorted(found.items()):
        parts += [f"{name} {tuple(value.shape)} {value.dtype}", value.reshape(-1).view(torch.uint8)]
    return bytes.fromhex(fingerprint.sha256(*parts))


def _tidy() -> None:
    """Delete those that were not read for longest, until the limit is kept."""
    files = sorted(_files())
    over = sum(bytes for _, bytes, _ in files) - limit()
    for _, bytes, file in files:
        if over <= 0:
            break
        with suppress(OSError):
            file.unlink()
        over -= bytes


def _files() -> list[tuple[float, int, Path]]:
    """When each file was read last, its bytes, and where it is."""
    found = []
    with suppress(OSError):
        for file in folder().glob("*.safetensors"):
            with suppress(OSError):  # another process may delete it
                facts = file.stat()
                found.append((facts.st_mtime, facts.st_size, file))
    return found


def _contiguous(found: Tensors) -> Tensors:
    """The same numbers, each tensor laid out as `_read` makes it."""
    plain = torch.contiguous_format
    return {name: value.detach().clone(memory_format=plain) for name, value in found.items()}
