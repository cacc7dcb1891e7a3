"""Fingerprints: how a recipe names the pictures, networks and files that it was made with.

A fingerprint is a SHA-256 in hexadecimal; recipes keep the first 16 digits of it.
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

DIGITS = 16  # of a SHA-256 that recipes keep: two pictures share them once in 10^19 pairs


def sha256(*parts: "bytes | str | Tensor") -> str:
    """The SHA-256 of bytes, texts (as UTF-8) and tensors (their values, row by row), in order."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            digest.update(part.encode())
        elif isinstance(part, bytes):
            digest.update(part)
        else:
            digest.update(part.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def short(*parts: "bytes | str | Tensor") -> str:
    """The first 16 digits of `sha256`, as recipes keep them."""
    return sha256(*parts)[:DIGITS]


def of_file(path: Path) -> str:
    """The SHA-256 of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
