"""Names of files and folders, as users give them."""

import os
import re
from pathlib import Path

from impasto.errors import PictureError

URL = re.compile(r"[a-z][a-z0-9+.-]+://|data:", re.IGNORECASE)
SHOWN = 60  # characters of a URL in a message


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
