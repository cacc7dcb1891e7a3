"""The recipe: from a photo and a painting to the painted picture.

Read it from the top: `stylize` runs `steps` to its end; `steps` paints one scale after the other,
coarse to fine; `carry_up` takes what was painted to the next scale, with the photo's own detail.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from impasto import device as machine
from impasto import images, paintings, vgg
from impasto.errors import PictureError
from impasto.images import Picture, Source, resize
from impasto.objective import Objective, Weights, statistics_for, style_moments
from impasto.optimise import minimise
from impasto.settings import Settings, changed, settings_for

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
    _painter: "_Painter" = field(repr=False)
    _pixels: Tensor = field(repr=False)

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
        if not full_size:
            return Picture(self._pixels.detach().clamp(0, 1).clone(), None, self._painter.name)
        return self._painter.finished(self._pixels)


@dataclass(frozen=True, eq=False)
class Result:
    """A painted picture and how it came about."""

    picture: Picture
    settings: Settings
    history: list[Record]
    """The record of each step."""
    seconds: float
    recipe: dict[str, Any]

    @property
    def image(self) -> Any:
        """The picture as a PIL image, RGB, or RGBA where the photo was transparent."""
        return images.to_pil(self.picture)

    def save(self, path: str | Path, bits: int = 8) -> None:
        """Write the picture by its suffix, whole or not at all; PNG carries the recipe.

        Raises SettingError for an unknown suffix, PictureError where it cannot be written.
        """
        target = Path(path)
        kind = images.check_output(target, bits)
        data = images.encode(self.picture, kind, bits, json.dumps(self.recipe))
        images.write_bytes(data, target)

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
    history: list[Record] = []
    last: Step | None = None
    began = time.perf_counter()
    for last in steps(content, style, settings, **changes):
        history.append(last.record)
    assert last is not None  # Settings admit no run without a step
    return result(last, history, time.perf_counter() - began)


def result(last: Step, history: list[Record], seconds: float) -> Result:
    """The result of a run that ended with this step, or was stopped there."""
    painter = last._painter
    recipe = painter.recipe() | {
        "steps_taken": last.step,
        "seconds": round(seconds, 3),
        "losses": last.losses,
    }
    return Result(last.picture(), painter.settings, history, seconds, recipe)


def steps(
    content: Source | Picture,
    style: Source | Picture,
    settings: Settings | None = None,
    **changes: Any,
) -> Iterator[Step]:
    """Paint, and yield after every step: what `stylize`, the command line and the page consume.

    Arguments as for `stylize`. Bad ones raise ImpastoError before anything is yielded;
    DivergedError may come later, and leaves the pictures before it valid.
    """
    chosen = settings_for(**changes) if settings is None else changed(settings, **changes)
    painter = _Painter(_picture(content), _picture(style), chosen)
    return painter.paint()


def scale_sizes(
    size: tuple[int, int], settings: Settings, smallest_side: int
) -> list[tuple[int, int]]:
    """Width and height of each scale, the smallest first: about doubling, from `coarsest` on.

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
    doublings = max(1, round(torch.tensor(settings.size / settings.coarsest).log2().item()))
    ratio = settings.size / settings.coarsest
    sides = [round(settings.coarsest * ratio ** (i / doublings)) for i in range(doublings)]
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


class _Painter:
    """Everything that stays the same from scale to scale of one run."""

    def __init__(self, content: Picture, style: Picture, settings: Settings) -> None:
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
        machine.keep_large_buffers()
        self.device = machine.choose_device(settings.device)
        self.dtype = machine.choose_dtype(settings.precision, self.device)
        self.network = vgg.load(
            settings.backbone, self.layers, settings.pooling, settings.padding,
            self.dtype, self.device,
        )  # fmt: skip

    def paint(self) -> Iterator[Step]:
        """All scales, coarse to fine."""
        whole = sum(w * h * n for (w, h), n in zip(self.sizes, self.counts, strict=True))
        step, done = 0, 0
        pixels: Tensor | None = None
        for scale, (size, count) in enumerate(zip(self.sizes, self.counts, strict=True), 1):
            objective = self._objective(size)
            for iterate in minimise(
                objective.evaluate, self._begin(size, pixels), count, self.settings
            ):
                step, done, pixels = step + 1, done + size[0] * size[1], iterate.image
                yield Step(
                    step, sum(self.counts), size, scale, len(self.sizes), done / whole,
                    iterate.terms, self, pixels,
                )  # fmt: skip

    def finished(self, pixels: Tensor) -> Picture:
        """The picture of this state at the size asked for, with the photo's alpha."""
        target = self.sizes[-1]
        here = pixels.shape[-1], pixels.shape[-2]
        if here != target:
            pixels = self._carried(pixels, target)
        full = self.content.size if self.settings.original_size else target
        picture = Picture(pixels.detach().clamp(0, 1).float().cpu(), None, self.name).resized(*full)
        alpha = self.content.resized(*full).alpha
        return Picture(picture.pixels, alpha, self.name)

    def recipe(self) -> dict[str, Any]:
        """How this picture is made, as JSON holds it."""
        from impasto import __version__

        return {
            "impasto": __version__,
            "torch": torch.__version__,
            "content": self.content.name,
            "style": self.style.name,
            "backbone": self.settings.backbone,
            "features": str(self.dtype).removeprefix("torch."),
            "device": str(self.device),
            "settings": self.settings.as_dict(),
        }

    def _objective(self, size: tuple[int, int]) -> Objective:
        settings = self.settings
        measured = style_moments(
            self.network,
            self._style_at(max(size)),
            dict(settings.style_layers),
            statistics=statistics_for(settings.style_loss),
        )
        return Objective(
            self.network,
            self._at(self.content, size),
            measured,
            Weights(
                settings.content_weight * 2 * (1 - settings.strength),
                settings.style_weight * 2 * settings.strength,
                settings.tv_weight,
            ),
            settings.content_layers,
            settings.style_layers,
            settings.style_loss,
            settings.loss_scale,
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

    def _begin(self, size: tuple[int, int], pixels: Tensor | None) -> Tensor:
        """What a scale starts from: the start picture, or what the last scale left."""
        return self._start_at(size) if pixels is None else self._carried(pixels, size)

    def _carried(self, pixels: Tensor, size: tuple[int, int]) -> Tensor:
        if self.start is None:  # noise has no detail worth carrying
            return resize(pixels, size[1], size[0])
        here = pixels.shape[-1], pixels.shape[-2]
        return carry_up(pixels, self._at(self.start, here), self._at(self.start, size))

    def _at(self, picture: Picture, size: tuple[int, int]) -> Tensor:
        return picture.resized(*size).pixels.to(self.device)


def _picture(source: Source | Picture) -> Picture:
    if isinstance(source, Picture):
        return source
    if isinstance(source, str) and paintings.is_painting(source):
        return paintings.read(source)
    return images.read(source)
