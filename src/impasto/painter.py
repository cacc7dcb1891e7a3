"""One run of the recipe, step by step.

`Painter.paint` paints one scale after the other, coarse to fine, and yields a `Step` after each;
`Start.carried` takes what was painted to the next scale, with the photo's own detail.
"""

import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from impasto import checkpoint, forecast, lbfgs, memory, replay, tiles, vgg
from impasto import device as machine
from impasto.errors import PictureError
from impasto.images import Picture
from impasto.objective import Objective
from impasto.optimise import Evaluate, Minimiser
from impasto.pixelwise import Held
from impasto.replay import Replayed
from impasto.scales import fitted, scale_sizes
from impasto.scene import Scene
from impasto.schedule import schedule_of, shallow_layers
from impasto.settings import Settings, changed
from impasto.start import Start
from impasto.step import Record, Step
from impasto.strips import Padding
from impasto.targets import mask_bytes, objective_of
from impasto.values import bytes_of

LEAST_REACH = 0.1  # of the first step's length: less is lost in the rounding of bfloat16


class Painter:
    """One run: what stays the same from scale to scale, and where it stands.

    `held` is what a frame of a film starts from and is held to; it is painted at one scale. Raises
    ImpastoError for settings, pictures or a checkpoint that do not go together.
    """

    one_pass = False

    def __init__(
        self,
        scene: Scene,
        resume: str | os.PathLike[str] | None = None,
        held: Held | None = None,
    ) -> None:
        self.scene, self.settings = scene, scene.settings
        self.content, settings = scene.photo, scene.settings
        self.padding: Padding = "circular" if settings.seamless else settings.padding
        known = dict(settings.content_layers) | dict(settings.style_layers)
        if settings.structure_weight:
            known |= dict(settings.structure_layers)
        self.layers = tuple(known)
        vgg.check_layers(self.layers, settings.backbone)
        self.smallest = vgg.smallest_side(self.layers, self.padding)
        self.sizes = scale_sizes(self.content.size, settings, self.smallest)
        self.schedule = schedule_of(self.sizes, settings, scene.reach)
        machine.use_threads(settings.threads)
        self.device = machine.choose_device(settings.device)
        self.held = None if held is None else held.to(self.device)
        self.start = Start(scene, self.device, self.held)
        self.dtype = machine.choose_dtype(settings.precision, self.device)
        machine.tune(self.device, settings.precision)
        self.network = vgg.load(
            settings.backbone, self.layers, settings.pooling, self.padding, self.dtype, self.device,
            exact=[name for name, weight in settings.content_layers if weight],
        )  # fmt: skip
        self.tile: int | None = settings.tile or None
        self.mask_bytes = mask_bytes(scene)
        self.footprint(self.sizes[-1])  # raises where the largest scale cannot fit
        self.history: list[Record] = []
        self.seconds = 0.0
        self.scale, self.taken = 0, 0  # the scale being painted, and its steps so far
        self.minimiser: Minimiser | None = None
        self.learnt: dict[str, Tensor] = {}  # of the objective: `detail` or `whole`, see Spectrum
        self.optimizers: list[str] = []  # what moved the pixels at each scale so far
        self.note: str | None = None
        self.resumed = resume is not None
        if resume is not None:
            self.load(*checkpoint.read(Path(resume)))

    def paint(self) -> Iterator[Step]:
        """All scales, coarse to fine, from wherever the run stands."""
        if self.scale == len(self.sizes) - 1 and self.taken == self.schedule.counts[-1]:
            terms = {k: torch.tensor(v) for k, v in self.history[-1].items()}
            yield self._step({k: v for k, v in terms.items() if k not in ("step", "size")})
        for scale in range(self.scale, len(self.sizes)):
            began = time.perf_counter()
            plan = self.footprint(self.sizes[scale])
            machine.keep_large_buffers(up_to=machine.SOME_BYTES)
            if self.minimiser is None or scale != self.scale:
                self._begin_scale(scale, plan)
            assert self.minimiser is not None
            objective = self._objective(self.sizes[scale], plan.tile)
            count, details = self.schedule.counts[scale], self.schedule.details[scale]
            canvas = self._canvas(self.sizes[scale])
            quick = self._quickest(objective, count - max(self.taken, details))
            whole = partial(self._evaluate, objective, quick, *canvas)
            shallow = objective.limited(shallow_layers(self.settings))
            quick = self._quickest(shallow, details - self.taken)
            detail = partial(self._evaluate, shallow, quick, *canvas)
            while self.taken < count:
                if self.taken < details:
                    value = self.minimiser.step(detail)["total"]
                    terms = {"detail": value, "total": value}
                else:
                    if self.taken and self.taken == details:
                        self._begin_objective(plan)
                    terms = self.minimiser.step(whole)
                self.taken += 1
                step = self._step(terms)
                self.history.append(step.record)
                self.seconds += time.perf_counter() - began
                if self.taken == count:
                    # a large picture needs the room to be written
                    del objective, shallow, quick, whole, detail
                yield step
                began = time.perf_counter()

    def _begin_scale(self, scale: int, plan: memory.Footprint) -> None:
        """The pixels of a scale, and the optimiser that there is memory for."""
        settings = self._moved_by(plan.optimizer, plan.history)
        pixels = self._begin(self.sizes[scale])
        self._keep_learnt(self.taken <= self.schedule.details[self.scale])
        self.scale, self.taken = scale, 0
        self.minimiser = self._minimiser(pixels, settings)
        name = f"lbfgs {plan.history}" if plan.optimizer == "lbfgs" else plan.optimizer
        self.optimizers.append(name)
        if settings is not self.settings:
            self.note = f"memory is short: {max(self.sizes[scale])} px are painted with {name}"

    def _begin_objective(self, plan: memory.Footprint) -> None:
        """The same pixels with an empty memory: it was one of another objective."""
        settings, pixels = self._moved_by(plan.optimizer, plan.history), self._pixels()
        self._keep_learnt(detail=True)
        self.minimiser = None  # a large picture has no room for two memories
        self.minimiser = self._minimiser(pixels, settings)

    def _keep_learnt(self, detail: bool) -> None:
        """Keep what the minimiser learnt for the next scale, before another takes its place."""
        if self.minimiser is not None and self.minimiser.learnt is not None:
            self.learnt["detail" if detail else "whole"] = self.minimiser.learnt

    def _minimiser(self, image: Tensor, settings: Settings) -> Minimiser:
        """The minimiser of the scale's next steps. It begins carefully where its start is near the
        end: after the first scale, and at the photo if little of the painting is to come."""
        first = lbfgs.CARRIED_STEP if self.scale else lbfgs.FIRST_STEP
        if settings.start in ("content", "recolored"):
            first *= max(LEAST_REACH, self.scene.reach)
        detail = self.taken < self.schedule.details[self.scale]
        known = self.learnt.get("detail" if detail else "whole")
        # pairs are as small as gradients: float16 does not reach that far
        kept = torch.bfloat16 if self.dtype == torch.float16 else self.dtype
        return Minimiser(image, settings, first, known, self.network.buffers, kept)

    def _moved_by(self, optimizer: str, history: int) -> Settings:
        """The settings with that optimiser, and its own learning rate if it is not theirs."""
        settings = self.settings
        if (optimizer, history) == (settings.optimizer, settings.history):
            return settings
        rate = settings.learning_rate if optimizer == settings.optimizer else None
        return changed(settings, optimizer=optimizer, history=history, learning_rate=rate)

    def picture(self, full_size: bool = True) -> Picture:
        """The picture as it stands: at the size asked for, with the photo's alpha, or as it is."""
        pixels, target = self._pixels(), self.sizes[-1]
        if not full_size:
            return self.scene.picture_of(pixels, full_size=False)
        if (pixels.shape[-1], pixels.shape[-2]) != target:
            pixels = self.start.carried(pixels, target)
        return self.scene.picture_of(pixels)

    def recipe(self) -> dict[str, Any]:
        """How this picture is made, as JSON holds it."""
        return self.scene.recipe(self.start.picture) | {
            "backbone": self.settings.backbone,
            "features": str(self.dtype).removeprefix("torch."),
            "device": str(self.device),
            "optimizers": self.optimizers,
        }

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Where the run stands, as tensors and facts."""
        assert self.minimiser is not None
        tensors, numbers = self.minimiser.state()
        tensors |= {f"learnt.{name}": value for name, value in self.learnt.items()}
        return tensors, {
            "recipe": self.recipe(),
            "minimiser": numbers,
            "scale": self.scale,
            "taken": self.taken,
            "optimizer": [self.minimiser.settings.optimizer, self.minimiser.settings.history],
            "history": self.history,
            "seconds": self.seconds,
        }

    def load(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Go on from a state. PictureError if it is of other pictures or settings."""
        mine, its = self.recipe(), facts["recipe"]
        for name in ("impasto", "torch", "features", "inputs", "settings"):
            if name == "settings":
                mine[name], its[name] = _painted_by(mine[name]), _painted_by(its[name])
            if mine[name] != its[name]:
                found = _difference(its[name], mine[name])
                raise PictureError(
                    f"the checkpoint was made with other {name} ({found}): give the same pictures "
                    "and options, or start without --resume"
                )
        self.scale, self.taken = facts["scale"], facts["taken"]
        self.optimizers = its["optimizers"]
        self.history, self.seconds = facts["history"], facts["seconds"]
        self.learnt = {
            name.removeprefix("learnt."): value.to(self.device, copy=True)
            for name, value in tensors.items()
            if name.startswith("learnt.")
        }
        pixels = tensors["pixels"].to(self.device)
        self.minimiser = self._minimiser(pixels, self._moved_by(*facts["optimizer"]))
        self.minimiser.load(tensors, facts["minimiser"])

    def footprint(self, size: tuple[int, int]) -> memory.Footprint:
        """How a scale is painted in the memory there is. PictureError if that is not enough."""
        settings = self.settings
        limit = bytes_of(settings.memory_limit)
        return memory.footprint(
            size,
            self.dtype,
            settings.optimizer,
            settings.history,
            limit or int(memory.available(self.device) * memory.SHARE),
            tiles.margin(self.layers),
            self.tile,
            self.mask_bytes,
        )

    def estimate(self) -> tuple[float, int]:
        """Seconds and bytes that the rest of the run will take, from measured evaluations."""
        machine.keep_large_buffers(up_to=machine.SOME_BYTES)
        longest = max(self.sizes[-1])
        sides = forecast.SIDES if self.device.type == "cpu" else forecast.CARD_SIDES
        sizes = [fitted(self.content.size, min(s, longest), self.settings) for s in sides]
        sizes = [size for size in sizes if min(size) >= self.smallest] or [self.sizes[-1]]
        trials = [self._trial(size) for size in dict.fromkeys(sizes)]
        work = [self._left(scale) for scale in range(self.scale, len(self.sizes))]
        return forecast.seconds(trials, work), self.footprint(self.sizes[-1]).bytes

    def _left(self, scale: int) -> forecast.Work:
        """What is left to do of the scale being painted or a later one."""
        width, height = self.sizes[scale]
        side = self.footprint(self.sizes[scale]).tile or max(width, height)
        pieces = tiles.plan(height, width, side, self.layers, self.settings.seamless)
        taken = self.taken if scale == self.scale else 0
        steps = self.schedule.cost(scale, self.schedule.counts[scale])
        steps -= self.schedule.cost(scale, taken)
        return forecast.Work(steps, not taken, [piece.outer.area for piece in pieces])

    def _trial(self, size: tuple[int, int]) -> forecast.Trial:
        """One evaluation of the photo at a size, timed as steps in the middle of a run are."""
        evaluate = self._quickest(self._objective(size, None), replay.LEAST_STEPS)
        image = self.scene.content_at(size).to(self.device)

        def evaluated() -> None:
            evaluate(image)
            machine.wait_for(self.device)

        if isinstance(evaluate, Replayed):
            for _ in range(replay.WARM):
                evaluated()
        return forecast.trial(size[0] * size[1], evaluated)

    @property
    def work(self) -> float:
        """Pixels times steps of the whole run: what decides how long it takes."""
        return self.schedule.work

    def _step(self, terms: dict[str, Tensor]) -> Step:
        """The step that was just taken."""
        counts, done = self.schedule.counts, self.schedule.work_before(self.scale, self.taken)
        note, self.note = self.note, None
        return Step(
            sum(counts[: self.scale]) + self.taken, sum(counts), self.sizes[self.scale],
            self.scale + 1, len(self.sizes), done / self.work, terms,
            self.taken == counts[self.scale], note, self,
        )  # fmt: skip

    def _canvas(self, size: tuple[int, int]) -> tuple[Tensor | None, Tensor | None]:
        """Where the picture is painted and the photo below, if not everywhere."""
        painted = self.scene.painted(size)
        if painted is None:
            return None, None
        return painted.to(self.device), self.scene.content_at(size).to(self.device)

    def _evaluate(
        self,
        objective: Objective,
        evaluate: Evaluate,
        painted: Tensor | None,
        photo: Tensor | None,
        image: Tensor,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Loss terms and gradient of the picture that is seen: the photo where nothing is painted.

        Inside the loop, so that what is painted knows what it borders on.
        """
        if painted is None or photo is None:
            return self._evaluate_all(objective, evaluate, image)
        seen = torch.lerp(photo, image, painted)
        terms, gradient = self._evaluate_all(objective, evaluate, seen)
        return terms, gradient * painted

    def _evaluate_all(
        self, objective: Objective, evaluate: Evaluate, image: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Loss terms and gradient; in smaller tiles from now on if memory runs out."""
        while True:
            try:
                return evaluate(image)
            except (RuntimeError, MemoryError) as error:
                side = max(image.shape) if objective.tile is None else objective.tile
                if not memory.ran_out(error) or side // 2 < memory.SMALLEST_TILE:
                    raise
                self.tile = side // 2
            objective.use_tiles(self.tile)
            self.note = f"memory ran out: going on in tiles of {self.tile} px, with the same result"

    def _quickest(self, objective: Objective, steps: int) -> Evaluate:
        """The objective's evaluation, replayed if that is quicker for so many steps."""
        if self.settings.cuda_graphs and replay.pays(objective, steps):
            return Replayed(objective.evaluate)
        return objective.evaluate

    def _objective(self, size: tuple[int, int], tile: int | None) -> Objective:
        return objective_of(self.scene, self.network, size, tile, self.smallest, self.held)

    def _pixels(self) -> Tensor:
        assert self.minimiser is not None
        return self.minimiser.pixels.detach()

    def _begin(self, size: tuple[int, int]) -> Tensor:
        """What a scale starts from: the start picture, or what the last scale left."""
        if self.minimiser is None:
            return self.start.at(size)
        return self.start.carried(self._pixels(), size)


def _painted_by(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that decide what is painted, not where."""
    elsewhere = ("device", "cuda_graphs", "tile", "memory_limit", "original_size", "preset")
    return {name: value for name, value in settings.items() if name not in elsewhere}


def _difference(its: Any, mine: Any) -> str:
    """What a checkpoint has where this run has something else, in a few words."""
    if not isinstance(its, dict):
        return str(its)
    return ", ".join(f"{k} {v}" for k, v in its.items() if mine.get(k) != v)
