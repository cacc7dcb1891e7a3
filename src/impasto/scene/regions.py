"""The parts of a picture: regions as they are asked for, and as they are painted."""

import os
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from impasto.errors import SettingError
from impasto.images import Picture, Source, paintings
from impasto.images.files import exists, expanded
from impasto.images.objects import several
from impasto.scene.recolor import unchanged
from impasto.scene.strokes import Strokes
from impasto.settings import Strength
from impasto.weights import trained

AnyPicture = Source | Picture
Style = AnyPicture | Sequence[AnyPicture]
"""A painting, a folder of them, or several."""


@dataclass(frozen=True, eq=False)
class Region:
    """A part of the photo that takes a style of its own, as it is asked for.

    mask: white belongs to the region, black does not, gray does in part; a word (face, person,
    background) is found in the photo; None: all that no other region takes. strength: 0 to 1, that
    of the settings if None. style_mask: white is the part of the painting that the strokes are
    taken from.
    """

    style: Style
    mask: AnyPicture | None = None
    strength: float | None = None
    style_mask: AnyPicture | None = None
    name: str = "region"


@dataclass(frozen=True, eq=False)
class Part:
    """A region with everything read: where it is, its paintings, its strength."""

    areas: tuple[Float[Tensor, "1 1 _ _"], ...] | None
    """Masks that add up; None for the rest of the picture."""
    strokes: tuple[Strokes, ...]
    networks: tuple[tuple[Path, float], ...]
    """Files of trained networks that paint in place of strokes, each with its share."""
    strength: Strength
    key: str
    """The same for regions that are painted alike, whose masks then add up."""

    @property
    def measured_as(self) -> Hashable:
        """The same for parts whose paintings have the same moments, in whichever picture. Those in
        a photo's colors are like no others."""
        own = any(strokes.recoloring is not unchanged for strokes in self.strokes)
        return self.strokes if own else self.key


def numbered(regions: list[Region]) -> list[Region]:
    """The regions, with a number behind each name that several of them have."""
    names = [region.name for region in regions]
    return [
        replace(region, name=f"{region.name} {number}") if names.count(region.name) > 1 else region
        for number, region in enumerate(regions, 1)
    ]


def merged(parts: list[Part]) -> tuple[Part, ...]:
    """Parts that are painted alike as one: their moments add up, and so do their masks."""
    found: dict[str, Part] = {}
    for part in parts:
        if part.key not in found:
            found[part.key] = part
            continue
        first = found[part.key]
        if first.areas is None or part.areas is None:
            found[part.key] = replace(first, areas=None)
        else:
            found[part.key] = replace(first, areas=first.areas + part.areas)
    return tuple(found.values())


def paintings_of(style: Style) -> list[AnyPicture]:
    """The paintings of a style, one by one; rows of numbers are one picture.

    Raises SettingError where there is none.
    """
    found = several(style)
    if not found or any(isinstance(one, str) and not one.strip() for one in found):
        raise SettingError("there is no painting: name a file, or one that `impasto styles` lists")
    return found


def for_each(values: Sequence[Any], count: int, name: str, strict: bool) -> list[Any]:
    """A value for each of so many styles; one value is for all of them.

    SettingError for another number of values, unless `strict` is False: then the first is for all.
    """
    if len(values) == 1:
        return list(values) * count
    if len(values) == count:
        return list(values)
    if not strict:  # a region's own style: the list was meant for the others
        return [values[0]] * count
    raise SettingError(
        f"{name} has {len(values)} values for {count} styles: give one for each, or one for all"
    )


def origin_of(style: AnyPicture) -> str | None:
    """Where a painting can be read again, if it came from a file."""
    if isinstance(style, Picture):
        return style.origin
    if not isinstance(style, str | os.PathLike):
        return None
    name = str(style)
    if name in _known() or exists(expanded(name)):
        return str(expanded(name)) if name.startswith("~") else name
    return paintings.picture(style).origin  # of a part of a painting's name


def name_of(source: str | None, words: Collection[str] = ()) -> str | None:
    """A file as recipes name it: without its folders, which are nobody else's business.

    What is known by itself stays: `words`, paintings by name and networks that ship. A file that is
    called like one of them has ./ before its name.
    """
    known = {*words, *_known()}
    if source is None or source in known:
        return source
    name = Path(source).name or Path(source).absolute().name
    return f"./{name}" if name in known else name


def _known() -> list[str]:
    return [*paintings.known(), *trained.networks()]
