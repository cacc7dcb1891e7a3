"""A picture growing, as a film: at constant visual speed, not a constant number of steps.

The first steps change more than a hundred of the last. So frames are laid at equal distances along
the way the picture took, as the eye measures it, and not at equal steps.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from impasto import images
from impasto.errors import SettingError
from impasto.images import Picture, color

SUFFIXES = (".mp4", ".gif")
LONG_SIDE = {".mp4": 1080, ".gif": 480}  # px at most
RATE = {".mp4": 25, ".gif": 12}  # frames a second
SECONDS, FIRST, LAST = 8.0, 0.5, 1.5  # of growing, and of standing still before and after
THUMB = 64  # px, long side of the pictures that are compared
MOST_KEPT = 600  # pictures; every second one is let go beyond that


@dataclass(frozen=True)
class _Kept:
    """One picture on the way: its thumbnail in OKLab, and itself as a file in memory."""

    lab: Tensor
    data: bytes


class Timelapse:
    """Takes in the pictures of a run and writes the film of it.

    Raises SettingError for a suffix other than .mp4 or .gif, or where .mp4 lacks its library.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.suffix = path, path.suffix.lower()
        if self.suffix not in SUFFIXES:
            raise SettingError(f"cannot write {path.name!r}: end its name in {', '.join(SUFFIXES)}")
        if self.suffix == ".mp4":
            _av()
        self.kept: list[_Kept] = []
        self.least = 0.0  # distance from the last picture kept: less is not seen

    def add(self, picture: Picture) -> None:
        """Take in the next picture; all have the same size."""
        side = min(LONG_SIDE[self.suffix], max(picture.size))
        width, height = images.fit(picture.size, side)
        even = picture.resized(max(2, width // 2 * 2), max(2, height // 2 * 2))
        lab = color.oklab(even.resized(*images.fit(even.size, min(THUMB, side))).pixels)
        if self.kept and distance(lab, self.kept[-1].lab) < self.least:
            return
        self.kept.append(_Kept(lab, images.encode(Picture(even.pixels), "JPEG")))
        if len(self.kept) > MOST_KEPT:
            self.kept = self.kept[::2]
            steps = [distance(a.lab, b.lab) for a, b in pairwise(self.kept)]
            self.least = float(np.median(steps)) / 2

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """The film, frame by frame, h w 3."""
        rate = RATE[self.suffix]
        lengths = [distance(a.lab, b.lab) for a, b in pairwise(self.kept)]
        way = np.concatenate([[0.0], np.cumsum(lengths)])
        count = round(SECONDS * rate)
        still = [0.0] * round(FIRST * rate)
        places = [*still, *np.linspace(0, way[-1], count), *([way[-1]] * round(LAST * rate))]
        decoded: dict[int, NDArray[np.float32]] = {}
        for place in places:
            after = min(int(np.searchsorted(way, place)), len(way) - 1)
            before = max(0, after - 1)
            for index in (before, after):
                if index not in decoded:
                    with Image.open(io.BytesIO(self.kept[index].data)) as image:
                        decoded[index] = np.asarray(image, dtype=np.float32)
            span = way[after] - way[before]
            part = (place - way[before]) / span if span > 0 else 1.0
            blend = decoded[before] + np.float32(part) * (decoded[after] - decoded[before])
            yield np.rint(blend).astype(np.uint8)
            for index in [index for index in decoded if index < before]:
                del decoded[index]

    def write(self) -> None:
        """Write the film, whole or not at all. PictureError where the disk refuses."""
        if not self.kept:
            return
        data = self._mp4() if self.suffix == ".mp4" else self._gif()
        images.write_bytes(data, self.path)

    def _gif(self) -> bytes:
        first, *others = (Image.fromarray(frame) for frame in self.frames())
        buffer = io.BytesIO()
        first.save(
            buffer, "GIF", save_all=True, append_images=others, loop=0,
            duration=round(1000 / RATE[".gif"]), optimize=False,
        )  # fmt: skip
        return buffer.getvalue()

    def _mp4(self) -> bytes:
        av = _av()
        buffer = io.BytesIO()
        with av.open(buffer, "w", format="mp4") as container:
            stream = None
            for frame in self.frames():
                if stream is None:
                    stream = container.add_stream("libx264", rate=RATE[".mp4"])
                    stream.height, stream.width = frame.shape[:2]
                    stream.pix_fmt = "yuv420p"
                    stream.options = {"crf": "18", "preset": "medium"}
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            assert stream is not None
            container.mux(stream.encode())
        return buffer.getvalue()


def distance(a: Tensor, b: Tensor) -> float:
    """How far apart two pictures look: the mean distance of their colors, OKLab times 100."""
    return 100 * float((a - b).square().sum(1).sqrt().mean())


def _av() -> Any:
    try:
        import av
    except ImportError:
        raise SettingError(
            "an .mp4 needs a library more: pip install 'impasto[video]', or write a .gif"
        ) from None
    return av
