"""The pictures in a folder."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.errors import PictureError
from impasto.images.files import is_folder, path_of
from impasto.images.paintings import is_painting

if TYPE_CHECKING:
    from impasto.images.picture import Picture
    from impasto.images.reading import Source

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif",
    ".heic", ".heif", ".ppm", ".pgm",
)  # fmt: skip
"""Of the files in a folder that are pictures."""


def pictures_in(folder: Path, deep: bool = False) -> list[Path]:
    """The files in a folder that are called as pictures are, by name, relative to the folder.

    `deep`: those in folders inside it, too, also behind links, each folder once. Hidden ones are
    left out. Raises PictureError for a folder that cannot be read.
    """
    try:
        files = [Path(file.name) for file in folder.iterdir()]
    except OSError as error:
        raise PictureError(
            f"cannot read the folder {folder} ({error.strerror or error}): name another"
        ) from None
    found = files_under(folder) if deep else files
    return sorted(
        path
        for path in found
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.parts)
        and (folder / path).is_file()
    )


def files_under(folder: Path, failed: Callable[[OSError], None] = lambda _: None) -> Iterator[Path]:
    """All files under a folder, relative to it: first those that lie there, then those behind
    links to folders that were not seen yet. A link to a folder around it leads nowhere.

    `failed` is told of folders that cannot be read, which are left out.
    """
    seen: set[str] = set()
    waiting = [folder]
    while waiting:
        for root, folders, names in os.walk(waiting.pop(0), onerror=failed):
            real = os.path.realpath(root)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            folders.sort()
            inside = [Path(root, name) for name in folders]
            waiting += [path for path in inside if path.is_symlink() and not _is_around(path)]
            yield from (Path(root, name).relative_to(folder) for name in names)


def _is_around(link: Path) -> bool:
    """True for a link to a folder that it lies in."""
    return Path(os.path.realpath(link)) in Path(os.path.realpath(link.parent), ".").parents


def sources(source: "Source | Picture") -> "list[Source | Picture]":
    """What a style is made of: the pictures of a folder, by name, or the one thing it is.

    The name of a painting is no folder's: ./NAME means the folder. Raises PictureError for
    a folder without pictures.
    """
    if not isinstance(source, str | os.PathLike):
        return [source]
    folder = path_of(source)
    if not is_folder(folder):
        return [source]
    if isinstance(source, str) and is_painting(source):
        return [source]
    files = [folder / name for name in pictures_in(folder)]
    if not files:
        raise PictureError(f"{folder} is a folder without pictures: name one that has some")
    return [*files]
