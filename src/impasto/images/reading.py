"""Pictures from files, bytes, arrays and tensors."""

import io
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor

from impasto import fingerprint
from impasto.errors import PictureError
from impasto.images import shrinking
from impasto.images.picture import Picture
from impasto.images.shrinking import Need
from impasto.images.writing import EXIF_ORIENTATION, reason, srgb_profile

MIN_SIDE = 16  # px; VGG-19 halves four times down to relu5_1

Source = str | os.PathLike[str] | bytes | Image.Image | NDArray[Any] | Tensor


def read(source: Source, name: str | None = None, need: Need = Need()) -> Picture:  # noqa: B008
    """A picture from a path, encoded bytes, a PIL image, an array or a tensor.

    Arrays are h w, h w 3 or h w 4; tensors 3 h w, 4 h w or 1 c h w; both uint8 (0 to 255), uint16
    (0 to 65535) or floating point in [0, 1], taken to be sRGB. Files and PIL images are turned as
    their EXIF orientation says and converted from their color profile to sRGB. Large ones are read
    smaller where `need` says that less will do. Raises PictureError for what is no picture, is
    damaged, or does not fit into memory.
    """
    if isinstance(source, Tensor):
        return _from_tensor(source, name or "tensor")
    if isinstance(source, np.ndarray):
        return _from_array(source, name or "array")
    if isinstance(source, Image.Image):
        return shrinking.marked(_decoded(source, name or "image", need, source.size), source.size)
    if isinstance(source, bytes):
        return _from_bytes(source, name or "stdin", need)
    return _from_path(Path(source), name, need)


def _from_path(path: Path, name: str | None, need: Need) -> Picture:
    if path.is_dir():
        raise PictureError(f"{path} is a folder: name a picture in it")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PictureError(f"cannot read {path} ({reason(error)}): check the name") from None
    return replace(_from_bytes(data, name or path.name, need), origin=str(path))


def _from_bytes(data: bytes, name: str, need: Need) -> Picture:
    _register_heif()
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


@contextmanager
def _refusals(name: str) -> Iterator[None]:
    """Pillow's many ways to refuse a file, as one PictureError each."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's bomb warning: ours is by memory
            yield
    except UnidentifiedImageError as error:
        raise PictureError(
            f"{name} is no picture that can be read: use PNG, JPEG, WebP, TIFF, BMP, GIF or "
            "AVIF (HEIC with `pip install 'impasto[heif]'`)"
        ) from error
    except Image.DecompressionBombError as error:
        raise PictureError(f"{name} is too large to be read ({error}): shrink it first") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
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
        notes = image.info.get("exif")
        if notes is None and image.format == "TIFF":
            notes = image.getexif().tobytes()
        values = _sixteen_bits(image, factor)
        if values is None:
            image = shrinking.shrunk(image, factor, own, _plain_mode)
            image = ImageOps.exif_transpose(image)
            profile = image.info.get("icc_profile")
            image = _plain_mode(image)
            values = np.asarray(_to_srgb(image, profile)).astype(np.float32) / np.float32(255)
        return replace(_from_array(values, name), exif=notes)


def _plain_mode(image: Image.Image) -> Image.Image:
    """The image as L, LA, RGB, RGBA or CMYK; palettes and their transparency resolved."""
    if image.mode in ("P", "PA", "1") or "transparency" in image.info:
        transparent = "transparency" in image.info or image.mode == "PA"
        return image.convert("RGBA" if transparent else "RGB")
    if image.mode in ("I", "F"):  # 32-bit gray: no agreed range but its own
        values = np.asarray(image, dtype=np.float32)
        low, high = float(values.min()), float(values.max())
        return Image.fromarray(np.uint8((values - low) / max(high - low, 1e-12) * 255 + 0.5))
    if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK"):
        return image
    return image.convert("RGBA" if image.mode in ("La", "RGBa") else "RGB")


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB or RGBA in sRGB, converted from the embedded profile, if there is a usable one."""
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    colors = image.convert({"LA": "L", "RGBA": "RGB"}.get(image.mode, image.mode))
    if profile is not None:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            target = ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile()))
            converted = ImageCms.profileToProfile(colors, source, target, outputMode="RGB")
            colors = converted or colors
        except (ImageCms.PyCMSError, OSError):
            pass  # a broken or mismatched profile: the plain numbers are the best reading left
    colors = colors.convert("RGB")
    if alpha is not None:
        colors.putalpha(alpha)
    return colors


def _sixteen_bits(image: Image.Image, factor: int) -> NDArray[np.float32] | None:
    """A 16-bit file's full depth in [0, 1], upright and in sRGB; None for any other.

    factor: by how many times its sides are to be shorter.

    Pillow has no 16-bit color: it keeps the high byte of each value. Decoding a second time as
    if the bytes were swapped yields the low byte, and both together the value.
    """
    deep = _is_deep_png(image) and _is_srgb(image.info.get("icc_profile"))
    if deep:  # before getexif decodes the image and lets go of the file
        values = _decode_png16(image.fp)  # type: ignore[attr-defined]
    orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    if not deep:
        if not image.mode.startswith("I;16"):
            return None
        values = np.asarray(image)
    values = shrinking.averaged(values, factor)
    return _upright(values.astype(np.float32) / np.float32(65535), orientation)


def _is_deep_png(image: Image.Image) -> bool:
    """True for a PNG of 16-bit color that is not decoded yet."""
    tiles = getattr(image, "tile", None)
    return bool(image.format == "PNG" and tiles and tiles[0].args in ("RGB;16B", "RGBA;16B"))


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


def _from_tensor(tensor: Tensor, name: str) -> Picture:
    if tensor.ndim == 4 and tensor.shape[0] == 1:
        tensor = tensor[0]
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 3, 4):
        raise PictureError(
            f"the tensor's shape is {tuple(tensor.shape)}: give 3 h w, 4 h w or 1 c h w"
        )
    return _from_array(tensor.detach().cpu().permute(1, 2, 0).numpy(), name)


def _from_array(array: NDArray[Any], name: str) -> Picture:
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or array.size == 0:
        raise PictureError(f"{name} has the shape {array.shape}: give h w, h w 3 or h w 4")
    if array.dtype in (np.uint8, np.uint16):
        values = array.astype(np.float32) / np.iinfo(array.dtype).max
    elif np.issubdtype(array.dtype, np.floating):
        values = array.astype(np.float32)
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
            raise PictureError(f"{name} has values outside [0, 1]: scale them to it first")
    else:
        raise PictureError(f"{name} has the type {array.dtype}: give uint8, uint16 or float")
    _check_size((array.shape[1], array.shape[0]), name)
    pixels = torch.from_numpy(values).permute(2, 0, 1)[None]
    if pixels.shape[1] == 4:
        alpha = pixels[:, 3:].contiguous() if bool((pixels[:, 3:] != 1).any()) else None
        return Picture(pixels[:, :3].contiguous(), alpha, name)
    return Picture(pixels.expand(1, 3, -1, -1).contiguous(), None, name)


@cache
def _register_heif() -> None:
    """Let Pillow open HEIC, where the extra is installed (AVIF it opens itself)."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return
    register_heif_opener()
