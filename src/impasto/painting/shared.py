"""One picture over several devices: each member paints a strip of it.

All members run the same steps of the same run, each on the rows of its own strip
(`machine.strips`), and decide the same, since they decide by sums over all. This process is the
first member: it alone yields steps, and tells the others what comes next. Scales too small to be
cut are painted by the first member. States and checkpoints are those of the whole picture, so that
any number of devices goes on with them.

Where a member is lost, all start anew from the last state that the first member kept, which has the
pixels, but not the memory of the optimizer.
"""

import json
import os
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from impasto import machine
from impasto.errors import DivergedError, PictureError
from impasto.machine import members, memory
from impasto.machine.exchange import ALONE, Exchange, Group, Lost
from impasto.machine.members import Crew
from impasto.machine.stopping import Unbroken
from impasto.machine.strips import Strips
from impasto.networks import tiles
from impasto.networks.layer_names import stride_of
from impasto.networks.tiles import GRID
from impasto.painting import budget, checkpoint
from impasto.painting.budget import PIXEL_BYTES, SMALLEST_TILE, Footprint
from impasto.painting.optimized import Engine, OptimizedRun
from impasto.painting.run import Step
from impasto.scene import Scene, View
from impasto.settings import Settings, changed

LEAST_ROWS = 64  # px of a strip: of less, most of the work would be border rows (80 on each side)
KEEP_EVERY = 30.0  # s between states that are kept for when a member is lost
LOSSES = 3  # of members, without a new step in between, and the run ends
WHOLE_PICTURES = 6  # of the whole size, that each member makes for a moment when a scale begins
NCCL = "IMPASTO_NCCL"  # in the environment: let cards talk directly; no pair of cards has yet
State = tuple[dict[str, Tensor], dict[str, Any]]
Made = TypeVar("Made")


class SharedRun(OptimizedRun):
    """A run over the devices that the scene's settings name; `resume` as of `OptimizedRun`.

    `crew` starts the members beside this one, which call `member`: processes of this machine if
    none is given. `rank`: the number of this member. Raises ImpastoError for devices that are not
    there, and for pictures too small to be cut.
    """

    @machine.neutral()
    def __init__(
        self,
        scene: Scene,
        *,
        resume: str | os.PathLike[str] | None = None,
        crew: Crew | None = None,
        rank: int = 0,
        settings: Settings | None = None,
    ) -> None:
        self.asked, self.count = scene.settings, len(scene.settings.devices)
        self.exchange: Exchange = ALONE
        self.leads = rank == 0
        self.kept: State | None = None
        """The state of the whole picture, on the CPU, from which all begin where one is lost."""
        self.kept_at = 0.0
        self.whole: tuple[tuple[int, int], Tensor] | None = None
        """The pixels of the whole picture after a step of a scale."""
        self.furthest, self.lost = (0, 0), 0  # scale and steps; members lost since
        self.told: dict[str, Any] = {}  # of the scale, by the first member
        each = settings_of_members(scene.settings) if settings is None else [settings]
        super().__init__(scene.with_settings(each[0]), Engine(each[0]), resume=resume)
        self._check_size()
        self.crew = crew
        if crew is None and self.leads:
            self.crew = Crew(self.count, spawned(scene, each), cards=cards_of(scene.settings))

    def paint(self) -> Iterator[Step]:
        """As of `OptimizedRun`; what stops a run waits until all members have done a step."""
        assert self.crew is not None
        self.crew.begin()
        steps = super().paint()
        while True:
            with Unbroken() as waiting:
                step = next(steps, None)
            if step is None:
                waiting.deliver()
                return
            try:
                yield step
            finally:
                waiting.deliver()

    def serve(self, join: Callable[[], Group]) -> None:
        """Be a member beside the first: do what it says, until it says no more."""
        self.exchange = join()
        steps: Iterator[Step] = iter(())
        while True:
            order, _, words = self.exchange.told().partition(" ")
            if order == "end":
                return
            try:
                with Unbroken():
                    if order == "scale":
                        self.told, self.minimizer = json.loads(words), None
                        painting = super()._paint_scale(self.told["scale"])
                        steps = self.compute.stepwise(painting)
                    if order in ("scale", "step"):
                        next(steps, None)
                    elif order == "pixels":
                        self._gathered("pixels", super()._pixels())
                    elif order == "light":
                        self._light()
                    elif order == "state":
                        self._tensors()
            except DivergedError:  # as on all members: the first tells it
                continue

    def end(self) -> None:
        """End the members beside this one: no step and no picture comes after it. They also end
        when this run is forgotten."""
        assert self.crew is not None
        with suppress(Lost):
            self.exchange.told("end")
        self.crew.end()

    def recipe(self) -> dict[str, Any]:
        """As of `OptimizedRun`, with the devices as they were asked for."""
        found = super().recipe() | {"device": self.asked.device}
        own = ("device", "threads", "precision")
        found["settings"] |= {name: getattr(self.asked, name) for name in own}
        return found

    def load(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Go on from a state of the whole picture, as soon as its scale is painted."""
        checkpoint.check_same(self.recipe(), facts["recipe"], "pictures and options")
        self._stand_at(facts)
        self.kept = tensors, facts

    def state(self) -> State:
        """Where the run stands: the whole picture, on the CPU. PictureError where a member was
        lost."""
        if self.minimizer is None and self.kept is not None:
            return self.kept
        if self.strips is None:
            return super().state()
        try:
            return self._together("state", super().state)
        except Lost as error:
            raise PictureError(f"a device was lost ({error}): go on painting first") from error

    def footprint(
        self, size: tuple[int, int], limit: int | None = None, more: int = 0
    ) -> Footprint:
        """How this member paints its strip of a scale, in its part of the memory there is."""
        if not self._is_cut(size):
            return super().footprint(size, limit, more)
        (width, height), settings = size, self.settings
        rows = -(-height // self.count) + GRID + 2 * tiles.margin(self.engine.layers)
        limit = budget.limit(settings.memory_limit, self.device)
        if settings.memory_limit is None:
            limit //= self.asked.devices.count(settings.device)
        more += WHOLE_PICTURES * PIXEL_BYTES * width * height
        found = super().footprint((width, min(height, rows)), limit, more)
        if self.leads or not self.told:
            return found
        optimizer, history = self.told["way"]
        return replace(found, optimizer=optimizer, history=history)

    def estimate(self) -> tuple[float, int]:
        """As of `OptimizedRun`, where all devices are alike."""
        seconds, size = super().estimate()
        return seconds / self.count, size

    def _paint_scale(self, scale: int) -> Iterator[Step]:
        """The steps of a scale that are left; those since the last state once more where a member
        was lost."""
        if not self._is_cut(self.sizes[scale]):
            yield from super()._paint_scale(scale)
            return
        while True:
            steps = super()._paint_scale(scale)
            try:
                while (step := self._next(steps, scale)) is not None:
                    yield step
                return
            except (Lost, RuntimeError, MemoryError) as error:
                if not isinstance(error, Lost) and not memory.ran_out(error):
                    raise
                self._begin_anew(error)

    def _next(self, steps: Iterator[Step], scale: int) -> Step | None:
        """The next step of a scale that is cut, by all members; None behind the last one."""
        count = self.schedule.counts[scale]
        if self.strips is not None and self.scale == scale and self.taken < count:
            if time.monotonic() - self.kept_at > KEEP_EVERY:
                self._keep()
            self.exchange.told("step")
        step = next(steps, None)
        if step is not None and step.ends_scale:
            self._gather()  # before anything can happen to the members
        if (scale, self.taken) > self.furthest:
            self.furthest, self.lost = (scale, self.taken), 0
        return step

    def _begin_scale(self, scale: int, plan: Footprint, view: View) -> None:
        """As of `OptimizedRun`, or from the state that was kept, by all members if it is cut."""
        if not self.leads:
            self._take(None)
            return
        state = self.kept
        if state is None or state[1]["scale"] != scale:
            if self.minimizer is not None:
                self.whole = (self.scale, self.taken), self._pixels()
            self.strips = None
            super()._begin_scale(scale, plan, view)
            state = _kept(*super().state()) if self._is_cut(self.sizes[scale]) else None
        elif not self._is_cut(self.sizes[scale]):
            self._restore(*state)
            state = None
        self.kept, self.kept_at = state, time.monotonic()
        if state is not None:
            self._hand_out(state, plan)

    def _hand_out(self, state: State, plan: Footprint) -> None:
        """Give each member its strip of a state."""
        assert self.crew is not None
        whole, facts = state
        self.exchange = self.crew.joined()
        kinds = {n: [list(t.shape), str(t.dtype).removeprefix("torch.")] for n, t in whole.items()}
        way = {"way": [plan.optimizer, plan.history], "tile": self.tiling.side}
        self.told = facts | way | {"tensors": kinds}
        self.exchange.told(f"scale {json.dumps(self.told)}")
        self._take(whole)

    def _take(self, whole: dict[str, Tensor] | None) -> None:
        """Go on from this member's strip of the state that the first member has."""
        facts = self.told
        layers, (width, height) = self.engine.layers, self.sizes[facts["scale"]]
        grid, wrap = max(GRID, *map(stride_of, layers)), self.network.padding == "circular"
        self.strips = Strips.balanced(self.exchange, height, grid, tiles.margin(layers), wrap)
        self.tiling.side, self.whole = facts["tile"], None
        found = {}
        for name, (shape, kind) in facts["tensors"].items():
            mine, dtype = None if whole is None else whole[name], getattr(torch, kind)
            found[name] = checkpoint.scattered(name, mine, shape, dtype, self.strips, width)
        self._restore(found, facts | {"history": list(facts["history"])})

    def _gathered(self, name: str, own: Tensor) -> Tensor:
        """A tensor of the whole picture on the first member, from what each member has of it."""
        assert self.strips is not None
        return checkpoint.gathered(name, own, self.strips, self.sizes[self.scale][0])

    def _tensors(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors, numbers = super()._tensors()
        if self.strips is None:
            return tensors, numbers
        return {name: self._gathered(name, own) for name, own in tensors.items()}, numbers

    def _pixels(self) -> Tensor:
        """The whole picture's pixels; those that were kept where a member was just lost."""
        if self.whole is not None and self.whole[0] == (self.scale, self.taken):
            return self.whole[1]
        if self.minimizer is None and self.kept is not None:
            return self.kept[0]["pixels"].to(self.device)
        if self.strips is None:
            return super()._pixels()
        try:
            return self._gather()
        except Lost:
            assert self.kept is not None
            return self.kept[0]["pixels"].to(self.device)

    def _gather(self) -> Tensor:
        """The whole picture's pixels, asked for once a step."""
        place = self.scale, self.taken
        if self.whole is None or self.whole[0] != place:
            own = super()._pixels()
            pixels = self._together("pixels", lambda: self._gathered("pixels", own))
            self.whole = place, pixels.to(self.device)
        return self.whole[1]

    def _keep(self) -> None:
        """Keep the pixels, and all that is small, for when a member is lost."""
        assert self.minimizer is not None
        tensors = self._together("light", self._light)
        tensors |= {f"learnt.{name}": value for name, value in self.learned.items()}
        if self.minimizer.learned is not None:
            tensors["known"] = self.minimizer.learned
        _, numbers = self.minimizer.state()
        numbers = {name: own for name, own in numbers.items() if not name.startswith("optimizer.")}
        self.kept = _kept(tensors, self._facts(numbers))
        self.kept_at = time.monotonic()

    def _light(self) -> dict[str, Tensor]:
        """The whole picture's pixels, and the best of them."""
        assert self.minimizer is not None
        pair = {"pixels": self.minimizer.pixels, "best": self.minimizer.best}
        return {name: self._gathered(name, own) for name, own in pair.items()}

    def _together(self, order: str, work: Callable[[], Made]) -> Made:
        """What the first member makes with the others, which it gives the order to."""
        with Unbroken() as waiting:
            self.exchange.told(order)
            found = work()
        waiting.deliver()
        return found

    def _begin_anew(self, error: BaseException) -> None:
        """Start all members anew from the state that was kept. PictureError after the third loss
        in a row."""
        assert self.crew is not None
        assert self.kept is not None
        self.lost += 1
        why = self.crew.reason() or ("it ended" if isinstance(error, Lost) else str(error))
        if self.lost == LOSSES:
            raise PictureError(
                f"devices {self.asked.device} were lost {LOSSES} times without a step ({why}): "
                "paint with fewer, or with one"
            ) from error
        if memory.ran_out(RuntimeError(why)):
            tile = self.footprint(self.sizes[self.scale]).tile or max(self.sizes[self.scale])
            self.tiling.side = max(SMALLEST_TILE, tile // 2)
        self.crew.end()
        self.crew.begin()
        _, facts = self.kept
        self.minimizer = self.canvas = self.strips = self.whole = None
        self.history = list(facts["history"])
        self.note = f"a device was lost ({why}): going on from step {len(self.history)}"

    def _is_cut(self, size: tuple[int, int]) -> bool:
        """Whether a scale of that width and height has rows enough for all members."""
        return size[1] >= LEAST_ROWS * self.count

    def _check_size(self) -> None:
        width, height = self.sizes[-1]
        if not self._is_cut((width, height)):
            raise PictureError(
                f"{width}x{height} px cannot be cut for {self.count} devices, with {LEAST_ROWS} "
                "rows or more for each: name fewer, or raise --size"
            )


def _kept(tensors: dict[str, Tensor], facts: dict[str, Any]) -> State:
    """A state that stays as it is while the run goes on, on the CPU."""
    whole = {name: own.detach().cpu().clone() for name, own in tensors.items()}
    return whole, facts | {"history": list(facts["history"])}


def settings_of_members(settings: Settings) -> list[Settings]:
    """The settings of each member: its device, and a number format that all have. CPUs share the
    threads. SettingError for a device that is not there."""
    names = settings.devices
    machine.check_devices(names)
    kinds = {machine.choose_dtype(settings.precision, torch.device(name)) for name in names}
    precision = settings.precision if len(kinds) == 1 else "float32"
    on_cpu = max(1, names.count("cpu"))
    threads = settings.threads or max(1, torch.get_num_threads() // on_cpu)
    return [
        changed(
            settings,
            device=name,
            precision=precision,
            threads=threads if name == "cpu" else settings.threads,
        )
        for name in names
    ]


def cards_of(settings: Settings) -> bool:
    """Whether each member has a CUDA card of its own, and these are to talk directly."""
    names = settings.devices
    apart = len(set(names)) == len(names) and all(name.startswith("cuda") for name in names)
    return apart and bool(os.environ.get(NCCL))


def job_of(scene: Scene, each: list[Settings]) -> bytes:
    """What `member` needs to know of a scene, and of the settings of all members."""
    return pickle.dumps((scene, each, cards_of(scene.settings)))


def spawned(scene: Scene, each: list[Settings]) -> members.Start:
    """Starts the members beside the first as processes of this machine."""
    return members.spawned("impasto.painting.shared", partial(job_of, scene, each))


def member(rank: int, count: int, address: str, job: bytes) -> None:
    """Be one member of so many, beside the first, which is met at the address: paint its strips
    until the first member is gone. Errors are left for the first member to read, and raised."""
    scene, each, cards = pickle.loads(job)

    def work(join: Callable[[], Group]) -> None:
        SharedRun(scene, rank=rank, settings=each[rank]).serve(join)

    members.take_part(rank, count, address, work, cards)


def main() -> None:
    """A process that was started to be a member."""
    member(*members.given())
