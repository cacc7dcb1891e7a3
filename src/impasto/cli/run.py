"""One run of the engine for the command line: every step taken, and what it leaves written."""

import json as json_format
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from impasto.cli.edge import SIGNALS, one_line, refuse
from impasto.cli.outputs import CheckedOutputs, Every, check_grows, check_space, deliver, say
from impasto.cli.progress import Progress
from impasto.reports.words import duration

if TYPE_CHECKING:
    from pathlib import Path

    from impasto.painting import PaintingRun, Result, Step
    from impasto.video.timelapse import Timelapse

    Finish = Callable[[Result], Result]

ALWAYS_SAVED = (1, 5, 10)  # the steps that reports on the method show, whatever --save-every says
MOST_NAMED = 6  # paintings that are named before a run
LONG_WORK = 20_000_000  # pixels times steps: above a minute on two cores


@dataclass
class Taken:
    """What became of a run's steps."""

    last: "Step | None" = None
    stopped: int = 0
    """The exit status that Ctrl-C or another signal asks for; 0 if none ended the run."""
    failed: Exception | None = None
    """What ended the run before its end: it diverged, or the memory did not suffice, say."""


class Extras:
    """Makes what goes with a picture. What fails is said once, and the run goes on: the picture is
    worth more."""

    def __init__(self) -> None:
        self.failed: set[str] = set()
        """What could not be made, at least once."""

    def make(self, what: str, making: Callable[[], object]) -> bool:
        """Whether that could be made. `what` names it for the user."""
        try:
            making()
        except Exception as error:  # whatever it is, the picture must not be lost
            if what not in self.failed:
                print(f"impasto: {what} could not be made: {one_line(error)}", file=sys.stderr)
            self.failed.add(what)
            return False
        return True


def take(
    steps: "Iterator[Step]",
    checkpoints: Every,
    on_step: "Callable[[Step], None]",
    extras: Extras,
) -> Taken:
    """Take every step, until the end, a signal or an error, with a checkpoint now and then.

    What comes after it is saving, which signals do not interrupt. Raises what ended the run where
    there was no step yet.
    """
    taken, saved = Taken(), time.monotonic()
    try:
        for step in steps:
            taken.last = step
            on_step(step)
            if checkpoints.every and time.monotonic() - saved >= checkpoints.every:
                save_checkpoint(step, checkpoints, extras)
                saved = time.monotonic()
        SIGNALS.hold()
    except KeyboardInterrupt as error:
        if taken.last is None:
            raise
        taken.stopped = SIGNALS.hold(error)
    except Exception as error:  # whatever it is, the steps before it are worth saving
        SIGNALS.hold()
        if taken.last is None:
            raise
        taken.failed = error
    return taken


def save_checkpoint(step: "Step", checkpoints: Every, extras: Extras) -> None:
    """Keep the state of a run after this step, if the disk takes it."""
    path = checkpoints.path
    extras.make(f"the checkpoint {path}", lambda: step.save_checkpoint(path))


def step_words(step: "Step") -> tuple[str, str]:
    """Where a step is, and what its loss is made of."""
    losses, (width, height) = step.losses, step.size
    words = f"step {step.step}/{step.steps}  {width}x{height}"
    if not losses:
        return words, ""
    terms = [f"{n} {losses[n]:.3g}" for n in ("content", "style") if n in losses]
    parts = " + ".join(terms) or "detail, of the shallow layers alone"
    return f"{words}  loss {losses['total']:.4g}", f"  = {parts}"


def paint(
    run: "PaintingRun", outputs: CheckedOutputs, finish: "Finish" = lambda result: result
) -> int:
    """Paint to the end, a signal or an error; write everything; the exit status.

    `finish` is what becomes of the painted picture before it is written.
    """
    check_grows(run.one_pass, outputs.asked)
    check_space(outputs, run.content, run.settings)
    made = RunToFile(run, outputs, finish)
    with Progress(outputs.asked.quiet, outputs.asked.preview) as progress:
        announce(run, progress)
        taken = take(
            run.paint(), outputs.checkpoints, lambda step: made.keep(step, progress), made.extras
        )
    made.save(taken)
    if taken.failed is not None:
        return refuse(one_line(taken.failed), status=1)
    return taken.stopped or int(bool(made.extras.failed))


def announce(run: "PaintingRun", progress: Progress) -> None:
    """Say what is about to be done, and before a long run what it will take."""
    from impasto.images.paintings import PAINTINGS

    works = [(PAINTINGS.get(name), name) for name in run.scene.paintings]
    named = [f"{w.title} ({w.painter})" if w else name for w, name in works]
    count = sum(" painting" in what for what in run.scene.inputs)
    if count > MOST_NAMED:
        named[MOST_NAMED - 1 :] = ["others"]
    painting = " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 2 else named)
    if count > 1:
        painting = f"{count} paintings: {painting}"
    for note in run.scene.notes:
        progress.say(note)
    (width, height), settings = run.content.own_size, run.settings
    progress.say(
        f"painting {run.content.name} ({width}x{height}) in the style of "
        f"{painting}: {settings.preset}, {settings.size} px"
    )
    if run.work > LONG_WORK and not progress.console.quiet:
        seconds, size = run.estimate()
        tile = run.footprint(run.sizes[-1]).tile
        tiles = f", in tiles of {tile} px" if tile else ""
        progress.say(f"this will take about {duration(seconds)} and {size / 1e9:.1f} GB{tiles}")


class RunToFile:
    """What a run that paints leaves behind: the picture, and what was asked for on the way."""

    def __init__(self, run: "PaintingRun", outputs: CheckedOutputs, finish: "Finish") -> None:
        self.run, self.outputs, self.asked, self.finish = run, outputs, outputs.asked, finish
        self.extras = Extras()
        self.film: Timelapse | None = None
        if self.asked.timelapse is not None:
            from impasto.video import timelapse

            self.film = timelapse.Timelapse(self.asked.timelapse)

    def keep(self, step: "Step", progress: Progress) -> None:
        """Show a step, and write what is to be written of it."""
        if step.ends_scale and progress.preview is not None:
            self.extras.make(
                "the preview", lambda: progress.show(lambda: step.picture(full_size=False))
            )
        if step.note:
            progress.say(step.note)
        words, details = step_words(step)
        if details or progress.bar is not None:
            progress.update(words, step.work, details=details)
        if self.film is not None:
            film = self.film
            self.extras.make(self._film, lambda: film.add(step.picture()))
        every = self.outputs.frames.every
        if every and (step.step % every == 0 or step.step in ALWAYS_SAVED):
            path = self.outputs.frames.path
            self.extras.make(f"a picture in {path}", lambda: self._save_frame(step, path))

    def save(self, taken: Taken) -> None:
        """Write the picture, then what goes with it, and say so."""
        assert taken.last is not None
        result = self.finish(taken.last.result())
        data = result.encoded(self.outputs.kind, self.asked.bits, self.asked.keep_gps)
        deliver(data, self.outputs.target)
        if taken.stopped and self.outputs.checkpoints.every:
            save_checkpoint(taken.last, self.outputs.checkpoints, self.extras)
        written = self._write_extras(result)
        self._say(result, taken, written)
        if self.asked.json:
            self._print_json(result, bool(taken.stopped))

    def _write_extras(self, result: "Result") -> "list[Path]":
        """Write the film and the plot; those that could be."""
        from impasto.reports import plots

        written, plot = [], self.asked.plot
        if self.film is not None and self.extras.make(self._film, self.film.write):
            written.append(self.film.path)
        if plot is not None:
            styles = ", ".join(result.recipe["style"])
            title = f"{result.recipe['content']} in the style of {styles}"
            if self.extras.make(
                f"the plot {plot}", lambda: plots.write(plots.losses(result.history, title), plot)
            ):
                written.append(plot)
        return written

    def _print_json(self, result: "Result", stopped: bool) -> None:
        width, height = result.picture.size
        found = {"output": str(self.outputs.target), "width": width, "height": height}
        found |= result.recipe | {"seconds": round(result.seconds, 3), "stopped": stopped}
        print(json_format.dumps(found), flush=True)

    def _say(self, result: "Result", taken: Taken, written: "list[Path]") -> None:
        assert taken.last is not None
        words = "wrote"
        if taken.stopped:
            last = taken.last
            words = f"stopped at step {last.step} of {last.steps}; the picture so far is"
        (width, height), where = result.picture.size, self.outputs.target or "on stdout"
        quiet = self.asked.quiet
        say(quiet, f"{words} {where} ({width}x{height} px, {result.seconds:.0f} s)")
        for extra in written:
            say(quiet, f"wrote {extra}")
        path = self.outputs.checkpoints.path
        if taken.stopped and self.outputs.checkpoints.every and path.exists():
            say(quiet, f"go on with the same words and --resume {path} --force")

    def _save_frame(self, step: "Step", folder: "Path") -> None:
        from impasto import images

        images.write_bytes(images.encode(step.picture()), folder / f"step-{step.step:04d}.png")

    @property
    def _film(self) -> str:
        return f"the film {self.asked.timelapse}"
