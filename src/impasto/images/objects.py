"""Whatever a user hands over as a picture, as one of the kinds that `reading` reads."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from impasto.errors import ImpastoError, PictureError
from impasto.images.paths import path_of

TAKEN = "give a file's name, its bytes, an open file, a PIL image, an array or a tensor"
PICTURE_KEYS = ("composite", "image", "background", "bytes", "path")
"""Where the picture is in a dict: of Gradio's editors and files, and of Hugging Face's data sets.
The first that holds something counts."""


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


def is_numbers(source: object, depth: int = 0) -> bool:
    """True for rows of numbers in lists or tuples: a picture, and not several."""
    parts = list(source) if isinstance(source, list | tuple) else []
    if parts:
        return is_numbers(parts[0], depth + 1)
    return depth in (2, 3) and isinstance(source, int | float | np.number)


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
