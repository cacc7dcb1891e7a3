"""The manifest of a batch in the output folder, or at the address, that it writes."""

import shutil
import tempfile
import time
import weakref
from collections.abc import Iterable
from pathlib import Path

from impasto.batch import storage
from impasto.reports.manifest import NAME, Manifest, Row

FACTS = {"of": "batch"}
SELDOM = 20  # times as long as it took to send the manifest to an address, until it is sent again


class Journal:
    """The manifest of what is written to an output. At an address files cannot grow: there the
    manifest is written whole, from a copy that is kept here, and no more often than takes a
    twentieth of the time. `close` writes it for the last time."""

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
        self._next, self._waits = 0.0, False

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
        if time.monotonic() >= self._next:
            self._send()
        else:
            self._waits = True

    def close(self) -> None:
        """Send what was not sent yet."""
        if self._waits:
            self._send()

    def _send(self) -> None:
        self._waits = False
        if self.is_far:
            began = time.monotonic()
            storage.write(self._manifest.path.read_bytes(), self.name)
            now = time.monotonic()
            self._next = now + SELDOM * (now - began)
