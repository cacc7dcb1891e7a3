"""A film in the style of a painting: frame by frame, each with an eye on those before it.

`Film.paint` is a stream of painted frames; `Film.write` keeps each of them beside the output as it
comes, so that a run that was stopped goes on, and writes the film at the end. How frames are held
together is told in `consistency.py`. Only the last few frames are in memory. `ShotPainter` paints
the shots, which know nothing of each other, in as many processes as there are.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from impasto import fingerprint, images, machine
from impasto.errors import PictureError, SettingError
from impasto.images import Picture
from impasto.images.files import expanded
from impasto.machine.tasks import Show, Spread, Work
from impasto.painting import OnePassRun, OptimizedRun, start_run
from impasto.reports.manifest import Row
from impasto.scene import AnyPicture, Region, Scene, Style
from impasto.settings import Settings, changed
from impasto.video import consistency, flow
from impasto.video.consistency import Seen
from impasto.video.reading import Clip, Frame
from impasto.video.shot import Shot, ShotTask, tasks_for
from impasto.video.unfinished import (
    KEPT,
    Facts,
    Unfinished,
    facts_in,
    read_frame,
    row_of,
    shot_manifest,
    write_frame,
)
from impasto.video.writing import Format, check_output, check_suffix, join

TEMPORAL = 0.6  # how strongly frames are held together, 0 to 1
QUALITY = 65  # of 100; H.264's CRF 18, at which few see a difference
EVERY = 2  # each so many frames are painted whole in instant mode


@dataclass(frozen=True, eq=False)
class FilmFrame:
    """A frame that was painted."""

    number: int
    """From 1."""
    count: int
    """How many there will be, as far as the file says."""
    seconds: float
    """When it is shown, from the clip's start."""
    pixels: Float[Tensor, "1 3 h w"]
    first: bool
    """Whether it begins a shot."""
    flicker: float | None
    """See `flow.warping_error`; None for the first frame of a shot."""

    @property
    def picture(self) -> Picture:
        """The frame as a picture."""
        return Picture(self.pixels, None, f"frame {self.number}")


class Film:
    """A clip that is painted. Raises ImpastoError for a clip, pictures or settings that do not go
    together.

    Style, masks and regions are those of `impasto.stylize`. Masks of files stay where they are; a
    word is found anew in the first frame of each shot, and follows the flow. `temporal`
    says how strongly frames are held together: 0 not at all, up to 0.95. Frames have the long side
    of the settings; odd sides lose their last row or column, as H.264 needs even ones. In instant
    mode each `every`-th frame is painted whole; those between are the last one, carried along the
    flow, with what it does not show painted at half size.
    """

    @machine.neutral()
    def __init__(
        self,
        clip: Clip,
        style: Style | None,
        settings: Settings,
        *,
        mask: AnyPicture | None = None,
        style_mask: AnyPicture | None = None,
        regions: Sequence[Region] = (),
        keep: AnyPicture | None = None,
        temporal: float = TEMPORAL,
        every: int = EVERY,
    ) -> None:
        if not 0 <= temporal <= 0.95:
            raise SettingError(f"temporal is {temporal:g}: it must be 0 to 0.95")
        if every < 1:
            raise SettingError(f"every is {every}: it must be at least 1")
        if settings.seamless or settings.original_size:
            raise SettingError("films know no --seamless and no --original-size: leave them out")
        width, height = images.fit(clip.size, settings.size)
        self.size = width // 2 * 2, height // 2 * 2
        """Width and height of the film, px."""
        if min(self.size) < images.MIN_SIDE:
            raise PictureError(
                f"{clip.name} is {self.size[0]}x{self.size[1]} px at size "
                f"{settings.size}: use a larger --size"
            )
        machine.choose_device(settings.device)  # raises for several
        even = clip.size[0] // 2 * 2, clip.size[1] // 2 * 2
        self.read_size = clip.size if self.size == even else self.size
        """The size that frames are read at: their own if they are only to lose an odd row."""
        self.clip, self.temporal, self.every = clip, temporal, every
        self.settings = changed(settings, size=max(self.size))
        first = next(clip.frames(self.read_size), None)
        if first is None:
            raise PictureError(
                f"{clip.name} has no frame that can be read there: try without --start and --end"
            )
        photo = self._cropped(first)
        self.scene = Scene(photo, style, self.settings, mask, style_mask, regions, keep, True)
        run = start_run(self.scene)  # raises for what does not go together
        self.one_pass = run if isinstance(run, OnePassRun) else None
        self.engine = run.engine if isinstance(run, OptimizedRun) else None
        self.compute = run.compute
        self.again = partial(
            Film, clip, style, settings, mask=mask, style_mask=style_mask, regions=regions,
            keep=keep, temporal=temporal, every=every,
        )  # fmt: skip
        """Makes the same film in another process."""
        self.history: dict[int, Facts] = {}
        """What is known of each painted frame, by its number, from 0."""

    @property
    def flicker(self) -> float:
        """The mean of `flow.flicker` over all frames painted so far."""
        ordered = [facts for _, facts in sorted(self.history.items())]
        found = [facts["flicker"] for facts in ordered if "flicker" in facts]
        return float(np.mean(found)) if found else 0.0

    def paint(self) -> Iterator[FilmFrame]:
        """Every frame, in order. PictureError where the clip turns out to be damaged."""
        return self.compute.stepwise(self._frames({}))

    def write(
        self,
        target: str | os.PathLike[str],
        quality: int = QUALITY,
        *,
        sound: bool = True,
        resume: bool = False,
        force: bool = False,
        spread: Spread | None = None,
    ) -> Iterator[FilmFrame]:
        """Paint every frame and write the film, whole or not at all, once the last was taken.

        What is finished is kept in the folder TARGET.unfinished meanwhile; with `resume` its frames
        are not painted again, and the film is the same as without the interruption. quality: 0 to
        100. `force` overwrites what exists. `spread` says in which processes shots are painted,
        where there are several: the film is the same, but frames come shot by shot, in any order
        of shots. Raises ImpastoError.
        """
        path = expanded(target)
        film = self._format(path, quality, sound, force)
        folder = images.companion(path, ".unfinished")
        work = Unfinished(folder, film, self.recipe(quality), resume, force)
        try:
            tasks = [] if spread is None else tasks_for(self.shots(), work.facts)
            if spread is None or len(tasks) < 2:
                yield from self._in_one_go(work)
            else:
                yield from self._shot_by_shot(work, spread, tasks)
            recipe = self.recipe(quality) | {"flicker": self.flicker}
            join(work.film(), self.clip, film, path, sound, recipe)
        except PictureError as error:
            kept = f"; {work.done} finished frames are kept in {folder} for --resume"
            raise PictureError(f"{error}{kept if work.done else ''}") from error
        finally:
            if not work.done:
                work.remove()
        work.remove()

    def shots(self) -> list[tuple[int, int]]:
        """The first frame of each shot and the one after its last, from 0: each frame of the clip
        is read, none is painted. PictureError where the clip turns out to be damaged."""
        with self.compute.tuned():
            frames = self.clip.frames(self.read_size)
            return consistency.shots_in(self._cropped(frame).pixels for frame in frames)

    def paint_shot(self, folder: Path, task: ShotTask, show: Show) -> list[Row]:
        """Paint the frames of a shot that are left, into the folder of the film on its way; their
        rows of its manifest. What a process that was killed had painted of it is kept."""
        journal = shot_manifest(folder, task.begin)
        rows = journal.rows()
        journal.begin(rows)
        finished = task.finished | facts_in(rows)
        frames = self._frames(finished, folder, task.begin, task.end)
        for painted in self.compute.stepwise(frames):
            number = painted.number - 1
            write_frame(folder, number, _bytes(painted.pixels))
            rows.append(row_of(number, self.history[number]))
            journal.add(rows[-1:])
            show((number + 1 - task.begin) / (task.end - task.begin))
        return rows

    def recipe(self, quality: int = QUALITY) -> dict[str, Any]:
        """How the film is made, as JSON holds it."""
        recipe = self.scene.recipe() | {
            "content": self.clip.name,
            "clip": fingerprint.of_file(self.clip.path)[: fingerprint.DIGITS],
            "temporal": self.temporal,
            "every": self.every,
            "quality": quality,
            "start": self.clip.start,
            "end": self.clip.end,
        }
        recipe["sources"] = recipe["sources"] | {"content": self.clip.name}
        return recipe

    def _format(self, path: Path, quality: int, sound: bool, force: bool) -> Format:
        """How the film is coded. Raises what would stop it from being written."""
        check_suffix(path)
        if not 0 <= quality <= 100:
            raise SettingError(f"quality is {quality}: it must be 0 to 100")
        if path.exists() and path.samefile(self.clip.path):
            raise PictureError(f"the output {path} is the input: name another with -o")
        if path.exists() and not path.is_dir() and not force:
            raise PictureError(f"{path} exists: name another with -o, or overwrite with --force")
        film = Format.of(self.clip, self.size, path.suffix.lower(), quality)
        check_output(path, self.clip, film, sound)
        return film

    def _in_one_go(self, work: Unfinished) -> Iterator[FilmFrame]:
        """Paint the frames that are left in their order, in this process."""
        for painted in self.compute.stepwise(self._frames(work.facts, work.folder)):
            number = painted.number - 1
            work.add(number, _bytes(painted.pixels), self.history[number])
            yield painted

    def _shot_by_shot(
        self, work: Unfinished, spread: Spread, tasks: Sequence[ShotTask]
    ) -> Iterator[FilmFrame]:
        """Have the shots painted wherever the spread does, and take their frames as they come."""
        self.history = dict(work.facts)
        for rows in spread(ShotPainter(self.again, work.folder), tasks):
            work.note(rows)
            self.history |= facts_in(rows)
            for number in facts_in(rows):
                held = read_frame(work.folder, number)
                if held is not None:
                    yield self._shown(number, _pixels(held))
            work.pack()

    def _frames(
        self,
        finished: Mapping[int, Facts],
        folder: Path | None = None,
        begin: int = 0,
        end: int | None = None,
    ) -> Iterator[FilmFrame]:
        """The frames from a number on, up to the end, but for those that are finished: their facts
        are given, and their files are in the folder. The facts of all go into `self.history`."""
        shot, self.history = self._shot(), dict(finished)
        machine.keep_large_buffers()
        frames = self.clip.frames(self.read_size, self._first_seen(finished, begin))
        for frame in takewhile(lambda frame: end is None or frame.number < end, frames):
            photo = self._cropped(frame)
            moved = shot.motion_to(photo.pixels)
            shot.follow(photo, moved, frame.number)
            if frame.number in finished:
                held = None if folder is None else read_frame(folder, frame.number)
                # long before those that are painted only the flow counts
                painted = photo.pixels if held is None else _pixels(held)
                shot.take(Seen(photo.pixels, painted), moved)
                shot.load(finished[frame.number])
                continue
            painted = shot.painted(photo, moved, frame.number)
            painted = _pixels(_bytes(painted))  # the next one sees what is kept
            facts: Facts = {"pts": frame.pts, "duration": frame.duration}
            if moved is not None:
                facts["flicker"] = flow.warping_error(moved, shot.past[-1].painted, painted)
            shot.take(Seen(photo.pixels, painted), moved)
            self.history[frame.number] = shot.state() | facts
            yield self._shown(frame.number, painted)

    def _first_seen(self, finished: Mapping[int, Facts], begin: int) -> int:
        """The first frame to read: the first one to paint looks back on those before it, and on
        all of its shot where masks follow the flow."""
        missing = begin
        while missing in finished:
            missing += 1
        first = max(begin, missing - KEPT)
        if first in finished and self.scene.words:
            first = min(first, int(finished[first]["begun"]))
        return first

    def _shown(self, number: int, pixels: Tensor) -> FilmFrame:
        """A painted frame, with what is known of it."""
        facts, count = self.history[number], max(self.clip.count, number + 1)
        seconds, flicker = self.clip.seconds(int(facts["pts"])), facts.get("flicker")
        return FilmFrame(number + 1, count, seconds, pixels, flicker is None, flicker)

    def _shot(self) -> Shot:
        """What paints the frames of a shot, for this film."""
        return Shot(self.scene, self.size, self.temporal, self.every, self.one_pass, self.engine)

    def _cropped(self, frame: Frame) -> Picture:
        """A frame with even sides."""
        pixels = frame.pixels[..., : self.size[1], : self.size[0]].contiguous()
        return Picture(pixels, None, self.clip.name)


@dataclass(frozen=True, eq=False)
class ShotPainter:
    """Paints the shots of a film in any process: a `machine.tasks.Make` of `ShotTask`s.

    The call makes the film anew, and returns work(task, show), which paints what is left of a shot
    into the folder of the film on its way, and returns the rows of its manifest: see
    `Film.paint_shot`. `film` can be pickled where the arguments of the film can: paintings by
    their names rather than open files.
    """

    film: Callable[[], Film]
    folder: Path

    def __call__(self) -> Work[ShotTask, list[Row]]:
        """What paints a shot."""
        return partial(self.film().paint_shot, self.folder)


def _bytes(pixels: Float[Tensor, "1 3 h w"]) -> NDArray[np.uint8]:
    """A frame as whole numbers, h w 3."""
    found: NDArray[np.uint8] = (pixels[0].permute(1, 2, 0) * 255).round().byte().numpy()
    return found


def _pixels(values: NDArray[np.uint8]) -> Float[Tensor, "1 3 h w"]:
    """The reverse of `_bytes`."""
    return torch.from_numpy(values).permute(2, 0, 1)[None].float().div_(255)
