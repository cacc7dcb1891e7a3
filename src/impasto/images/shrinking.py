"""Large pictures, read at about the size that is needed, and only where memory allows it.

A phone's photo of 200 megapixels is 2.4 GB in float32, and is mostly painted at a hundredth of
that. So a large picture is made smaller while its values still are bytes: a JPEG as it is decoded,
anything else right afterwards, some rows at a time. What is read is at least twice as long as
needed along each side: the picture's last step down is the same as for any other.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from impasto.errors import PictureError
from impasto.images.picture import Picture
from impasto.machine import memory

WHOLE = 4_000_000  # px in all: what is no larger is read as it is, 48 MB in float32
MARGIN = 2  # times the sides that are needed, at least
BAND = 1_000_000  # px that are made smaller at a time
READ_BYTES = 40  # per pixel that is kept, while it becomes float32: three copies and the bytes
COEFFICIENT_BYTES = 6  # per pixel of a progressive JPEG, which is decoded as a whole
STORED_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 6, "I": 24, "F": 24}
"""Per pixel of a decoded file by Pillow's mode, and 4 for those that are not here; deep ones become
arrays before they are made smaller."""
DEEP_BYTES = 26  # per pixel of a PNG of 16-bit color, likewise
CODEC_BYTES = {"PNG": 0, "JPEG": 0, "MPO": 0, "BMP": 0, "PPM": 0, "TIFF": 4, "GIF": 4}
"""Per pixel that the decoder keeps besides, by format; 12 for others, such as WebP and HEIC."""
OPENING = Lock()


@dataclass(frozen=True)
class Need:
    """What a picture is read for.

    side: px of its long side that are needed; None for all there are. short: px of its short side
    that are needed besides. limit: most bytes that the process may take while it reads; None for
    what is free.
    """

    side: int | None = None
    short: int = 128
    limit: int | None = None

    def factor(self, own: tuple[int, int], decoded: tuple[int, int] | None = None) -> int:
        """How many times smaller, along each side, a picture of that width and height, px, is read;
        after it was decoded smaller, if it was."""
        if self.side is None or own[0] * own[1] <= WHOLE:
            return 1
        least = max(own) // (MARGIN * self.side), min(own) // (MARGIN * self.short)
        return max(1, min(least) // _times(own, decoded or own))

    def draft(self, image: Image.Image) -> None:
        """Let a JPEG that is not decoded yet be decoded smaller, by 2, 4 or 8 times."""
        factor = self.factor(image.size)
        if factor > 1:
            image.draft(None, (image.size[0] // factor, image.size[1] // factor))

    def check(self, image: Image.Image, name: str) -> None:
        """PictureError if a large picture that is not decoded yet does not fit into memory."""
        size = _own_size(image)
        if size[0] * size[1] > WHOLE:
            check_room(name, size, self._bytes(image), self.limit)

    def _bytes(self, image: Image.Image) -> int:
        """The most bytes that an image and what is made of it take while it is read."""
        (width, height), (whole, high) = image.size, _own_size(image)
        factor = self.factor((whole, high), image.size)
        found = width * height * READ_BYTES // factor**2
        if factor > 1:
            mode = "I;16" if image.mode.startswith("I;16") else image.mode
            each = DEEP_BYTES if is_deep_png(image) else STORED_BYTES.get(mode, 4)
            found += width * height * each
        found += width * height * CODEC_BYTES.get(image.format or "PNG", 12)
        if image.info.get("progressive"):
            found += whole * high * COEFFICIENT_BYTES
        return found


def check_room(name: str, size: tuple[int, int], needed: int, limit: int | None = None) -> None:
    """PictureError if reading a picture of that width and height, px, takes more bytes than the
    process may take: up to a limit, or what is free."""
    free = memory.available(torch.device("cpu"))
    left = (free if limit is None else min(limit, free)) - memory.resident()
    if needed > left:
        remedy = "" if limit is None else ", or raise --memory-limit"
        raise PictureError(
            f"{name} is {size[0]}x{size[1]} px: reading it takes {needed / 1e9:.2f} GB, more than "
            f"the {max(left, 0) / 1e9:.2f} GB of memory that are left: shrink it first{remedy}"
        )


def opened(data: bytes) -> Image.Image:
    """A picture from its file's bytes, not decoded yet, however large: `Need.check` refuses what
    does not fit, and Pillow's own limit against decompression bombs does not count."""
    with OPENING:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(data))
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def shrunk(
    image: Image.Image,
    factor: int,
    own: tuple[int, int],
    prepare: Callable[[Image.Image], Image.Image],
) -> Image.Image:
    """The image with its sides so many times shorter, each pixel the mean of a square.

    own: width and height of the file's picture, px, which a JPEG may be decoded smaller than.
    prepare: makes an image one of L, LA, RGB, RGBA or CMYK; transparent pixels weigh nothing.
    """
    if image.size == own and factor == 1:
        return image
    info = {key: value for key, value in image.info.items() if key != "transparency"}
    times = _times(own, image.size) * factor
    found = _averaged_bands(image, factor, prepare)
    if found.size != (extent := (own[0] / times, own[1] / times)):
        # the last row and column are squares in part: nothing may move for that
        found = found.resize(found.size, Image.Resampling.BICUBIC, (0, 0, *extent))
    found.info = info
    return found


def _averaged_bands(
    image: Image.Image, factor: int, prepare: Callable[[Image.Image], Image.Image]
) -> Image.Image:
    """The means of all squares of an image, those at its end of what there is of them."""
    if image.mode in ("I", "F"):  # their range is that of the whole
        image = prepare(image)
    (width, height), found = image.size, None
    rows = max(1, BAND // (width * factor)) * factor
    for top in range(0, height, rows):
        band = prepare(image.crop((0, top, width, min(top + rows, height)))).reduce(factor)
        if found is None:
            found = Image.new(band.mode, (band.width, -(-height // factor)))
        found.paste(band, (0, top // factor))
    assert found is not None
    return found


def averaged(values: NDArray[Any], factor: int) -> NDArray[Any]:
    """Values h w or h w c with sides so many times shorter, each the mean of a square, in float64.

    The fourth channel is alpha: what is transparent weighs nothing. With a factor of 1 the values
    as they are.
    """
    if factor == 1:
        return values
    columns = np.arange(0, values.shape[1], factor)
    counts = np.diff(np.append(columns, values.shape[1]))
    found = []
    for top in range(0, len(values), factor):
        band = values[top : top + factor].astype(np.float64)
        if band.ndim == 3 and band.shape[2] == 4:
            band[..., :3] *= band[..., 3:]
        mean = np.add.reduceat(band.mean(0), columns, 0)
        mean /= counts.reshape(-1, *[1] * (mean.ndim - 1))
        if mean.ndim == 2 and mean.shape[1] == 4:
            mean[:, :3] /= np.maximum(mean[:, 3:], 1e-9)
        found.append(mean)
    return np.stack(found)


def marked(picture: Picture, size: tuple[int, int]) -> Picture:
    """The picture, which knows the width and height it has in its file, px, before it is turned."""
    upright = (size[0] >= size[1]) == (picture.size[0] >= picture.size[1])
    own = size if upright else size[::-1]
    return picture if picture.size == own else replace(picture, shrunk_from=own)


def _times(own: tuple[int, int], decoded: tuple[int, int]) -> int:
    """How many times smaller a JPEG was decoded, along each side: 1, 2, 4 or 8."""
    return round(max(own) / max(decoded))


def _own_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of a file's picture, px, also of one that will be decoded smaller."""
    times = (getattr(image, "decoderconfig", None) or (1,))[0]
    return image.size[0] * times, image.size[1] * times


def is_deep_png(image: Image.Image) -> bool:
    """True for a PNG of 16-bit color that is not decoded yet."""
    tiles = getattr(image, "tile", None)
    return bool(image.format == "PNG" and tiles and tiles[0].args in ("RGB;16B", "RGBA;16B"))
