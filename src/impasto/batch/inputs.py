"""The photos of a batch: files, folders with all that lies in them, patterns, addresses."""

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from impasto.batch import storage
from impasto.errors import PictureError
from impasto.images.files import exists, expanded, is_folder, reason
from impasto.images.folder import SUFFIXES, files_under


@dataclass(frozen=True)
class Photo:
    """A photo of a batch: where it is, and its name below the folder that was asked for, with /."""

    source: str
    name: str

    @property
    def fields(self) -> dict[str, str]:
        """What the patterns of a batch may say of it."""
        path = PurePosixPath(self.name)
        folder = "" if path.parent == PurePosixPath() else f"{path.parent}"
        return {"stem": path.stem, "suffix": path.suffix.removeprefix("."), "folder": folder}


@dataclass(frozen=True)
class Unread:
    """What cannot be read among the inputs, and why."""

    source: str
    error: str


def photos_of(inputs: Iterable[str | os.PathLike[str]], leave_out: str) -> list[Photo | Unread]:
    """All photos, each once, and what cannot be read, in order of the inputs and by name.

    inputs: files; folders, with all pictures in them and below; patterns with * ? [ ] (** is any
    number of folders); addresses. `leave_out` is the output: what lies in it is no photo. Raises
    PictureError for an input that is not there.
    """
    found: dict[str, Photo | Unread] = {}
    away = os.path.realpath(expanded(leave_out)) if not storage.is_address(leave_out) else None
    for given in inputs:
        name = os.fspath(given)
        if not name.strip():
            raise PictureError("the name of an input is empty: name a photo or a folder")
        some = _of_address(name) if storage.is_address(name) else _of_path(name)
        before = len(found)
        for one in some:
            if away is None or not _is_inside(one.source, away):
                found.setdefault(one.source, one)
        if len(found) == before and not _known(name, found):
            raise PictureError(f"{name} has no pictures: name photos, or folders of photos")
    return list(found.values())


def _known(name: str, found: dict[str, Photo | Unread]) -> bool:
    """Whether an input gave nothing because all of it was there before."""
    return not storage.is_address(name) and os.path.abspath(expanded(name)) in found  # noqa: PTH100


def _of_path(name: str) -> Iterator[Photo | Unread]:
    path = expanded(name)
    if is_folder(path):
        yield from _of_folder(path)
    elif exists(path) or path.is_symlink():
        yield _photo(path, path.name)
    elif glob.has_magic(name):
        yield from _of_pattern(str(path))
    else:
        raise PictureError(f"there is no photo and no folder {name}: check the name")


def _of_folder(folder: Path) -> Iterator[Photo | Unread]:
    """The pictures below a folder, by name; hidden ones are left out."""
    failed: list[OSError] = []
    names = sorted(files_under(folder, failed.append))
    for name in names:
        hidden = any(part.startswith(".") for part in name.parts)
        if name.suffix.lower() in SUFFIXES and not hidden:
            yield _photo(folder / name, name.as_posix())
    for error in failed:
        yield Unread(str(error.filename), f"cannot read the folder ({reason(error)})")


def _of_pattern(pattern: str) -> Iterator[Photo | Unread]:
    """The files that a pattern means, each called as below the folder before the first wildcard."""
    root = storage.fixed_part(pattern) or ("/" if pattern.startswith("/") else ".")
    for name in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - any root
        path = Path(name)
        if not is_folder(path):
            yield _photo(path, os.path.relpath(path, root).replace(os.sep, "/"))


def _of_address(address: str) -> Iterator[Photo]:
    single = PurePosixPath(address).suffix.lower() in SUFFIXES and "*" not in address
    root = address.rpartition("/")[0] if single else storage.fixed_part(address)
    for name in storage.files_under(address):
        if PurePosixPath(name).suffix.lower() in SUFFIXES:
            yield Photo(storage.joined(root, name), name)


def _photo(path: Path, name: str) -> Photo | Unread:
    """A photo, or why it is none: what is no file may never end."""
    source = os.path.abspath(path)  # noqa: PTH100 - resolves no links
    if path.is_file():
        return Photo(source, name)
    is_link = path.is_symlink() and not exists(path)
    why = "a link that leads nowhere" if is_link else "neither a file nor a folder"
    return Unread(source, f"{path.name} is {why}: name a picture")


def _is_inside(source: str, folder: str) -> bool:
    if storage.is_address(source):
        return False
    real = os.path.realpath(source)
    return real == folder or real.startswith(folder.rstrip(os.sep) + os.sep)
