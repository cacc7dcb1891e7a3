"""One run of the recipe, step by step: the pixels are optimized, one scale after the other.

`OptimizedRun.paint` paints coarse to fine and yields a `Step` after each step; `Start.carried`
takes what was painted to the next scale, with the photo's own detail.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from impasto import machine
from impasto.images import Picture
from impasto.images.files import expanded
from impasto.layers.strips import Padding
from impasto.losses.pixels import TemporalTarget
from impasto.machine import Compute, cuda_graph
from impasto.machine.cuda_graph import Replayed
from impasto.machine.strips import Strips
from impasto.networks import tiles, vgg
from impasto.networks.layer_names import check_layers, smallest_side
from impasto.objective import Objective, Spec, Styles, matching_bytes, objective_of
from impasto.optimizers import lbfgs
from impasto.optimizers.minimizer import Minimizer
from impasto.painting import budget, checkpoint
from impasto.painting.budget import Footprint, Tiling
from impasto.painting.canvas import Canvas
from impasto.painting.run import Record, Step
from impasto.painting.scales import Phase, fitted, scale_sizes, schedule_of, shallow_layers
from impasto.painting.start import Start
from impasto.scene import Scene, View
from impasto.settings import Settings, changed

LEAST_REACH = 0.1  # of the first step's length: less is lost in the rounding of bfloat16


class Engine:
    """What runs with the same settings share: the machine, VGG-19, the paintings' moments.

    `remembered`: of how many paintings at other sizes the moments are kept for later runs. Raises
    SettingError for layers or a device that are not there, WeightsError for the network.
    """

    @machine.neutral()
    def __init__(self, settings: Settings, remembered: int = 0) -> None:
        self.padding: Padding = "circular" if settings.seamless else settings.padding
        self.layers = Spec.of(settings).layers()
        check_layers(self.layers, settings.backbone)
        self.smallest = smallest_side(self.layers, self.padding)
        self.compute: Compute = machine.start(settings.device, settings.precision, settings.threads)
        self.network = vgg.load(
            settings.backbone,
            self.layers,
            settings.pooling,
            self.padding,
            self.compute.dtype,
            self.compute.device,
            exact=[name for name, weight in settings.content_layers if weight],
        )
        self.styles = Styles(self.network, settings, self.smallest, remembered)


class OptimizedRun:
    """One run: what stays the same from scale to scale, and where it stands.

    `engine` is one of the same settings, made here if there is none. `temporal` is what a frame of
    a film starts from and shall look like; such a frame is painted at one scale. Raises
    ImpastoError for settings, pictures or a checkpoint that do not go together.
    """

    one_pass = False

    @machine.neutral()
    def __init__(
        self,
        scene: Scene,
        engine: Engine | None = None,
        *,
        resume: str | os.PathLike[str] | None = None,
        temporal: TemporalTarget | None = None,
    ) -> None:
        self.scene, self.settings, self.content = scene, scene.settings, scene.photo
        self.engine = engine or Engine(scene.settings)
        self.compute = self.engine.compute
        self.device, self.dtype = self.compute.device, self.compute.dtype
        self.network = self.engine.network
        self.sizes = scale_sizes(self.content.own_size, self.settings, self.engine.smallest)
        self.schedule = schedule_of(self.sizes, self.settings, scene.reach)
        self.temporal = None if temporal is None else temporal.to(self.device)
        self.start = Start(scene, self.device, self.temporal)
        self.tiling = Tiling(self.settings.tile or None)
        self.mask_bytes = budget.mask_bytes(scene)
        self.footprint(self.sizes[-1])  # raises where the largest scale cannot fit
        self.history: list[Record] = []
        self.seconds = 0.0
        self.scale, self.taken = 0, 0  # the scale being painted, and its steps so far
        self.minimizer: Minimizer | None = None
        self.learned: dict[str, Tensor] = {}  # by the name of a phase, see Spectrum
        self.canvas: Canvas | None = None  # that of the last step, while its scale goes on
        self.matches: dict[str, Tensor] = {}  # that a checkpoint goes on with
        self.optimizers: list[str] = []  # what moved the pixels at each scale so far
        self.strips: Strips | None = None  # of the scale being painted, where several share it
        self.note: str | None = None
        if resume is not None:
            self.load(*checkpoint.read(expanded(resume)))

    def paint(self) -> Iterator[Step]:
        """All scales, coarse to fine, from wherever the run stands."""
        return self.compute.stepwise(self._steps())

    def _steps(self) -> Iterator[Step]:
        if self.scale == len(self.sizes) - 1 and self.taken == self.schedule.counts[-1]:
            last = {k: torch.tensor(v) for k, v in self.history[-1].items()}
            yield self._step({k: v for k, v in last.items() if k not in ("step", "size")})
        for scale in range(self.scale, len(self.sizes)):
            yield from self._paint_scale(scale)

    def _paint_scale(self, scale: int) -> Iterator[Step]:
        """The steps of a scale that are left, phase by phase."""
        began = time.perf_counter()
        plan, view = self.footprint(self.sizes[scale]), self.scene.at(self.sizes[scale])
        machine.keep_large_buffers(up_to=machine.SOME_BYTES)
        if self.minimizer is None or scale != self.scale:
            self._begin_scale(scale, plan, view)
        assert self.minimizer is not None
        count, canvases = self.schedule.counts[scale], self._canvases(view, plan.tile, scale)
        del view
        canvas = self.canvas = canvases[self.schedule.phase(scale, max(0, self.taken - 1))]
        canvas.objective.matching.load(self.matches)
        self.matches = {}
        while self.taken < count:
            phase = self.schedule.phase(scale, self.taken)
            age = self.schedule.age(scale, self.taken)
            if self.taken and age == 0:
                self._restart_memory(plan)
                canvas = self.canvas = canvases[phase]
            if age % self.settings.matching_every == 0:
                canvas.objective.matching.renew()
            terms = self.minimizer.step(canvas.loss)
            if phase.detail:
                terms = {"detail": terms["total"], "total": terms["total"]}
            self.taken += 1
            if self.taken == count:
                self.note = self.minimizer.finish(canvas.loss) or self.note
            step = self._step(terms)
            self.history.append(step.record)
            self.seconds += time.perf_counter() - began
            if self.taken == count:
                canvases.clear()  # a large picture needs the room to be written
                del canvas
                self.canvas = None
            yield step
            began = time.perf_counter()

    def _begin_scale(self, scale: int, plan: Footprint, view: View) -> None:
        """The pixels of a scale, and the optimizer that there is memory for."""
        settings = self._optimizer_settings(plan.optimizer, plan.history)
        if self.minimizer is None:
            pixels = self.start.at(view)
        else:
            pixels = self.start.carried(self._pixels(), view)
        self._keep_learned()
        self.scale, self.taken = scale, 0
        self.minimizer = self._minimizer(pixels, settings)
        name = f"lbfgs {plan.history}" if plan.optimizer == "lbfgs" else plan.optimizer
        self.optimizers.append(name)
        if settings is not self.settings:
            self.note = f"memory is short: {max(self.sizes[scale])} px are painted with {name}"

    def _restart_memory(self, plan: Footprint) -> None:
        """Restart the optimizer on the same pixels: its memory belongs to the objective before."""
        assert self.minimizer is not None
        assert self.canvas is not None
        self.note = self.minimizer.finish(self.canvas.loss) or self.note
        settings = self._optimizer_settings(plan.optimizer, plan.history)
        pixels = self.minimizer.pixels.detach()
        self._keep_learned()
        self.minimizer = None  # a large picture has no room for two memories
        self.minimizer = self._minimizer(pixels, settings)

    def _keep_learned(self) -> None:
        """Keep what the minimizer learned for the next scale, before another takes its place."""
        if self.minimizer is not None and self.minimizer.learned is not None:
            before = self.schedule.phase(self.scale, self.taken - 1)
            self.learned[before.name] = self.minimizer.learned

    def _minimizer(self, image: Tensor, settings: Settings) -> Minimizer:
        """The minimizer of the scale's next steps. It begins carefully where its start is near the
        end: after the first scale, and at the photo if little of the painting is to come."""
        first = lbfgs.CARRIED_STEP if self.scale else lbfgs.FIRST_STEP
        if settings.start in ("content", "recolored"):
            first *= max(LEAST_REACH, self.scene.reach)
        phase = self.schedule.phase(self.scale, self.taken)
        known = self.learned.get(phase.name)
        if known is None:  # the curvature of the moments is most of that with matching
            known = self.learned.get(phase._replace(matching=False).name)
        # pairs are as small as gradients: float16 does not reach that far
        kept = torch.bfloat16 if self.dtype == torch.float16 else self.dtype
        buffers = self.network.buffers
        return Minimizer(image, settings, first, known, buffers, kept, self.strips)

    def _optimizer_settings(self, optimizer: str, history: int) -> Settings:
        """The settings with that optimizer, and its own learning rate if it is not theirs."""
        settings = self.settings
        if (optimizer, history) == (settings.optimizer, settings.history):
            return settings
        rate = settings.learning_rate if optimizer == settings.optimizer else None
        return changed(settings, optimizer=optimizer, history=history, learning_rate=rate)

    def _canvases(self, view: View, tile: int | None, scale: int) -> dict[Phase, Canvas]:
        """The objectives of a scale's phases, from that of the last step on, as functions of
        pixels."""
        left = range(max(0, self.taken - 1), self.schedule.counts[scale])
        steps = Counter(self.schedule.phase(scale, taken) for taken in left)
        whole = self._canvas(view, tile, steps[Phase(False, True)])
        shallow = shallow_layers(self.settings)
        return {phase: whole.limited(phase, shallow, count) for phase, count in steps.items()}

    def _canvas(self, view: View, tile: int | None, steps: int) -> Canvas:
        """The objective at the size of a view, as a function of pixels, for so many steps; in
        smaller tiles where memory runs out while the paintings or the photo are measured."""
        if self.strips is not None:  # of several members, none tries again by itself
            objective = self._objective(view, tile)
        else:
            objective = self.tiling.fit(partial(self._objective, view), tile, max(view.size))
        return Canvas(objective, view, self.tiling, self.settings.cuda_graphs, steps)

    def _objective(self, view: View, tile: int | None) -> Objective:
        return objective_of(view, self.engine.styles, tile, self.temporal, self.strips)

    def picture(self, full_size: bool = True) -> Picture:
        """The picture as it stands: at the size asked for, with the photo's alpha, or as it is."""
        pixels, target = self._pixels(), self.sizes[-1]
        with self.compute.tuned():
            if not full_size:
                return self.scene.picture_of(pixels, full_size=False)
            if (pixels.shape[-1], pixels.shape[-2]) != target:
                pixels = self.start.carried(pixels, self.scene.at(target))
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
        tensors, numbers = self._tensors()
        return tensors, self._facts(numbers)

    def _facts(self, numbers: dict[str, Any]) -> dict[str, Any]:
        """Where the run stands, but for tensors; `numbers` are the minimizer's."""
        assert self.minimizer is not None
        return {
            "recipe": self.recipe(),
            "minimiser": numbers,
            "scale": self.scale,
            "taken": self.taken,
            "optimizer": [self.minimizer.settings.optimizer, self.minimizer.settings.history],
            "history": self.history,
            "seconds": self.seconds,
        }

    def _tensors(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What the run remembers as tensors, and the minimizer's numbers."""
        assert self.minimizer is not None
        tensors, numbers = self.minimizer.state()
        tensors |= {f"learnt.{name}": value for name, value in self.learned.items()}
        if self.canvas is not None:
            matches = self.canvas.objective.matching.state()
            tensors |= {f"matches.{layer}": found for layer, found in matches.items()}
        return tensors, numbers

    def load(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Go on from a state. PictureError if it is of other pictures or settings."""
        checkpoint.check_same(self.recipe(), facts["recipe"], "pictures and options")
        self._restore(tensors, facts)

    def _restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Go on from a state of the same pictures and settings."""
        self._stand_at(facts)
        learned = checkpoint.under("learnt.", tensors)
        self.learned = {name: value.to(self.device, copy=True) for name, value in learned.items()}
        self.matches = checkpoint.under("matches.", tensors)
        settings = self._optimizer_settings(*facts["optimizer"])
        self.minimizer = self._minimizer(tensors["pixels"].to(self.device), settings)
        self.minimizer.load(tensors, facts["minimiser"])

    def _stand_at(self, facts: dict[str, Any]) -> None:
        """Take the place in the run that a state has."""
        self.scale, self.taken = facts["scale"], facts["taken"]
        self.optimizers = facts["recipe"]["optimizers"]
        self.history, self.seconds = facts["history"], facts["seconds"]

    def footprint(
        self, size: tuple[int, int], limit: int | None = None, more: int = 0
    ) -> Footprint:
        """How a scale is painted in the memory there is, or in at most `limit` bytes, of which
        `more` are taken. PictureError if that is not enough."""
        if limit is None:
            limit = budget.limit(self.settings.memory_limit, self.device)
        return budget.footprint(
            size,
            self.dtype,
            self.settings.optimizer,
            self.settings.history,
            limit,
            tiles.margin(self.engine.layers),
            self.tiling.side,
            self.mask_bytes,
            self.scene.bytes + self._matching_bytes(size) + more,
            None if self.device.type == "cpu" else budget.CARD_WHOLE,
        )

    def _matching_bytes(self, size: tuple[int, int]) -> int:
        """What matching takes at that size, if any step matches."""
        if not any(self.schedule.matching):
            return 0
        parts = len(self.scene.parts)
        return matching_bytes(self.engine.styles.spec, size, parts, self.dtype, self.device)

    def estimate(self) -> tuple[float, int]:
        """Seconds and bytes that the rest of the run will take, from measured evaluations."""
        machine.keep_large_buffers(up_to=machine.SOME_BYTES)
        longest = max(self.sizes[-1])
        sides = budget.SIDES if self.device.type == "cpu" else budget.CARD_SIDES
        sizes = [fitted(self.content.own_size, min(s, longest), self.settings) for s in sides]
        sizes = [size for size in sizes if min(size) >= self.engine.smallest] or [self.sizes[-1]]
        with self.compute.tuned():
            trials = [self._time_one_evaluation(size) for size in dict.fromkeys(sizes)]
        work = [self._remaining_work(scale) for scale in range(self.scale, len(self.sizes))]
        return budget.seconds(trials, work), self.footprint(self.sizes[-1]).bytes

    def _remaining_work(self, scale: int) -> budget.Work:
        """What is left to do of the scale being painted or a later one."""
        width, height = self.sizes[scale]
        side = self.footprint(self.sizes[scale]).tile or max(width, height)
        pieces = tiles.cut(height, width, side, self.engine.layers, self.settings.seamless)
        taken = self.taken if scale == self.scale else 0
        steps = self.schedule.cost(scale, self.schedule.counts[scale])
        steps -= self.schedule.cost(scale, taken)
        return budget.Work(steps, not taken, [piece.outer.area for piece in pieces])

    def _time_one_evaluation(self, size: tuple[int, int]) -> budget.Trial:
        """One evaluation of the photo at a size, timed as steps in the middle of a run are."""
        view = self.scene.at(size)
        whole = self._canvas(view, None, cuda_graph.LEAST_STEPS)
        canvas = whole.limited(Phase(False, False), (), cuda_graph.LEAST_STEPS)
        image = view.photo.to(self.device)

        def evaluate() -> None:
            canvas.loss(image)
            machine.wait_for(self.device)

        if isinstance(canvas.evaluate, Replayed):
            for _ in range(cuda_graph.WARM):
                evaluate()
        return budget.trial(size[0] * size[1], evaluate)

    @property
    def work(self) -> float:
        """Pixels times steps of the whole run: what decides how long it takes."""
        return self.schedule.work

    def _step(self, terms: dict[str, Tensor]) -> Step:
        """The step that was just taken."""
        counts, done = self.schedule.counts, self.schedule.work_before(self.scale, self.taken)
        note = self.note or self.tiling.take_note()
        self.note = None
        return Step(
            step=sum(counts[: self.scale]) + self.taken,
            steps=sum(counts),
            size=self.sizes[self.scale],
            scale=self.scale + 1,
            scales=len(self.sizes),
            work=done / self.work,
            terms=terms,
            ends_scale=self.taken == counts[self.scale],
            note=note,
            _run=self,
        )

    def _pixels(self) -> Tensor:
        assert self.minimizer is not None
        return self.minimizer.pixels.detach()
