"""The recipe: from a photo and a painting to the painted picture.

Read it from the top: `stylize` runs `steps` to its end; `steps` paints one scale after the other,
coarse to fine; `carry_up` takes what was painted to the next scale, with the photo's own detail.
"""

import hashlib
import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from impasto import checkpoint, images, lbfgs, memory, paintings, tiles, vgg
from impasto import device as machine
from impasto.errors import PictureError
from impasto.images import Picture, Source, resize
from impasto.objective import Objective, Weights, statistics_for, style_moments
from impasto.optimise import Minimiser
from impasto.settings import Settings, bytes_of, changed, settings_for

NOISE_MEAN, NOISE_DEVIATION = 0.5, 0.2  # of the white noise start, in [0, 1]; clamped to it

Record = dict[str, int | float]


@dataclass(frozen=True, eq=False)
class Step:
    """One optimisation step, as every front end sees it. The picture is made on demand."""

    step: int
    """Number of the step, from 1, counted over all scales."""
    steps: int
    """How many steps there will be in all."""
    size: tuple[int, int]
    """Width and height of the scale being painted, px."""
    scale: int
    """Number of the scale, from 1."""
    scales: int
    """How many scales there are."""
    work: float
    """The part of all the work that is done, 0 to 1, by pixels and steps."""
    terms: dict[str, Tensor]
    """The loss terms before this step, weighted, as scalar tensors; see `losses`."""
    note: str | None
    """What a front end should tell its user, once."""
    _painter: "Painter" = field(repr=False)

    @property
    def losses(self) -> dict[str, float]:
        """The loss terms before this step, weighted: content, style, (tv), total."""
        return {name: float(value) for name, value in self.terms.items()}

    @property
    def record(self) -> Record:
        """What a history keeps of the step: its number, its size (long side, px), its losses."""
        return {"step": self.step, "size": max(self.size), **self.losses}

    def picture(self, full_size: bool = True) -> Picture:
        """The picture after this step, at the size asked for in the end (or at the scale's own).

        Valid until the next step is taken: a later call shows the later picture.
        """
        return self._painter.picture(full_size)

    def save_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Write all that `steps(..., resume=path)` needs to go on from here, whole or not at all.

        Valid until the next step is taken. Raises PictureError where the disk refuses.
        """
        checkpoint.write(Path(path), *self._painter.state())


@dataclass(frozen=True, eq=False)
class Result:
    """A painted picture and how it came about."""

    picture: Picture
    settings: Settings
    history: list[Record]
    """The record of each step."""
    seconds: float
    """Time spent painting, the runs before a checkpoint included."""
    recipe: dict[str, Any]
    """What a PNG carries: the settings, versions, inputs and last losses."""

    @property
    def image(self) -> Any:
        """The picture as a PIL image, RGB, or RGBA where the photo was transparent."""
        return images.to_pil(self.picture)

    def save(self, path: str | os.PathLike[str], bits: int = 8) -> None:
        """Write the picture by its suffix, whole or not at all; PNG carries the recipe.

        Raises SettingError for an unknown suffix, PictureError where it cannot be written.
        """
        target = Path(path)
        images.write_bytes(self.encoded(images.check_output(target, bits), bits), target)

    def encoded(self, format: str = "PNG", bits: int = 8) -> bytes:
        """The picture as the bytes of a file, PNG with the recipe."""
        return images.encode(self.picture, format, bits, json.dumps(self.recipe))

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        return images.encode(self.picture)


def stylize(
    content: Source | Picture,
    style: Source | Picture,
    settings: Settings | None = None,
    **changes: Any,
) -> Result:
    """The content picture repainted in the style of another.

    content and style: paths, PIL images, arrays or tensors (see `images.read`); the style may be
    the name of a built-in painting. Settings are given as a Settings, by name, or both:
    `stylize("photo.jpg", "great-wave", preset="paper", size=256)`. Raises ImpastoError.
    """
    *_, last = steps(content, style, settings, **changes)
    return result(last)


def result(last: Step) -> Result:
    """The result of a run that ended with this step, or was stopped there."""
    painter = last._painter
    recipe = painter.recipe() | {"steps_taken": last.step, "losses": last.losses}
    return Result(last.picture(), painter.settings, painter.history, painter.seconds, recipe)


def steps(
    content: Source | Picture,
    style: Source | Picture,
    settings: Settings | None = None,
    *,
    resume: str | os.PathLike[str] | None = None,
    **changes: Any,
) -> Iterator[Step]:
    """Paint, and yield after every step: what `stylize`, the command line and the page consume.

    Arguments as for `stylize`; `resume` goes on from a checkpoint of the same pictures and
    settings. Bad ones raise ImpastoError before anything is yielded; DivergedError may come
    later, and leaves the pictures before it valid.
    """
    chosen = settings_for(**changes) if settings is None else changed(settings, **changes)
    return Painter(paintings.picture(content), paintings.picture(style), chosen, resume).paint()


def scale_sizes(
    size: tuple[int, int], settings: Settings, smallest_side: int
) -> list[tuple[int, int]]:
    """Width and height of each scale, the smallest first: from `coarsest` on, in even ratios.

    size: of the photo, whose proportions all scales have. Scales whose short side would be under
    `smallest_side` are left out; PictureError if the last one is among them.
    """
    last = images.fit(size, settings.size)
    if min(last) < smallest_side:
        needed = -(-smallest_side * max(size) // min(size))
        raise PictureError(
            f"a picture of {size[0]}x{size[1]} px is {last[0]}x{last[1]} px at size "
            f"{settings.size}, too small for the network: use --size {needed} or more"
        )
    if not 0 < settings.coarsest < settings.size:
        return [last]
    ratio = settings.size / settings.coarsest
    count = max(1, round(math.log(ratio) / math.log(settings.scale_ratio)))
    sides = [round(settings.coarsest * ratio ** (i / count)) for i in range(count)]
    smaller = [images.fit(size, side) for side in sides]
    return [scale for scale in smaller if min(scale) >= smallest_side] + [last]


def carry_up(
    painted: Float[Tensor, "1 3 h w"],
    before: Float[Tensor, "1 3 h w"],
    after: Float[Tensor, "1 3 height width"],
) -> Float[Tensor, "1 3 height width"]:
    """What was painted at one scale, taken to the next with the start picture's own detail there.

    x_fine = c_fine + up(x_coarse - c_coarse), where c is the picture the run started from
    (`before` at the coarse scale, `after` at the fine one): only the change is enlarged, so no
    edge of the photo is blurred. A departure from the usual enlargement of x itself.
    """
    return after + resize(painted - before, *after.shape[-2:])


class Painter:
    """One run: what stays the same from scale to scale, and where it stands.

    Raises ImpastoError for settings, pictures or a checkpoint that do not go together.
    """

    def __init__(
        self,
        content: Picture,
        style: Picture,
        settings: Settings,
        resume: str | os.PathLike[str] | None = None,
    ) -> None:
        vgg.check_layers(dict(settings.content_layers), settings.backbone)
        vgg.check_layers(dict(settings.style_layers), settings.backbone)
        self.content, self.style, self.settings, self.name = content, style, settings, content.name
        self.layers = tuple(dict(settings.content_layers) | dict(settings.style_layers))
        self.smallest = vgg.smallest_side(self.layers, settings.padding)
        self.sizes = scale_sizes(content.size, settings, self.smallest)
        counts = settings.steps
        self.counts = [counts[min(i, len(counts) - 1)] for i in range(len(self.sizes))]
        self.start = self._start_picture()
        machine.use_threads(settings.threads)
        self.device = machine.choose_device(settings.device)
        self.dtype = machine.choose_dtype(settings.precision, self.device)
        machine.tune(self.device, settings.precision)
        self.network = vgg.load(
            settings.backbone, self.layers, settings.pooling, settings.padding,
            self.dtype, self.device,
        )  # fmt: skip
        self.tile: int | None = settings.tile or None
        self.footprint(self.sizes[-1])  # raises where the largest scale cannot fit
        self.history: list[Record] = []
        self.seconds = 0.0
        self.scale, self.taken = 0, 0  # the scale being painted, and its steps so far
        self.minimiser: Minimiser | None = None
        self.optimizers: list[str] = []  # what moved the pixels at each scale so far
        self.note: str | None = None
        if resume is not None:
            self.load(*checkpoint.read(Path(resume)))

    def paint(self) -> Iterator[Step]:
        """All scales, coarse to fine, from wherever the run stands."""
        if self.scale == len(self.sizes) - 1 and self.taken == self.counts[-1]:
            terms = {k: torch.tensor(v) for k, v in self.history[-1].items()}
            yield self._step({k: v for k, v in terms.items() if k not in ("step", "size")})
        for scale in range(self.scale, len(self.sizes)):
            began = time.perf_counter()
            plan = self.footprint(self.sizes[scale])
            machine.keep_large_buffers(plan.lean)
            if self.minimiser is None or scale != self.scale:
                self._begin_scale(scale, plan)
            assert self.minimiser is not None
            objective = self._objective(self.sizes[scale], plan.tile)
            evaluate = partial(self._evaluate, objective)
            while self.taken < self.counts[scale]:
                terms = self.minimiser.step(evaluate)
                self.taken += 1
                step = self._step(terms)
                self.history.append(step.record)
                self.seconds += time.perf_counter() - began
                if self.taken == self.counts[scale]:
                    del objective, evaluate  # a large picture needs the room to be written
                yield step
                began = time.perf_counter()

    def _begin_scale(self, scale: int, plan: memory.Footprint) -> None:
        """The pixels of a scale, and the optimiser that there is memory for."""
        settings = self._moved_by(plan.optimizer, plan.history)
        self.minimiser = self._minimiser(self._begin(self.sizes[scale]), scale, settings)
        self.scale, self.taken = scale, 0
        name = f"lbfgs {plan.history}" if plan.optimizer == "lbfgs" else plan.optimizer
        self.optimizers.append(name)
        if settings is not self.settings:
            self.note = f"memory is short: {max(self.sizes[scale])} px are painted with {name}"

    def _minimiser(self, image: Tensor, scale: int, settings: Settings) -> Minimiser:
        """The minimiser of a scale; after the first one it begins carefully."""
        return Minimiser(image, settings, lbfgs.CARRIED_STEP if scale else lbfgs.FIRST_STEP)

    def _moved_by(self, optimizer: str, history: int) -> Settings:
        """The settings with that optimiser, and its own learning rate if it is not theirs."""
        settings = self.settings
        if (optimizer, history) == (settings.optimizer, settings.history):
            return settings
        rate = settings.learning_rate if optimizer == settings.optimizer else None
        return changed(settings, optimizer=optimizer, history=history, learning_rate=rate)

    def picture(self, full_size: bool) -> Picture:
        """The picture as it stands: at the size asked for, with the photo's alpha, or as it is."""
        pixels, target = self._pixels(), self.sizes[-1]
        if not full_size:
            return Picture(pixels.clamp(0, 1).cpu(), None, self.name)
        if (pixels.shape[-1], pixels.shape[-2]) != target:
            pixels = self._carried(pixels, target)
        full = self.content.size if self.settings.original_size else target
        picture = Picture(pixels.clamp(0, 1).cpu(), None, self.name).resized(*full)
        if self.content.alpha is None:
            return picture
        return Picture(picture.pixels, self.content.resized(*full).alpha, self.name)

    def recipe(self) -> dict[str, Any]:
        """How this picture is made, as JSON holds it."""
        from impasto import __version__

        return {
            "impasto": __version__,
            "torch": torch.__version__,
            "content": self.content.name,
            "style": self.style.name,
            "inputs": self._fingerprints(),
            "backbone": self.settings.backbone,
            "features": str(self.dtype).removeprefix("torch."),
            "device": str(self.device),
            "optimizers": self.optimizers,
            "settings": self.settings.as_dict(),
        }

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Where the run stands, as tensors and facts."""
        assert self.minimiser is not None
        tensors, numbers = self.minimiser.state()
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
        pixels = tensors["pixels"].to(self.device)
        self.minimiser = self._minimiser(pixels, self.scale, self._moved_by(*facts["optimizer"]))
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
        )

    def estimate(self) -> tuple[float, int]:
        """Seconds and bytes that the rest of the run will take, from a measured evaluation.

        The time of one evaluation at 256 px is measured (after one to warm up) and scaled by
        pixels and steps; tiles add their margins and a second forward pass.
        """
        size = images.fit(self.content.size, min(256, max(self.sizes[-1])))
        if min(size) < self.smallest:
            size = self.sizes[-1]
        machine.keep_large_buffers()
        objective = self._objective(size, None)
        image = self._at(self.content, size)
        objective.evaluate(image)
        began = time.perf_counter()
        objective.evaluate(image)
        each = (time.perf_counter() - began) / (size[0] * size[1])
        work = 0.0
        for scale in range(self.scale, len(self.sizes)):
            left = self.counts[scale] - (self.taken if scale == self.scale else 0)
            width, height = self.sizes[scale]
            plan = self.footprint(self.sizes[scale])
            pieces = tiles.plan(height, width, plan.tile or max(width, height), self.layers)
            area = sum(piece.outer.area for piece in pieces)
            passes = 1 if len(pieces) == 1 else 4 / 3
            work += left * area * passes * (memory.LEAN_TIME if plan.lean else 1)
        return work * each, self.footprint(self.sizes[-1]).bytes

    @property
    def work(self) -> int:
        """Pixels times steps of the whole run: what decides how long it takes."""
        return sum(w * h * n for (w, h), n in zip(self.sizes, self.counts, strict=True))

    def _step(self, terms: dict[str, Tensor]) -> Step:
        """The step that was just taken."""
        areas = [w * h * n for (w, h), n in zip(self.sizes, self.counts, strict=True)]
        width, height = self.sizes[self.scale]
        done = sum(areas[: self.scale]) + width * height * self.taken
        note, self.note = self.note, None
        return Step(
            sum(self.counts[: self.scale]) + self.taken, sum(self.counts), (width, height),
            self.scale + 1, len(self.sizes), done / sum(areas), terms, note, self,
        )  # fmt: skip

    def _evaluate(self, objective: Objective, image: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Loss terms and gradient; in smaller tiles from now on if memory runs out."""
        while True:
            try:
                return objective.evaluate(image)
            except (RuntimeError, MemoryError) as error:
                side = max(image.shape) if objective.tile is None else objective.tile
                if not memory.ran_out(error) or side // 2 < memory.SMALLEST_TILE:
                    raise
                self.tile = side // 2
            objective.use_tiles(self.tile)
            self.note = f"memory ran out: going on in tiles of {self.tile} px, with the same result"

    def _objective(self, size: tuple[int, int], tile: int | None) -> Objective:
        settings = self.settings
        measured = style_moments(
            self.network,
            self._style_at(max(size)),
            dict(settings.style_layers),
            tile,
            statistics_for(settings.style_loss, self.device),
        )
        return Objective(
            self.network,
            self._at(self.content, size),
            measured,
            Weights(
                settings.content_weight * (2 * (1 - settings.strength)) ** 2,
                settings.style_weight * (2 * settings.strength) ** 2,
                settings.tv_weight,
            ),
            settings.content_layers,
            settings.style_layers,
            settings.style_loss,
            settings.loss_scale,
            tile=tile,
        )

    def _style_at(self, long_side: int) -> Tensor:
        """The painting with the long side of the scale; never enlarged: that has no brushwork."""
        side = min(long_side, max(self.style.size))
        width, height = images.fit(self.style.size, side)
        if min(width, height) < self.smallest:  # a long strip at a small scale
            side = -(-side * self.smallest // min(width, height))
            width, height = images.fit(self.style.size, side)
        return self._at(self.style, (width, height))

    def _start_picture(self) -> Picture | None:
        """The picture the run starts from; None for white noise."""
        match self.settings.start:
            case "content":
                return self.content
            case "style":
                return self.style
            case "noise":
                return None
            case file:
                return images.read(file)

    def _start_at(self, size: tuple[int, int]) -> Tensor:
        if self.start is not None:
            return self._at(self.start, size)
        generator = torch.Generator().manual_seed(self.settings.seed)
        noise = torch.randn(1, 3, size[1], size[0], generator=generator)
        return (NOISE_MEAN + NOISE_DEVIATION * noise).clamp(0, 1).to(self.device)

    def _pixels(self) -> Tensor:
        assert self.minimiser is not None
        return self.minimiser.pixels.detach()

    def _begin(self, size: tuple[int, int]) -> Tensor:
        """What a scale starts from: the start picture, or what the last scale left."""
        if self.minimiser is None:
            return self._start_at(size)
        return self._carried(self._pixels(), size)

    def _carried(self, pixels: Tensor, size: tuple[int, int]) -> Tensor:
        if self.start is None:  # noise has no detail worth carrying
            return resize(pixels, size[1], size[0])
        here = pixels.shape[-1], pixels.shape[-2]
        return carry_up(pixels, self._at(self.start, here), self._at(self.start, size))

    def _fingerprints(self) -> dict[str, str]:
        """SHA-256 of the pixels of all that is read, shortened to 16 digits."""
        read = {"content": self.content, "style": self.style}
        if self.start is not None:
            read["start"] = self.start
        return {
            name: hashlib.sha256(picture.pixels.numpy().tobytes()).hexdigest()[:16]
            for name, picture in read.items()
        }

    def _at(self, picture: Picture, size: tuple[int, int]) -> Tensor:
        return picture.resized(*size).pixels.to(self.device)


def _painted_by(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that decide what is painted, not where."""
    elsewhere = ("device", "tile", "memory_limit", "original_size", "preset")
    return {name: value for name, value in settings.items() if name not in elsewhere}


def _difference(its: Any, mine: Any) -> str:
    """What a checkpoint has where this run has something else, in a few words."""
    if not isinstance(its, dict):
        return str(its)
    return ", ".join(f"{k} {v}" for k, v in its.items() if mine.get(k) != v)
