"""The pictures in a folder."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.errors import PictureError
from impasto.images.paths import is_folder, path_of

if TYPE_CHECKING:
    from impasto.images.picture import Picture
    from impasto.images.reading import Source

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif", ".heic", ".ppm",
    ".pgm",
)  # fmt: skip
"""Of the files in a folder that are pictures."""


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
