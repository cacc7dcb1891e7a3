"""Pictures from files, and from whatever else holds one."""

import io
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError
from torch import Tensor

from impasto import fingerprint
from impasto.errors import ImpastoError, PictureError
from impasto.images import objects, shrinking
from impasto.images.files import is_folder, reason
from impasto.images.picture import Picture
from impasto.images.shrinking import Need
from impasto.images.writing import EXIF_ORIENTATION, quiet, srgb_profile

TIFF_SAMPLE_FORMAT = 339  # tag: 1 for whole numbers without a sign
MIN_SIDE = 16  # px; VGG-19 halves four times down to relu5_1

Source = str | os.PathLike[str] | bytes | Image.Image | NDArray[Any] | Tensor | object
"""What a picture is read from: these, and what `objects.plain` makes one of them."""


def read(source: Source, name: str | None = None, need: Need = Need()) -> Picture:  # noqa: B008
    """A picture from a path, a file's bytes, an open file, a PIL image, an array or a tensor.

    Arrays are h w, h w 3 or h w 4; tensors h w, 3 h w or 4 h w; uint8 (0 to 255), uint16 (0 to
    65535), bool or floating point in [0, 1], taken to be sRGB; see `objects` for what else is
    understood. Files and PIL images are turned as their EXIF orientation says and converted from
    their color profile to sRGB. Large ones are read smaller where `need` says that less will do.
    Raises PictureError for what is no picture, is damaged, or does not fit into memory.
    """
    found = objects.plain(source)
    if isinstance(found, Path):
        return _from_path(found, name, need)
    if isinstance(found, bytes):
        return _from_bytes(found, name or _file_name(source), need)
    if isinstance(found, Image.Image):
        return _from_image(found, name or "image", need)
    with quiet(), objects.refusals(found):
        if isinstance(found, Tensor):
            return _picture(objects.of_tensor(found, name or "tensor"), name or "tensor")
        return _picture(objects.of_array(found, name or "array"), name or "array")


def _from_image(image: Image.Image, name: str, need: Need) -> Picture:
    with _refusals(name):
        size = image.size
    return shrinking.marked(_decoded(image, name, need, size), size)


def _file_name(source: object) -> str:
    """The name of an open file, if it has one."""
    name = getattr(source, "name", None)
    return Path(name).name if isinstance(name, str) else "stdin"


def _from_path(path: Path, name: str | None, need: Need) -> Picture:
    if is_folder(path):
        raise PictureError(f"{path} is a folder: name a picture in it")
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise PictureError(f"cannot read {path} ({reason(error)}): check the name") from None
    return replace(_from_bytes(data, name or path.name, need), origin=str(path))


def _from_bytes(data: bytes, name: str, need: Need) -> Picture:
    _prepare()
    if not data:
        raise PictureError(f"{name} is empty (0 bytes): save or download it again")
    with _refusals(name):
        with shrinking.opened(data) as image:
            size = image.size
            _check_size(size, name)
            need.draft(image)
            picture = shrinking.marked(_decoded(image, name, need, size), size)
    if size[0] * size[1] > shrinking.WHOLE:  # the same picture, whatever was read of it
        return replace(picture, fingerprint=fingerprint.short(data))
    return picture


def own_size(path: Path, name: str | None = None) -> tuple[int, int]:
    """Width and height of a picture's file, px, as they are stored: nothing is decoded.

    Raises PictureError for what is no picture."""
    _prepare()
    name = name or path.name
    data = path.read_bytes()
    if not data:
        raise PictureError(f"{name} is empty (0 bytes): save or download it again")
    with _refusals(name), shrinking.opened(data) as image:
        return image.size


@contextmanager
def _refusals(name: str) -> Iterator[None]:
    """Pillow's many ways to refuse a file, as one PictureError each."""
    try:
        with quiet():  # Pillow's bomb warning, too: ours is by memory
            yield
    except (ImpastoError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise PictureError(
            f"{name} is no picture that can be read: use PNG, JPEG, WebP, TIFF, BMP, GIF or "
            "AVIF (HEIC with `pip install 'impasto[heif]'`)"
        ) from error
    except Image.DecompressionBombError as error:
        raise PictureError(f"{name} is too large to be read ({error}): shrink it first") from error
    except Exception as error:  # Pillow raises whatever a broken file leads it to
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PictureError(f"{name} is damaged ({reason}): save or download it again") from error


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if min(size) < MIN_SIDE:
        raise PictureError(
            f"{name} is {width}x{height} px: use a picture of at least {MIN_SIDE} px a side"
        )


def _decoded(image: Image.Image, name: str, need: Need, own: tuple[int, int]) -> Picture:
    """The first frame of a PIL image as sRGB pixels and alpha, upright, as large as needed; own:
    the size it has in its file, px."""
    with _refusals(name):
        need.check(image, name)
        factor = need.factor(own, image.size)
        values: NDArray[Any] | None = None
        if shrinking.is_deep_png(image) and _is_srgb(image.info.get("icc_profile")):
            sixteen = _decode_png16(image.fp)  # type: ignore[attr-defined]
            values = shrinking.averaged(sixteen, factor) / np.float32(65535)
        image.load()  # lets go of the file, and turns a TIFF
        notes, orientation = _exif_of(image)
        if values is None:
            values = _values(image, name, factor, own)
        upright = _upright(values.astype(np.float32, copy=False), orientation)
        return replace(_picture(upright, name), exif=notes)


def _exif_of(image: Image.Image) -> tuple[bytes | None, int]:
    """The EXIF block and the orientation it asks for, 1 to 8; a broken block is left out."""
    try:
        exif = image.getexif()
        orientation = exif.get(EXIF_ORIENTATION, 1)
        notes = exif.tobytes() if image.format == "TIFF" else image.info.get("exif")
        if not dict(exif):
            notes = None
    except Exception:  # Pillow raises whatever a broken block leads it to
        return None, 1
    return notes, orientation


def _values(
    image: Image.Image, name: str, factor: int, own: tuple[int, int]
) -> NDArray[np.float32]:
    """The values of a PIL image in [0, 1] and sRGB, h w c, so many times smaller."""
    profile = image.info.get("icc_profile")
    if not image.mode.startswith(("I", "F")):
        image = _plain_mode(shrinking.shrunk(image, factor, own, _plain_mode))
        return objects.unit(np.asarray(_to_srgb(image, profile)), name)
    numbers = np.asarray(image)
    if _is_unsigned(image):  # Pillow calls 32 bits signed, whatever the file says
        numbers = numbers.view(np.uint32)
    deep = image.mode.startswith("I;16")
    gray = objects.unit(numbers, name) if deep else objects.own_range(numbers, name)
    gray = shrinking.averaged(gray, factor).astype(np.float32, copy=False)
    if not _is_srgb(profile):
        sixteen = Image.fromarray(np.rint(gray * 65535).astype(np.uint16))
        converted = _converted(sixteen, profile)
        if converted is not None:
            return objects.unit(np.asarray(converted), name)
    return gray[:, :, None]


def _is_unsigned(image: Image.Image) -> bool:
    """True for a TIFF of 32-bit whole numbers without a sign."""
    tags: Any = getattr(image, "tag_v2", None)
    return image.mode == "I" and bool(tags) and tags.get(TIFF_SAMPLE_FORMAT, (1,)) in (1, (1,))


def _plain_mode(image: Image.Image) -> Image.Image:
    """The image as L, LA, RGB, RGBA or CMYK; palettes and their transparency resolved."""
    if image.mode in ("P", "PA", "1") or "transparency" in image.info:
        transparent = "transparency" in image.info or image.mode == "PA"
        return image.convert("RGBA" if transparent else "RGB")
    if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK"):
        return image
    return image.convert("RGBA" if image.mode in ("La", "RGBa") else "RGB")


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB or RGBA in sRGB, converted from the embedded profile, if there is a usable one."""
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    colors = image.convert({"LA": "L", "RGBA": "RGB"}.get(image.mode, image.mode))
    colors = _converted(colors, profile) or colors.convert("RGB")
    if alpha is not None:
        colors.putalpha(alpha)
    return colors


def _converted(colors: Image.Image, profile: bytes | None) -> Image.Image | None:
    """The colors as RGB in sRGB; None without a profile, and for a broken one or one of others."""
    if profile is None:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile()))
        if source.profile.xcolor_space.strip() == "RGB" and colors.mode in ("L", "I;16"):
            eight = np.asarray(colors) if colors.mode == "L" else np.asarray(colors) / 257
            colors = Image.fromarray(np.rint(eight).astype(np.uint8)).convert("RGB")
        return ImageCms.profileToProfile(colors, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return None  # the plain numbers are the best reading left


def _decode_png16(file: Any) -> NDArray[np.uint16]:
    """The values of a PNG of 16-bit color, h w c."""
    file.seek(0)
    data = file.read()
    decoded: list[NDArray[np.uint16]] = []
    for order in ("16B", "16L"):
        with Image.open(io.BytesIO(data)) as image:
            tiles: Any = image.tile
            swapped = [tile._replace(args=tile.args.replace("16B", order)) for tile in tiles]
            image.tile = swapped
            decoded.append(np.asarray(image).astype(np.uint16))
    high, low = decoded
    values: NDArray[np.uint16] = high << np.uint16(8) | low
    return values


def _is_srgb(profile: bytes | None) -> bool:
    """True for no profile, which means sRGB, and for one that calls itself so."""
    if profile is None:
        return True
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return "sRGB" in ImageCms.getProfileDescription(opened)
    except (ImageCms.PyCMSError, OSError):
        return True


def _upright(values: NDArray[np.float32], orientation: int) -> NDArray[np.float32]:
    """Rows and columns turned as EXIF orientation 1 ... 8 says."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return np.ascontiguousarray(values)


def _picture(values: NDArray[np.float32], name: str) -> Picture:
    """The picture of values h w c in [0, 1]. PictureError for one that is too large or small."""
    _check_size((values.shape[1], values.shape[0]), name)
    pixels = torch.from_numpy(values).permute(2, 0, 1)[None]
    if pixels.shape[1] == 4:
        alpha = pixels[:, 3:].contiguous() if bool((pixels[:, 3:] != 1).any()) else None
        return Picture(pixels[:, :3].contiguous(), alpha, name)
    return Picture(pixels.expand(1, 3, -1, -1).contiguous(), None, name)


@cache
def _prepare() -> None:
    """Let Pillow open HEIC, where the extra is installed (AVIF it opens itself), and log nothing
    to stderr where nobody asked for its log."""
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return
    register_heif_opener()
