"""Names of files as users give them, and the pictures in a folder."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.errors import PictureError

if TYPE_CHECKING:
    from impasto.images.picture import Picture
    from impasto.images.reading import Source

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif", ".heic", ".ppm",
    ".pgm",
)  # fmt: skip
"""Of the files in a folder that are pictures."""
URL = re.compile(r"[a-z][a-z0-9+.-]+://|data:[\w.+/-]*[;,]", re.IGNORECASE)
SHOWN = 60  # characters of a URL in a message


def pictures_in(folder: Path, deep: bool = False) -> list[Path]:
    """The files in a folder that are called as pictures are, by name, relative to the folder.

    `deep`: those in folders inside it, too, also behind links. Hidden ones are left out.
    """
    if deep:
        walked = os.walk(folder, followlinks=True)
        found = [
            Path(root, name).relative_to(folder) for root, _, names in walked for name in names
        ]
    else:
        found = [Path(file.name) for file in folder.iterdir()]
    return sorted(
        path
        for path in found
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.parts)
        and (folder / path).is_file()
    )


def sources(source: "Source | Picture") -> "list[Source | Picture]":
    """What a style is made of: the pictures of a folder, by name, or the one thing it is.

    Raises PictureError for a folder without pictures.
    """
    if not isinstance(source, str | os.PathLike):
        return [source]
    folder = path_of(source)
    if not is_folder(folder):
        return [source]
    files = [folder / name for name in pictures_in(folder)]
    if not files:
        raise PictureError(f"{folder} is a folder without pictures: name one that has some")
    return [*files]


def path_of(name: str | os.PathLike[str]) -> Path:
    """A path whose `~` is the home folder. PictureError for no name at all, and for a URL."""
    text = os.fsdecode(name)
    if not text.strip():
        raise PictureError("the name of a picture is empty: name a file, or leave it out")
    if URL.match(text):
        raise PictureError(
            f"{text[:SHOWN]!r} is a URL: download the picture first, and give the file's name"
        )
    return expanded(text)


def expanded(name: str | os.PathLike[str]) -> Path:
    """A path whose `~` is the home folder, where there is one."""
    return Path(os.path.expanduser(name))  # noqa: PTH111 - Path.expanduser fails without a home


def exists(path: Path) -> bool:
    """True for what is there; False, and no error, for a name that nothing can have."""
    return os.path.exists(path)  # noqa: PTH110


def is_folder(path: Path) -> bool:
    """True for a folder; False, and no error, for a name that nothing can have."""
    return os.path.isdir(path)  # noqa: PTH112
