"""How the values of settings read, from text or as they are, and how they are typed."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from impasto.errors import SettingError

LEAST_MEMORY = 100 * 1024**2  # bytes: less was meant to have another unit


class Crop(NamedTuple):
    """A part of a picture, its edges in parts of the picture's sides; as text 0:0:0.5:1."""

    left: float
    top: float
    right: float
    bottom: float

    def __str__(self) -> str:
        return ":".join(map(_digits, self))


WHOLE = Crop(0.0, 0.0, 1.0, 1.0)


class Turn(NamedTuple):
    """How a picture is turned: mirrored, then by degrees counter-clockwise; as text flip90."""

    mirrored: bool
    degrees: float

    def __str__(self) -> str:
        degrees = "" if self.mirrored and self.degrees == 0 else _digits(self.degrees)
        return f"{'flip' if self.mirrored else ''}{degrees}"


def crop_of(value: Any) -> Crop:
    """A crop, from its text or four numbers. SettingError if it is none."""
    parts = value.split(":") if isinstance(value, str) else value
    try:
        left, top, right, bottom = (float(part) for part in parts)
    except (TypeError, ValueError):
        left = top = right = bottom = math.nan
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise SettingError(
            f"style_crop is {value!r}: give left:top:right:bottom in parts of the sides, such as "
            "0:0:0.5:1"
        )
    return Crop(left, top, right, bottom)


def turn_of(value: Any) -> Turn:
    """A turn, from a text such as 90 or flip90, or from degrees. SettingError if it is none."""
    if isinstance(value, Turn):
        return value
    text = str(value)
    mirrored = text.startswith("flip")
    try:
        degrees = float(text.removeprefix("flip") or 0)
    except ValueError:
        degrees = math.nan
    if not math.isfinite(degrees):
        raise SettingError(f"style_turn is {text!r}: give degrees, flip, or both like flip90")
    return Turn(mirrored, degrees)


def bytes_of(value: Any) -> int | None:
    """The bytes that a text such as 3G or 1500M means (K, M, G of 1024), or a number of them; None
    for auto."""
    text = str(value)
    if text in ("auto", "None"):
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    found = 0 if match is None else float(match[1]) * 1024 ** " KMG".index(match[2].upper() or " ")
    if found < LEAST_MEMORY:
        raise SettingError(
            f"memory_limit is {text!r}: write it like 3G or 1500M, at least 100M, or auto"
        )
    return int(found)


def _digits(number: float) -> str:
    """A number with all the digits that it takes to read the same number again."""
    return repr(float(number)).removesuffix(".0")


def split(value: Any) -> tuple[str, ...]:
    """The comma-separated parts of a text, or the items of a sequence, or the one thing it is."""
    if isinstance(value, str):
        parts = tuple(part.strip() for part in value.split(","))
    else:
        parts = tuple(value) if isinstance(value, Iterable) else (value,)
    if not parts or "" in parts:
        raise ValueError(value)
    return parts


def layer_weights(value: Any) -> tuple[tuple[str, float], ...]:
    """Layers with weights; where none is given, equal weights that sum to one."""
    items = value.items() if isinstance(value, Mapping) else [_pair(v) for v in split(value)]
    layers = tuple((str(name), weight) for name, weight in items)
    if len(dict(layers)) != len(layers):
        raise SettingError(f"a layer is named twice in {value!r}: name each once")
    for name, weight in layers:
        if weight is not None and not (0 <= float(weight) < float("inf")):
            raise SettingError(f"the weight of {name} is {weight}: it must be 0 or more")
    share = 1 / max(1, sum(weight is None for _, weight in layers))
    return tuple((name, share if weight is None else float(weight)) for name, weight in layers)


def _pair(item: Any) -> tuple[str, float | None]:
    """`relu1_1` or `relu1_1:0.2` or ("relu1_1", 0.2) as a name and its weight, if it has one."""
    if not isinstance(item, str):
        name, weight = item
        return name, float(weight)
    name, colon, weight = item.partition(":")
    return name.strip(), float(weight) if colon else None


def as_text(value: Any, none: str = "none") -> str:
    """A setting's value as one would type it. none: what None means."""
    if value == ():
        return "none"
    if isinstance(value, tuple):
        if isinstance(value[0], tuple) and not isinstance(value[0], Crop | Turn):
            names, weights = zip(*value, strict=True)
            if set(weights) == {1 / len(weights)}:
                return ",".join(names)
            return ",".join(f"{name}:{weight:g}" for name, weight in value)
        return ",".join(str(part) for part in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return none
    return f"{value:g}" if isinstance(value, float) else str(value)
