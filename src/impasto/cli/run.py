"""One run of the engine for the command line: every step taken, and what it leaves written."""

import json as json_format
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.markup import escape

from impasto.cli.outputs import CheckedOutputs, Every, check_grows, check_space, say
from impasto.cli.progress import Progress, duration
from impasto.errors import DivergedError

if TYPE_CHECKING:
    from impasto.painting import PaintingRun, Result, Step
    from impasto.video.timelapse import Timelapse

ALWAYS_SAVED = (1, 5, 10)  # the steps that reports on the method show, whatever --save-every says
MOST_NAMED = 6  # paintings that are named before a run
LONG_WORK = 20_000_000  # pixels times steps: above a minute on two cores


@dataclass
class Taken:
    """What became of a run's steps."""

    last: "Step | None" = None
    stopped: bool = False
    """Whether Ctrl-C ended it."""
    diverged: DivergedError | None = None


def take(steps: "Iterator[Step]", checkpoints: Every, on_step: "Callable[[Step], None]") -> Taken:
    """Take every step, until the end, Ctrl-C or divergence, with a checkpoint now and then.

    Ctrl-C leaves a last checkpoint. Raises KeyboardInterrupt or DivergedError where there was no
    step yet.
    """
    taken, saved = Taken(), time.monotonic()
    try:
        for step in steps:
            taken.last = step
            on_step(step)
            if checkpoints.every and time.monotonic() - saved >= checkpoints.every:
                step.save_checkpoint(checkpoints.path)
                saved = time.monotonic()
    except KeyboardInterrupt:
        if taken.last is None:
            raise
        taken.stopped = True
        if checkpoints.every:
            taken.last.save_checkpoint(checkpoints.path)
    except DivergedError as error:
        if taken.last is None:
            raise
        taken.diverged = error
    return taken


def step_words(step: "Step") -> tuple[str, str]:
    """Where a step is, and what its loss is made of."""
    losses, (width, height) = step.losses, step.size
    words = f"step {step.step}/{step.steps}  {width}x{height}"
    if not losses:
        return words, ""
    terms = [f"{n} {losses[n]:.3g}" for n in ("content", "style") if n in losses]
    parts = " + ".join(terms) or "detail, of the shallow layers alone"
    return f"{words}  loss {losses['total']:.4g}", f"  = {parts}"


def paint(run: "PaintingRun", outputs: CheckedOutputs) -> int:
    """Paint to the end, Ctrl-C or divergence; write everything; the exit status."""
    check_grows(run.one_pass, outputs.asked)
    check_space(outputs, run.content, run.settings)
    made = RunToFile(run, outputs)
    with Progress(outputs.asked.quiet, outputs.asked.preview) as progress:
        announce(run, progress)
        taken = take(run.paint(), outputs.checkpoints, lambda step: made.keep(step, progress))
    made.save(taken)
    if taken.diverged is not None:
        raise taken.diverged
    return 130 if taken.stopped else 0


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
        progress.say(escape(note))
    (width, height), settings = run.content.own_size, run.settings
    progress.say(
        f"painting {escape(run.content.name)} ({width}x{height}) in the style of "
        f"{escape(painting)}: {settings.preset}, {settings.size} px"
    )
    if run.work > LONG_WORK and not progress.console.quiet:
        seconds, size = run.estimate()
        tile = run.footprint(run.sizes[-1]).tile
        tiles = f", in tiles of {tile} px" if tile else ""
        progress.say(f"this will take about {duration(seconds)} and {size / 1e9:.1f} GB{tiles}")


class RunToFile:
    """What a run that paints leaves behind: the picture, and what was asked for on the way."""

    def __init__(self, run: "PaintingRun", outputs: CheckedOutputs) -> None:
        self.run, self.outputs, self.asked = run, outputs, outputs.asked
        self.film: Timelapse | None = None
        if self.asked.timelapse is not None:
            from impasto.video import timelapse

            self.film = timelapse.Timelapse(self.asked.timelapse)

    def keep(self, step: "Step", progress: Progress) -> None:
        """Show a step, and write what is to be written of it."""
        if step.ends_scale:
            progress.show(lambda: step.picture(full_size=False))
        if step.note:
            progress.say(step.note)
        words, details = step_words(step)
        if details or progress.bar is not None:
            progress.update(words, step.work, details=details)
        if self.film is not None:
            self.film.add(step.picture())
        every = self.outputs.frames.every
        if every and (step.step % every == 0 or step.step in ALWAYS_SAVED):
            self._save_frame(step)

    def save(self, taken: Taken) -> None:
        """Write the picture and what goes with it, and say so."""
        from impasto import images
        from impasto.reports import plots

        assert taken.last is not None
        target, asked = self.outputs.target, self.asked
        result = taken.last.result()
        if not self.outputs.checkpoints.every and not self.run.resumed:
            # A run with checkpoints promises the same bytes, however often it was interrupted.
            result.recipe["seconds"] = round(result.seconds, 1)
        data = result.encoded(self.outputs.kind, asked.bits, asked.keep_gps)
        if target is None:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        else:
            images.write_bytes(data, target)
        if self.film is not None:
            self.film.write()
        if asked.plot is not None:
            styles = ", ".join(result.recipe["style"])
            title = f"{result.recipe['content']} in the style of {styles}"
            plots.write(plots.losses(result.history, title), asked.plot)
        if asked.json:
            self._print_json(result, taken.stopped)
        self._say(result, taken)

    def _print_json(self, result: "Result", stopped: bool) -> None:
        width, height = result.picture.size
        found = {"output": str(self.outputs.target), "width": width, "height": height}
        found |= result.recipe | {"seconds": round(result.seconds, 3), "stopped": stopped}
        print(json_format.dumps(found), flush=True)

    def _say(self, result: "Result", taken: Taken) -> None:
        assert taken.last is not None
        words = "wrote"
        if taken.stopped:
            last = taken.last
            words = f"stopped at step {last.step} of {last.steps}; the picture so far is"
        (width, height), where = result.picture.size, self.outputs.target or "on stdout"
        quiet = self.asked.quiet
        say(quiet, f"{words} {where} ({width}x{height} px, {result.seconds:.0f} s)")
        for extra in (self.asked.timelapse, self.asked.plot):
            if extra is not None:
                say(quiet, f"wrote {extra}")
        if taken.stopped and self.outputs.checkpoints.every:
            path = self.outputs.checkpoints.path
            say(quiet, f"go on with the same words and --resume {path} --force")

    def _save_frame(self, step: "Step") -> None:
        from impasto import images

        target = self.outputs.frames.path / f"step-{step.step:04d}.png"
        images.write_bytes(images.encode(step.picture()), target)
