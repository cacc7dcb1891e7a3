"""Pictures that are no files: what other libraries and users hand over, as numbers in [0, 1].

`plain` makes of an object a path, the bytes of a file, a PIL image, an array or a tensor;
`of_array` and `of_tensor` take the last two, of any type and layout.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from impasto.errors import ImpastoError, PictureError
from impasto.images.files import path_of

TAKEN = "give a file's name, its bytes, an open file, a PIL image, an array or a tensor"
PICTURE_KEYS = ("composite", "image", "background", "bytes", "path")
"""Where the picture is in a dict: of Gradio's editors and files, and of Hugging Face's data sets.
The first that holds something counts."""
CHANNELS = (1, 3, 4)
DEPTHS = (1, 255, 65535)  # what white is, in whole numbers that are neither uint8 nor uint16
ROUNDING = 1e-3  # how far floats may lie outside [0, 1], as resizing and half precision leave them


def plain(source: object) -> Path | bytes | Image.Image | NDArray[Any] | Tensor:
    """The source as a path, the bytes of a file, a PIL image, an array or a tensor.

    Open files are read from their beginning; of a dict of Gradio's editor the finished picture is
    taken; lists of numbers and what knows how to become an array become arrays. `~` in paths is
    the home folder. Raises PictureError for anything else, and whatever goes wrong on the way.
    """
    with refusals(source):
        return _plain(source)


@contextmanager
def refusals(source: object) -> Iterator[None]:
    """Whatever the code of other libraries' objects raises, as one PictureError."""
    try:
        yield
    except (ImpastoError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PictureError(f"{_kind(source)} is no picture ({reason}): {TAKEN}") from error


def drawn(source: object) -> object:
    """What a dict of Gradio's editor says of a mask: what was drawn; anything else as it is.

    Raises PictureError where several layers were.
    """
    if not isinstance(source, Mapping):
        return source
    if source.get("mask") is not None:
        return source["mask"]
    layers = source.get("layers")
    layers = [*layers] if isinstance(layers, list | tuple) else []
    if len(layers) > 1:
        raise PictureError(f"the mask has {len(layers)} layers: give the one that is meant")
    return layers[0] if layers else source


def several(source: object) -> list[Any]:
    """The pictures of a list, or the one thing it is; rows of numbers are one picture."""
    if isinstance(source, list | tuple) and not _is_numbers(source):
        return list(source)
    return [source]


def of_array(array: NDArray[Any], name: str) -> Float32[np.ndarray, "h w c"]:
    """An array's values in [0, 1]; masked ones become an alpha of 0.

    Shapes: h w, h w c or, where that alone fits, c h w, with 1, 3 or 4 channels; ones may stand
    before. Raises PictureError for any other, and for values that `unit` refuses.
    """
    values = unit(_channels_last(np.ma.filled(array, 0), name, (2, 0)), name)
    if not isinstance(array, np.ma.MaskedArray) or not np.ma.is_masked(array):
        return values
    hidden = _channels_last(np.ma.getmaskarray(array), name, (2, 0)).any(2, keepdims=True)
    alpha = values[:, :, 3:] if values.shape[2] == 4 else np.ones_like(values[:, :, :1])
    colors = np.broadcast_to(values[:, :, :3], (*values.shape[:2], 3))
    return np.concatenate([colors, np.where(hidden, np.float32(0), alpha)], 2)


def of_tensor(tensor: Tensor, name: str) -> Float32[np.ndarray, "h w c"]:
    """A tensor's values in [0, 1], from any device and memory layout.

    Shapes: h w, c h w or, where that alone fits, h w c, with 1, 3 or 4 channels; ones may stand
    before. Raises PictureError for any other, and for values that `unit` refuses.
    """
    if tensor.is_meta:
        raise PictureError(f"{name} is a meta tensor, which holds no values: give one that does")
    plain = tensor.detach()
    if plain.is_quantized:
        plain = plain.dequantize()
    if plain.layout != torch.strided:
        plain = plain.to_dense()
    plain = plain.cpu().as_subclass(Tensor).resolve_conj().resolve_neg()
    if plain.is_floating_point():  # numpy has no bfloat16
        plain = plain.float()
    return unit(_channels_last(plain.numpy(), name, (0, 2)), name)


def unit(values: NDArray[Any], name: str) -> NDArray[np.float32]:
    """Values in [0, 1], of any shape, in float32.

    True is 1; whole numbers are divided by what their type holds (uint8, uint16), or else by the
    least of 1, 255 and 65535 that none exceeds; floats are in [0, 1] already, but for rounding.
    Raises PictureError for other types, and for values out of range, NaN or infinite.
    """
    kind = values.dtype.kind
    if kind not in "biuf":
        raise PictureError(f"{name} has the type {values.dtype}: give uint8, uint16 or float")
    with np.errstate(all="ignore"):  # what overflows is infinite, and refused
        floats = values.astype(np.float32)
    if kind == "f":
        _check_floats(floats, name)
        return np.clip(floats, 0, 1, out=floats)
    if kind != "b":
        narrow = kind == "u" and values.dtype.itemsize <= 2
        floats /= np.iinfo(values.dtype).max if narrow else _depth(values, name)
    return floats


def own_range(values: NDArray[Any], name: str) -> NDArray[np.float32]:
    """Values in [0, 1] of a file whose format agrees on no range: 32-bit gray.

    Floats in [0, 1] are taken as they are. Anything else is scaled so that the least value is
    black and the largest white; what is the same everywhere is white if it is above 0. Raises
    PictureError for values that are NaN or infinite.
    """
    _check_finite(values, name)
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind == "f" and -ROUNDING <= low <= high <= 1 + ROUNDING:
        return unit(values, name)
    if low == high:
        low, high = min(low, 0), max(high, 0)
    scaled = (values.astype(np.float64) - low) / max(high - low, 1e-300)
    return scaled.astype(np.float32)


def _plain(source: object) -> Path | bytes | Image.Image | NDArray[Any] | Tensor:
    if isinstance(source, Mapping):
        return plain(_chosen(source))
    if isinstance(source, str | os.PathLike):
        return path_of(source)
    if isinstance(source, bytes | Image.Image | np.ndarray | Tensor):
        return source
    if isinstance(source, bytearray) or (isinstance(source, memoryview) and source.ndim == 1):
        return bytes(source)
    if callable(getattr(source, "read", None)):
        return _contents(source)
    if isinstance(source, list | tuple | memoryview) or hasattr(source, "__array__"):
        array = np.asarray(source)
        if array.dtype.kind in "biuf":
            return array
    raise PictureError(f"{_kind(source)} is no picture: {TAKEN}")


def _chosen(source: Mapping[Any, Any]) -> object:
    """The picture that a dict holds. PictureError if it has none."""
    for key in PICTURE_KEYS:
        if source.get(key) is not None:
            return source[key]
    raise PictureError(f"there is no picture in a dict of {list(source)}: {TAKEN}")


def _contents(file: Any) -> bytes:
    """All bytes of an open file, from its beginning where it can go back there."""
    if callable(getattr(file, "seek", None)) and getattr(file, "seekable", lambda: True)():
        file.seek(0)
    data = file.read()
    if isinstance(data, str):
        raise PictureError("the file was opened as text: open it with 'rb'")
    return data if isinstance(data, bytes) else bytes(memoryview(data))


def _kind(source: object) -> str:
    """What the source is, for a message: "a list", "an int", "None"."""
    if source is None:
        return "None"
    name = type(source).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _channels_last(array: NDArray[Any], name: str, axes: tuple[int, int]) -> NDArray[Any]:
    """The array as h w c. axes: where channels are looked for, first here, then there."""
    found = np.asarray(array)  # a matrix would stay two-dimensional whatever is done to it
    while found.ndim > 3 and found.shape[0] == 1:
        found = found[0]
    if found.ndim == 2:
        found = found[:, :, None]
    if found.ndim == 3 and found.size:
        for axis in axes:
            if found.shape[axis] in CHANNELS:
                return np.moveaxis(found, axis, 2)
    if found.ndim == 4 and found.size:
        raise PictureError(f"{name} is a batch of {found.shape[0]} pictures: give them one by one")
    raise PictureError(
        f"{name} has the shape {np.shape(array)}: give h w, h w 3, h w 4, 3 h w or 4 h w"
    )


def _depth(values: NDArray[Any], name: str) -> int:
    """What white is in whole numbers. PictureError where that cannot be told."""
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > DEPTHS[-1]:
        raise PictureError(
            f"{name} has whole numbers of {low} to {high}: give uint8, uint16, or floats in [0, 1]"
        )
    return next(depth for depth in DEPTHS if high <= depth)


def _check_floats(values: NDArray[Any], name: str) -> None:
    """PictureError for floats that are not in [0, 1]."""
    _check_finite(values, name)
    low, high = float(values.min()), float(values.max())
    if low < -ROUNDING or high > 1 + ROUNDING:
        hint = "divide them by 255" if low >= 0 and 2 < high <= 255 else "scale them to that"
        raise PictureError(
            f"{name} has values of {low:.4g} to {high:.4g}, outside [0, 1]: {hint} first"
        )


def _check_finite(values: NDArray[Any], name: str) -> None:
    bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    if bad:
        raise PictureError(
            f"{name} has {bad} values that are NaN or infinite: replace them first, as with "
            "numpy.nan_to_num"
        )


def _is_numbers(source: object, depth: int = 0) -> bool:
    """True for rows of numbers in lists or tuples."""
    parts = list(source) if isinstance(source, list | tuple) else []
    if parts:
        return _is_numbers(parts[0], depth + 1)
    return depth in (2, 3) and isinstance(source, int | float | np.number)
