"""Visitors of the page: a folder for each, which goes with the visit or after an hour."""

import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from impasto.errors import PictureError
from impasto.studio.jobs import Painted

HOURS = 1.0  # that a visitor's files stay after the last word of the visitor
EVERY = 30.0  # seconds between two looks for visits that are over
UNUSED = 120.0  # seconds that a visit stays to which nothing was handed in
GRACE = 60.0  # seconds that a copy outside of a visit stays: another visitor may have just sent it
MOST_PHOTOS = 40  # that a visitor may hand in at a time
LONGEST_NAME = 60  # characters of a file's name that are kept


Mark = tuple[str, int]
"""A file's name and size."""


@dataclass(eq=False)
class Visit:
    """What one visitor has handed in and had painted."""

    key: str
    folder: Path
    seen: float = field(default_factory=time.monotonic)
    """When the visitor was here last."""
    photo: Path | None = None
    photos: list[Path] = field(default_factory=list)
    """All of the visit, the latest last."""
    paintings: dict[str, Path] = field(default_factory=dict)
    """Paintings of the visitor's own, by their names."""
    masks: dict[str, Path] = field(default_factory=dict)
    """Masks that were drawn or clicked, by their names."""
    painted: list[Path] = field(default_factory=list)
    """Finished pictures, the latest first."""
    last: Painted | None = None
    look: bytes | None = None
    """The picture that was shown last, a JPEG."""
    taken: set["Mark"] = field(default_factory=set)
    """What was taken in, as the page's server keeps it."""
    refused: set["Mark"] = field(default_factory=set)
    """What was not, likewise."""
    count: int = 0

    def place(self, name: str, suffix: str) -> Path:
        """A new file's place in the visitor's folder: no name leads out of it."""
        self.count += 1
        return self.folder / f"{plain_name(name)}-{self.count}{suffix}"

    def take(self, file: Path, name: str | None = None) -> Path:
        """A file that was handed in, moved into the folder. PictureError where it is gone."""
        suffix = re.sub(r"[^a-z0-9.]", "", file.suffix.lower())[:8]
        place = self.place(Path(name or file.name).stem, suffix)
        try:
            shutil.copyfile(file, place)
        except OSError as error:
            raise PictureError(
                f"{plain_name(file.name)} could not be taken in: {error.strerror}"
            ) from None
        return place

    @property
    def is_used(self) -> bool:
        """Whether anything was handed in."""
        return bool(self.photos or self.paintings or self.masks)


def mark(file: Path) -> Mark:
    """What tells a file from others, wherever a copy of it lies. OSError if it is gone."""
    return file.name, file.stat().st_size


def plain_name(name: str) -> str:
    """A name of letters, digits, dots and dashes that no folder and no shell misreads."""
    found = re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-.")
    return found[:LONGEST_NAME] or "picture"


class Visits:
    """All visits, below one temporary folder. Use as a context manager, or `close` it.

    `left` is called with the key of a visit that is over, before its folder goes. A visit for whom
    `busy` says that something is painted or waits is not over. `copies`: the folder where the
    page's server keeps FOLDER/FILE for each file that it took or shows; they go after the visit.
    """

    def __init__(
        self,
        left: Callable[[str], None],
        hours: float = HOURS,
        copies: Path | None = None,
        busy: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="impasto-studio-"))
        self.left, self.hours, self.copies, self.busy = left, hours, copies, busy
        self.gone: set[Mark] = set()
        """Of visits that are over."""
        self.own: set[Path] = set()
        """Copies that are no visitor's."""
        self.lock, self.over = threading.Lock(), threading.Event()
        self.visits: dict[str, Visit] = {}
        self.sweeper = threading.Thread(target=self._sweep, name="impasto-sweeper", daemon=True)
        self.sweeper.start()

    def __enter__(self) -> "Visits":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def of(self, key: str) -> Visit:
        """The visit with that key, a new one if there is none."""
        with self.lock:
            if key not in self.visits:
                folder = self.root / secrets.token_urlsafe(16)
                folder.mkdir(mode=0o700)
                self.visits[key] = Visit(key, folder)
            visit = self.visits[key]
            visit.seen = time.monotonic()
            return visit

    def leave(self, key: str) -> None:
        """End a visit: its work stops, its files go."""
        with self.lock:
            visit = self.visits.pop(key, None)
        if visit is not None:
            self.left(key)
            self.gone |= _marks(visit) | visit.refused
            shutil.rmtree(visit.folder, ignore_errors=True)

    def has(self, visit: Visit) -> bool:
        """Whether a visit is not over."""
        return self.visits.get(visit.key) is visit

    def close(self) -> None:
        """End all visits."""
        self.over.set()
        for key in list(self.visits):
            self.leave(key)
        shutil.rmtree(self.root, ignore_errors=True)
        self.sweeper.join(2)

    def keep_copies(self) -> None:
        """Let the copies stay that are there now: they are the page's own."""
        if self.copies is not None:
            self.own = _files(self.copies)

    def sweep(self, now: float | None = None) -> None:
        """End the visits of those who said nothing for so many hours; copies go with them."""
        now = time.monotonic() if now is None else now
        for key, visit in list(self.visits.items()):
            patience = self.hours * 3600 if visit.is_used else UNUSED
            if now - visit.seen > patience and not self.busy(key):
                self.leave(key)
        if self.copies is not None:
            self._sweep_copies(self.copies)

    def _sweep_copies(self, folder: Path) -> None:
        """Remove what visits left with the page's server, and what nobody asked for in hours."""
        visits = list(self.visits.values())
        kept = set[Mark]().union(*map(_marks, visits))
        gone = self.gone.union(*(visit.refused for visit in visits)) - kept
        found = set[Mark]()
        for file in _files(folder) - self.own:
            with suppress(OSError):  # somebody else was quicker, or the folder is not empty
                what, age = mark(file), time.time() - file.stat().st_ctime
                found.add(what)
                old = age > self.hours * 3600 and what not in kept
                if old or (age > GRACE and (what in gone or what[1] == 0)):
                    file.unlink()  # Gradio makes an empty file beside each that it hands on
                    if file.parent != folder:
                        file.parent.rmdir()
        self.gone &= found

    def _sweep(self) -> None:
        while not self.over.wait(EVERY):
            self.sweep()


def _files(folder: Path) -> set[Path]:
    """All files below a folder; what goes meanwhile is no error."""
    return {Path(place, name) for place, _, names in os.walk(folder) for name in names}


def _marks(visit: Visit) -> set[Mark]:
    """What of a visit the page's server may have a copy of."""
    found = set(visit.taken)
    with suppress(OSError):
        for file in visit.folder.iterdir():
            found.add(mark(file))
    return found
