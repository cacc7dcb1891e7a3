"""`impasto study`: the same photo under settings that change."""

import dataclasses
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts
from cyclopts import Parameter

from impasto.cli.edge import SIGNALS, Stopped
from impasto.cli.help import HELP_FLAGS
from impasto.cli.options import GROUPS, Options, given, text_for, typed_as
from impasto.settings import Settings, as_text

if TYPE_CHECKING:
    from impasto.studies import Study, StudyPicture

app = cyclopts.App(
    name="study",
    help="Paint photos under settings that change, measure them, lay them side by side.",
    help_flags=HELP_FLAGS,
)

Lists: Any = Parameter(name="*")(
    make_dataclass(
        "Lists",
        [
            (
                item.name,
                Annotated[
                    list[typed_as(item)] | None,  # type: ignore[misc]
                    Parameter(
                        help=text_for(item),
                        group=GROUPS[item.metadata["group"]],
                        consume_multiple=True,
                        negative="",
                    ),
                ],
                None,
            )
            for item in fields(Settings)
        ],
        eq=False,
        repr=False,
        namespace={"__module__": __name__, "__doc__": "One list of values for each setting."},
    )
)
"""A dataclass with an optional list for each setting."""


@Parameter(name="*")
@dataclasses.dataclass(frozen=True)
class Common:
    """What every study takes."""

    style: Annotated[
        str, Parameter(help="The painting: a file, or a name that `impasto styles` lists.")
    ] = "great-wave"
    output: Annotated[
        Path | None,
        Parameter(
            alias="-o",
            help="The folder for figure.png, figure.pdf, numbers.csv, report.html and every "
            "picture; PHOTO-STUDY beside the photo if not given.",
        ),
    ] = None
    force: Annotated[bool, Parameter(help="Write into a folder that has other files in it.")] = (
        False
    )
    quiet: Annotated[bool, Parameter(alias="-q", help="Say nothing while painting.")] = False


Several = Annotated[list[float] | None, Parameter(consume_multiple=True, negative="")]
Counts = Annotated[list[int] | None, Parameter(consume_multiple=True, negative="")]
SettingOptions = Annotated[Options | None, Parameter(name="*")]
COMMON = Common()


@app.command
def layers(photo: Path, /, *, common: Common = COMMON, options: SettingOptions = None) -> None:
    """Style from the first layer alone, the first two ..., content at each depth.

    Parameters
    ----------
    photo
        The photo.
    """
    _study("layers", [photo], common, options)


@app.command
def weights(
    photo: Path, /, *, alphas: Several = None, betas: Several = None,
    common: Common = COMMON, options: SettingOptions = None,
) -> None:  # fmt: skip
    """A grid of content weights alpha and style weights beta.

    Parameters
    ----------
    photo
        The photo.
    alphas
        Weights of the content loss; 0.01 0.1 1 10 if not given.
    betas
        Weights of the style loss; 0.1 1 10 if not given.
    """
    _study("weights", [photo], common, options, alphas=alphas, betas=betas)


@app.command
def inits(
    photo: Path, /, *, seeds: Counts = None,
    common: Common = COMMON, options: SettingOptions = None,
) -> None:  # fmt: skip
    """The same run from the photo, the photo recolored, the painting, and white noise.

    Parameters
    ----------
    photo
        The photo.
    seeds
        Seeds of the noise; 0 1 2 if not given.
    """
    _study("inits", [photo], common, options, seeds=seeds)


@app.command
def steps(
    photo: Path, /, *, marks: Counts = None,
    common: Common = COMMON, options: SettingOptions = None,
) -> None:  # fmt: skip
    """One run's picture after 1, 5, 10, 50 ... steps, and the loss curve.

    Parameters
    ----------
    photo
        The photo.
    marks
        Numbers of steps to show; 1 5 10 20 50 100 200 if not given.
    """
    _study("steps", [photo], common, options, marks=marks)


@app.command
def optimizers(photo: Path, /, *, common: Common = COMMON, options: SettingOptions = None) -> None:
    """Every optimizer for as many steps, the loss against seconds.

    Parameters
    ----------
    photo
        The photo.
    """
    _study("optimizers", [photo], common, options)


@app.command
def scale(
    photo: Path, /, *, scales: Several = None,
    common: Common = COMMON, options: SettingOptions = None,
) -> None:  # fmt: skip
    """Strokes of several sizes, at one scale and coarse to fine.

    Parameters
    ----------
    photo
        The photo.
    scales
        Sizes of the strokes, as --style-scale has them; 0.25 0.5 1 2 if not given.
    """
    _study("scale", [photo], common, options, scales=scales)


@app.command
def content(
    *photos: Path,
    tilings: Counts = None,
    common: Common = COMMON,
    options: SettingOptions = None,
) -> None:
    """One painting on simple and busy photos: how busy each is, what structure survives.

    Each photo as it is, and as mosaics of itself: as dark and as strong, but busier.

    Parameters
    ----------
    photos
        One photo or more.
    tilings
        How many times the photo is repeated along each side; 1 2 4 if not given.
    """
    _study("content", photos, common, options, tilings=tilings)


@app.command
def strength(
    *photos: Path,
    strengths: Several = None,
    common: Common = COMMON,
    options: SettingOptions = None,
) -> None:
    """Photos at several strengths, from the photo to the painting.

    Parameters
    ----------
    photos
        One photo or more.
    strengths
        0.1 0.3 0.5 0.7 0.9 if not given.
    """
    _study("strength", photos, common, options, strengths=strengths)


@app.command
def reconstruct(photo: Path, /, *, common: Common = COMMON, options: SettingOptions = None) -> None:
    """What each layer knows: photo and painting made again from noise.

    The first figure of Gatys, Ecker and Bethge 2015.

    Parameters
    ----------
    photo
        The photo.
    """
    _study("reconstruct", [photo], common, options)


@app.command
def sheet(
    content: Path,
    /,
    *,
    styles: Annotated[list[str], Parameter(consume_multiple=True, negative="")],
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    force: bool = False,
    quiet: Annotated[bool, Parameter(alias="-q")] = False,
    options: Annotated[Lists | None, Parameter(name="*")] = None,
) -> None:
    """Paint a grid over one or two settings: a labeled contact sheet, and a folder of pictures.

    Any option of `impasto stylize` takes several values here, and up to two may, --styles among
    them: --styles great-wave poppies --strength 0.2 0.5 0.8. Small and fast, if not told
    otherwise: --preset draft --size 256. Stopped and started again, it goes on.

    Parameters
    ----------
    content
        The photo.
    styles
        The paintings.
    output
        The folder for the pictures and sheet.png; PHOTO-sheet beside the photo if not given.
    force
        Write into a folder that has other files in it.
    quiet
        Say nothing while painting.
    """
    from impasto import images, studies

    changes = dataclasses.asdict(options) if options is not None else {}
    photo = images.read(content)
    study = studies.sheet(photo, styles, changes)
    folder = output or content.with_name(f"{content.stem}-sheet")
    studies.prepare(folder, studies.files_of(study) | {"sheet.png"}, force)
    painted = _painted(study, folder, quiet, judged=False)
    page = studies.contact_sheet(photo, study, painted)
    images.write_bytes(images.encode(images.read(page)), folder / "sheet.png")
    if not quiet:
        print(f"wrote {folder / 'sheet.png'}", file=sys.stderr)


def _study(
    name: str, photos: Sequence[Path], common: Common, options: Any, **axes: Sequence[Any] | None
) -> None:
    """Paint a study and write its report."""
    from impasto import images, studies
    from impasto.errors import SettingError
    from impasto.reports import plots

    if not photos:
        raise SettingError("there is no photo: name one or more")
    plots.figures()  # before anything is painted
    changes = given(options)
    chosen = {key: tuple(values) for key, values in axes.items() if values}
    pictures = [images.read(photo) for photo in photos]
    study = studies.STUDIES[name](pictures, common.style, changes, **chosen)
    folder = common.output or photos[0].with_name(f"{photos[0].stem}-{name}")
    studies.prepare(folder, studies.files_of(study) | set(studies.OUTPUTS), common.force)
    painted = _painted(study, folder, common.quiet, judged=True)
    command = _command(name, photos, common.style, folder, changes | chosen)
    studies.write(study, studies.with_measures(study, painted), folder, command)
    if not common.quiet:
        print(
            f"wrote {folder / 'report.html'} (and {', '.join(studies.OUTPUTS[:3])})",
            file=sys.stderr,
        )


def _command(
    name: str, photos: Sequence[Path], style: str, folder: Path, given: Mapping[str, Any]
) -> str:
    """What makes this study again."""
    words = ["impasto", "study", name, *map(str, photos), "--style", style]
    for option, value in given.items():
        values = [as_text(v) for v in value] if isinstance(value, tuple) else [as_text(value)]
        words += ["--" + option.replace("_", "-"), *([] if value is True else values)]
    return shlex.join([*words, "-o", str(folder)])


def _painted(study: "Study", folder: Path, quiet: bool, judged: bool) -> "list[StudyPicture]":
    """Every cell of a study, said as it comes."""
    from impasto import studies

    found: list[StudyPicture] = []
    count = len(study.cells)
    try:
        for one in studies.run(study, folder, judged):
            found.append(one)
            if not quiet:
                words = f"{len(found)}/{count}  {one.cell.name}.png"
                print(words, file=sys.stderr, flush=True)
    except KeyboardInterrupt as error:
        raise Stopped(
            SIGNALS.hold(error),
            f"stopped after {len(found)} of {count} pictures; go on with the same words",
        ) from None
    return found
