"""`impasto train`: a network that paints any photo in one style, from a painting and photos."""

import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from impasto.cli.options import given, options_of, settings_from
from impasto.course import Course
from impasto.errors import SettingError
from impasto.settings import Settings, as_text

if TYPE_CHECKING:
    from impasto.images import Picture
    from impasto.training import Trainer, Update

OUTPUT = Group.create_ordered("Output")
CHOSEN = (
    "size", "strength", "seed", "style_weights", "style_scale", "style_crop",
    "style_turn", "content_layers", "style_layers", "content_weight", "style_weight", "tv_weight",
    "structure_weight", "structure_layers", "style_loss", "loss_scale", "backbone", "pooling",
    "padding", "device", "precision", "threads",
)  # fmt: skip
"""The settings of the objective and the machine; those of one picture have no meaning here."""

CourseOptions: Any = options_of(
    "CourseOptions", fields(Course), lambda item: as_text(getattr(Course(), item.name))
)
TrainOptions: Any = options_of("TrainOptions", (f for f in fields(Settings) if f.name in CHOSEN))


@Parameter(name="*", group=OUTPUT)
@dataclass(frozen=True, kw_only=True)
class Files:
    """What to write on the way.

    Parameters
    ----------
    preview
        Paint a photo on the way and save it as PNG into this folder.
    preview_photo
        The photo for --preview; if not given, the first that it learns from.
    preview_every
        Steps between two previews.
    checkpoint
        Keep the state of the run in this file, from which --resume goes on.
    checkpoint_every
        Seconds between two checkpoints.
    """

    preview: Path | None = None
    preview_photo: Path | None = None
    preview_every: int = 250
    checkpoint: Path | None = None
    checkpoint_every: float = 60.0


def train(
    *styles: str,
    photos: Path,
    output: Annotated[Path, Parameter(alias="-o", group=OUTPUT)],
    init: Path | None = None,
    resume: Path | None = None,
    files: Annotated[Files, Parameter(name="*")] = Files(),
    force: Annotated[bool, Parameter(negative="", group=OUTPUT)] = False,
    json: Annotated[bool, Parameter(negative="", group=OUTPUT)] = False,
    quiet: Annotated[bool, Parameter(alias="-q", negative="", group=OUTPUT)] = False,
    course: Annotated[CourseOptions, Parameter(name="*")] = None,
    options: Annotated[TrainOptions, Parameter(name="*")] = None,
) -> int:
    """Train a network that paints any photo in the style of a painting, in one pass.

    `impasto stylize photo.jpg OUT.safetensors` then takes a fraction of a second. Ctrl-C stops
    and saves the network so far (exit status 130). docs/train.md tells more.

    Parameters
    ----------
    styles
        The paintings: files, folders of pictures, or the names of built-in ones. Several are
        blended.
    photos
        A folder of photos to learn from, its subfolders included; some hundred are enough.
    output
        Where to write the network, .safetensors.
    init
        Start from this network instead of from nothing: another style is learnt sooner.
    resume
        Go on from this checkpoint, with the same painting, photos and options: the network is the
        same as without the interruption.
    force
        Overwrite what exists.
    json
        Print one JSON object about the network on stdout.
    quiet
        Say nothing while training.
    """
    settings = settings_from(options)
    chosen = Course(**{name: value for name, value in given(course).items() if value is not None})
    if not styles:
        raise SettingError(
            "there is no painting: name a file or a built-in one (`impasto styles` lists them)"
        )
    _check_output(output, force)
    _check_files(files, resume, output, force)

    from impasto import images, residual
    from impasto.training import Trainer

    start = None if init is None else residual.load(init)
    style = styles[0] if len(styles) == 1 else list(styles)
    trainer = Trainer(style, photos, settings, chosen, start, resume)
    fixed = None if files.preview_photo is None else images.read(files.preview_photo)
    run = _Run(trainer, files, fixed, quiet)
    try:
        run.train()
    finally:
        if trainer.taken:
            run.save(output, json)
    return 130 if run.stopped else 0


class _Run:
    """One run of training: what is shown and written on the way, and why it ended."""

    def __init__(
        self, trainer: "Trainer", files: Files, fixed: "Picture | None", quiet: bool
    ) -> None:
        self.trainer, self.files, self.quiet = trainer, files, quiet
        self.fixed = trainer.scene.photo if fixed is None else fixed
        self.last: Update | None = None
        self.stopped = False

    def train(self) -> None:
        """Train to the end, or until Ctrl-C."""
        import time

        from impasto.cli.progress import Progress

        written = time.perf_counter()
        with Progress(self.quiet) as progress:
            progress.console.print(_plan(self.trainer))
            try:
                for update in self.trainer.train():
                    self.last = update
                    progress.say(update, update.losses)
                    if self.files.preview and update.step % self.files.preview_every == 0:
                        self._save_preview(update)
                    if time.perf_counter() - written >= self.files.checkpoint_every:
                        self._save_checkpoint()
                        written = time.perf_counter()
            except KeyboardInterrupt:
                if self.last is None:
                    raise
                self.stopped = True
        self._save_checkpoint()

    def save(self, output: Path, json: bool) -> None:
        """Write the network, and say so."""
        import json as json_format

        from impasto import residual

        network, seconds = self.trainer.trained(), self.trainer.seconds
        residual.save(network, output)
        if json:
            found = {"output": str(output), "bytes": output.stat().st_size} | network.recipe
            found |= {"seconds": round(seconds, 1), "stopped": self.stopped}
            print(json_format.dumps(found), flush=True)
        if self.quiet:
            return
        steps = f"{self.trainer.taken} of {self.trainer.course.steps} steps"
        size = output.stat().st_size / 1e6
        what = "stopped; the network so far is" if self.stopped else "wrote"
        print(f"{what} {output} ({steps}, {size:.2f} MB, {seconds:.0f} s)", file=sys.stderr)
        if self.stopped and self.files.checkpoint:
            again = f"--resume {self.files.checkpoint} --force"
            print(f"go on with the same words and {again}", file=sys.stderr)
        else:
            print(f"paint with it: impasto stylize photo.jpg {output}", file=sys.stderr)

    def _save_checkpoint(self) -> None:
        if self.files.checkpoint and self.last is not None:
            self.last.save_checkpoint(self.files.checkpoint)

    def _save_preview(self, update: "Update") -> None:
        from impasto import images

        assert self.files.preview is not None
        data = images.encode(update.picture(self.fixed))
        images.write_bytes(data, self.files.preview / f"step-{update.step:05d}.png")


def _plan(trainer: "Trainer") -> str:
    """What is about to be done."""
    course, names = trainer.course, ", ".join(trainer.scene.paintings)
    count = len(trainer.photos.files)
    return (
        f"training a network on {names} with {count} photos: {course.steps} steps of "
        f"{course.batch} x {course.crop} px"
    )


def _check_output(output: Path, force: bool) -> None:
    from impasto.cli.outputs import check_place

    if output.suffix != ".safetensors":
        raise SettingError(
            f"the output is {output.name!r}: a network is a .safetensors file, name it so"
        )
    check_place(output, force)


def _check_files(files: Files, resume: Path | None, output: Path, force: bool) -> None:
    """SettingError or PictureError for what cannot be written on the way."""
    from impasto.cli.outputs import check_checkpoint, step_folder

    if files.checkpoint_every <= 0:
        raise SettingError(f"--checkpoint-every is {files.checkpoint_every:g}: it must be above 0")
    check_checkpoint(files.checkpoint, resume, [str(output)], force)
    if files.preview is not None:
        step_folder((files.preview_every, files.preview), force, "--preview-every")
    elif files.preview_photo is not None:
        raise SettingError("--preview-photo needs a folder: give --preview too")
