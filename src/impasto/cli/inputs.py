"""The pictures that a command line names: files, paintings by name, and - for stdin."""

import sys
from collections.abc import Sequence

from impasto.cli.words import STDIN
from impasto.errors import SettingError


def pictures(names: Sequence[str]) -> list[str | bytes]:
    """The names as they are, but the one that is stdin's as the bytes that are read from there.

    Raises SettingError where there are two of them.
    """
    if names.count(STDIN) > 1:
        raise SettingError(
            "two pictures want stdin: name a file in place of one - (a photo, or a painting)"
        )
    return [sys.stdin.buffer.read() if name == STDIN else name for name in names]
