"""A picture to be painted for a visitor of the page, and what is told while it is painted."""

import re
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from impasto import images
from impasto.errors import ImpastoError
from impasto.images import Picture, fit
from impasto.machine import memory, stopping
from impasto.painting import PaintingRun, Step, start_run
from impasto.scene import Region, Scene
from impasto.settings import settings_for
from impasto.video.timelapse import Timelapse

LIVE_SIDE = 768  # px, long side of the pictures that are shown on the way
LIVE_EVERY = 0.4  # seconds between two of them, at least
CHECKPOINT = "go-on.checkpoint"
NOT_BEGUN = "stopped before it began"


@dataclass(frozen=True)
class Job:
    """What to paint: a photo, paintings, and settings by name, as `settings_for` takes them."""

    photo: Path
    styles: tuple[str, ...]
    changes: Mapping[str, Any]
    target: Path
    """The PNG file to write."""
    mask: Path | str | None = None
    regions: tuple[Region, ...] = ()
    keep: Path | str | None = None
    resume: Path | None = None
    timelapse: bool = False
    quick: bool = False
    """An instant picture, which may come between two steps of another job."""
    only_estimate: bool = False
    """Tell what it would take, and paint nothing."""


@dataclass(frozen=True)
class Waiting:
    """How many pictures are painted before this one."""

    before: int


@dataclass(frozen=True)
class Still:
    """Nothing happened for a while: whoever listens may leave."""


@dataclass(frozen=True)
class Said:
    """A word for the visitor."""

    text: str


@dataclass(frozen=True)
class Shown:
    """Where a run is, and the picture so far if it is time to show one."""

    step: int
    steps: int
    size: tuple[int, int]
    scale: int
    scales: int
    work: float
    """The part that is done, 0 to 1."""
    left: float
    """Seconds to the end, by the pace so far."""
    loss: float | None
    picture: bytes | None
    """A JPEG file, at most 768 px."""


@dataclass(frozen=True)
class Painted:
    """A picture that lies in its file, whole or stopped on the way."""

    picture: Path
    seconds: float
    stopped: bool
    film: Path | None
    checkpoint: Path | None
    """What a later job goes on from, where it was stopped."""
    history: list[dict[str, Any]] = field(repr=False)


@dataclass(frozen=True)
class Estimated:
    """What a picture would take."""

    seconds: float
    bytes: int


@dataclass(frozen=True)
class Failed:
    """Why there is no picture."""

    text: str


Event = Waiting | Still | Said | Shown | Painted | Estimated | Failed
LAST = (Painted, Estimated, Failed)  # after which nothing comes


def paint(job: Job, stopped: Callable[[], bool] = lambda: False) -> Iterator[Event]:
    """Paint, and tell what happens. `stopped` is asked before each layer of the network: where it
    says so, the picture so far is kept."""
    try:
        yield from _paint(job, stopped)
    except stopping.Stopped:
        yield Failed("stopped before there was a picture")
    except Exception as error:  # whatever it is, the painter goes on with the next job
        yield Failed(one_line(error))


def _paint(job: Job, stopped: Callable[[], bool]) -> Iterator[Event]:
    settings = settings_for(**job.changes)
    with stopping.stoppable(stopped):
        scene = Scene(
            job.photo, list(job.styles) or None, settings, job.mask, None, job.regions, job.keep
        )  # fmt: skip
        run = start_run(scene, job.resume)
        estimate = Estimated(*run.estimate()) if job.only_estimate else None
    for note in scene.notes:
        yield Said(note)
    if estimate is not None:
        yield estimate
        return
    film = Timelapse(job.target.with_suffix(".gif")) if job.timelapse else None
    last, began, first_work, shown = None, time.monotonic(), None, 0.0
    for step in _until_stopped(run, stopped):
        last = step
        if film is not None:
            film.add(step.picture())
        if step.note:
            yield Said(step.note)
        now = time.monotonic()
        first_work = step.work if first_work is None else first_work
        due = now - shown >= LIVE_EVERY or step.ends_scale
        shown = now if due else shown
        yield _shown(step, now - began, first_work, due and not run.one_pass)
    if last is None:
        yield Failed("stopped before there was a picture")
        return
    yield _painted(last, job, run, film)


def _until_stopped(run: PaintingRun, stopped: Callable[[], bool]) -> Iterator[Step]:
    """The steps of a run, until the end or until somebody asks."""
    steps = run.paint()
    while True:
        with stopping.stoppable(stopped):
            try:
                stopping.check()
                step = next(steps)
            except (StopIteration, stopping.Stopped):
                return
        yield step


def _shown(step: Step, seconds: float, first_work: float, due: bool) -> Shown:
    """Where the run is. The first step is no measure of the pace: it makes the targets, too."""
    done = step.work - first_work
    left = seconds * (1 - step.work) / (done if done > 0 else max(step.work, 1e-6))
    return Shown(
        step.step,
        step.steps,
        step.size,
        step.scale,
        step.scales,
        step.work,
        left,
        step.losses.get("total"),
        live(step.picture(full_size=False)) if due else None,
    )


def _painted(last: Step, job: Job, run: PaintingRun, film: Timelapse | None) -> Painted:
    """Write the picture and what goes with it."""
    result = last.result()
    images.write_bytes(result.encoded("PNG"), job.target)
    stopped, checkpoint = last.step < last.steps, None
    if stopped and not run.one_pass:
        checkpoint = job.target.with_name(CHECKPOINT)
        last.save_checkpoint(checkpoint)
    if film is not None and not run.one_pass:
        film.write()
    return Painted(
        job.target,
        result.seconds,
        stopped,
        film.path if film is not None and film.path.exists() else None,
        checkpoint,
        [dict(record) for record in result.history],
    )


def live(picture: Picture) -> bytes:
    """A picture as a JPEG file of at most 768 px, to be looked at; without alpha."""
    side = min(LIVE_SIDE, max(picture.size))
    return images.encode(picture.resized(*fit(picture.size, side)), "JPEG")


def one_line(error: Exception) -> str:
    """What an error says, in one line."""
    text = re.sub(r"\s+", " ", str(error)).strip()
    if memory.ran_out(error):
        return "the memory does not suffice: choose a smaller size"
    if not isinstance(error, ImpastoError | OSError):
        traceback.print_exception(error)  # for the host, who may report it
        return f"{type(error).__name__}: {text or 'no more is known'} (not foreseen)"
    return text or type(error).__name__
