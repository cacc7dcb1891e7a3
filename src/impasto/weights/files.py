"""Files of weights: where they are, what is in them, whether they are as they were recorded.

A file of weights is safetensors: each convolution as `conv1_1.weight` (fp16) and `conv1_1.bias`
(float32), fully connected layers alike as `fc6` ... `fc8`, and `mean` (3,), what is subtracted from
an RGB picture in [0, 1] before the first convolution. Everything else of a network's preprocessing
(channel order, the factor 255, the division by the standard deviation) is folded into conv1_1,
which changes nothing at the borders: zero padding happens after the mean is gone, in impasto as in
the original networks.
"""

import os
import tempfile
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from impasto import fingerprint
from impasto.weights.catalogue import entry

if TYPE_CHECKING:
    from torch import Tensor

State = Literal["ok", "absent", "damaged"]


def cache_folder() -> Path:
    """Where downloaded weights are kept: $IMPASTO_CACHE, or the user's cache folder; for a user
    without a home, a folder among the temporary ones."""
    if chosen := os.environ.get("IMPASTO_CACHE"):
        return Path(chosen)
    from platformdirs import user_cache_path

    with suppress(RuntimeError):
        found = user_cache_path("impasto", appauthor=False)
        if found.is_absolute():  # not ~/.cache, as older platformdirs have it
            return found
    return Path(tempfile.gettempdir()) / "impasto-cache"


def path(name: str) -> Path:
    """Where the file of these weights is, or would be once downloaded."""
    wanted = entry(name)
    if wanted.ships:
        return Path(str(files("impasto"))) / "data" / "weights" / wanted.file
    return cache_folder() / wanted.file


def verify(name: str) -> State:
    """Whether the file is there and its SHA-256 is the one recorded when it was made."""
    where = path(name)
    if not where.is_file():
        return "absent"
    return "ok" if fingerprint.of_file(where) == recorded(name) else "damaged"


def recorded(name: str) -> str:
    """The SHA-256 that these weights had when their file was made; "" if nobody noted it."""
    return entry(name).sha256 or _recorded(path(name))


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


def note(where: Path) -> None:
    """Record the SHA-256 of a downloaded file beside it."""
    _note(where).write_text(fingerprint.of_file(where) + "\n", encoding="ascii")


def _note(where: Path) -> Path:
    return where.with_suffix(".sha256")


def _recorded(where: Path) -> str:
    note = _note(where)
    return note.read_text(encoding="ascii").strip() if note.is_file() else ""
