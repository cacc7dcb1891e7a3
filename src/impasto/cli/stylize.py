"""`impasto stylize`: one photo, one painting, one picture."""

import json as json_format
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from impasto.cli.options import Options, settings_from
from impasto.errors import DivergedError, PictureError, SettingError

if TYPE_CHECKING:
    from impasto.cli.progress import Progress
    from impasto.images import Picture
    from impasto.paint import Painter, Step
    from impasto.settings import Settings

ALWAYS_SAVED = (1, 5, 10)  # the steps that reports on the method show, whatever --save-every says


def stylize(
    content: Annotated[str, Parameter(allow_leading_hyphen=True)],
    style: str,
    /,
    *,
    output: Annotated[str | None, Parameter(alias="-o", allow_leading_hyphen=True)] = None,
    force: Annotated[bool, Parameter(negative="")] = False,
    bits: Literal[8, 16] = 8,
    save_every: Annotated[tuple[int, Path] | None, Parameter(negative="", metavar="N DIR")] = None,
    checkpoint: Path | None = None,
    checkpoint_every: float = 60.0,
    resume: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
    quiet: Annotated[bool, Parameter(alias="-q", negative="")] = False,
    options: Annotated[Options, Parameter(name="*")] = None,
) -> int:
    """Repaint a photo in the style of a painting.

    Ctrl-C stops and saves the picture so far (exit status 130).

    Parameters
    ----------
    content
        The photo, a file; - reads it from stdin.
    style
        The painting: a file, or the name of a built-in one (`impasto styles` lists them).
    output
        Where to write the picture, by its suffix PNG, JPEG, WebP or TIFF; - writes a PNG to
        stdout. If not given: beside the photo, as PHOTO-STYLE.png.
    force
        Overwrite the output if it exists.
    bits
        Bits a channel, 16 for PNG only.
    save_every
        Save the picture on the way, each N steps and at steps 1, 5 and 10, as PNG into DIR.
    checkpoint
        Keep the state of the run in this file, from which --resume goes on.
    checkpoint_every
        Seconds between two checkpoints.
    resume
        Go on from this checkpoint, with the same pictures and options: the result is the same as
        without the interruption.
    json
        Print one JSON object about the result on stdout.
    quiet
        Say nothing while painting.
    """
    settings = settings_from(options)
    target = _target(content, style, output, force, json)
    folder = _folder(save_every, force)
    if checkpoint_every <= 0:
        raise SettingError(f"--checkpoint-every is {checkpoint_every:g}: it must be above 0")
    _check_checkpoint(checkpoint, resume, (content, style, str(target)), force)

    from impasto import images, paintings
    from impasto.cli.progress import Progress
    from impasto.paint import Painter

    picture = _content(content)
    kind = images.check_output(target, bits) if target else "PNG"
    _check_space(target, picture, settings, bits)
    painter = Painter(picture, paintings.picture(style), settings, resume)
    run = _Run(
        painter,
        _Every(save_every[0] if save_every else 0, folder),
        _Every(checkpoint_every if checkpoint else 0, checkpoint or Path()),
    )
    with Progress(quiet) as progress:
        run.paint(progress)
    if run.last is None:
        raise KeyboardInterrupt
    run.save(target, kind, bits, json, quiet)
    if run.diverged is not None:
        raise run.diverged
    return 130 if run.stopped else 0


class _Run:
    """One run of the engine: its last step, and why it ended."""

    def __init__(self, painter: "Painter", frames: "_Every", checkpoints: "_Every") -> None:
        self.painter, self.frames, self.checkpoints = painter, frames, checkpoints
        self.last: Step | None = None
        self.stopped = False
        self.diverged: DivergedError | None = None

    def paint(self, progress: "Progress") -> None:
        """Take every step, until the end, Ctrl-C or divergence."""
        try:
            progress.begin(self.painter)
            saved = time.monotonic()
            for step in self.painter.paint():
                self.last = step
                progress.show(step, step.losses)
                if self.frames.every and self._is_frame(step.step):
                    self._save_frame(step)
                if self.checkpoints.every and time.monotonic() - saved >= self.checkpoints.every:
                    step.save_checkpoint(self.checkpoints.path)
                    saved = time.monotonic()
        except KeyboardInterrupt:
            self.stopped = True
            if self.last is not None and self.checkpoints.every:
                self.last.save_checkpoint(self.checkpoints.path)
        except DivergedError as error:
            if self.last is None:
                raise
            self.diverged = error

    def save(self, target: Path | None, kind: str, bits: int, as_json: bool, quiet: bool) -> None:
        """Write the picture and say so."""
        from impasto import images, paint

        assert self.last is not None
        result = paint.result(self.last)
        data = result.encoded(kind, bits)
        if target is None:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        else:
            images.write_bytes(data, target)
        width, height = result.picture.size
        if as_json:
            found = {"output": str(target), "width": width, "height": height} | result.recipe
            found |= {"seconds": round(result.seconds, 3), "stopped": self.stopped}
            print(json_format.dumps(found), flush=True)
        if not quiet:
            what = "stopped at step {0} of {1}; the picture so far is" if self.stopped else "wrote"
            words = what.format(self.last.step, self.last.steps)
            print(
                f"{words} {target or 'on stdout'} ({width}x{height} px, {result.seconds:.0f} s)",
                file=sys.stderr,
            )
            if self.stopped and self.checkpoints.every:
                path = self.checkpoints.path
                print(f"go on with the same words and --resume {path} --force", file=sys.stderr)

    def _is_frame(self, step: int) -> bool:
        return step % self.frames.every == 0 or step in ALWAYS_SAVED

    def _save_frame(self, step: "Step") -> None:
        from impasto import images

        data = images.encode(step.picture())
        images.write_bytes(data, self.frames.path / f"step-{step.step:04d}.png")


@dataclass(frozen=True)
class _Every:
    """Something to write each so many steps or seconds, and where; 0 for never."""

    every: float
    path: Path


def _target(content: str, style: str, output: str | None, force: bool, json: bool) -> Path | None:
    """Where the picture goes; None for stdout. SettingError or PictureError if it cannot."""
    if output == "-":
        if json:
            raise SettingError("-o - and --json both want stdout: name a file with -o")
        return None
    if output is None:
        if content == "-":
            raise SettingError("a photo from stdin has no name: say where to write with -o")
        photo = Path(content)
        target = photo.with_name(f"{photo.stem}-{Path(style).stem}.png")
    else:
        target = Path(output)
    for source in (content, style):
        if target.exists() and Path(source).exists() and target.samefile(source):
            raise PictureError(f"the output {target} is an input: name another with -o")
    if target.exists() and not target.is_dir() and not force:
        raise PictureError(f"{target} exists: name another with -o, or overwrite with --force")
    return target


def _check_checkpoint(
    checkpoint: Path | None, resume: Path | None, others: Iterable[str], force: bool
) -> None:
    """PictureError if writing the checkpoint would destroy something, or cannot be done."""
    if checkpoint is None:
        return
    if not checkpoint.absolute().parent.is_dir():
        raise PictureError(f"there is no folder {checkpoint.absolute().parent}: make it first")
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


def _folder(save_every: tuple[int, Path] | None, force: bool) -> Path:
    """The folder of --save-every, made if need be; PictureError if it has an earlier run's."""
    if save_every is None:
        return Path()
    every, folder = save_every
    if every < 1:
        raise SettingError(f"--save-every is {every}: it must be at least 1")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PictureError(f"cannot make the folder {folder} ({error.strerror})") from error
    if not force and any(folder.glob("step-*.png")):
        raise PictureError(
            f"{folder} has steps of an earlier run: name another, or overwrite with --force"
        )
    return folder


def _content(content: str) -> "Picture":
    from impasto import images

    if content == "-":
        return images.read(sys.stdin.buffer.read(), "stdin")
    return images.read(content)


def _check_space(target: Path | None, picture: "Picture", settings: "Settings", bits: int) -> None:
    """PictureError if the disk has less room than the uncompressed picture needs."""
    import shutil

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
