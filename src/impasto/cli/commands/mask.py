"""`impasto mask`: a mask of a photo, by a word or from clicks."""

import time
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from impasto.errors import SettingError


def mask(
    photo: Annotated[str, Parameter(allow_leading_hyphen=True)],
    word: Literal["face", "person", "background"] | None = None,
    /,
    *,
    click: Annotated[tuple[str, ...], Parameter(negative="", show_default=False)] = (),
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    force: bool = False,
    json: bool = False,
    quiet: Annotated[bool, Parameter(alias="-q")] = False,
) -> None:
    """Make a mask of a photo: its faces, its people, its background, or a region that you point at.

    White is meant; edges are soft and follow the photo. The words go wherever a mask does, without
    a file: `impasto stylize photo.jpg poppies --mask background`. docs/guide/masks.md tells more.

    Parameters
    ----------
    photo
        The photo, a file; - reads it from stdin.
    word
        What to find: face, person (everybody in the photo), or background (all but people).
    click
        A point of the region that is meant, as x,y in px from the upper left corner of the photo as
        you see it; several for a region of several colors. A sky takes one or two.
    output
        Where to write it, .png, .jpg, .webp or .tif; if not given: beside the photo, as
        PHOTO-WORD.png, or PHOTO-mask.png.
    force
        Overwrite the file if it exists.
    json
        Print one JSON object about the mask on stdout.
    quiet
        Say nothing.
    """
    points = [_point(text) for text in click]
    if (word is None) == (not points):
        raise SettingError(
            "name face, person or background, or point with --click x,y: the one or the other"
        )
    from impasto import images, segmentation
    from impasto.cli.inputs import pictures
    from impasto.cli.outputs import beside, check_apart, check_place, say
    from impasto.cli.words import STDIN

    if photo == STDIN and output is None:
        raise SettingError("a photo from stdin has no name: say where to write with -o")
    target = output or beside(Path(photo), [word or "mask"], ".png")
    kind = images.check_output(target)
    check_apart({"the mask": target}, [photo])
    check_place(target, force)
    began = time.perf_counter()
    picture = images.read(pictures([photo])[0])
    faces, note = None, None
    if word is None:
        found = segmentation.from_clicks(picture, points)
    else:
        finding = segmentation.found(picture, word)
        found, faces, note = finding.mask, finding.faces, finding.note
    whole = images.Picture(found.expand(1, 3, -1, -1), None, target.name)
    images.write_bytes(images.encode(whole, kind), target)
    if note:
        say(quiet, note)
    share, seconds = float(found.mean()), time.perf_counter() - began
    if json:
        import json as json_format

        width, height = whole.size
        facts = {"output": str(target), "width": width, "height": height, "share": round(share, 4)}
        facts |= {"faces": faces, "seconds": round(seconds, 3)}
        print(json_format.dumps(facts), flush=True)
    say(quiet, f"wrote {target} ({share:.0%} of the photo, {seconds:.1f} s)")


def _point(text: str) -> tuple[float, float]:
    """x,y as two numbers. SettingError if they are none."""
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise SettingError(f"--click is {text!r}: write x,y in px, such as 120,80") from None
    return x, y
