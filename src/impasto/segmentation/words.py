"""Masks by a word, or from clicks: what `impasto.find_mask` and `impasto mask` find."""

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from impasto import images, machine
from impasto.errors import PictureError, SettingError
from impasto.images import Need, Picture, Source
from impasto.images.files import exists, path_of
from impasto.segmentation import clicks as growing
from impasto.segmentation import faces, people
from impasto.segmentation.clicks import Click
from impasto.segmentation.guided_filter import guided

WORDS = ("face", "person", "background")
"""The words that a mask may be instead of a file."""

LONGEST = 1024  # px, long side of the copy of a photo in which faces and people are looked for
SURE = 0.5  # how likely a place must be to show a person, or there is none
LEAST = 2e-3  # of the photo: less is no person
HEAD = (1.12, 1.2, 0.06)
"""A face's ellipse beside MTCNN's box, which ends at brows, chin and cheeks: how much wider and
higher, and by how much of the height its middle lies above."""
EDGE = 0.2  # of the ellipse's radius over which it fades out


@machine.neutral()
def find_mask(
    photo: Source | Picture,
    word: str | None = None,
    *,
    clicks: Sequence[Click] = (),
) -> Image.Image:
    """The mask of a photo by a word (face, person, background) or from clicked points, as a gray
    PIL image of the photo's size: white is meant.

    clicks: x, y from the upper left corner of the photo as it is seen, px; the region that they
    lie in is found by its look. The image goes wherever a mask does, and has `.save("mask.png")`.
    Raises SettingError for another word, for both or none of the two, and for a click outside the
    photo; PictureError where nothing is found.
    """
    if (word is None) == (not clicks):
        raise SettingError(f"name one of {', '.join(WORDS)}, or give clicks: the one or the other")
    picture = photo if isinstance(photo, Picture) else images.read(photo, need=Need())
    mask = from_clicks(picture, clicks) if word is None else mask_of(picture, word)
    values = (mask[0, 0] * 255).round().byte().numpy()
    return Image.fromarray(np.ascontiguousarray(values))


@dataclass(frozen=True, eq=False)
class Finding:
    """What a word means in a photo."""

    mask: Float[Tensor, "1 1 h w"]
    """Where it is, 0 to 1, softly, with edges that follow the photo."""
    faces: int
    """How many faces were found."""
    note: str | None = None
    """What a front end should tell its user."""


def mask_of(photo: Picture, word: str) -> Float[Tensor, "1 1 h w"]:
    """Where a photo shows what a word says (`found`), 0 to 1."""
    return found(photo, word).mask


@torch.no_grad()
def found(photo: Picture, word: str, empty: bool = False) -> Finding:
    """What a word means in a photo: its faces, its people, or all but its people.

    Raises SettingError for a word that is none of WORDS, and PictureError where there is no such
    thing, unless it may be empty: then the mask is black, or white for the background.
    """
    if word not in WORDS:
        raise SettingError(f"no mask is called {word!r}: choose from {', '.join(WORDS)}")
    side = min(LONGEST, max(photo.size))
    small = photo.resized(*images.fit(photo.size, side)).pixels
    seen = faces.find(small)
    mask = ellipses(seen, small.shape[-2:]) if word == "face" else people.found_in(small, seen)
    there = bool(seen) if word == "face" else float((mask > SURE).float().mean()) >= LEAST
    what, note = "face" if word == "face" else "person", None
    if not there and not empty:
        raise PictureError(
            f"no {what} is found in {photo.name!r}: give a mask file, or make one with `impasto "
            "mask --click x,y`"
        )
    if not there:
        mask, note = torch.zeros_like(mask), f"no {what} is found in {photo.name!r}"
    elif not seen:
        note = f"no face is found in {photo.name!r}: look whether {word} is what you mean"
    height, width = photo.size[1], photo.size[0]
    mask = guided(images.resize(mask, height, width).clamp(0, 1), photo.pixels)
    return Finding(1 - mask if word == "background" else mask, len(seen), note)


@torch.no_grad()
def from_clicks(photo: Picture, clicks: Sequence[Click]) -> Float[Tensor, "1 1 h w"]:
    """The region of a photo that clicks lie in, 0 to 1, with edges that follow the photo.

    clicks: in px of the photo's own size. Raises SettingError for one outside it.
    """
    growing.check(clicks, photo.own_size)
    (width, height), own = photo.size, photo.own_size
    places = [(x * width / own[0], y * height / own[1]) for x, y in clicks]
    return guided(growing.grown(photo.pixels, places), photo.pixels)


def ellipses(
    found: Sequence[faces.Face], size: tuple[int, int] | torch.Size
) -> Float[Tensor, "1 1 h w"]:
    """A soft ellipse for each face, forehead and chin included, on a picture of that height and
    width, px; it leans as the line from the mouth to the eyes does."""
    rows = torch.arange(size[0]).view(-1, 1) + 0.5
    columns = torch.arange(size[1]) + 0.5
    mask = torch.zeros(1, 1, *size)
    for face in found:
        left, top, right, bottom = face.box
        (wide, high, above), height = HEAD, bottom - top
        up = _up(face)
        x = (left + right) / 2 + above * height * up[0]
        y = (top + bottom) / 2 + above * height * up[1]
        along = (columns - x) * up[0] + (rows - y) * up[1]
        across = (columns - x) * up[1] - (rows - y) * up[0]
        radius = torch.hypot(along / (high * height / 2), across / (wide * (right - left) / 2))
        mask = torch.maximum(mask, ((1 - radius) / EDGE + 0.5).clamp(0, 1))
    return mask


def _up(face: faces.Face) -> tuple[float, float]:
    """The direction from the middle of the mouth to that between the eyes, of length one."""
    (x0, y0), (x1, y1), _, (x3, y3), (x4, y4) = face.landmarks
    x, y = (x0 + x1 - x3 - x4) / 2, (y0 + y1 - y3 - y4) / 2
    length = math.hypot(x, y)
    return (x / length, y / length) if length else (0.0, -1.0)


def stands_before(source: object) -> str | None:
    """What to tell who gives a word where a file has it for a name, too."""
    if not is_word(source) or not Path(str(source)).exists():
        return None
    return f"{source} is found in the photo; ./{source} means the file of that name"


def check_word(source: object) -> None:
    """PictureError for the name of a mask that is neither a file nor a word."""
    if not isinstance(source, str) or not source.strip():
        return
    path = path_of(source)
    if not (path.suffix or len(path.parts) > 1 or exists(path)):
        near = difflib.get_close_matches(source.lower(), WORDS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise PictureError(
            f"no file is called {source!r}, and no mask: {hint}The masks are {', '.join(WORDS)}"
        )


def is_word(source: object) -> bool:
    """True for a word that a mask may be; a file of that name is meant by a Path, or by ./NAME."""
    return isinstance(source, str) and source in WORDS
