"""The recipe's front door: from a photo and a painting to the painted picture.

`stylize` runs `steps` to its end; `steps` is a scene (`scene`: what is painted with what) given
to a painter (`painter.py`: coarse to fine, step by step; `onepass.py`: at once).
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from impasto import images
from impasto.errors import SettingError
from impasto.images import Picture
from impasto.onepass import OnePass
from impasto.painter import Painter
from impasto.scene import AnyPicture, Region, Scene, Style
from impasto.settings import Settings, changed, settings_for
from impasto.step import Record, Run, Step


@dataclass(frozen=True, eq=False)
class Result:
    """A painted picture and how it came about."""

    picture: Picture
    settings: Settings
    history: list[Record]
    """The record of each step."""
    seconds: float
    """Time spent painting, the runs before a checkpoint included."""
    recipe: dict[str, Any]
    """What a PNG carries: the settings, versions, inputs and last losses."""

    @property
    def image(self) -> Any:
        """The picture as a PIL image, RGB, or RGBA where the photo was transparent."""
        return images.to_pil(self.picture)

    def save(self, path: str | os.PathLike[str], bits: int = 8, gps: bool = False) -> None:
        """Write the picture by its suffix, whole or not at all, with the recipe and photo's EXIF.

        Where the photo was taken is left out unless `gps`. Raises SettingError for an unknown
        suffix, PictureError where it cannot be written.
        """
        target = Path(path)
        kind = images.check_output(target, bits)
        images.write_bytes(self.encoded(kind, bits, gps), target)

    def encoded(self, format: str = "PNG", bits: int = 8, gps: bool = False) -> bytes:
        """The picture as the bytes of a file, with the recipe and the photo's EXIF."""
        recipe = json.dumps(self.recipe)
        return images.encode(self.picture, format, bits, recipe, self.picture.exif, gps)

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        return images.encode(self.picture)


def stylize(
    content: AnyPicture,
    style: Style | None = None,
    settings: Settings | None = None,
    *,
    mask: AnyPicture | None = None,
    style_mask: AnyPicture | None = None,
    regions: Sequence[Region] = (),
    **changes: Any,
) -> Result:
    """The content picture repainted in the style of another, or of several.

    content and style: paths, PIL images, arrays or tensors (see `images.read`); a style may be
    the name of a built-in painting, a folder, or a list of these. mask: white is painted, black
    stays the photo; style_mask: white is where strokes are taken from. `regions` take styles of
    their own; `style` is then that of the rest. Settings are given as a Settings, by name, or
    both: `stylize("photo.jpg", "great-wave", preset="paper", size=256)`. Raises ImpastoError.
    """
    *_, last = steps(
        content, style, settings, mask=mask, style_mask=style_mask, regions=regions, **changes
    )
    return result(last)


def result(last: Step) -> Result:
    """The result of a run that ended with this step, or was stopped there."""
    run = last._run
    recipe = run.recipe() | {"steps_taken": last.step, "losses": last.losses}
    return Result(last.picture(), run.settings, run.history, run.seconds, recipe)


def steps(
    content: AnyPicture,
    style: Style | None = None,
    settings: Settings | None = None,
    *,
    mask: AnyPicture | None = None,
    style_mask: AnyPicture | None = None,
    regions: Sequence[Region] = (),
    resume: str | os.PathLike[str] | None = None,
    **changes: Any,
) -> Iterator[Step]:
    """Paint, and yield after every step: what `stylize`, the command line and the page consume.

    Arguments as for `stylize`; `resume` goes on from a checkpoint of the same pictures and
    settings. Bad ones raise ImpastoError before anything is yielded; DivergedError may come
    later, and leaves the pictures before it valid.
    """
    chosen = settings_for(**changes) if settings is None else changed(settings, **changes)
    return run_of(Scene(content, style, chosen, mask, style_mask, regions), resume).paint()


def run_of(scene: Scene, resume: str | os.PathLike[str] | None = None) -> Run:
    """What paints a scene: the optimiser, or one pass of a network. Raises ImpastoError."""
    if scene.settings.method == "optimise" and not scene.networks:
        return Painter(scene, resume)
    if resume is not None:
        raise SettingError("instant painting takes one step: there is nothing to resume")
    if scene.settings.method == "optimise" and any(part.strokes for part in scene.parts):
        raise SettingError(
            "trained networks paint in one pass, paintings are optimised: to have both in one "
            "picture use --preset instant"
        )
    return OnePass(scene)
