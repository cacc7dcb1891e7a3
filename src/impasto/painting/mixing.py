"""Between a photo and what was painted of it: how much of the painting shows, after painting."""

import math
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from impasto import images
from impasto.errors import PictureError
from impasto.images import Need, Picture, paintings
from impasto.images.files import path_of
from impasto.painting.run import Finished, Result, noted
from impasto.scene import AnyPicture
from impasto.scene.reading import PROPORTIONS, fingerprint_of
from impasto.scene.regions import name_of


def mix(
    photo: AnyPicture, painted: AnyPicture, amount: float, *, original_size: bool = False
) -> Finished:
    """The mean of a photo and a painted picture, which weighs `amount`, in linear light.

    0 is the photo, 1 the painted picture. The size is that of the painted picture, or the photo's
    own. Both may be painted. The recipe is that of the painted picture, if its file has one, with
    what was done to it. Raises SettingError for an amount outside 0 to 1, PictureError for pictures
    that cannot be read or have other proportions.
    """
    second, recipe = paintings.picture(painted), _recipe_of(painted)
    first = paintings.picture(photo, Need(None if original_size else max(second.own_size)))
    _check_proportions(first, second)
    note: dict[str, Any] = {"amount": amount}
    its = first.fingerprint or fingerprint_of(first)
    if recipe.get("inputs", {}).get("content") != its:
        note |= {"with": name_of(first.origin), "fingerprint": its}
    if original_size:
        full = second.resized(*first.size)
        second = replace(full, exif=second.exif)
        if "settings" in recipe:  # painting it again ends at this size, too
            recipe = recipe | {"settings": recipe["settings"] | {"original_size": True}}
    return Finished(first.mixed(second, amount), noted(recipe, note) if recipe else {})


def mixed_again(result: Result, recipe: dict[str, Any], others: Sequence[Picture | None]) -> Result:
    """A picture that was painted again, mixed as its recipe says; `others` are of `others_of`."""
    for note, other in zip(recipe.get("mixed", ()), others, strict=True):
        result = result.mixed_with(other or result.photo, note)
    return result


def others_of(recipe: dict[str, Any], find: Callable[[str | None], str]) -> list[Picture | None]:
    """For each time that a picture was mixed what it was mixed with; None for its own photo.

    `find` says where a picture of that name is now. Raises PictureError for what is not there, and
    for a recipe that does not read so.
    """
    notes = recipe.get("mixed", [])
    if not isinstance(notes, list) or not all(
        isinstance(note, dict) and isinstance(note.get("amount"), int | float) for note in notes
    ):
        raise PictureError("the recipe does not say how it was mixed: paint the picture anew")
    return [paintings.picture(find(note["with"])) if "with" in note else None for note in notes]


def _recipe_of(painted: AnyPicture) -> dict[str, Any]:
    """What a file says of how it was painted; nothing for one of others, or no file."""
    named = isinstance(painted, str) and paintings.is_painting(painted)
    if named or not isinstance(painted, str | os.PathLike | bytes):
        return {}
    with suppress(PictureError):
        return images.recipe_of(painted if isinstance(painted, bytes) else path_of(painted))
    return {}


def _check_proportions(photo: Picture, painted: Picture) -> None:
    """PictureError for pictures that do not lie on each other."""
    (width, height), its = photo.own_size, painted.own_size
    if abs(math.log(width / height * its[1] / its[0])) > math.log(PROPORTIONS):
        raise PictureError(
            f"{photo.name!r} is {width}x{height} px, but {painted.name!r} is {its[0]}x{its[1]}: "
            "mix pictures of the same proportions"
        )
