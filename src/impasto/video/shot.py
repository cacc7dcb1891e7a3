"""One shot of a film: each frame painted with an eye on those before it, up to the next cut.

No shot knows of another: as a `ShotTask` each can be painted in a process of its own.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from impasto import images
from impasto.images import Picture
from impasto.networks import adain
from impasto.painting import Engine, OnePassRun, OptimizedRun
from impasto.painting.scales import scale_sizes
from impasto.scene import Scene
from impasto.settings import changed
from impasto.video import consistency, flow
from impasto.video.consistency import Seen
from impasto.video.flow import Motion
from impasto.video.unfinished import KEPT, Facts

TEMPORAL_WEIGHT = 100.0  # of the temporal loss at `temporal` 0.5, in first frames' losses
LEAST_RELIABLE = 0.6  # of a frame, or it is painted whole whatever its number
LEAST_SKETCH = 64  # px, shortest side of what is painted at half size
FEWEST = 12  # steps of a frame that starts from the one before


@dataclass(frozen=True)
class ShotTask:
    """The frames of a shot that are to be painted: from `begin` up to `end`, numbered from 0."""

    begin: int
    end: int
    finished: dict[int, Facts]
    """What is known of those that are there."""

    @property
    def left(self) -> int:
        """How many are to be painted."""
        return self.end - self.begin - len(self.finished)


def tasks_for(shots: Iterable[tuple[int, int]], finished: Mapping[int, Facts]) -> list[ShotTask]:
    """What is left of shots to be painted, the longest first: last, it would keep all waiting."""
    tasks = [
        ShotTask(begin, end, {n: finished[n] for n in range(begin, end) if n in finished})
        for begin, end in shots
    ]
    return sorted((task for task in tasks if task.left), key=lambda task: -task.left)


class Shot:
    """The frames since the last cut, as far as the next one needs them, and how that is painted.

    scene: of the film's first frame. size: width and height of the film, px. `temporal` and `every`
    are those of `Film`. A frame is painted by `one_pass`, or optimized with the `engine`.
    """

    def __init__(
        self,
        scene: Scene,
        size: tuple[int, int],
        temporal: float,
        every: int,
        one_pass: OnePassRun | None,
        engine: Engine | None,
    ) -> None:
        self.scene, self.size, self.temporal, self.every = scene, size, temporal, every
        self.one_pass, self.engine = one_pass, engine
        self.past: deque[Seen] = deque(maxlen=KEPT)
        self.camera = 0.0, 0.0
        """How far the camera has moved since the shot began, px to the right and down."""
        self.loss = 0.0
        """That of the shot's first frame, if it was optimized."""
        self.begun = 0
        """The number of the shot's first frame."""
        self.masks: dict[str, Tensor] = {}
        """Where the scene's words are in the frame that is next."""

    def state(self) -> Facts:
        """What `load` needs besides the frames to go on."""
        found = {"x": self.camera[0], "y": self.camera[1], "loss": self.loss}
        return found | {"begun": self.begun}

    def load(self, facts: Facts) -> None:
        """Go on from a state."""
        self.camera, self.loss = (facts["x"], facts["y"]), facts["loss"]
        self.begun = int(facts["begun"])

    def motion_to(self, photo: Tensor) -> Motion | None:
        """The motion since the last frame; None where a shot begins."""
        if not self.past:
            return None
        moved = flow.motion(self.past[-1].photo, photo)
        return None if consistency.is_cut(self.past[-1].photo, photo, moved) else moved

    def follow(self, photo: Picture, moved: Motion | None, number: int) -> None:
        """Find the masks of the scene's words anew where a shot begins with the frame of that
        number; carry them along the flow within it."""
        if moved is None:
            self.begun, self.masks = number, self.scene.words_in(photo)
        else:
            self.masks = {
                word: moved.carried(mask).clamp(0, 1) for word, mask in self.masks.items()
            }

    def take(self, seen: Seen, moved: Motion | None) -> None:
        """Note a frame that is painted."""
        if moved is None:
            self.past.clear()
        self.past.append(seen)

    def painted(
        self, photo: Picture, moved: Motion | None, number: int
    ) -> Float[Tensor, "1 3 h w"]:
        """The frame of that number, painted."""
        scene = self.scene.of(photo)
        scene = scene.with_words(self.masks) if self.masks else scene
        if self.temporal == 0:
            moved = None
        self.camera = consistency.camera_after(self.camera, moved)
        if self.one_pass is None:
            return self._optimized(scene, moved)
        sketched = moved is not None and self._is_between(moved, number)
        paint = self._sketched if sketched else self._in_one_pass
        pixels = scene.finish(paint(self.one_pass, scene).cpu())
        if moved is not None:
            amount = 1.0 if sketched else self.temporal
            pixels = consistency.blended(self.past[-1], photo.pixels, pixels, moved, amount)
            where = scene.at(self.size).canvas
            if where is not None:  # what was carried along may lie where nothing is painted
                pixels = torch.where(where > 0, pixels, photo.pixels)
        return pixels.clamp(0, 1)

    def _is_between(self, moved: Motion, number: int) -> bool:
        """Whether nearly all of a frame is taken from the last."""
        enough = min(self.size) >= 2 * LEAST_SKETCH
        reliable = float(moved.reliable.mean()) >= LEAST_RELIABLE
        return enough and reliable and number % self.every != 0

    def _sketched(self, run: OnePassRun, scene: Scene) -> Tensor:
        """A frame painted at half size, for the few places that the last did not show."""
        width, height = self.size
        made = run.painted(scene, (width // 2, height // 2))
        return images.resize(made, height, width)

    def _in_one_pass(self, run: OnePassRun, scene: Scene) -> Tensor:
        """A frame painted on a grid that follows the camera, if nothing else is tied to its own."""
        size, stride = self.size, adain.STRIDE
        if self.temporal == 0 or scene.at(size).areas != [None]:
            return run.painted(scene, size)
        x, y = (round(place) % stride for place in self.camera)
        width, height = size
        around = F.pad(scene.photo.pixels, (x, stride - x, y, stride - y), mode="reflect")
        shifted = scene.of(replace(scene.photo, pixels=around))
        made = run.painted(shifted, (width + stride, height + stride))
        return made[..., y : y + height, x : x + width]

    def _optimized(self, scene: Scene, moved: Motion | None) -> Tensor:
        """A frame changed step by step: from the photo, or from where the shot is."""
        settings, target = scene.settings, None
        if moved is not None:
            amount = self.temporal / (1 - self.temporal)
            weight = TEMPORAL_WEIGHT * amount * self.loss
            target = consistency.target_for(self.past, scene.photo.pixels, moved, weight)
            steps = max(FEWEST, self._usual_steps(scene) // 2)
            settings = changed(settings, coarsest=0, steps=(steps,), detail_steps=(0,))
            scene = scene.with_settings(settings)
        *_, last = OptimizedRun(scene, self.engine, temporal=target).paint()
        if target is None:
            self.loss = last.losses["total"]
        return last.picture().pixels

    def _usual_steps(self, scene: Scene) -> int:
        """How many steps of the whole objective a frame takes that is painted coarse to fine."""
        assert self.engine is not None
        steps = scene.settings.steps
        scales = scale_sizes(scene.photo.own_size, scene.settings, self.engine.smallest)
        return steps[min(len(scales), len(steps)) - 1]
