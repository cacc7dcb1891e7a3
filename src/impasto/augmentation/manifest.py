"""What the manifest of a stylized copy says of each picture, and the same as a table.

The rows are in `manifest.jsonl` while the copy grows; `manifest.csv` is there once it is complete.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

TABLE = "manifest.csv"


@dataclass(frozen=True)
class Entry:
    """A row of the manifest: one picture that was written."""

    source: str
    """The picture it was made of, in the folder."""
    output: str
    """Its own name, in the copy."""
    label: str
    """Its class, the uppermost folder; `class` in the manifest."""
    copy: int
    """The number of the copy, from 1; 0 for an original that is kept."""
    style: str
    """The painting, or two with a plus sign; nothing for a picture that is not painted."""
    share: float
    """The share of the second painting, 0 to 1."""
    strength: float
    """0 for a picture that is not painted."""
    seed: int
    source_sha256: str
    """Of the picture's file."""
    sha256: str
    """Of the file that was written."""

    def row(self) -> dict[str, Any]:
        """The entry as the manifest has it."""
        return {"class" if key == "label" else key: value for key, value in asdict(self).items()}

    @classmethod
    def of(cls, row: dict[str, Any]) -> "Entry | None":
        """The entry of a row; None where the row is of a picture that was not written."""
        named = {"label" if key == "class" else key: value for key, value in row.items()}
        return cls(**named) if set(named) == {item.name for item in fields(cls)} else None


def table(entries: Iterable[Entry]) -> bytes:
    """The entries as comma-separated values, with a line of names."""
    text = io.StringIO()
    columns = ["class" if item.name == "label" else item.name for item in fields(Entry)]
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(entry.row() for entry in entries)
    return text.getvalue().encode("utf-8", "surrogateescape")
