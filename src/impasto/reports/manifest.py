"""The manifest: what was made of what, a JSON object a line; and the journal that runs resume by.

The first line has the facts that all rows depend on. Each row after it is of one output, named by
`output`; a later row takes the place of an earlier one of the same output. Batches, stylized
copies, studies and films keep one, each written by one process alone. A run that is killed loses
the row it was writing at most: an output without a row is made again.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from impasto import images
from impasto.errors import PictureError, SettingError

NAME = "manifest.jsonl"

Row = dict[str, Any]


class Manifest:
    """The manifest in this file; `facts` are what all rows depend on."""

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self.path = path
        self.facts: Row = json.loads(json.dumps(facts))

    def rows(self) -> list[Row]:
        """The rows that are there, the newest of each output, in the order of their outputs'
        first; none where there is no file.

        SettingError where an earlier run had other facts, or the file is no manifest.
        """
        lines = self._lines()
        found: dict[str, Row] = {}
        for line in lines[1:]:
            row = _object_in(line)
            if row is not None and isinstance(row.get("output"), str):
                found[row["output"]] = row
        if lines:
            self._check_same(_object_in(lines[0]))
        return list(found.values())

    def others(self) -> list[str]:
        """The names of the facts that an earlier run had otherwise, or did not note."""
        before = _object_in(b"".join(self._lines()[:1])) or {}
        return [name for name, value in self.facts.items() if before.get(name) != value]

    def begin(self, rows: Iterable[Row] = ()) -> None:
        """Start the file with the facts and the rows that hold. PictureError where the disk
        refuses."""
        lines = [self.facts, *rows]
        images.make_folder(self.path.parent)
        images.write_bytes("".join(map(_line, lines)).encode(), self.path)

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows, and wait until the disk has them. PictureError where it refuses."""
        try:
            with self.path.open("ab") as file:
                file.write("".join(map(_line, rows)).encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise PictureError(f"cannot write {self.path} ({error.strerror}): free space") from None

    def _lines(self) -> list[bytes]:
        """The whole lines that are there: the last of a run that was killed may have no end."""
        try:
            return self.path.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise PictureError(
                f"cannot read {self.path} ({error.strerror}): name another place with -o"
            ) from None

    def _check_same(self, before: Row | None) -> None:
        if before is None:
            raise SettingError(f"{self.path} is no manifest: name another place with -o")
        for name, value in self.facts.items():
            if before.get(name) != value:
                raise SettingError(
                    f"{self.path.parent} was made with {name} {before.get(name)}, not {value}: "
                    "give the same, or name another place with -o"
                )


def _line(row: Mapping[str, Any]) -> str:
    """A row as a line; names that are no UTF-8 are escaped and come back as they were."""
    return json.dumps(row) + "\n"


def _object_in(line: bytes) -> Row | None:
    """The JSON object of a line; None where there is none."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
