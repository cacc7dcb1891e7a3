"""`impasto stylize`: one photo, one painting, one picture."""

import json as json_format
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from impasto.cli.options import Options, settings_from
from impasto.errors import DivergedError, PictureError, SettingError

if TYPE_CHECKING:
    from impasto.cli.progress import Progress
    from impasto.images import Picture
    from impasto.paint import Record, Step
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
    save_every: Annotated[tuple[int, Path] | None, Parameter(negative="")] = None,
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
    json
        Print one JSON object about the result on stdout.
    quiet
        Say nothing while painting.
    """
    settings = settings_from(options)
    target = _target(content, style, output, force, json)
    folder = _folder(save_every)

    from impasto import images
    from impasto.cli.progress import Progress

    picture = _content(content)
    kind = images.check_output(target, bits) if target else "PNG"
    _check_space(target, picture, settings, bits)
    painting = _style(style)
    run = _Run(picture, painting, settings, save_every[0] if save_every else 0, folder)
    with Progress(quiet, target) as progress:
        run.paint(progress)
    if run.last is None:
        raise KeyboardInterrupt
    run.save(target, kind, bits, json, quiet)
    if run.diverged is not None:
        raise run.diverged
    return 130 if run.stopped else 0


class _Run:
    """One run of the engine: its last step, its losses, and why it ended."""

    def __init__(
        self, content: "Picture", style: "Picture", settings: "Settings", every: int, folder: Path
    ) -> None:
        self.content, self.style, self.settings = content, style, settings
        self.every, self.folder = every, folder
        self.last: Step | None = None
        self.history: list[Record] = []
        self.stopped = False
        self.diverged: DivergedError | None = None
        self.began = time.perf_counter()

    def paint(self, progress: "Progress") -> None:
        """Take every step, until the end, Ctrl-C or divergence."""
        from impasto import paint

        try:
            steps = paint.steps(self.content, self.style, self.settings)
            progress.begin(self.content, self.style, self.settings)
            for step in steps:
                self.last = step
                self.history.append(step.record)
                progress.show(step, step.losses)
                if self.every and (step.step % self.every == 0 or step.step in ALWAYS_SAVED):
                    self._save_step(step)
        except KeyboardInterrupt:
            self.stopped = True
        except DivergedError as error:
            if self.last is None:
                raise
            self.diverged = error

    def save(self, target: Path | None, kind: str, bits: int, as_json: bool, quiet: bool) -> None:
        """Write the picture and say so."""
        from impasto import images, paint

        assert self.last is not None
        seconds = time.perf_counter() - self.began
        result = paint.result(self.last, self.history, seconds)
        data = images.encode(result.picture, kind, bits, json_format.dumps(result.recipe))
        if target is None:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        else:
            images.write_bytes(data, target)
        width, height = result.picture.size
        if as_json:
            found = {"output": str(target), "width": width, "height": height} | result.recipe
            print(json_format.dumps(found | {"stopped": self.stopped}), flush=True)
        if not quiet:
            what = "stopped at step {0} of {1}; the picture so far is" if self.stopped else "wrote"
            words = what.format(self.last.step, self.last.steps)
            print(
                f"{words} {target or 'on stdout'} ({width}x{height} px, {seconds:.0f} s)",
                file=sys.stderr,
            )

    def _save_step(self, step: "Step") -> None:
        from impasto import images

        data = images.encode(step.picture())
        images.write_bytes(data, self.folder / f"step-{step.step:04d}.png")


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


def _folder(save_every: tuple[int, Path] | None) -> Path:
    """The folder of --save-every, made if need be."""
    if save_every is None:
        return Path()
    every, folder = save_every
    if every < 1:
        raise SettingError(f"--save-every is {every}: it must be at least 1")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PictureError(f"cannot make the folder {folder} ({error.strerror})") from error
    return folder


def _content(content: str) -> "Picture":
    from impasto import images

    if content == "-":
        return images.read(sys.stdin.buffer.read(), "stdin")
    return images.read(content)


def _style(style: str) -> "Picture":
    """A painting from a file, or a built-in one; a name that is neither lists what there is."""
    from impasto import images, paintings

    looks_like_a_file = Path(style).suffix or len(Path(style).parts) > 1
    if Path(style).is_file() or (looks_like_a_file and not paintings.is_painting(style)):
        return images.read(style)
    return paintings.read(style)


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
