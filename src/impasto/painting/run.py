"""One step of a run, as every front end sees it, whatever paints."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from impasto import images
from impasto.images import Picture
from impasto.images.files import expanded
from impasto.machine import Compute
from impasto.painting import checkpoint
from impasto.painting.budget import Footprint
from impasto.scene import Scene
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
