"""The manifest of a batch in the output folder, or at the address, that it writes."""

import shutil
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path

from impasto.batch import storage
from impasto.reports.manifest import NAME, Manifest, Row

FACTS = {"of": "batch"}


class Journal:
    """The manifest of what is written to an output. At an address files cannot grow: there the
    manifest is written whole each time, from a copy that is kept here."""

    def __init__(self, output: str) -> None:
        self.is_far = storage.is_address(output)
        self.name = storage.joined(output, NAME)
        folder = output
        if self.is_far:
            folder = tempfile.mkdtemp(prefix="impasto-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            if storage.exists(self.name):
                Path(folder, NAME).write_bytes(storage.read(self.name))
        self._manifest = Manifest(Path(folder, NAME), FACTS)

    def rows(self) -> list[Row]:
        """See `Manifest`."""
        return self._manifest.rows()

    def begin(self, rows: Iterable[Row]) -> None:
        """See `Manifest`."""
        self._manifest.begin(rows)
        self._send()

    def add(self, rows: Iterable[Row]) -> None:
        """See `Manifest`."""
        self._manifest.add(rows)
        self._send()

    def _send(self) -> None:
        if self.is_far:
            storage.write(self._manifest.path.read_bytes(), self.name)
