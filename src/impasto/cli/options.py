"""The command line's options, made from the settings: no default or help stands twice."""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import Field, fields, make_dataclass
from typing import Annotated, Any

from cyclopts import Group, Parameter

from impasto.settings import PRESETS, Settings, as_text, settings_for

GROUPS = {
    name: Group.create_ordered(name)
    for name in ("Training", "Picture", "Style", "Method", "Optimisation", "Machine")
}


def shown(item: "Field[Any]") -> str:
    """The default of a setting as help and docs show it, with what presets make of it."""
    presets = {name: as_text(getattr(settings_for(name), item.name)) for name in PRESETS}
    first = presets["best"]
    others = [f"{name}: {text}" for name, text in presets.items() if text != first]
    if item.name == "preset":
        others = []
    return "; ".join([first, *others])


def limits(item: "Field[Any]") -> str:
    """The range of a setting, as the end of its help text: " (at least 32, at most 16384)"."""
    found = [
        f"{limit.replace('_', ' ')} {item.metadata[limit]}"
        for limit in ("above", "at_least", "at_most")
        if limit in item.metadata
    ]
    return f" ({', '.join(found)})" if found else ""


def _option(item: "Field[Any]", default: Callable[["Field[Any]"], str]) -> tuple[str, Any, Any]:
    kind = optional_kind(item)
    parameter = Parameter(
        help=item.metadata["help"] + limits(item),
        group=GROUPS[item.metadata["group"]],
        show_default=lambda _: default(item),
        negative="",
    )
    # The default None marks what was not given, so that the preset can speak.
    return item.name, Annotated[kind | None, parameter], None


def optional_kind(item: "Field[Any]") -> Any:
    """Literals as they are; lists and layers as text, which Settings reads."""
    kind: Any = item.type
    if getattr(kind, "__origin__", None) is tuple:
        return str
    return kind


def options_of(
    name: str, items: Iterable["Field[Any]"], default: Callable[["Field[Any]"], str] = shown
) -> Any:
    """A dataclass of that name with one optional field for each of these settings; `default` says
    what its help shows as such."""
    return Parameter(name="*")(
        make_dataclass(
            name,
            [_option(item, default) for item in items],
            frozen=True,
            namespace={
                "__module__": __name__,  # else cyclopts takes it for a type of Python's own
                "__doc__": "One optional field for each setting.",
            },
        )
    )


Options: Any = options_of("Options", fields(Settings))
"""A dataclass with one optional field for each setting."""


def given(options: Any | None) -> dict[str, Any]:
    """The options that were given, by name; those that were not are None."""
    return dataclasses.asdict(options) if options is not None else {}


def settings_from(options: Any | None) -> Settings:
    """The settings that these options ask for. Raises SettingError."""
    asked = given(options)
    asked["preset"] = asked.get("preset") or "best"
    return settings_for(**asked)
