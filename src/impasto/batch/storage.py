"""Where a batch reads and writes: folders of this machine, and addresses such as s3://bucket/out.

Addresses are those of fsspec, which needs a package more for most kinds: s3fs, gcsfs, adlfs.
Files are written under another name first, and moved to their own: no reader sees half a file.
"""

import os
import uuid
from pathlib import Path
from typing import Any

from impasto import fingerprint, images
from impasto.errors import PictureError
from impasto.images.files import URL, expanded, reason

PART = ".impasto-{}.part"  # the name that a file has while it is written


def is_address(name: str) -> bool:
    """Whether a name is an address, and no file of this machine."""
    return "://" in name and bool(URL.match(name))


def joined(folder: str, name: str) -> str:
    """The name of a file in a folder or under an address; `name` has / between its parts."""
    if is_address(folder):
        return f"{folder.rstrip('/')}/{name}"
    return str(Path(folder, name))


def read(name: str) -> bytes:
    """What a file holds. PictureError where it cannot be read."""
    try:
        if not is_address(name):
            return expanded(name).read_bytes()
        system, path = _system_of(name)
        found: bytes = system.cat_file(path)
        return found
    except (OSError, ValueError) as error:
        raise PictureError(f"cannot read {name} ({_why(error)}): check the name") from None


def write(data: bytes, name: str) -> None:
    """Write a file whole or not at all, and the folders it lies in. PictureError where that cannot
    be."""
    if not is_address(name):
        here = expanded(name)
        images.make_folder(here.parent)
        images.write_bytes(data, here)
        return
    system, path = _system_of(name)
    folder = path.rpartition("/")[0]
    part = f"{folder}/{PART.format(uuid.uuid4().hex)}"
    try:
        system.makedirs(folder, exist_ok=True)
        system.pipe_file(part, data)
        system.mv(part, path)
    except (OSError, ValueError) as error:
        raise PictureError(
            f"cannot write {name} ({_why(error)}): name another place with -o"
        ) from None


def digest(name: str) -> str | None:
    """What is the same as long as a file is: the SHA-256 of a file here, what the system of an
    address has for it; None where there is no such file."""
    try:
        if not is_address(name):
            return fingerprint.of_file(expanded(name))
        system, path = _system_of(name)
        return fingerprint.sha256(str(system.checksum(path)))
    except (OSError, ValueError):
        return None


def exists(name: str) -> bool:
    """Whether there is such a file."""
    if not is_address(name):
        return os.path.exists(expanded(name))  # noqa: PTH110 - no error, whatever the name
    system, path = _system_of(name)
    return bool(system.exists(path))


def files_under(address: str) -> list[str]:
    """The names of all files under an address, or those that match it, relative to the part of it
    before the first wildcard; that of one file is relative to the folder it lies in.

    PictureError for an address that cannot be read.
    """
    system, path = _system_of(address)
    try:
        if any(sign in path for sign in "*?["):
            found = [name for name in system.glob(path) if system.isfile(name)]
        elif system.isfile(path):
            return [path.rpartition("/")[2]]
        else:
            found = system.find(path) if system.exists(path) else []
    except (OSError, ValueError) as error:
        raise PictureError(f"cannot read {address} ({_why(error)}): check the name") from None
    root = system._strip_protocol(fixed_part(address)).rstrip("/")
    return sorted(name[len(root) :].lstrip("/") for name in found)


def fixed_part(pattern: str) -> str:
    """The folder or address before the first wildcard of a pattern; all of it where it has none."""
    for at, sign in enumerate(pattern):
        if sign in "*?[":
            return pattern[:at].rpartition("/")[0]
    return pattern


def _system_of(address: str) -> tuple[Any, str]:
    """The file system of an address and the path there. PictureError where it is not known."""
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError, OSError) as error:
        raise PictureError(
            f"cannot reach {address} ({_why(error)}): use a folder, or install what it asks for"
        ) from None
    return system, path


def _why(error: Exception) -> str:
    known = isinstance(error, OSError | ValueError)
    return " ".join((reason(error) if known else str(error)).split())  # type: ignore[arg-type]
