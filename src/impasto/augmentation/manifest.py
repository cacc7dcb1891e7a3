"""The manifest of a stylized copy: a row for each picture, kept as a journal while the copy grows.

`manifest.csv` and `manifest.jsonl` stand beside the pictures; the latter has a line of settings
first. While the copy grows it is `manifest.jsonl.part`: what is in it need not be made again.
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from impasto import images
from impasto.errors import PictureError, SettingError

TABLE, LINES = "manifest.csv", "manifest.jsonl"
JOURNAL = f"{LINES}.part"


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


class Manifest:
    """The manifest of one copy, in the copy's folder; `facts` are what the copy depends on."""

    def __init__(self, output: Path, facts: dict[str, Any]) -> None:
        self.output, self.facts = output, facts

    def earlier(self) -> dict[str, list[Entry]]:
        """What an earlier run wrote, by source. SettingError if it had other settings."""
        found: dict[str, list[Entry]] = {}
        for name in (LINES, JOURNAL):
            journal = self.output / name
            lines = journal.read_text("utf-8").splitlines() if journal.is_file() else []
            if lines:
                self._check_same(json.loads(lines[0]))
            for line in lines[1:]:
                try:
                    row = json.loads(line)
                    entry = Entry(label=row.pop("class"), **row)
                except (json.JSONDecodeError, KeyError, TypeError):
                    break  # the run was killed while it wrote this line
                found.setdefault(entry.source, []).append(entry)
        return found

    def begin(self, done: dict[str, list[Entry]]) -> None:
        """Start the journal with what an earlier run wrote; the tables it replaces are gone."""
        images.make_folder(self.output)
        self._write_lines(JOURNAL, [entry for its in done.values() for entry in its])
        for name in (LINES, TABLE):
            (self.output / name).unlink(missing_ok=True)

    def add(self, entries: Sequence[Entry]) -> None:
        """Add what was written to the journal."""
        journal = self.output / JOURNAL
        try:
            with journal.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(entry.row()) + "\n" for entry in entries)
        except OSError as error:
            raise PictureError(f"cannot write {journal} ({error.strerror}): free space") from error

    def finish(self, entries: Sequence[Entry]) -> None:
        """Write both tables, and let the journal go."""
        text = io.StringIO()
        columns = ["class" if item.name == "label" else item.name for item in fields(Entry)]
        table = csv.DictWriter(text, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(entry.row() for entry in entries)
        data = text.getvalue().encode("utf-8", "surrogateescape")
        images.write_bytes(data, self.output / TABLE)
        self._write_lines(LINES, entries)
        (self.output / JOURNAL).unlink()

    def _write_lines(self, name: str, entries: Sequence[Entry]) -> None:
        """The settings and the entries, a JSON object a line."""
        lines = [self.facts, *(entry.row() for entry in entries)]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        images.write_bytes(text.encode(), self.output / name)

    def _check_same(self, before: dict[str, Any]) -> None:
        for name, value in self.facts.items():
            if before.get(name) != value:
                raise SettingError(
                    f"{self.output} was made with {name} {before.get(name)}, not {value}: give the "
                    "same to --resume, or name another place with -o"
                )
