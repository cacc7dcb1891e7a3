"""`impasto stylize`: one photo, one or more paintings, one picture."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from impasto.cli.options import GROUPS, Options, settings_from
from impasto.cli.outputs import OUTPUT, Outputs
from impasto.cli.regions import MASKS, NO_PAINTING, several
from impasto.cli.words import STDIN
from impasto.errors import SettingError


def stylize(
    content: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *styles: str,
    mask: Annotated[str | None, Parameter(group=MASKS)] = None,
    keep: Annotated[str | None, Parameter(group=MASKS)] = None,
    region: Annotated[tuple[str, ...], several(MASKS)] = (),
    style_mask: Annotated[tuple[str, ...], several(MASKS)] = (),
    ray: Annotated[str | None, Parameter(group=GROUPS["Machine"])] = None,
    resume: Annotated[Path | None, Parameter(group=OUTPUT)] = None,
    outputs: Annotated[Outputs, Parameter(name="*")] = Outputs(),  # noqa: B008 - frozen
    options: Annotated[Options | None, Parameter(name="*")] = None,
) -> int:
    """Repaint a photo in the style of a painting, or of several.

    Ctrl-C stops and saves the picture so far (exit status 130); SIGTERM and SIGHUP do, too (143,
    129). The exit status is 1 where the picture is saved, but something that goes with it is not.

    Parameters
    ----------
    content
        The photo, a file; - reads it from stdin.
    styles
        The paintings: files, folders of pictures, or names that `impasto styles` lists (./NAME is a
        file or folder called so); - reads one from stdin. Several are blended into one picture, see
        --style-weights.
    mask
        Where to paint: white in this file, or face, person or background; ./face means a file.
    keep
        Where to paint softly, as --keep-strength says: face, person, background or a mask file.
    region
        A part of the photo that takes a style of its own: NAME=MASK:STYLE, white in MASK, a file
        or a word, belongs to it; rest:STYLE is for what is left; :STRENGTH may follow. Give it once
        for each region.
    style_mask
        Take the strokes from the white part of this mask of the painting; NAME=FILE for a region's.
    ray
        Paint on several machines of a Ray cluster, as many as --device names (such as cuda,cuda):
        its address, or local for one that is started here.
    resume
        Go on from this checkpoint, with the same pictures and options: the result is the same as
        without the interruption.
    """
    settings = settings_from(options)
    if not styles and not region:
        raise SettingError(NO_PAINTING)

    from impasto.cli import outputs as output
    from impasto.cli import words
    from impasto.cli.inputs import pictures
    from impasto.cli.regions import regions
    from impasto.cli.run import paint
    from impasto.painting import start_run
    from impasto.scene import Scene

    words.check_photo(content, styles)
    parts, main_mask = regions(region, style_mask)
    names = [*styles, *(str(part.style) for part in parts)]
    default = None if content == STDIN else output.beside(Path(content), names, ".png")
    masks = [str(m) for part in parts for m in (part.mask, part.style_mask) if m is not None]
    inputs = [content, *names, *masks, *map(str, (mask, main_mask, keep))]
    checked = output.check(outputs, default, inputs, resume)
    if hint := words.each_photo(content, styles):
        output.say(outputs.quiet, hint)
    first, *paintings = pictures([content, *styles])
    photo = Path(first) if isinstance(first, str) else first
    scene = Scene(photo, paintings or None, settings, mask, main_mask, parts, keep)
    crew = None
    if ray is not None:
        from impasto.batch.on_ray import crew_on

        crew = crew_on(ray, scene)
    return paint(start_run(scene, resume, crew=crew), checked)
