"""A decoded frame as pixels: upright, from its own colors, what is transparent laid on white.

And animated pictures that FFmpeg does not read from their files, as it reads them: it takes
`shot-%03d.gif` for the names of many pictures, and decodes no animated WebP.
"""

import io
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from impasto.images import folder

UNSPECIFIED = 2  # the code for it in ITU-T H.273, of primaries, transfer and matrix
LIMITED, FULL = 1, 2  # ranges of FFmpeg: 16 ... 235, and 0 ... 255
RGB, BT709, BT601 = 0, 1, 6  # matrices of ITU-T H.273
HIGH_DEFINITION = 720  # px; below that height video of no stated matrix is BT.601, by custom
SCALING = 4 | 8192 | 262144  # bicubic, chroma at full width, exact rounding: else grays turn purple
TICKS = 1000  # a second: WebP counts milliseconds
UNSAID = 100  # ms; how long browsers show a frame of no duration


@dataclass(frozen=True)
class Colors:
    """How a video's numbers are meant, in the codes of ITU-T H.273, and their range."""

    matrix: int
    primaries: int
    transfer: int
    range: int
    """1 for 16 ... 235, 2 for 0 ... 255."""


@dataclass(frozen=True)
class Turn:
    """How a stored frame becomes upright: rows and columns swapped first, then mirrored."""

    aside: bool = False
    """Whether rows become columns."""
    left_right: bool = False
    upside_down: bool = False

    def upright(self, values: NDArray[Any]) -> NDArray[Any]:
        """The values h w c as they are shown, a view of them."""
        values = values.swapaxes(0, 1) if self.aside else values
        values = values[:, ::-1] if self.left_right else values
        return values[::-1] if self.upside_down else values


def pixels_of(
    frame: Any, size: tuple[int, int], colors: Colors
) -> tuple[Float[Tensor, "1 3 h w"], bool]:
    """A frame upright at a width and height, px, and whether any of it is transparent."""
    turn = turn_of(frame)
    width, height = size[::-1] if turn.aside else size
    alpha = any(part.is_alpha for part in frame.format.components) or frame.format.has_palette
    matrix = {} if colors.matrix == RGB else {"src_colorspace": _swscale(colors)}
    values: NDArray[Any] = frame.reformat(
        width, height, "rgba" if alpha else "rgb24", interpolation=SCALING,
        src_color_range=colors.range, dst_color_range=FULL, **matrix,
    ).to_ndarray()  # fmt: skip
    transparent = False
    if alpha:
        share = values[..., 3:].astype(np.float32) / 255
        transparent = bool((share < 1).any())
        values = np.rint(values[..., :3] * share + 255 * (1 - share)).astype(np.uint8)
    upright = np.ascontiguousarray(turn.upright(values))
    return torch.from_numpy(upright).permute(2, 0, 1)[None].float() / 255, transparent


def turn_of(frame: Any) -> Turn:
    """How a frame is shown, by its display matrix (ISO/IEC 14496-12, section 6.2.2): a stored place
    x, y is shown at a x + c y, b x + d y. Turns in between count as the nearest right angle."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return Turn()
    a, b, _, c, d = struct.unpack_from("=5i", bytes(matrix))
    aside = abs(b) + abs(c) > abs(a) + abs(d)
    return Turn(aside, (c if aside else a) < 0, (b if aside else d) < 0)


def colors_of(frame: Any) -> Colors:
    """What a frame says of its colors, and the custom where it says nothing."""
    matrix, full = int(frame.colorspace), int(frame.color_range) == FULL
    if frame.format.is_rgb or frame.format.has_palette:
        matrix, full = RGB, True
    elif matrix in (RGB, UNSPECIFIED):
        matrix = BT709 if min(frame.width, frame.height) >= HIGH_DEFINITION else BT601
    full |= frame.format.name.startswith("yuvj")
    return Colors(
        matrix, int(frame.color_primaries), int(frame.color_trc), FULL if full else LIMITED
    )


def in_memory(path: Path, av: Any) -> bytes | None:
    """What FFmpeg reads in place of the file: a lossless film of an animated WebP's frames, or the
    file's own bytes where its name would be misread; None where the file itself will do.

    Raises OSError, or what else Pillow raises for a damaged file.
    """
    with path.open("rb") as file:
        head = file.read(12)
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        return _film_of_webp(path, av)
    if "%" in str(path) and path.suffix.lower() in folder.SUFFIXES:
        return path.read_bytes()
    return None


def _film_of_webp(path: Path, av: Any) -> bytes | None:
    """A QuickTime film with PNG frames of the same times; None for a picture that stands still."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a large picture: the clip checks its size itself
        image: Any = Image.open(path)
    buffer = io.BytesIO()
    with image:
        if not getattr(image, "is_animated", False):
            return None
        with av.open(buffer, "w", format="mov") as container:
            stream = container.add_stream("png", rate=TICKS)
            stream.width, stream.height = image.size
            stream.pix_fmt, now = "rgba", 0
            for frame, duration in _frames(image):
                coded = av.VideoFrame.from_ndarray(frame, format="rgba")
                coded.pts = now
                for packet in stream.encode(coded):
                    packet.duration = duration
                    container.mux(packet)
                now += duration
    return buffer.getvalue()


def _frames(image: Any) -> Iterator[tuple[NDArray[np.uint8], int]]:
    """Each frame, h w 4, and how long it is shown, ms."""
    for number in range(image.n_frames):
        image.seek(number)
        frame = np.asarray(image.convert("RGBA"))
        yield frame, round(image.info.get("duration", 0)) or UNSAID


def _swscale(colors: Colors) -> int:
    """The matrix as swscale numbers it: BT.601 is 5 there."""
    return 5 if colors.matrix in (5, 6) else colors.matrix
