"""A film on its way: finished frames on disk, so that a run that was stopped goes on.

The folder's manifest has what the run was started with, and a row for each finished frame. The
frames lie beside it as they are, until all of a segment are there: then they become one file of
packets, which the film is joined from. Frames may come in any order, and from several processes:
one of them writes the manifest, each other one a manifest of the shot that it paints.

Each file is written whole or not at all, a frame before its row, the row before the segment, so
that all processes may be killed at any time.
"""

import io
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto import images
from impasto.errors import PictureError
from impasto.reports.manifest import NAME, Manifest, Row
from impasto.video.writing import Encoder, Format, Packet

SEGMENT = 48  # frames
KEPT = 4  # frames before the one being painted that it may look back on

Facts = dict[str, int | float]
"""What is known of a frame besides its pixels, by name; `pts` and `duration` among it."""


class Unfinished:
    """The folder of a film on its way. Raises PictureError where there is one of another run.

    `facts` holds what is known of each finished frame, by its number, from 0.
    """

    def __init__(
        self, folder: Path, format: Format, recipe: dict[str, Any], resume: bool, force: bool
    ) -> None:
        self.folder, self.format = folder, format
        self.manifest = Manifest(folder / NAME, {"of": "film", **recipe})
        self.facts: dict[int, Facts] = {}
        if folder.exists() and resume:
            self._go_on()
        elif folder.exists() and not force:
            raise PictureError(
                f"{folder} holds a film on its way: go on with the same words and --resume, or "
                "start anew with --force"
            )
        else:
            self._begin()

    @property
    def done(self) -> int:
        """How many frames are finished, those of shots on their way among them."""
        return len(self.facts) + sum(len(shot.rows()) for shot in self._shots())

    def add(self, number: int, pixels: NDArray[np.uint8], facts: Facts) -> None:
        """Keep a frame, h w 3. PictureError where the disk refuses."""
        write_frame(self.folder, number, pixels)
        self.note([row_of(number, facts)])
        self.pack()

    def note(self, rows: Sequence[Row]) -> None:
        """Note frames whose files are there, as `row_of` has them. PictureError for one that
        another process wrote elsewhere."""
        facts = facts_in(rows)
        for number in facts:
            if not self._is_there(number):
                raise PictureError(
                    f"{_frame(self.folder, number)} is not there: name a place with -o that all "
                    "processes see"
                )
        self.manifest.add(rows)
        self.facts |= facts
        for begin in {int(row["begun"]) for row in rows if "begun" in row}:
            shot_manifest(self.folder, begin).path.unlink(missing_ok=True)

    def pack(self) -> None:
        """Close the segments that are full; remove frames that nothing has a use for."""
        there = sorted(
            int(path.stem.removeprefix("frame-")) for path in self.folder.glob("frame-*.npy")
        )
        for segment in sorted({number // SEGMENT for number in there}):
            if len(self._frames_of(segment)) == SEGMENT and not self._segment(segment).exists():
                self._close(segment)
        self._remove_used(there)

    def film(self) -> Iterator[Packet]:
        """All packets in order; the last segment is closed."""
        segments = range(-(-len(self.facts) // SEGMENT))
        for segment in segments:
            if not self._segment(segment).exists():
                self._close(segment)
        for segment in segments:
            with np.load(self._segment(segment)) as held:
                data, ends = held["data"].tobytes(), np.cumsum(held["sizes"])
                for i, (pts, dts, duration, key) in enumerate(held["times"].tolist()):
                    begin = ends[i - 1] if i else 0
                    yield Packet(data[begin : ends[i]], pts, dts, duration, bool(key))

    def remove(self) -> None:
        """Remove the folder: the film is written, or nothing in it is worth keeping."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _begin(self) -> None:
        if self.folder.exists():
            shutil.rmtree(self.folder)
        try:
            self.manifest.begin()
        except PictureError:
            self.remove()
            raise

    def _go_on(self) -> None:
        """Take over what is there. PictureError if the folder is of a run with other words."""
        others = self.manifest.others()
        if others:
            raise PictureError(
                f"{self.folder} was begun with other {', '.join(others)}: give the same words, or "
                "start anew with --force"
            )
        rows, shots = self.manifest.rows(), self._shots()
        for shot in shots:
            rows += shot.rows()
        self.facts = {n: facts for n, facts in facts_in(rows).items() if self._is_there(n)}
        self.manifest.begin(row_of(number, self.facts[number]) for number in sorted(self.facts))
        for shot in shots:
            shot.path.unlink(missing_ok=True)
        self.pack()

    def _is_there(self, number: int) -> bool:
        """Whether a frame is on the disk, as it is or as a packet."""
        return _frame(self.folder, number).exists() or self._segment(number // SEGMENT).exists()

    def _close(self, segment: int) -> None:
        """Turn the frames of a segment into one file of packets."""
        encoder, packets = Encoder(self.format), []
        for number in self._frames_of(segment):
            facts = self.facts[number]
            pixels = np.load(_frame(self.folder, number))
            packets += encoder.add(pixels, int(facts["pts"]), int(facts["duration"]))
        packets += encoder.finish()
        times = [(p.pts, p.dts, p.duration, p.key) for p in packets]
        buffer = io.BytesIO()
        np.savez(
            buffer,
            data=np.frombuffer(b"".join(p.data for p in packets), np.uint8),
            sizes=np.array([len(p.data) for p in packets]),
            times=np.array(times, np.int64),
        )
        images.write_bytes(buffer.getvalue(), self._segment(segment))

    def _remove_used(self, numbers: Iterable[int]) -> None:
        """Remove frames that are in a segment, and that no frame to be painted looks back on."""
        for number in numbers:
            next_ones = set(range(number + 1, number + 1 + KEPT))
            if self._segment(number // SEGMENT).exists() and self.facts.keys() >= next_ones:
                _frame(self.folder, number).unlink(missing_ok=True)

    def _frames_of(self, segment: int) -> list[int]:
        """The frames of a segment that are finished, in order."""
        frames = range(segment * SEGMENT, (segment + 1) * SEGMENT)
        return [number for number in frames if number in self.facts]

    def _segment(self, number: int) -> Path:
        return self.folder / f"segment-{number:05d}.npz"

    def _shots(self) -> list[Manifest]:
        """What other processes have written of the shots that they paint."""
        return [Manifest(path, {}) for path in sorted(self.folder.glob("shot-*.jsonl"))]


def write_frame(folder: Path, number: int, pixels: NDArray[np.uint8]) -> None:
    """Write a frame, h w 3, into the folder of a film. PictureError where the disk refuses."""
    buffer = io.BytesIO()
    np.save(buffer, pixels)
    images.write_bytes(buffer.getvalue(), _frame(folder, number))


def read_frame(folder: Path, number: int) -> NDArray[np.uint8] | None:
    """A frame that lies in the folder of a film, h w 3; None where it does not, or no more."""
    try:
        found: NDArray[np.uint8] = np.load(_frame(folder, number))
    except FileNotFoundError:
        return None
    return found


def row_of(number: int, facts: Facts) -> Row:
    """A finished frame as the manifest has it."""
    return {"output": _frame(Path(), number).name, "frame": number, **facts}


def facts_in(rows: Iterable[Row]) -> dict[int, Facts]:
    """What rows of the manifest say of frames, by their numbers."""
    own = "output", "frame"
    return {row["frame"]: {k: v for k, v in row.items() if k not in own} for row in rows}


def shot_manifest(folder: Path, begin: int) -> Manifest:
    """What another process writes of a shot that begins with this frame, while it paints it."""
    return Manifest(folder / f"shot-{begin:06d}.jsonl", {})


def _frame(folder: Path, number: int) -> Path:
    return folder / f"frame-{number:06d}.npy"
