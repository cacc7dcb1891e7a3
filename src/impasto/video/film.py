"""A film in the style of a painting: frame by frame, each with an eye on those before it.

`Film.paint` is a stream of painted frames; `Film.write` keeps each of them beside the output as it
comes, so that a run that was stopped goes on, and writes the film at the end. How frames are held
together is told in `consistency.py`. Only the last few frames are in memory.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from impasto.painting import OnePassRun, OptimizedRun, start_run
from impasto.scene import AnyPicture, Region, Scene, Style
from impasto.settings import Settings, changed
from impasto.video import flow
from impasto.video.consistency import Seen
from impasto.video.reading import Clip, Frame
from impasto.video.shot import Shot
from impasto.video.unfinished import Facts, Unfinished
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
        self.history: list[Facts] = []
        """What is known of each painted frame."""

    @property
    def flicker(self) -> float:
        """The mean of `flow.flicker` over all frames painted so far."""
        found = [facts["flicker"] for facts in self.history if "flicker" in facts]
        return float(np.mean(found)) if found else 0.0

    def paint(self) -> Iterator[FilmFrame]:
        """Every frame, in order. PictureError where the clip turns out to be damaged."""
        for _, painted in self.compute.stepwise(self._frames([], ())):
            yield painted

    def write(
        self,
        target: str | os.PathLike[str],
        quality: int = QUALITY,
        *,
        sound: bool = True,
        resume: bool = False,
        force: bool = False,
    ) -> Iterator[FilmFrame]:
        """Paint every frame and write the film, whole or not at all, once the last was taken.

        What is finished is kept in the folder TARGET.unfinished meanwhile; with `resume` its frames
        are not painted again, and the film is the same as without the interruption. quality: 0 to
        100. `force` overwrites what exists. Raises ImpastoError.
        """
        path = expanded(target)
        film = self._format(path, quality, sound, force)
        folder = images.companion(path, ".unfinished")
        work = Unfinished(folder, film, self.recipe(quality), resume, force)
        try:
            frames = self._frames(work.facts, work.last())
            for frame, painted in self.compute.stepwise(frames):
                work.add(_bytes(painted.pixels), frame.pts, frame.duration, self.history[-1])
                yield painted
            recipe = self.recipe(quality) | {"flicker": self.flicker}
            join(work.film(), self.clip, film, path, sound, recipe)
        except PictureError as error:
            kept = f"; {work.done} finished frames are kept in {folder} for --resume"
            raise PictureError(f"{error}{kept if work.done else ''}") from error
        finally:
            if not work.done:
                work.remove()
        work.remove()

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

    def _frames(
        self, facts: list[Facts], finished: Sequence[NDArray[np.uint8]]
    ) -> Iterator[tuple[Frame, FilmFrame]]:
        """The frames after those that are done, of which the last are given; their facts go into
        `self.history`."""
        shot, done = self._shot(), len(facts)
        self.history = list(facts)
        machine.keep_large_buffers()
        first = done - len(finished)
        if facts and self.scene.words:  # masks follow the flow from the shot's first frame on
            first = min(first, int(facts[first]["begun"]))
        for frame in self.clip.frames(self.read_size, first):
            photo = self._cropped(frame)
            moved = shot.motion_to(photo.pixels)
            shot.follow(photo, moved, frame.number)
            if frame.number < done:
                # before the last few only the flow counts
                late = frame.number >= done - len(finished)
                pixels = _pixels(finished[frame.number - done]) if late else photo.pixels
                shot.take(Seen(photo.pixels, pixels), moved)
                shot.load(facts[frame.number])
                continue
            pixels = _pixels(
                _bytes(shot.painted(photo, moved, frame.number))
            )  # the next one sees what is kept
            error = None
            if moved is not None:
                error = flow.warping_error(moved, shot.past[-1].painted, pixels)
            shot.take(Seen(photo.pixels, pixels), moved)
            self.history.append(shot.state() | ({} if error is None else {"flicker": error}))
            seconds = self.clip.seconds(frame.pts)
            count = max(self.clip.count, frame.number + 1)
            yield frame, FilmFrame(frame.number + 1, count, seconds, pixels, moved is None, error)

    def _shot(self) -> Shot:
        """What paints the frames of a shot, for this film."""
        return Shot(self.scene, self.size, self.temporal, self.every, self.one_pass, self.engine)

    def _cropped(self, frame: Frame) -> Picture:
        """A frame with even sides."""
        pixels = frame.pixels[..., : self.size[1], : self.size[0]].contiguous()
        return Picture(pixels, None, self.clip.name)


def _bytes(pixels: Float[Tensor, "1 3 h w"]) -> NDArray[np.uint8]:
    """A frame as whole numbers, h w 3."""
    found: NDArray[np.uint8] = (pixels[0].permute(1, 2, 0) * 255).round().byte().numpy()
    return found


def _pixels(values: NDArray[np.uint8]) -> Float[Tensor, "1 3 h w"]:
    """The reverse of `_bytes`."""
    return torch.from_numpy(values).permute(2, 0, 1)[None].float().div_(255)
