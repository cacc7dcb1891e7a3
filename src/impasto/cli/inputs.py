"""The pictures that a command line names: files, built-in paintings, and - for stdin."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from impasto.cli.words import STDIN
from impasto.errors import SettingError

if TYPE_CHECKING:
    from impasto.images import Picture


def pictures(names: Sequence[str]) -> "list[str | Picture]":
    """The names as they are, but the one that is stdin's as the picture that is read from there.

    Raises SettingError where there are two of them, PictureError for what is no picture.
    """
    if names.count(STDIN) > 1:
        raise SettingError(
            "two pictures want stdin: name a file in place of one - (a photo, or a painting)"
        )
    return [_read() if name == STDIN else name for name in names]


def _read() -> "Picture":
    from impasto import images

    return images.read(sys.stdin.buffer.read(), "stdin")
