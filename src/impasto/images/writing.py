"""Pictures as the bytes of files, with how they were made and what the photo says."""

import contextlib
import io
import json
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms
from PIL.ExifTags import IFD

from impasto.errors import LeftOutWarning, PictureError, SettingError
from impasto.images.files import check_place, is_stream, reason
from impasto.images.picture import Picture

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {"compress_level": 6},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95, "method": 4},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}
LONGEST_EXIF = 65533  # bytes in a JPEG: one segment, less its length (ITU-T T.81, section B.1.1.4)
EXIF_ORIENTATION = 0x0112
RECIPE_KEY = "impasto"  # the PNG text entry that holds how a picture was made
STRIP = 256  # rows
TIFF_RECIPE = 65000  # a private tag, of text
USER_COMMENT, ASCII = 0x9286, b"ASCII\0\0\0"  # EXIF 2.32, section 4.6.5
DROPPED = {
    EXIF_ORIENTATION, IFD.Exif, IFD.GPSInfo, IFD.Interop,
    0x0100, 0x0101, 0x0102, 0x0103, 0x0106, 0x0111, 0x0115, 0x0116, 0x0117, 0x011C, 0x0201, 0x0202,
    0x927C, 0xA002, 0xA003, USER_COMMENT,
}  # fmt: skip
"""EXIF tags that no longer hold of the painted picture: its size, layout, turn, thumbnail."""
BROKEN = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, EOFError, OverflowError, struct.error,
    zlib.error, Image.DecompressionBombError,
)  # fmt: skip
"""How Pillow says that a file, or its EXIF, is not as it should be."""
LEFT_OUT = "left_out"  # the entry of a recipe that names what did not fit into the file


def check_output(path: Path, bits: int = 8) -> str:
    """The format ("PNG", ...) that this path's suffix asks for.

    Raises SettingError for a suffix or a bit depth that cannot be written, PictureError where the
    folder is missing or takes no file: before anything is painted.
    """
    check_place(path)
    suffix = path.suffix.lower() or (".png" if is_stream(path) else "")
    try:
        chosen = FORMATS[suffix]
    except KeyError:
        raise SettingError(
            f"cannot write {path.name!r}: end its name in {', '.join(FORMATS)}"
        ) from None
    if bits == 16 and chosen != "PNG":
        raise SettingError(f"16 bit are written to PNG only: end {path.name!r} in .png")
    return chosen


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep warnings, as of Pillow, from stderr: what cannot be read is refused or left out."""
    with warnings.catch_warnings(action="ignore"):
        yield


def encode(
    picture: Picture,
    format: str = "PNG",
    bits: int = 8,
    recipe: str | None = None,
    exif: bytes | None = None,
    gps: bool = False,
) -> bytes:
    """The picture as the bytes of a file, with an sRGB profile.

    `recipe` says how it was made: as text in PNG, as a tag of its own in TIFF, as EXIF's user
    comment elsewhere. `exif` is what the photo's file said; where it was taken is left out unless
    `gps`. JPEG has no transparency: there a transparent picture is laid on white. And JPEG has
    64 KB for EXIF and recipe: a LeftOutWarning says what does not fit, and is left out.
    """
    notes, deep = _notes(exif, recipe, gps, format)
    if bits == 16:
        return _encode_png16(picture, recipe, notes)
    image = to_pil(picture)
    if format == "JPEG" and image.mode == "RGBA":
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        image = white
    options = dict(SAVE_OPTIONS[format])
    if notes:
        options["exif"] = notes
    if format == "TIFF" and deep:  # libtiff, which compresses, cannot write EXIF's own parts
        options["compression"] = None
    if format == "PNG" and recipe is not None:
        from PIL.PngImagePlugin import PngInfo

        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt(RECIPE_KEY, recipe)
    buffer = io.BytesIO()
    with quiet():
        image.save(buffer, format=format, icc_profile=srgb_profile(), **options)
    return buffer.getvalue()


@quiet()
def recipe_of(path: Path | bytes) -> dict[str, Any]:
    """How a picture was made, from its file or a file's bytes. PictureError if it does not say."""
    source: Any = path
    if isinstance(path, bytes):
        source, path = io.BytesIO(path), Path("stdin")
    try:
        with Image.open(source) as image:
            text = getattr(image, "text", {}).get(RECIPE_KEY)
            if text is None:
                with contextlib.suppress(Exception):  # what Pillow makes of a broken block
                    text = _recipe_in(image.getexif())
    except BROKEN as error:
        why = reason(error) if isinstance(error, OSError) else str(error) or type(error).__name__
        raise PictureError(f"cannot read {path} ({why}): check the name") from None
    try:
        found = json.loads(text or "")
        if not isinstance(found, dict):
            raise ValueError("a recipe is an object")
    except (ValueError, RecursionError):  # brackets within brackets, thousands of them
        raise PictureError(
            f"{path} does not say how it was made: only pictures that impasto wrote, and nothing "
            "has saved anew, do"
        ) from None
    return found


def _recipe_in(notes: Image.Exif) -> str | None:
    """The recipe that EXIF holds, as a TIFF's own tag or as the user comment."""
    comment = notes.get_ifd(IFD.Exif).get(USER_COMMENT, b"")
    if isinstance(comment, bytes):
        comment = comment.removeprefix(ASCII).decode("ascii", "replace")
    comment = comment.removeprefix(RECIPE_KEY) if RECIPE_KEY in comment[:16] else None
    found: str | None = notes.get(TIFF_RECIPE) or comment
    return found


@dataclass
class _Notes:
    """What a file says of its picture: the photo's EXIF, less what no longer holds, and the recipe.

    `format` says where the recipe is; what had to go is in `left_out`.
    """

    format: str
    recipe: str | None
    found: dict[int, Any] = field(default_factory=dict)
    camera: dict[int, Any] = field(default_factory=dict)
    place: dict[int, Any] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def read(self, exif: bytes, gps: bool) -> None:
        """Take over what a photo's EXIF says; nothing of one that is broken."""
        try:
            notes = Image.Exif()
            with quiet():
                notes.load(exif)
                parts = dict(notes), notes.get_ifd(IFD.Exif), notes.get_ifd(IFD.GPSInfo)
            found, camera, place = ({t: v for t, v in p.items() if t not in DROPPED} for p in parts)
            self.found, self.camera, self.place = found, camera, place if gps else {}
            self.encoded()
        except BROKEN:
            self.found, self.camera, self.place = {}, {}, {}

    def encoded(self) -> bytes:
        """The EXIF block; b"" if it has nothing to say."""
        kept, camera = Image.Exif(), dict(self.camera)
        for tag, value in self.found.items():
            kept[tag] = value
        if self.recipe is not None and self.format == "TIFF":
            kept[TIFF_RECIPE] = self.recipe
        elif self.recipe is not None and self.format != "PNG":
            camera[USER_COMMENT] = ASCII + (RECIPE_KEY + self.recipe).encode("ascii", "replace")
        for ifd, values in ((IFD.Exif, camera), (IFD.GPSInfo, self.place)):
            if values:
                kept.get_ifd(ifd).update(values)
                kept[ifd] = values
        return kept.tobytes() if len(kept) else b""

    def shorten(self) -> None:
        """Leave out the longest that it says: a tag of the photo's or an entry of the recipe."""
        recipe = json.loads(self.recipe or "{}")
        sizes: list[tuple[int, dict[Any, Any], Any, str]] = [
            (len(json.dumps(value)), recipe, name, f"the recipe's {name}")
            for name, value in recipe.items()
            if name != LEFT_OUT
        ]
        for part in (self.found, self.camera, self.place):
            for tag, value in part.items():
                size = len(value if isinstance(value, bytes | str) else repr(value))
                sizes.append((size, part, tag, f"EXIF's {ExifTags.TAGS.get(tag, tag)}"))
        _, part, name, words = max(sizes, key=lambda size: size[0])
        del part[name]
        self.left_out.append(words)
        if self.recipe is not None:
            self.recipe = json.dumps(recipe | {LEFT_OUT: self.left_out})


def _notes(exif: bytes | None, recipe: str | None, gps: bool, format: str) -> tuple[bytes, bool]:
    """EXIF for a file, b"" for none, and whether it has parts of its own.

    Warns of what does not fit into a JPEG and is left out.
    """
    notes = _Notes(format, recipe)
    if exif:
        notes.read(exif, gps)
    while format == "JPEG" and len(notes.encoded()) > LONGEST_EXIF:
        notes.shorten()
    if notes.left_out:
        warnings.warn(
            f"a JPEG has no room for {', '.join(notes.left_out)}: left out, name a .png to keep it",
            LeftOutWarning,
            stacklevel=3,
        )
    return notes.encoded(), bool(notes.camera or notes.place)


def to_pil(picture: Picture) -> Image.Image:
    """The picture as a PIL image of 8 bits, RGB, or RGBA where it has an alpha."""
    return Image.fromarray(_to_array(picture, 255, np.uint8))


@cache
def srgb_profile() -> bytes:
    """The ICC profile of sRGB that written files carry."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    # Bytes 24 to 35 hold the time of creation: a fixed one makes the same picture the same file.
    profile[24:36] = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    return bytes(profile)


def _to_array(picture: Picture, maximum: int, dtype: Any) -> NDArray[Any]:
    """The values h w c as whole numbers, a strip of rows at a time: a large picture's second
    copy in float32 would be the peak of memory."""
    channels = picture.pixels.shape[1] + (picture.alpha is not None)
    width, height = picture.size
    found = np.empty((height, width, channels), dtype)
    for top in range(0, height, STRIP):
        rows = slice(top, top + STRIP)
        values = picture.pixels[..., rows, :].detach().float().cpu()
        if picture.alpha is not None:
            values = torch.cat([values, picture.alpha[..., rows, :].to(values)], 1)
        strip = values[0].clamp(0, 1).permute(1, 2, 0).numpy() * maximum
        found[rows] = np.rint(strip)
    return found


def _encode_png16(picture: Picture, recipe: str | None, notes: bytes) -> bytes:
    """A PNG of 16 bits a channel, which Pillow cannot write (PNG specification, section 11)."""
    values = _to_array(picture, 65535, np.dtype(">u2"))
    height, width, channels = values.shape
    rows = values.reshape(height, -1).view(np.uint8)
    above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = 2  # filter "Up": each byte less the one above
    np.subtract(rows, above, out=filtered[:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = [(b"IHDR", header), (b"iCCP", b"sRGB\0\0" + zlib.compress(srgb_profile()))]
    if recipe is not None:
        chunks.append((b"iTXt", RECIPE_KEY.encode() + b"\0\0\0\0\0" + recipe.encode()))
    if notes:
        chunks.append((b"eXIf", notes.removeprefix(b"Exif\0\0")))
    chunks += [(b"IDAT", zlib.compress(filtered.tobytes(), 6)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
