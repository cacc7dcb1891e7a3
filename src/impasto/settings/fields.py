"""Fields that know what they hold: type, range, group and help text, and the check of all of them.

`Settings` and `TrainingSettings` are dataclasses of such fields.
"""

import math
import operator
import typing
from collections.abc import Callable, Iterable
from dataclasses import Field, field, fields
from typing import Any, Literal

from impasto.errors import SettingError
from impasto.settings.parsing import Crop, Turn, crop_of, layer_weights, split, turn_of

LayerWeights = tuple[tuple[str, float], ...]
"""Layers and their weights. Given as text ("relu1_1:0.2,relu2_1:0.8", or "relu1_1,relu2_1" for
equal weights that sum to one), as names, or as a mapping."""
Names = tuple[str, ...]
"""Names, given as text with commas or as a sequence."""
Counts = tuple[int, ...]
"""Whole numbers, given as one number, as text with commas or as a sequence."""
Numbers = tuple[float, ...]
"""Numbers, given likewise."""
Crops = tuple[Crop, ...]
"""Crops, given as text such as 0:0:0.5:1 with commas between them, or as sequences of four."""
Turns = tuple[Turn, ...]
"""Turns, given as text such as 0,flip90, or as degrees."""


LIMITS: dict[str, Callable[[float, float], bool]] = {
    "at_least": operator.ge,
    "at_most": operator.le,
    "above": operator.gt,
}


def setting(
    default: Any,
    help: str,
    more: str = "",
    *,
    group: str = "Method",
    basic: bool = False,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    parse: Callable[[Any], Any] | None = None,
    none: str = "none",
) -> Any:
    """A dataclass field that knows its help text, range and group.

    help: one sentence. more: what only the full help and the docs say. basic: whether it is one of
    the dozen that a newcomer is shown. parse: what makes a value of what was given, where the
    field's type does not say it. none: what None means, in a word.
    """
    limits = {"at_least": at_least, "at_most": at_most, "above": above}
    known = {"help": help, "more": more, "group": group, "basic": basic}
    known |= {"parse": parse, "none": none}
    known |= {name: limit for name, limit in limits.items() if limit is not None}
    return field(default=default, metadata=known)


def settle(made: Any) -> None:
    """Bring every setting of a frozen dataclass to its own type; SettingError if it is no such
    value, or out of its range.
    """
    for item in fields(made):
        value = _converted(item, getattr(made, item.name))
        object.__setattr__(made, item.name, value)
        _check_range(item, value)


def _converted(item: "Field[Any]", value: Any) -> Any:
    """The value in the field's own type, from text where it was given so."""
    kind, parse = item.type, item.metadata["parse"]
    try:
        if parse is not None:
            return parse(value)
        if item.default == () and (value == "none" or value in ((), [])):
            return ()
        if kind == LayerWeights:
            return layer_weights(value)
        if kind in (Crops, Turns):
            return _each(crop_of if kind == Crops else turn_of, value)
        if kind == Names:
            return split(value)
        if kind == Counts:
            return tuple(int(part) for part in split(value))
        if kind == Numbers:
            return tuple(float(part) for part in split(value))
        if typing.get_origin(kind) is Literal:
            check_names(item.name, (value,), typing.get_args(kind))
            return value
        if value is None and type(None) in typing.get_args(kind):
            return None
        plain = next(t for t in (typing.get_args(kind) or (kind,)) if t is not type(None))
        if plain is not str and isinstance(value, bool) != (plain is bool):
            raise ValueError
        if plain is int and value != int(value):
            raise ValueError
        return plain(value)
    except SettingError:
        raise
    except (TypeError, ValueError):
        raise SettingError(
            f"{item.name} is {value!r}, which cannot be read: {item.metadata['help']}"
        ) from None


def _each(parse: Callable[[Any], Any], value: Any) -> tuple[Any, ...]:
    """The values of a text with commas, of a sequence, or of the one that it is."""
    one = isinstance(value, Crop | Turn)
    numbers = isinstance(value, list | tuple) and len(value) == 4 and parse is crop_of
    if one or (numbers and all(isinstance(part, int | float) for part in value)):
        return (parse(value),)
    return tuple(parse(part) for part in split(value))


def _check_range(item: "Field[Any]", value: Any) -> None:
    """SettingError if a number (or one of several) is outside the field's range."""
    if isinstance(value, str) or value is None:
        return
    for number in value if isinstance(value, tuple) else (value,):
        if not isinstance(number, int | float):
            continue
        if not math.isfinite(number):
            raise SettingError(f"{item.name} is {number}: it must be a finite number")
        for limit, holds in LIMITS.items():
            bound = item.metadata.get(limit)
            if bound is not None and not holds(number, bound):
                words = limit.replace("_", " ")
                raise SettingError(f"{item.name} is {number}: it must be {words} {bound}")


def check_names(what: str, names: Iterable[Any], known: tuple[str, ...]) -> None:
    """SettingError if one of the names is not known."""
    for name in names:
        if name not in known:
            raise SettingError(f"{what} is {name!r}: choose from {', '.join(known)}")
