"""What a run leaves behind, and the checks that it can, before anything is painted."""

import json as json_format
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group, Parameter

from impasto.errors import DivergedError, PictureError, SettingError

if TYPE_CHECKING:
    from impasto.cli.progress import Progress
    from impasto.images import Picture
    from impasto.settings import Settings
    from impasto.step import Run, Step
    from impasto.timelapse import Timelapse

ALWAYS_SAVED = (1, 5, 10)  # the steps that reports on the method show, whatever --save-every says
LONGEST_NAME = 3  # styles that the default name of a result names
OUTPUT = Group.create_ordered("Output")


def _flag(help: str, alias: str | None = None) -> Parameter:
    return Parameter(help=help, alias=alias, negative="", group=OUTPUT)


def _named(help: str) -> Parameter:
    return Parameter(help=help, group=OUTPUT)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What to write, and what to say."""

    output: Annotated[
        str | None,
        Parameter(
            alias="-o", allow_leading_hyphen=True, group=OUTPUT,
            help="Where to write the picture, by its suffix PNG, JPEG, WebP or TIFF; - writes a "
            "PNG to stdout. If not given: beside the photo, as PHOTO-STYLE.png.",
        ),
    ] = None  # fmt: skip
    force: Annotated[bool, _flag("Overwrite what exists.")] = False
    bits: Annotated[Literal[8, 16], _named("Bits a channel, 16 for PNG only.")] = 8
    keep_gps: Annotated[
        bool, _flag("Keep where the photo was taken; the rest of its EXIF is always kept.")
    ] = False
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
            negative="", metavar="N DIR", group=OUTPUT,
            help="Save the picture on the way, each N steps and at steps 1, 5 and 10, as PNG into "
            "DIR.",
        ),
    ] = None  # fmt: skip
    checkpoint: Annotated[
        Path | None, _named("Keep the state of the run in this file, from which --resume goes on.")
    ] = None
    checkpoint_every: Annotated[float, _named("Seconds between two checkpoints.")] = 60.0
    json: Annotated[bool, _flag("Print one JSON object about the result on stdout.")] = False
    quiet: Annotated[bool, _flag("Say nothing while painting.", "-q")] = False


@dataclass(frozen=True)
class Every:
    """Something to write each so many steps or seconds, and where; 0 for never."""

    every: float
    path: Path


@dataclass(frozen=True)
class Plan:
    """Outputs that were checked: each of them can be written."""

    asked: Outputs
    target: Path | None
    """None for stdout."""
    kind: str
    frames: Every
    checkpoints: Every


def plan(
    asked: Outputs, default: Path | None, inputs: Sequence[str], resume: Path | None = None
) -> Plan:
    """Check everything that was asked for. SettingError or PictureError for what cannot be.

    default: where the picture goes if nothing was said; inputs: files that must stay.
    """
    from impasto import images, plot, timelapse

    target = _target(asked, default, inputs)
    folder = step_folder(asked.save_every, asked.force)
    if asked.checkpoint_every <= 0:
        raise SettingError(f"--checkpoint-every is {asked.checkpoint_every:g}: it must be above 0")
    if asked.timelapse is not None:
        timelapse.Timelapse(asked.timelapse)
        check_place(asked.timelapse, asked.force)
    if asked.plot is not None:
        plot.check(asked.plot)
        check_place(asked.plot, asked.force)
    others = [*inputs, str(target), str(asked.timelapse), str(asked.plot)]
    check_checkpoint(asked.checkpoint, resume, others, asked.force)
    kind = images.check_output(target, asked.bits) if target else "PNG"
    return Plan(
        asked, target, kind,
        Every(asked.save_every[0] if asked.save_every else 0, folder),
        Every(asked.checkpoint_every if asked.checkpoint else 0, asked.checkpoint or Path()),
    )  # fmt: skip


def paint(painter: "Run", plan: Plan) -> int:
    """Paint to the end, Ctrl-C or divergence; write everything; the exit status."""
    from impasto.cli.progress import Progress

    _check_growth(painter, plan.asked)
    _check_space(plan.target, painter.content, painter.settings, plan.asked.bits)
    run = _Run(painter, plan)
    with Progress(plan.asked.quiet, plan.asked.preview) as progress:
        run.paint(progress)
    if run.last is None:
        raise KeyboardInterrupt
    run.save()
    if run.diverged is not None:
        raise run.diverged
    return 130 if run.stopped else 0


def _check_growth(painter: "Run", asked: Outputs) -> None:
    """SettingError for what shows how a picture grows, where it comes at once."""
    asks = {"--timelapse": asked.timelapse, "--plot": asked.plot, "--checkpoint": asked.checkpoint}
    for option, value in asks.items():
        if painter.one_pass and value is not None:
            raise SettingError(
                f"{option} is {value}, but a picture painted in one pass does not grow: leave it "
                "out, or take another preset, such as draft"
            )


class _Run:
    """One run of the engine: its last step, and why it ended."""

    def __init__(self, painter: "Run", plan: Plan) -> None:
        self.painter, self.plan, self.asked = painter, plan, plan.asked
        self.last: Step | None = None
        self.stopped = False
        self.diverged: DivergedError | None = None
        self.film: Timelapse | None = None
        if self.asked.timelapse is not None:
            from impasto import timelapse

            self.film = timelapse.Timelapse(self.asked.timelapse)

    def paint(self, progress: "Progress") -> None:
        """Take every step, until the end, Ctrl-C or divergence."""
        frames, checkpoints = self.plan.frames, self.plan.checkpoints
        try:
            progress.begin(self.painter)
            saved = time.monotonic()
            for step in self.painter.paint():
                self.last = step
                progress.show(step, step.losses)
                if self.film is not None:
                    self.film.add(step.picture())
                if frames.every and self._is_frame(step.step):
                    self._save_frame(step)
                if checkpoints.every and time.monotonic() - saved >= checkpoints.every:
                    step.save_checkpoint(checkpoints.path)
                    saved = time.monotonic()
        except KeyboardInterrupt:
            self.stopped = True
            if self.last is not None and checkpoints.every:
                self.last.save_checkpoint(checkpoints.path)
        except DivergedError as error:
            if self.last is None:
                raise
            self.diverged = error

    def save(self) -> None:
        """Write the picture and what goes with it, and say so."""
        from impasto import images, paint, plot

        assert self.last is not None
        target, asked = self.plan.target, self.asked
        result = paint.result(self.last)
        if not self.plan.checkpoints.every and not self.painter.resumed:
            # A run with checkpoints promises the same bytes, however often it was interrupted.
            result.recipe["seconds"] = round(result.seconds, 1)
        data = result.encoded(self.plan.kind, asked.bits, asked.keep_gps)
        if target is None:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        else:
            images.write_bytes(data, target)
        if self.film is not None:
            self.film.write()
        if asked.plot is not None:
            title = (
                f"{result.recipe['content']} in the style of {', '.join(result.recipe['style'])}"
            )
            plot.write(plot.losses(result.history, title), asked.plot)
        width, height = result.picture.size
        if asked.json:
            found = {"output": str(target), "width": width, "height": height} | result.recipe
            found |= {"seconds": round(result.seconds, 3), "stopped": self.stopped}
            print(json_format.dumps(found), flush=True)
        if not asked.quiet:
            self._say(width, height, result.seconds)

    def _say(self, width: int, height: int, seconds: float) -> None:
        assert self.last is not None
        what = "stopped at step {0} of {1}; the picture so far is" if self.stopped else "wrote"
        words = what.format(self.last.step, self.last.steps)
        where = self.plan.target or "on stdout"
        print(f"{words} {where} ({width}x{height} px, {seconds:.0f} s)", file=sys.stderr)
        for extra in (self.asked.timelapse, self.asked.plot):
            if extra is not None:
                print(f"wrote {extra}", file=sys.stderr)
        if self.stopped and self.plan.checkpoints.every:
            path = self.plan.checkpoints.path
            print(f"go on with the same words and --resume {path} --force", file=sys.stderr)

    def _is_frame(self, step: int) -> bool:
        return step % self.plan.frames.every == 0 or step in ALWAYS_SAVED

    def _save_frame(self, step: "Step") -> None:
        from impasto import images

        data = images.encode(step.picture())
        images.write_bytes(data, self.plan.frames.path / f"step-{step.step:04d}.png")


def beside(source: Path, styles: Sequence[str], suffix: str) -> Path:
    """Where a result goes if nothing is said: beside its source, as SOURCE-STYLE."""
    if not source.name:
        raise PictureError(f"{str(source)!r} is no file: name a picture")
    stems = "-".join(Path(style).stem for style in styles[:LONGEST_NAME])
    return source.with_name(f"{source.stem}-{stems}{suffix}")


def _target(asked: Outputs, default: Path | None, inputs: Sequence[str]) -> Path | None:
    """Where the picture goes; None for stdout. SettingError or PictureError if it cannot."""
    if asked.output == "-":
        if asked.json:
            raise SettingError("-o - and --json both want stdout: name a file with -o")
        return None
    if asked.output is None:
        if default is None:
            raise SettingError("a photo from stdin has no name: say where to write with -o")
        target = default
    else:
        target = Path(asked.output)
    for source in inputs:
        if target.exists() and Path(source).exists() and target.samefile(source):
            raise PictureError(f"the output {target} is an input: name another with -o")
    if target.exists() and not target.is_dir() and not asked.force:
        raise PictureError(f"{target} exists: name another with -o, or overwrite with --force")
    return target


def check_place(path: Path, force: bool) -> None:
    """PictureError if a file cannot be written there."""
    _check_folder(path)
    if path.is_dir():
        raise PictureError(f"{path} is a folder: name a file in it")
    try:
        with tempfile.TemporaryFile(dir=path.absolute().parent):
            pass
    except OSError as error:
        raise PictureError(
            f"cannot write to the folder {path.absolute().parent} ({error.strerror}): name another"
        ) from error
    if path.exists() and not force:
        raise PictureError(f"{path} exists: name another, or overwrite with --force")


def _check_folder(path: Path) -> None:
    """PictureError if the folder of a file is not there."""
    if not path.absolute().parent.is_dir():
        raise PictureError(f"there is no folder {path.absolute().parent}: make it first")


def check_checkpoint(
    checkpoint: Path | None, resume: Path | None, others: Iterable[str], force: bool
) -> None:
    """PictureError if writing the checkpoint would destroy something, or cannot be done."""
    if checkpoint is None:
        return
    _check_folder(checkpoint)
    if not checkpoint.exists():
        return
    for other in others:
        if Path(other).exists() and checkpoint.samefile(other):
            raise PictureError(
                f"the checkpoint {checkpoint} is a picture of this run: name another"
            )
    resumed = resume is not None and resume.exists() and checkpoint.samefile(resume)
    if checkpoint.is_dir() or not (resumed or force):
        raise PictureError(
            f"{checkpoint} exists: go on from it with --resume {checkpoint}, name another, or "
            "overwrite with --force"
        )


def step_folder(
    save_every: tuple[int, Path] | None, force: bool, option: str = "--save-every"
) -> Path:
    """The folder of an option, made if need be; PictureError if it has an earlier run's."""
    if save_every is None:
        return Path()
    every, folder = save_every
    if every < 1:
        raise SettingError(f"{option} is {every}: it must be at least 1")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PictureError(f"cannot make the folder {folder} ({error.strerror})") from error
    if not force and any(folder.glob("step-*.png")):
        raise PictureError(
            f"{folder} has steps of an earlier run: name another, or overwrite with --force"
        )
    return folder


def _check_space(target: Path | None, picture: "Picture", settings: "Settings", bits: int) -> None:
    """PictureError if the disk has less room than the uncompressed picture needs."""
    from impasto import images

    if target is None or not target.parent.is_dir():
        return
    full = settings.original_size
    width, height = picture.size if full else images.fit(picture.size, settings.size)
    needed = width * height * 3 * bits // 8
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        raise PictureError(
            f"the disk of {target} has {free / 1e6:.1f} MB left, the picture may need "
            f"{needed / 1e6:.1f} MB: free some, or name another place with -o"
        )
