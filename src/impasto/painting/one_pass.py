"""A picture in one pass: instant mode and trained networks, with all that a scene may ask for.

The same scene as an optimized run's, and the same stream of steps, one step long: paintings as
mixed moments, masks and regions as guides, strength, kept colors, tiles. A part of the picture
whose style is a trained network (`networks.residual`) is that network's picture.
"""

import time
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from impasto import images, machine
from impasto.errors import SettingError
from impasto.images import Picture
from impasto.layers.strips import Padding
from impasto.losses import moments
from impasto.losses.moments import Moments
from impasto.networks import adain, kept, residual, tiles
from impasto.networks.adain import AdaIN, Affine
from impasto.networks.layer_names import smallest_side
from impasto.networks.tiles import GRID, Box
from impasto.objective.guides import on_grid
from impasto.painting import budget
from impasto.painting.budget import Tiling
from impasto.painting.run import Record, Step
from impasto.painting.scales import scale_sizes
from impasto.scene import Part, Scene, View
from impasto.settings import Settings, changed, settings_for

OF_PAINTINGS = ("transform", "style_scale", "style_crop", "style_turn", "tile")
UNUSED = ("seed", "cuda_graphs")
"""Settings that matter to paintings in one pass, and to no trained network; and those that matter
to neither, beside all of method and optimization."""
LEAST_AREA = 1e-3  # of a position: less of all regions together is none


@dataclass(frozen=True, eq=False)
class _Mapped:
    """What becomes of the features of one part of the picture."""

    affine: Affine
    amount: float
    """How far it goes, 0 to 1: AdaIN's alpha."""
    area: Float[Tensor, "1 1 y x"] | None
    """Where, on the features' grid; None for everywhere."""


class OnePassRun:
    """One run in one pass; it may paint further scenes that have the same paintings.

    `like` is a run of the same settings, whose networks and moments this one takes. Trained
    networks see the whole picture at once, whatever the tiles. Raises ImpastoError for settings,
    pictures or networks that do not go together.
    """

    one_pass = True

    @machine.neutral()
    def __init__(self, scene: Scene, like: "OnePassRun | None" = None) -> None:
        self.scene, self.settings = scene, scene.settings
        self.like = like
        self.content = scene.photo
        if scene.networks and self.settings.seamless:
            raise SettingError("a trained network paints no seamless picture: name a painting")
        self.sizes = [self.size_of(scene)]
        self.compute = machine.start(
            self.settings.device, self.settings.precision, self.settings.threads
        )
        self.device, self.dtype = self.compute.device, self.compute.dtype
        paths = {path for part in scene.parts for path, _ in part.networks}
        known = {} if like is None else like.trained
        self.trained: dict[Path, residual.Residual] = {
            path: known.get(path) or residual.load(path, self.dtype, self.device) for path in paths
        }
        self.tiling = Tiling(self.settings.tile or None)
        self.footprint(self.sizes[0])  # raises where it cannot fit
        self.styles: dict[tuple[Hashable, int], Moments] = {} if like is None else like.styles
        self.history: list[Record] = []
        self.seconds = 0.0
        self.pixels: Tensor | None = None

    @cached_property
    def network(self) -> AdaIN:
        """Encoder and decoder, read when there is a painting."""
        if self.like is not None:
            return self.like.network
        padding: Padding = "circular" if self.settings.seamless else "reflect"
        return adain.load(self.dtype, self.device, padding)

    def paint(self) -> Iterator[Step]:
        """The one step."""
        return self.compute.stepwise(self._steps())

    def _steps(self) -> Iterator[Step]:
        began = time.perf_counter()
        (size,) = self.sizes
        machine.keep_large_buffers()
        self.pixels = self.painted(self.scene)
        machine.wait_for(self.device)
        self.seconds += time.perf_counter() - began
        note = "; ".join(filter(None, (self.unused, self.tiling.take_note()))) or None
        step = Step(1, 1, size, 1, 1, 1.0, {}, True, note, self)
        self.history.append(step.record)
        yield step

    def painted(
        self, scene: Scene, size: tuple[int, int] | None = None
    ) -> Float[Tensor, "1 3 h w"]:
        """The photo of a scene in the style of its paintings; at the settings' size if none is
        given, width and height in px. The scene's own finish is not done yet.

        The paintings' moments are those of the first time that a part was painted at that size.
        """
        with self.compute.tuned():
            size = size or self.size_of(scene)
            tile, paint = self.footprint(size).tile, partial(self._painted, scene.at(size))
            if self.trained:  # a trained network cannot be tiled
                return paint(tile)
            return self.tiling.fit(paint, tile, max(size))

    def size_of(self, scene: Scene) -> tuple[int, int]:
        """Width and height that a scene is painted at, px. PictureError for a photo too slim."""
        least = smallest_side([adain.LAYER], "reflect")
        return scale_sizes(scene.photo.own_size, changed(self.settings, coarsest=0), least)[-1]

    def footprint(self, size: tuple[int, int]) -> budget.Footprint:
        """How a picture is painted in the memory there is. PictureError if that is not enough."""
        return budget.one_pass(
            size,
            self.dtype,
            budget.limit(self.settings.memory_limit, self.device),
            tiles.margin([adain.LAYER]),
            max(size) if self.trained else self.tiling.side,
            max((network.shape.width for network in self.trained.values()), default=0),
            sum(area is not None for area in self.scene.at((16, 16)).areas),
            self.scene.bytes,
        )

    def picture(self, full_size: bool = True) -> Picture:
        """The picture, at the size asked for, with the photo's alpha; or as it is."""
        assert self.pixels is not None
        with self.compute.tuned():
            return self.scene.picture_of(self.pixels, full_size)

    def recipe(self) -> dict[str, Any]:
        """How this picture is made, as JSON holds it."""
        return self.scene.recipe() | {
            "backbone": ", ".join(path.name for path in self.trained) or "vgg19",
            "features": str(self.dtype).removeprefix("torch."),
            "device": str(self.device),
            "optimizers": [],
        }

    @property
    def unused(self) -> str | None:
        """What is to be said of settings that were changed, and change nothing in one pass."""
        groups = "Method", "Optimization"
        unused = {item.name for item in fields(Settings) if item.metadata["group"] in groups}
        unused = unused.union(UNUSED, OF_PAINTINGS) - {"method"}
        if any(part.strokes for part in self.scene.parts):
            unused -= set(OF_PAINTINGS)
        usual = settings_for(self.settings.preset).as_dict()
        names = [n for n, v in self.settings.as_dict().items() if n in unused and v != usual[n]]
        options = ", ".join("--" + name.replace("_", "-") for name in names)
        return f"painting in one pass does not use {options}" if options else None

    @property
    def work(self) -> float:
        """Pixels times passes, as one counts them for the optimizer: next to nothing."""
        return float(self.sizes[0][0] * self.sizes[0][1])

    def estimate(self) -> tuple[float, int]:
        """Seconds and bytes that the run will take, by the time of a picture of 256 px."""
        side = min(256, max(self.sizes[0]))
        small = images.fit(self.sizes[0], side)
        seconds = []
        for _ in range(2):  # the first measures the paintings, too
            began = time.perf_counter()
            with self.compute.tuned():
                self._painted(self.scene.at(small), None)
            machine.wait_for(self.device)
            seconds.append(time.perf_counter() - began)
        plan = self.footprint(self.sizes[0])
        (width, height), beyond = self.sizes[0], 2 * tiles.margin([adain.LAYER])
        area = width * height / (small[0] * small[1])
        if plan.tile:
            area *= ((plan.tile + beyond) / plan.tile) ** 2
        return seconds[-1] * area, plan.bytes

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """SettingError: one pass is over before it could be interrupted."""
        raise SettingError("instant painting takes one step: there is no state to keep of it")

    def _painted(self, view: View, tile: int | None) -> Float[Tensor, "1 3 h w"]:
        photo, areas = view.photo.to(self.device), view.areas
        if not any(map(self._amount, view.parts)):
            return photo
        if not self.trained:
            return self._instant(view, photo, tile)
        found, crowd = torch.zeros_like(photo), torch.zeros_like(photo[:, :1])
        strokes = [area for area, part in zip(areas, view.parts, strict=True) if part.strokes]
        if strokes:
            share = torch.stack([area for area in strokes if area is not None]).sum(0).to(photo)
            found, crowd = found + share * self._instant(view, photo, tile), crowd + share
        for part, area in zip(view.parts, areas, strict=True):
            if part.networks:
                share = torch.ones_like(crowd) if area is None else area.to(photo)
                found, crowd = found + share * self._by_networks(part, photo), crowd + share
        return found / crowd.clamp_min(LEAST_AREA)

    def _by_networks(self, part: Part, photo: Tensor) -> Float[Tensor, "1 3 h w"]:
        """The photo painted by the networks of a part, each with its share."""
        with torch.no_grad():
            made = [share * self.trained[path](photo).clamp(0, 1) for path, share in part.networks]
        return torch.lerp(photo, moments.sum_of(made), self._amount(part))

    def _instant(self, view: View, photo: Tensor, tile: int | None) -> Float[Tensor, "1 3 h w"]:
        """The photo painted by AdaIN, wherever a part has paintings."""
        chosen = [(p, a) for p, a in zip(view.parts, view.areas, strict=True) if p.strokes]
        parts, areas = [part for part, _ in chosen], [area for _, area in chosen]
        amounts = [self._amount(part) for part in parts]
        height, width = photo.shape[-2:]
        features = self.network.encode(photo, tile)
        mapped = self._mapped(parts, areas, view.alpha, features, max(width, height), tile)
        made = self.network.decode(features, tile, partial(_changed, mapped))
        made = made[..., :height, :width]
        if min(amounts) == 1:
            return made
        lost = self.network.decode(features, tile)[..., :height, :width].sub_(photo)
        return made.sub_(lost.mul_(_kept(areas, amounts, lost)))

    def _amount(self, part: Part) -> float:
        """AdaIN's alpha: the strength; as a start of the optimizer, how far a painting reaches."""
        instant = self.settings.method == "instant"
        return part.strength.value if instant else part.strength.reach(self.settings)

    def _mapped(
        self,
        parts: Sequence[Part],
        areas: Sequence[Tensor | None],
        visible: Tensor | None,
        features: Tensor,
        long_side: int,
        tile: int | None,
    ) -> list[_Mapped]:
        """What becomes of the features, part by part."""
        seen = None if visible is None else self._guide(visible)
        guides = [None if area is None else self._guide(area) for area in areas]
        some = [guide for guide in guides if guide is not None]
        total = torch.stack(some).sum(0).clamp_min(LEAST_AREA) if some else None
        found = []
        for part, guide in zip(parts, guides, strict=True):
            counts = guide if seen is None else seen if guide is None else guide * seen
            affine = adain.transform(
                adain.measure(features, counts),
                self._style(part, long_side, tile),
                self.settings.transform,
            )
            share = None if guide is None or total is None else guide / total
            found.append(_Mapped(affine, self._amount(part), share))
        return found

    def _style(self, part: Part, long_side: int, tile: int | None) -> Moments:
        """The mixed moments of a part's paintings at relu4_1."""
        key = part.measured_as, long_side
        if key not in self.styles:
            least = smallest_side([adain.LAYER], "reflect")
            grid = GRID if self.settings.seamless else 1
            its = []
            for strokes in part.strokes:
                pixels, counts = strokes.at(long_side, least, grid)
                its.append(self._of_painting(pixels, counts, tile, strokes.picture.origin))
            self.styles[key] = moments.mix(its, [strokes.share for strokes in part.strokes])
        return self.styles[key]

    def _of_painting(
        self, pixels: Tensor, counts: Tensor | None, tile: int | None, name: str | None
    ) -> Moments:
        """The moments of a painting at relu4_1, where it counts; kept for the next picture."""

        def measure() -> dict[str, Tensor]:
            features = self.network.encode(pixels.to(self.device), tile)
            found = adain.measure(features, None if counts is None else self._guide(counts))
            return {"weight": found.weight, "mean": found.mean, "second": found.second}

        if self.device.type != "cpu":
            return Moments(**measure())
        words = f"one pass {adain.words(self.network.dtype, self.network.padding)} {tile}"
        return Moments(**kept.tensors(words, {"pixels": pixels, "counts": counts}, measure, name))

    def _guide(self, area: Float[Tensor, "1 1 h w"]) -> Float[Tensor, "1 1 y x"]:
        """How much each position of the features belongs to a mask."""
        return on_grid(adain.filled_up(area), adain.LAYER).to(self.device)


def _changed(
    parts: Sequence[_Mapped], features: Float[Tensor, "1 c h w"], box: Box
) -> Float[Tensor, "1 c h w"]:
    """The features of a box on their grid, each part's as it is mapped there."""
    found = features
    for part in parts:
        moved = part.affine(features)
        if part.area is None and part.amount == 1:
            return moved
        share = part.amount if part.area is None else part.amount * box.taken_from(part.area)
        found = found + (moved - features) * share
    return found.to(features.dtype)


def _kept(
    areas: Sequence[Tensor | None], amounts: Sequence[float], like: Tensor
) -> float | Float[Tensor, "1 1 h w"]:
    """How much of the photo stays, place by place. What the decoder loses of a photo is given back
    in that measure, so that a strength of 0 is the photo."""
    if len(set(amounts)) == 1:
        return 1 - amounts[0]
    some = torch.cat([area for area in areas if area is not None]).to(like)
    shares = some / some.sum(0, keepdim=True).clamp_min(LEAST_AREA)
    painted = (shares * some.new_tensor(amounts).view(-1, 1, 1, 1)).sum(0, keepdim=True)
    return 1 - painted
