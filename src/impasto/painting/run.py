"""One step of a run, as every front end sees it, whatever paints; and what was painted, mixed with
the photo or another picture."""

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from impasto import images
from impasto.errors import PictureError
from impasto.images import Need, Picture, paintings
from impasto.images.files import expanded, path_of
from impasto.machine import Compute
from impasto.painting import checkpoint
from impasto.painting.budget import Footprint
from impasto.scene import AnyPicture, Scene
from impasto.scene.reading import PROPORTIONS, fingerprint_of
from impasto.scene.regions import name_of
from impasto.settings import Settings

Record = dict[str, int | float]


@dataclass(frozen=True, eq=False)
class Finished:
    """A picture that is done, with its recipe."""

    picture: Picture
    recipe: dict[str, Any]
    """What a PNG carries: the settings, versions, inputs and last losses; nothing of a picture that
    impasto did not paint."""

    @property
    def image(self) -> Any:
        """The picture as a PIL image, RGB, or RGBA where the photo was transparent."""
        return images.to_pil(self.picture)

    def save(self, path: str | os.PathLike[str], bits: int = 8, gps: bool = False) -> None:
        """Write the picture by its suffix, whole or not at all, with the recipe and photo's EXIF.

        Where the photo was taken is left out unless `gps`. Raises SettingError for an unknown
        suffix, PictureError where it cannot be written.
        """
        target = expanded(path)
        kind = images.check_output(target, bits)
        images.write_bytes(self.encoded(kind, bits, gps), target)

    def encoded(self, format: str = "PNG", bits: int = 8, gps: bool = False) -> bytes:
        """The picture as the bytes of a file, with the recipe and the photo's EXIF."""
        recipe = json.dumps(self.recipe) if self.recipe else None
        return images.encode(self.picture, format, bits, recipe, self.picture.exif, gps)

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        return images.encode(self.picture)


@dataclass(frozen=True, eq=False)
class Result(Finished):
    """A painted picture and how it came about."""

    settings: Settings
    history: list[Record]
    """The record of each step."""
    seconds: float
    """Time spent painting, the runs before a checkpoint included."""
    photo: Picture
    """What was painted."""

    def mixed(self, amount: float) -> "Result":
        """The mean of the photo and the painted picture, which weighs `amount`, in linear light.

        0 is the photo, 1 the painted picture as it is; the recipe says so. A mixed picture may be
        mixed again: the amounts multiply. SettingError for an amount outside 0 to 1.
        """
        return self.mixed_with(self.photo, {"amount": amount})

    def mixed_with(self, other: Picture, note: dict[str, Any]) -> "Result":
        """The same with any other picture in place of the photo; `note` says so in the recipe."""
        picture = other.mixed(self.picture, note["amount"])
        return replace(self, picture=picture, recipe=noted(self.recipe, note))


def noted(recipe: dict[str, Any], mix: dict[str, Any]) -> dict[str, Any]:
    """The recipe of a picture that was mixed, after all that was done before."""
    return recipe | {"mixed": [*recipe.get("mixed", ()), mix]}


@dataclass(frozen=True, eq=False)
class Step:
    """One optimization step, as every front end sees it. The picture is made on demand."""

    step: int
    """Number of the step, from 1, counted over all scales."""
    steps: int
    """How many steps there will be in all."""
    size: tuple[int, int]
    """Width and height of the scale being painted, px."""
    scale: int
    """Number of the scale, from 1."""
    scales: int
    """How many scales there are."""
    work: float
    """The part of all the work that is done, 0 to 1, by pixels and steps."""
    terms: dict[str, Tensor]
    """The loss terms before this step, weighted, as scalar tensors; see `losses`. A step for
    detail alone has no content and style, but `detail`: the style loss of the shallow layers."""
    ends_scale: bool
    """Whether this was the last step of its scale."""
    note: str | None
    """What a front end should tell its user, once."""
    _run: "Run" = field(repr=False)

    @property
    def losses(self) -> dict[str, float]:
        """The loss terms before this step, weighted: content, style, (tv, range), total."""
        return {name: float(value) for name, value in self.terms.items()}

    @property
    def record(self) -> Record:
        """What a history keeps of the step: its number, its size (long side, px), its losses."""
        return {"step": self.step, "size": max(self.size), **self.losses}

    def picture(self, full_size: bool = True) -> Picture:
        """The picture after this step, at the size asked for in the end (or at the scale's own).

        Valid until the next step is taken: a later call shows the later picture.
        """
        return self._run.picture(full_size)

    def result(self) -> Result:
        """The result of a run that ended with this step, or was stopped there."""
        run = self._run
        recipe = run.recipe() | {"steps_taken": self.step, "losses": self.losses}
        return Result(
            self.picture(), recipe, run.settings, run.history, run.seconds, run.scene.photo
        )

    def save_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Write all that `steps(..., resume=path)` needs to go on from here, whole or not at all.

        Valid until the next step is taken. Raises PictureError where the disk refuses.
        """
        checkpoint.write(expanded(path), *self._run.state())


class Run(Protocol):
    """What steps come from: a run that paints, or one that trains a network."""

    scene: Scene
    settings: Settings
    history: list[Record]
    seconds: float
    """Time spent so far."""

    def picture(self, full_size: bool = True) -> Picture:
        """The picture as it stands."""

    def recipe(self) -> dict[str, Any]:
        """How it is made, as JSON holds it."""

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What a checkpoint keeps."""


@runtime_checkable
class PaintingRun(Run, Protocol):
    """What paints a scene: `OptimizedRun`, or `OnePassRun` in one pass."""

    compute: Compute
    """What it computes on."""
    content: Picture
    """The photo."""
    sizes: list[tuple[int, int]]
    """Width and height of each scale, px."""
    one_pass: bool

    @property
    def work(self) -> float:
        """Pixels times steps of the whole run."""

    def paint(self) -> Iterator[Step]:
        """Every step to the end."""

    def estimate(self) -> tuple[float, int]:
        """Seconds and bytes that the rest of the run will take."""

    def footprint(self, size: tuple[int, int]) -> Footprint:
        """How a scale is painted in the memory there is."""


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
