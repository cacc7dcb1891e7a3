"""The command line's options, made from the settings: no default or help stands twice."""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import Field, fields, make_dataclass
from typing import Annotated, Any

from cyclopts import Group, Parameter

from impasto.settings import PRESETS, Settings, as_text, settings_for

GROUPS = {
    name: Group.create_ordered(name)
    for name in (
        "Training",
        "Picture",
        "Style",
        "Masks and regions",
        "Output",
        "Method",
        "Optimization",
        "Machine",
    )
}
"""The groups of options, in the order that help shows them."""


def shown(item: "Field[Any]") -> str:
    """The default of a setting as help and docs show it, with what presets make of it."""
    presets = {name: text_of(item, getattr(settings_for(name), item.name)) for name in PRESETS}
    first = presets["best"]
    others = [f"{name}: {text}" for name, text in presets.items() if text != first]
    if item.name == "preset":
        others = []
    return "; ".join([first, *others])


def text_of(item: "Field[Any]", value: Any) -> str:
    """A value of a setting as one would type it."""
    return as_text(value, item.metadata["none"])


def limits(item: "Field[Any]") -> str:
    """The range of a setting, as the end of its help text: " (at least 32, at most 16384)"."""
    found = [
        f"{limit.replace('_', ' ')} {item.metadata[limit]}"
        for limit in ("above", "at_least", "at_most")
        if limit in item.metadata
    ]
    return f" ({', '.join(found)})" if found else ""


def text_for(item: "Field[Any]") -> str:
    """All that help and docs say of a setting."""
    return " ".join(filter(None, (item.metadata["help"] + limits(item), item.metadata["more"])))


def _option(item: "Field[Any]", default: Callable[["Field[Any]"], str]) -> tuple[str, Any, Any]:
    parameter = Parameter(
        help=text_for(item),
        group=GROUPS[item.metadata["group"]],
        show_default=lambda _: default(item),
        negative=None if item.type is bool else "",
    )
    # The default None marks what was not given, so that the preset can speak.
    return item.name, Annotated[typed_as(item) | None, parameter], None


def typed_as(item: "Field[Any]") -> Any:
    """The type that the command line reads: what Settings parses comes as text."""
    kind: Any = item.type
    if getattr(kind, "__origin__", None) is tuple or item.metadata["parse"] is not None:
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
            eq=False,  # each method that is made takes a part of `impasto --help`
            repr=False,
            namespace={
                "__module__": __name__,  # else cyclopts takes it for a type of Python's own
                "__doc__": "One optional field for each setting.",
            },
        )
    )


Options: Any = options_of("Options", fields(Settings))
"""A dataclass with one optional field for each setting."""


def given(options: Any | None) -> dict[str, Any]:
    """The options that were given, by name."""
    asked = dataclasses.asdict(options) if options is not None else {}
    return {name: value for name, value in asked.items() if value is not None}


def settings_from(options: Any | None, **usual: Any) -> Settings:
    """The settings that these options ask for; `usual` is what a command takes where nothing is
    said. Raises SettingError."""
    return settings_for(**{"preset": "best"} | usual | given(options))
