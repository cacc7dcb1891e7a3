"""The words that --region and --style-mask take."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cyclopts import Group, Parameter

from impasto.cli.options import GROUPS
from impasto.errors import SettingError

if TYPE_CHECKING:
    from impasto.scene import Region

REST = "rest"
MASKS = GROUPS["Masks and regions"]
NO_PAINTING = "there is no painting: name a file, or one that `impasto styles` lists"
PARTS = re.compile(r":(?![\\/])")  # a colon, but not that of C:\masks


def several(group: Group) -> Parameter:
    """An option that may be given several times."""
    return Parameter(negative="", show_default=False, group=group)


def regions(texts: Sequence[str], style_masks: Sequence[str]) -> tuple[list["Region"], str | None]:
    """The regions of `--region`, with their style masks, and the style mask of the rest.

    Raises SettingError for words that do not read so.
    """
    found: dict[str, Region] = {}
    for text in texts:
        region = _region(text)
        if region.name in found:
            raise SettingError(f"--region names {region.name!r} twice: name each region once")
        found[region.name] = region
    main = None
    for text in style_masks:
        name, equals, mask = text.partition("=")
        if not equals:
            name, mask = REST, text
        if name in found:
            found[name] = replace(found[name], style_mask=mask)
        elif name == REST:
            main = mask
        else:
            known = ", ".join([*found, REST])
            raise SettingError(f"--style-mask is of region {name!r}, but there are {known}")
    return list(found.values()), main


def _region(text: str) -> "Region":
    """sky=mask.png:great-wave, or rest:great-wave, each with :strength at its end if wanted."""
    first, *others = PARTS.split(text)
    name, equals, mask = first.partition("=")
    strength = None
    if len(others) == 2:
        try:
            strength = float(others.pop())
        except ValueError:
            others = []
    if len(others) != 1 or not name or not others[0] or bool(equals) == (name == REST):
        raise SettingError(
            f"--region is {text!r}: write NAME=MASK:STYLE or {REST}:STYLE, with :STRENGTH at the "
            "end if wanted"
        )
    from impasto.scene import Region

    return Region(others[0], mask or None, strength, None, name)
