"""The front door: from a photo and a painting to the painted picture.

`stylize` takes the `steps` to their end. They are those of a run that paints a scene (`Scene`: what
is painted with what): `OptimizedRun` coarse to fine, step by step (`SharedRun` on several devices),
or `OnePassRun` at once.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from impasto.errors import SettingError
from impasto.machine.members import Crew
from impasto.painting.one_pass import OnePassRun
from impasto.painting.optimized import Engine, OptimizedRun
from impasto.painting.run import PaintingRun, Result, Step
from impasto.painting.shared import SharedRun
from impasto.scene import AnyPicture, Region, Scene, Style
from impasto.settings import Settings, changed, settings_for


def stylize(
    content: AnyPicture,
    style: Style | None = None,
    settings: Settings | None = None,
    *,
    mask: AnyPicture | None = None,
    style_mask: AnyPicture | None = None,
    regions: Sequence[Region] = (),
    keep: AnyPicture | None = None,
    **changes: Any,
) -> Result:
    """The content picture repainted in the style of another, or of several.

    content and style: paths, PIL images, arrays or tensors (see `images.read`); a style may be
    the name of a painting (as `impasto styles` lists), a folder, or a list of these. mask: white is
    painted, black stays the photo; style_mask: white is where strokes are taken from. `regions`
    take styles of their own; `style` is then that of the rest. keep: white is painted softly, at
    `keep_strength`. Masks are pictures, or a word: face, person or background is found in the
    photo. Settings are given as a Settings, by name, or both: `stylize("photo.jpg", "great-wave",
    preset="paper", size=256)`. Raises ImpastoError.
    """
    *_, last = steps(
        content, style, settings, mask=mask, style_mask=style_mask, regions=regions, keep=keep,
        **changes,
    )  # fmt: skip
    return last.result()


def steps(
    content: AnyPicture,
    style: Style | None = None,
    settings: Settings | None = None,
    *,
    mask: AnyPicture | None = None,
    style_mask: AnyPicture | None = None,
    regions: Sequence[Region] = (),
    keep: AnyPicture | None = None,
    resume: str | os.PathLike[str] | None = None,
    **changes: Any,
) -> Iterator[Step]:
    """Paint, and yield after every step: what `stylize`, the command line and the page consume.

    Arguments as for `stylize`; `resume` goes on from a checkpoint of the same pictures and
    settings. Bad ones raise ImpastoError before anything is yielded; DivergedError may come
    later, and leaves the pictures before it valid.
    """
    chosen = settings_for(**changes) if settings is None else changed(settings, **changes)
    return start_run(Scene(content, style, chosen, mask, style_mask, regions, keep), resume).paint()


def start_run(
    scene: Scene,
    resume: str | os.PathLike[str] | None = None,
    loaded: "Loaded | None" = None,
    crew: Crew | None = None,
) -> PaintingRun:
    """The run that paints a scene: optimized, or in one pass of a network. Raises ImpastoError.

    `loaded` is what runs of the same settings have in common; `crew` are the members of a run on
    several devices: processes of this machine if none is given.
    """
    loaded = loaded or Loaded()
    if scene.settings.method == "optimize" and not scene.networks:
        if len(scene.settings.devices) > 1:
            return SharedRun(scene, resume=resume, crew=crew)
        loaded.engine = loaded.engine or Engine(scene.settings, loaded.remembered)
        return OptimizedRun(scene, loaded.engine, resume=resume)
    if resume is not None:
        raise SettingError("instant painting takes one step: there is nothing to resume")
    if scene.settings.method == "optimize" and any(part.strokes for part in scene.parts):
        raise SettingError(
            "trained networks paint in one pass, paintings are optimized: to have both in one "
            "picture use --preset instant"
        )
    run = OnePassRun(scene, loaded.one_pass)
    loaded.one_pass = loaded.one_pass or run
    return run


@dataclass
class Loaded:
    """What runs of the same settings share: networks are loaded once, paintings measured once."""

    remembered: int = 0
    """Of how many paintings, at other sizes, the moments are kept."""
    engine: Engine | None = None
    one_pass: OnePassRun | None = None
