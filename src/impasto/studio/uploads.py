"""What visitors hand in: checked before anything else sees it, refused in one friendly line."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from impasto import images
from impasto.errors import PictureError
from impasto.images.reading import own_size
from impasto.studio.jobs import LIVE_SIDE
from impasto.studio.visits import Visit, mark, plain_name

RAW = {
    ".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".iiq", ".nef", ".nrw", ".orf", ".pef", ".raf",
    ".raw", ".rw2", ".srw", ".x3f",
}  # fmt: skip
"""Suffixes of what cameras write before it is developed."""
ONE_AT_A_TIME = Lock()
"""Held where a picture is decoded: twenty large ones at once would not fit into memory."""


@dataclass(frozen=True)
class Limits:
    """What a visitor may hand in and ask for."""

    upload: int = 64_000_000
    """Most bytes of a file."""
    pixels: int = 100_000_000
    """Most pixels of a photo, a painting or a mask."""
    size: int = 2048
    """Long side of the largest picture to be painted, px."""


def taken(visit: Visit, file: Path, limits: Limits) -> Path:
    """A picture that was handed in, in the visitor's folder. PictureError, with what to do, for
    anything else; nothing of it stays."""
    try:
        place = _taken(visit, file, limits)
    except BaseException:
        with suppress(OSError):
            visit.refused.add(mark(file))
        raise
    visit.taken.add(mark(file))
    return place


def _taken(visit: Visit, file: Path, limits: Limits) -> Path:
    name = plain_name(file.name)
    if file.suffix.lower() in RAW:
        raise PictureError(f"{name} is a camera's RAW file: export it as JPEG or TIFF first")
    try:
        bytes_ = file.stat().st_size
    except OSError:
        raise PictureError(f"{name} did not arrive: send it once more") from None
    if bytes_ > limits.upload:
        raise PictureError(
            f"{name} has {bytes_ / 1e6:.0f} MB, more than the {limits.upload / 1e6:.0f} MB that "
            "this studio takes: make it smaller first"
        )
    place = visit.take(file)
    try:
        with ONE_AT_A_TIME:
            check(place, name, limits)
    except BaseException:
        place.unlink(missing_ok=True)
        raise
    return place


def check(place: Path, name: str, limits: Limits) -> None:
    """PictureError for what is no picture, or too large a one."""
    width, height = own_size(place, name)
    if width * height > limits.pixels:
        raise PictureError(
            f"{name} has {width}x{height} pixels, more than the {limits.pixels / 1e6:.0f} million "
            "that this studio takes: make it smaller first"
        )
    images.read(place, name, images.Need(LIVE_SIDE))


def proxy(file: Path, place: Path, side: int = LIVE_SIDE) -> Path:
    """A small JPEG of a picture, upright, in sRGB, as any browser shows it."""
    with ONE_AT_A_TIME:
        picture = images.read(file, need=images.Need(side))
        small = picture.resized(*images.fit(picture.size, min(side, max(picture.size))))
    images.write_bytes(images.encode(small, "JPEG"), place)
    return place
