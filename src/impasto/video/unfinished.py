"""A film on its way: finished frames on disk, so that a run that was stopped goes on.

The folder holds `recipe.json`, what the run was started with; the frames of the segment being
painted, as they are; and each finished segment as packets, which the film is joined from. Each file
is written whole or not at all, so that a run may be killed at any time.
"""

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto import images
from impasto.errors import PictureError
from impasto.video.writing import Encoder, Format, Packet

SEGMENT = 48  # frames
KEPT = 4  # frames before the one being painted that it may look back on

Facts = dict[str, float]
"""What is known of a frame besides its pixels, by name."""


class Unfinished:
    """The folder of a film on its way. Raises PictureError where there is one of another run.

    `done` is the number of finished frames; `facts` holds what is known of each.
    """

    def __init__(
        self, folder: Path, format: Format, recipe: dict[str, Any], resume: bool, force: bool
    ) -> None:
        self.folder, self.format = folder, format
        self.segments: list[Path] = []
        self.facts: list[Facts] = []
        if folder.exists() and resume:
            self._check(recipe)
        elif folder.exists() and not force:
            raise PictureError(
                f"{folder} holds a film on its way: go on with the same words and --resume, or "
                "start anew with --force"
            )
        else:
            self._begin(recipe)
        for path in sorted(folder.glob("segment-*.npz")):
            self.segments.append(path)
            with np.load(path) as held:
                self.facts += json.loads(str(held["facts"]))
        self.encoder = Encoder(format)
        self.packets: list[Packet] = []
        while (path := self._frame(self.done)).exists():
            with np.load(path) as held:
                pts, duration = (int(value) for value in held["times"])
                self._take(held["pixels"], pts, duration, json.loads(str(held["facts"])))
            if self.done % SEGMENT == 0:  # stopped while it was being closed
                self._close()

    @property
    def done(self) -> int:
        """How many frames are finished."""
        return len(self.facts)

    def last(self, count: int = KEPT) -> list[NDArray[np.uint8]]:
        """The last finished frames, h w 3, the newest last: KEPT of them at most."""
        found = []
        for number in range(max(0, self.done - min(count, KEPT)), self.done):
            with np.load(self._frame(number)) as held:
                found.append(held["pixels"])
        return found

    def add(self, pixels: NDArray[np.uint8], pts: int, duration: int, facts: Facts) -> None:
        """Keep the next frame, h w 3. PictureError where the disk refuses."""
        number = self.done
        self._save(
            self._frame(number),
            pixels=pixels,
            times=np.array([pts, duration]),
            facts=np.array(json.dumps(facts)),
        )
        self._take(pixels, pts, duration, facts)
        if self.done % SEGMENT == 0:
            self._close()
        elif number >= KEPT and number - KEPT < len(self.segments) * SEGMENT:
            self._frame(number - KEPT).unlink(missing_ok=True)

    def film(self) -> Iterator[Packet]:
        """All packets in order; the last segment is closed."""
        if self.done > len(self.segments) * SEGMENT:
            self._close()
        for path in self.segments:
            with np.load(path) as held:
                data, ends = held["data"].tobytes(), np.cumsum(held["sizes"])
                for i, (pts, dts, duration, key) in enumerate(held["times"].tolist()):
                    begin = ends[i - 1] if i else 0
                    yield Packet(data[begin : ends[i]], pts, dts, duration, bool(key))

    def remove(self) -> None:
        """Remove the folder: the film is written, or nothing in it is worth keeping."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _begin(self, recipe: dict[str, Any]) -> None:
        if self.folder.exists():
            shutil.rmtree(self.folder)
        images.make_folder(self.folder)
        try:
            images.write_bytes(json.dumps(recipe).encode(), self.folder / "recipe.json")
        except PictureError:
            self.remove()
            raise

    def _check(self, recipe: dict[str, Any]) -> None:
        """PictureError if the folder is of a run with other words."""
        its: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            its = json.loads((self.folder / "recipe.json").read_text("utf-8"))
        mine = json.loads(json.dumps(recipe))
        others = [name for name in mine if its.get(name) != mine[name]]
        if others:
            raise PictureError(
                f"{self.folder} was begun with other {', '.join(others)}: give the same words, or "
                "start anew with --force"
            )

    def _take(self, pixels: NDArray[np.uint8], pts: int, duration: int, facts: Facts) -> None:
        self.packets += self.encoder.add(pixels, pts, duration)
        self.facts.append(facts)

    def _close(self) -> None:
        """Turn the frames of the open segment into one file of packets."""
        self.packets += self.encoder.finish()
        path = self.folder / f"segment-{len(self.segments):05d}.npz"
        first = len(self.segments) * SEGMENT
        times = [(p.pts, p.dts, p.duration, p.key) for p in self.packets]
        self._save(
            path,
            data=np.frombuffer(b"".join(p.data for p in self.packets), np.uint8),
            sizes=np.array([len(p.data) for p in self.packets]),
            times=np.array(times, np.int64),
            facts=np.array(json.dumps(self.facts[first:])),
        )
        self.segments.append(path)
        for number in range(first, self.done - KEPT):
            self._frame(number).unlink(missing_ok=True)
        self.encoder, self.packets = Encoder(self.format), []

    def _frame(self, number: int) -> Path:
        return self.folder / f"frame-{number:06d}.npz"

    def _save(self, path: Path, **arrays: NDArray[Any]) -> None:
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        images.write_bytes(buffer.getvalue(), path)
