"""How the values of settings read, from text or as they are: sizes, crops, turns, lists, layers."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from impasto.errors import SettingError

LEAST_MEMORY = 100 * 1024**2  # bytes: less was meant to have another unit


def box_of(text: str) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a crop such as 0:0:0.5:1. SettingError if it is none."""
    try:
        left, top, right, bottom = (float(part) for part in text.split(":"))
    except ValueError:
        left = top = right = bottom = math.nan
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise SettingError(
            f"style_crop is {text!r}: give left:top:right:bottom in parts of the sides, such as "
            "0:0:0.5:1"
        )
    return left, top, right, bottom


def turn_of(text: str) -> tuple[bool, float]:
    """Whether to mirror and by how many degrees to turn, of a text such as 90 or flip90."""
    mirrored = text.startswith("flip")
    try:
        degrees = float(text.removeprefix("flip") or 0)
    except ValueError:
        degrees = math.nan
    if not math.isfinite(degrees):
        raise SettingError(f"style_turn is {text!r}: give degrees, flip, or both like flip90")
    return mirrored, degrees


def bytes_of(text: str) -> int | None:
    """The bytes that a text such as 3G or 1500M means (K, M, G of 1024); None for auto."""
    if text == "auto":
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    found = 0 if match is None else float(match[1]) * 1024 ** " KMG".index(match[2].upper() or " ")
    if found < LEAST_MEMORY:
        raise SettingError(
            f"memory_limit is {text!r}: write it like 3G or 1500M, at least 100M, or auto"
        )
    return int(found)


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
