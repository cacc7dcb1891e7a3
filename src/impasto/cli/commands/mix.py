"""`impasto mix`: how much of a painted picture shows, after it was painted."""

import json as json_format
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from impasto.cli.outputs import Written

if TYPE_CHECKING:
    from impasto.painting import Finished


def mix(
    photo: Annotated[str, Parameter(allow_leading_hyphen=True)],
    painted: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    amount: float = 0.5,
    original_size: bool = False,
    outputs: Annotated[Written, Parameter(name="*")] = Written(),  # noqa: B008 - frozen
) -> None:
    """Mix a photo with what was painted of it: the strength, after painting.

    Both may be painted pictures. If not told otherwise the result lies beside the photo, as
    PHOTO-mix.png. It carries the recipe of the painted picture: `impasto rerun` paints and mixes
    again.

    Parameters
    ----------
    photo
        The photo, a file; - reads it from stdin.
    painted
        What was painted of it, likewise.
    amount
        How much the painted picture weighs, in linear light: 0 is the photo, 1 the painted picture.
    original_size
        Bring the result to the photo's own size, in place of the painted picture's.
    """
    from impasto import images, painting
    from impasto.cli import outputs as output
    from impasto.cli.inputs import pictures
    from impasto.cli.words import STDIN

    began = time.perf_counter()
    default = None if photo == STDIN else output.beside(Path(photo), ["mix"], ".png")
    target = output.target_of(outputs, default, [photo, painted])
    kind = images.check_output(target, outputs.bits) if target else "PNG"
    first, second = pictures([photo, painted])
    result = painting.mix(first, second, amount, original_size=original_size)
    output.deliver(result.encoded(kind, outputs.bits, outputs.keep_gps), target)
    _say(result, target, outputs, time.perf_counter() - began)


def _say(result: "Finished", target: Path | None, asked: Written, seconds: float) -> None:
    """What was written, on stderr; as JSON on stdout, if that is asked for."""
    from impasto.cli.outputs import say

    width, height = result.picture.size
    say(asked.quiet, f"wrote {target or 'on stdout'} ({width}x{height} px, {seconds:.1f} s)")
    if asked.json:
        facts = {"output": str(target), "width": width, "height": height}
        print(json_format.dumps(facts | result.recipe | {"seconds": round(seconds, 3)}), flush=True)
