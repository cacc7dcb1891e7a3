"""`impasto train`: a network that paints any photo in one style, from a painting and photos."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from impasto.cli.options import given, options_of, settings_from, text_of
from impasto.cli.outputs import OUTPUT, Every, say
from impasto.cli.regions import NO_PAINTING
from impasto.errors import SettingError
from impasto.settings import Settings, TrainingSettings

if TYPE_CHECKING:
    from impasto.cli.progress import Progress
    from impasto.images import Picture
    from impasto.painting import Step
    from impasto.training import Trainer

CHOSEN = (
    "size", "strength", "seed", "style_weights", "style_scale", "style_crop",
    "style_turn", "content_layers", "style_layers", "content_weight", "style_weight", "tv_weight",
    "structure_weight", "structure_layers", "style_loss", "loss_scale", "backbone", "pooling",
    "padding", "device", "precision", "threads",
)  # fmt: skip
"""The settings of the objective and the machine; those of one picture have no meaning here."""

USUAL = TrainingSettings()
TrainingOptions: Any = options_of(
    "TrainingOptions",
    fields(TrainingSettings),
    lambda item: text_of(item, getattr(USUAL, item.name)),
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
    force: Annotated[bool, Parameter(group=OUTPUT)] = False,
    json: Annotated[bool, Parameter(group=OUTPUT)] = False,
    quiet: Annotated[bool, Parameter(alias="-q", group=OUTPUT)] = False,
    training: Annotated[TrainingOptions | None, Parameter(name="*")] = None,
    options: Annotated[TrainOptions | None, Parameter(name="*")] = None,
) -> int:
    """Train a network that paints any photo in the style of a painting, in one pass.

    `impasto stylize photo.jpg OUT.safetensors` then takes a fraction of a second. Ctrl-C stops
    and saves the network so far (exit status 130), as SIGTERM and SIGHUP do (143, 129).
    docs/guide/train.md tells more.

    Parameters
    ----------
    styles
        The paintings: files, folders of pictures, or names that `impasto styles` lists. Several
        are blended.
    photos
        A folder of photos to learn from, its subfolders included; some hundred are enough.
    output
        Where to write the network, .safetensors.
    init
        Start from this network instead of from nothing: another style is learned sooner.
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
    chosen = TrainingSettings(**given(training))
    if not styles:
        raise SettingError(NO_PAINTING)
    _check_output(output, force)
    _check_files(files, resume, output, force)

    from impasto import images
    from impasto.cli.edge import one_line, refuse
    from impasto.cli.inputs import pictures
    from impasto.cli.progress import Progress
    from impasto.cli.run import Taken, save_checkpoint, take
    from impasto.networks import residual
    from impasto.training import Trainer

    start = None if init is None else residual.load(init)
    trainer = Trainer(pictures(styles), photos, settings, chosen, start, resume)
    fixed = None if files.preview_photo is None else images.read(files.preview_photo)
    made = TrainToFile(trainer, files, fixed, output)
    checkpoints = Every(
        files.checkpoint_every if files.checkpoint else 0, files.checkpoint or Path()
    )
    taken = Taken()
    try:
        with Progress(quiet) as progress:
            progress.say(_plan(trainer))
            taken = take(
                trainer.train(), checkpoints, lambda step: made.keep(step, progress), made.extras
            )
        if files.checkpoint and taken.last is not None:
            save_checkpoint(taken.last, checkpoints, made.extras)
    finally:
        if trainer.taken:
            made.save(bool(taken.stopped), json, quiet)
    if taken.failed is not None:
        return refuse(one_line(taken.failed), status=1)
    return taken.stopped or int(bool(made.extras.failed))


class TrainToFile:
    """What a training leaves behind: the network, and previews on the way."""

    def __init__(
        self, trainer: "Trainer", files: Files, fixed: "Picture | None", output: Path
    ) -> None:
        from impasto.cli.run import Extras

        self.trainer, self.files, self.output = trainer, files, output
        self.extras = Extras()
        self.fixed = trainer.scene.photo if fixed is None else fixed

    def keep(self, step: "Step", progress: "Progress") -> None:
        """Show a step, and write what is to be written of it."""
        from impasto.cli.run import step_words

        if step.note:
            progress.say(step.note)
        words, details = step_words(step)
        progress.update(words, step.work, details=details)
        if self.files.preview and step.step % self.files.preview_every == 0:
            folder = self.files.preview
            self.extras.make(f"a picture in {folder}", lambda: self._save_preview(step, folder))

    def save(self, stopped: bool, json: bool, quiet: bool) -> None:
        """Write the network, and say so."""
        import json as json_format

        from impasto.networks import residual

        network, seconds = self.trainer.trained(), self.trainer.seconds
        residual.save(network, self.output)
        size = self.output.stat().st_size
        self._say(stopped, quiet, size)
        if json:
            found = {"output": str(self.output), "bytes": size} | network.recipe
            found |= {"seconds": round(seconds, 1), "stopped": stopped}
            print(json_format.dumps(found), flush=True)

    def _say(self, stopped: bool, quiet: bool, size: int) -> None:
        trainer = self.trainer
        done = f"{trainer.taken} of {trainer.training.steps} steps, {size / 1e6:.2f} MB"
        what = "stopped; the network so far is" if stopped else "wrote"
        say(quiet, f"{what} {self.output} ({done}, {trainer.seconds:.0f} s)")
        if stopped and self.files.checkpoint:
            again = f"--resume {self.files.checkpoint} --force"
            say(quiet, f"go on with the same words and {again}")
        else:
            say(quiet, f"paint with it: impasto stylize photo.jpg {self.output}")

    def _save_preview(self, step: "Step", folder: Path) -> None:
        from impasto import images

        data = images.encode(self.trainer.painted(self.fixed))
        images.write_bytes(data, folder / f"step-{step.step:05d}.png")


def _plan(trainer: "Trainer") -> str:
    """What is about to be done."""
    training, names = trainer.training, ", ".join(trainer.scene.paintings)
    count = len(trainer.photos.files)
    return (
        f"training a network on {names} with {count} photos: {training.steps} steps of "
        f"{training.batch} x {training.crop} px"
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
