"""Numbers as pictures: arrays and tensors of any type and layout, as float32 in [0, 1]."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray
from torch import Tensor

from impasto.errors import PictureError

CHANNELS = (1, 3, 4)
DEPTHS = (1, 255, 65535)  # what white is, in whole numbers that are neither uint8 nor uint16
ROUNDING = 1e-3  # how far floats may lie outside [0, 1], as resizing and half precision leave them


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
    plain = tensor.detach().as_subclass(Tensor)
    if plain.is_quantized:
        plain = plain.dequantize()
    if plain.layout != torch.strided:
        plain = plain.to_dense()
    plain = plain.cpu().resolve_conj().resolve_neg()
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
