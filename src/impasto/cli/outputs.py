"""What a run leaves behind, and the checks that it can, before anything is painted."""

import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from impasto.cli.edge import StdoutError
from impasto.cli.options import GROUPS
from impasto.errors import PictureError, SettingError
from impasto.reports.words import printable

if TYPE_CHECKING:
    from impasto.images import Picture
    from impasto.settings import Settings

LONGEST_NAME = 3  # styles that the default name of a result names
STDOUT = ("-", "/dev/stdout", "/dev/fd/1")
OUTPUT = GROUPS["Output"]


def _flag(help: str, alias: str | None = None) -> Parameter:
    return Parameter(help=help, alias=alias, group=OUTPUT, show_default=False)


def _named(help: str) -> Parameter:
    return Parameter(help=help, group=OUTPUT)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Written:
    """How to write a picture, and what to say."""

    output: Annotated[
        str | None,
        Parameter(
            alias="-o",
            allow_leading_hyphen=True,
            group=OUTPUT,
            help="Where to write: .png, .jpg, .webp or .tif, or - for a PNG on stdout; beside the "
            "photo if not given.",
        ),
    ] = None
    force: Annotated[bool, _flag("Overwrite what exists.")] = False
    bits: Annotated[Literal[8, 16], _named("Bits a channel, 16 for PNG only.")] = 8
    keep_gps: Annotated[
        bool, _flag("Keep where the photo was taken; the rest of its EXIF is always kept.")
    ] = False
    json: Annotated[bool, _flag("Print one JSON object about the result on stdout.")] = False
    quiet: Annotated[bool, _flag("Say nothing of what is done.", "-q")] = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Outputs(Written):
    """How to write a picture, and what else to leave of a run."""

    timelapse: Annotated[
        Path | None, _named("Write a film of the picture growing, .mp4 or .gif.")
    ] = None
    plot: Annotated[Path | None, _named("Plot the losses over the steps, .png, .pdf or .svg.")] = (
        None
    )
    preview: Annotated[
        bool, _flag("Show the picture in the terminal after each scale, where it can.")
    ] = False
    save_every: Annotated[
        tuple[int, Path] | None,
        Parameter(
            negative="",
            metavar="N DIR",
            group=OUTPUT,
            help="Save the picture on the way, each N steps and at steps 1, 5 and 10, as PNG into "
            "DIR.",
        ),
    ] = None
    checkpoint: Annotated[
        Path | None, _named("Keep the state of the run in this file, from which --resume goes on.")
    ] = None
    checkpoint_every: Annotated[float, _named("Seconds between two checkpoints.")] = 60.0


@dataclass(frozen=True)
class Every:
    """Something to write each so many steps or seconds, and where; 0 for never."""

    every: float
    path: Path


@dataclass(frozen=True)
class CheckedOutputs:
    """Outputs that were checked: each of them can be written."""

    asked: Outputs
    target: Path | None
    """None for stdout."""
    kind: str
    frames: Every
    checkpoints: Every


def check(
    asked: Outputs, default: Path | None, inputs: Sequence[str], resume: Path | None = None
) -> CheckedOutputs:
    """Check everything that was asked for. SettingError or PictureError for what cannot be.

    default: where the picture goes if nothing was said; inputs: files that must stay.
    """
    from impasto import images
    from impasto.reports import plots
    from impasto.video import timelapse

    target = target_of(asked, default, inputs)
    if asked.checkpoint_every <= 0:
        raise SettingError(f"--checkpoint-every is {asked.checkpoint_every:g}: it must be above 0")
    if asked.timelapse is not None:
        timelapse.Timelapse(asked.timelapse)
        check_place(asked.timelapse, asked.force)
    if asked.plot is not None:
        plots.check(asked.plot)
        check_place(asked.plot, asked.force)
    others = [*inputs, str(target), str(asked.timelapse), str(asked.plot)]
    check_checkpoint(asked.checkpoint, resume, others, asked.force)
    kind = images.check_output(target, asked.bits) if target else "PNG"
    places = {"the picture": target, "--timelapse": asked.timelapse, "--plot": asked.plot}
    check_apart(places | {"--checkpoint": asked.checkpoint}, inputs)
    folder = step_folder(asked.save_every, asked.force)
    return CheckedOutputs(
        asked,
        target,
        kind,
        Every(asked.save_every[0] if asked.save_every else 0, folder),
        Every(asked.checkpoint_every if asked.checkpoint else 0, asked.checkpoint or Path()),
    )


def beside(source: Path, styles: Sequence[str], suffix: str) -> Path:
    """Where a result goes if nothing is said: beside its source, as SOURCE-STYLE."""
    if not source.name:
        raise PictureError(f"{str(source)!r} is no file: name a picture")
    stems = "-".join(Path(style).stem for style in styles[:LONGEST_NAME])
    return source.with_name(f"{source.stem}-{stems}{suffix}")


def target_of(asked: Written, default: Path | None, inputs: Sequence[str]) -> Path | None:
    """Where the picture goes; None for stdout. SettingError or PictureError if it cannot."""
    from impasto import images

    if asked.output in STDOUT:
        if asked.json:
            raise SettingError(
                f"-o {asked.output} and --json both want stdout: name a file with -o"
            )
        return None
    if asked.output is None:
        if default is None:
            raise SettingError("a photo from stdin has no name: say where to write with -o")
        target = default
    else:
        target = Path(asked.output)
    images.check_place(target)
    for source in inputs:
        if target.exists() and os.path.exists(source) and target.samefile(source):  # noqa: PTH110
            raise PictureError(f"the output {target} is an input: name another with -o")
    if target.exists() and not images.is_stream(target) and not asked.force:
        raise PictureError(f"{target} exists: name another with -o, or overwrite with --force")
    return target


def deliver(data: bytes, target: Path | None) -> None:
    """Write a picture to its file, or to stdout for None. PictureError where it is lost."""
    from impasto import images

    if target is not None:
        images.write_bytes(data, target)
        return
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except StdoutError as error:
        raise PictureError(f"the picture is lost: {error}") from error


def say(quiet: bool, words: str) -> None:
    """A line on stderr about what was written."""
    if not quiet:
        print(printable(words), file=sys.stderr)


def check_place(path: Path, force: bool) -> None:
    """PictureError if a file cannot be written there, or is there already."""
    from impasto import images

    images.check_place(path)
    if path.exists() and not images.is_stream(path) and not force:
        raise PictureError(f"{path} exists: name another, or overwrite with --force")


def check_checkpoint(
    checkpoint: Path | None, resume: Path | None, others: Iterable[str], force: bool
) -> None:
    """PictureError if writing the checkpoint would destroy something, or cannot be done."""
    from impasto import images

    if checkpoint is None:
        return
    if not checkpoint.is_dir():
        images.check_place(checkpoint)
    if not checkpoint.exists():
        return
    for other in others:
        if os.path.exists(other) and checkpoint.samefile(other):  # noqa: PTH110 - never an error
            raise PictureError(
                f"the checkpoint {checkpoint} is a picture of this run: name another"
            )
    resumed = resume is not None and resume.exists() and checkpoint.samefile(resume)
    if checkpoint.is_dir() or not (resumed or force):
        raise PictureError(
            f"{checkpoint} exists: go on from it with --resume {checkpoint}, name another, or "
            "overwrite with --force"
        )


def check_apart(places: Mapping[str, Path | None], inputs: Iterable[str] = ()) -> None:
    """PictureError where two of these outputs, or one of them and an input, are the same file."""
    from impasto import images

    taken = {os.path.realpath(name): "an input" for name in inputs}
    for what, place in places.items():
        if place is not None and not images.is_stream(place):
            before = taken.setdefault(os.path.realpath(place), what)
            if before != what:
                raise PictureError(f"{what} and {before} are the same file {place}: name another")


def step_folder(
    save_every: tuple[int, Path] | None, force: bool, option: str = "--save-every"
) -> Path:
    """The folder of an option, made if need be; PictureError if it has an earlier run's."""
    from impasto import images

    if save_every is None:
        return Path()
    every, folder = save_every
    if every < 1:
        raise SettingError(f"{option} is {every}: it must be at least 1")
    images.make_folder(folder)
    images.check_place(folder / "step-00001.png")
    if not force and any(folder.glob("step-*.png")):
        raise PictureError(
            f"{folder} has steps of an earlier run: name another, or overwrite with --force"
        )
    return folder


def check_grows(one_pass: bool, asked: Outputs) -> None:
    """SettingError for what shows how a picture grows, where it comes at once."""
    asks = {"--timelapse": asked.timelapse, "--plot": asked.plot, "--checkpoint": asked.checkpoint}
    for option, value in asks.items():
        if one_pass and value is not None:
            raise SettingError(
                f"{option} is {value}, but a picture painted in one pass does not grow: leave it "
                "out, or take another preset, such as draft"
            )


def check_space(outputs: CheckedOutputs, picture: "Picture", settings: "Settings") -> None:
    """PictureError if the disk has less room than the uncompressed picture needs."""
    from impasto import images

    target, bits = outputs.target, outputs.asked.bits
    if target is None or images.is_stream(target):
        return
    full = settings.original_size
    own = picture.own_size
    width, height = own if full else images.fit(own, settings.size)
    needed = width * height * 3 * bits // 8
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        raise PictureError(
            f"the disk of {target} has {free / 1e6:.1f} MB left, the picture may need "
            f"{needed / 1e6:.1f} MB: free some, or name another place with -o"
        )
