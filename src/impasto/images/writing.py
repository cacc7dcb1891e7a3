"""Pictures to files: whole or not at all, with how they were made and what the photo says."""

import contextlib
import io
import json
import os
import struct
import tempfile
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from impasto.errors import PictureError, SettingError
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
EXIF_ORIENTATION = 0x0112
RECIPE_KEY = "impasto"  # the PNG text entry that holds how a picture was made
STRIP = 256  # rows
TIFF_RECIPE = 65000  # a private tag, of text
USER_COMMENT, ASCII = 0x9286, b"ASCII\0\0\0"  # EXIF 2.32, section 4.6.5
DROPPED = {
    EXIF_ORIENTATION, ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop,
    0x0100, 0x0101, 0x0102, 0x0103, 0x0106, 0x0111, 0x0115, 0x0116, 0x0117, 0x011C, 0x0201, 0x0202,
    0x927C, 0xA002, 0xA003, USER_COMMENT,
}  # fmt: skip
"""EXIF tags that no longer hold of the painted picture: its size, layout, turn, thumbnail."""


def check_output(path: Path, bits: int = 8) -> str:
    """The format ("PNG", ...) that this path's suffix asks for.

    Raises SettingError for a suffix or a bit depth that cannot be written, PictureError where the
    folder is missing or takes no file: before anything is painted.
    """
    check_place(path)
    try:
        chosen = FORMATS[path.suffix.lower()]
    except KeyError:
        raise SettingError(
            f"cannot write {path.name!r}: end its name in {', '.join(FORMATS)}"
        ) from None
    if bits == 16 and chosen != "PNG":
        raise SettingError(f"16 bit are written to PNG only: end {path.name!r} in .png")
    return chosen


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
    comment elsewhere. `exif` is what
    the photo's file said; where it was taken is left out unless `gps`. JPEG has no transparency:
    there a transparent picture is laid on white.
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
    image.save(buffer, format=format, icc_profile=srgb_profile(), **options)
    return buffer.getvalue()


def recipe_of(path: Path) -> dict[str, Any]:
    """How a picture was made, from its file. PictureError if the file does not say."""
    try:
        with Image.open(path) as image:
            text = getattr(image, "text", {}).get(RECIPE_KEY) or image.getexif().get(TIFF_RECIPE)
            if text is None:
                comment = image.getexif().get_ifd(ExifTags.IFD.Exif).get(USER_COMMENT, b"")
                if isinstance(comment, bytes):
                    comment = comment.removeprefix(ASCII).decode("ascii", "replace")
                text = comment.removeprefix(RECIPE_KEY) if RECIPE_KEY in comment[:16] else None
    except OSError as error:
        raise PictureError(f"cannot read {path} ({reason(error)}): check the name") from None
    try:
        found = json.loads(text or "")
        if not isinstance(found, dict):
            raise ValueError("a recipe is an object")
    except ValueError:
        raise PictureError(
            f"{path} does not say how it was made: only pictures that impasto wrote, and nothing "
            "has saved anew, do"
        ) from None
    return found


def _notes(exif: bytes | None, recipe: str | None, gps: bool, format: str) -> tuple[bytes, bool]:
    """EXIF for a file: the photo's, less what no longer holds, and the recipe; b"" for none.

    And whether it has parts of its own, for the camera and the place.
    """
    notes = Image.Exif()
    if exif:
        with contextlib.suppress(OSError, SyntaxError, ValueError, struct.error):
            notes.load(exif)
    found = {tag: value for tag, value in notes.items() if tag not in DROPPED}
    camera = {t: v for t, v in notes.get_ifd(ExifTags.IFD.Exif).items() if t not in DROPPED}
    place = dict(notes.get_ifd(ExifTags.IFD.GPSInfo)) if gps else {}
    if recipe is not None and format == "TIFF":
        found[TIFF_RECIPE] = recipe
    elif recipe is not None and format != "PNG":
        camera[USER_COMMENT] = ASCII + (RECIPE_KEY + recipe).encode("ascii", "replace")
    if not found and not camera and not place:
        return b"", False
    kept = Image.Exif()
    for tag, value in found.items():
        kept[tag] = value
    for ifd, values in ((ExifTags.IFD.Exif, camera), (ExifTags.IFD.GPSInfo, place)):
        if values:
            kept.get_ifd(ifd).update(values)
            kept[ifd] = values
    try:
        return kept.tobytes(), bool(camera or place)
    except (ValueError, TypeError, struct.error, OverflowError):  # broken by its camera
        return _notes(None, recipe, False, format) if exif else (b"", False)


def check_place(path: Path) -> None:
    """PictureError if no file can be written there: before anything is painted."""
    if path.is_dir():
        raise PictureError(f"{path} is a folder: name a file in it")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise PictureError(f"there is no folder {folder}: make it first")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise PictureError(
            f"cannot write to the folder {folder} ({reason(error)}): name another with -o"
        ) from error


def make_folder(folder: Path) -> None:
    """Make a folder and those it lies in. PictureError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PictureError(
            f"cannot make the folder {folder} ({reason(error)}): name another place with -o"
        ) from error


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary file beside `path`, to be written; it is synced and takes that name at the end.

    Raises PictureError, with nothing left behind, where the disk is full or says no.
    """
    part = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        part = Path(name)
        yield part
        with part.open("r+b") as file:
            os.fsync(file.fileno())
        with contextlib.suppress(OSError):  # a disk that knows no permissions
            part.chmod(0o666 & ~_umask())
        part.replace(path)
    except OSError as error:
        raise PictureError(
            f"cannot write {path} ({reason(error)}): free space or name another place with -o"
        ) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def write_bytes(data: bytes, path: Path) -> None:
    """Write a file whole or not at all. PictureError where the disk is full or says no."""
    with written_whole(path) as part:
        part.write_bytes(data)


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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def reason(error: OSError) -> str:
    """Why the system refused, in its own words."""
    return error.strerror or str(error)
