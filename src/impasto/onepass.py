"""A picture in one pass: instant mode and trained networks, with all that a scene may ask for.

The same scene as the optimiser's, and the same stream of steps, one step long: paintings as mixed
moments, masks and regions as guides, strength, kept colours, tiles. A part of the picture whose
style is a trained network (`residual.py`) is that network's picture.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from impasto import adain, images, masks, memory, moments, residual, tiles, vgg
from impasto import device as machine
from impasto.adain import AdaIN, Affine
from impasto.errors import SettingError
from impasto.images import Picture
from impasto.moments import Moments
from impasto.scales import GRID, scale_sizes
from impasto.scene import Part, Scene
from impasto.settings import changed
from impasto.step import Record, Step
from impasto.strips import Padding
from impasto.tiles import Box
from impasto.values import bytes_of

LEAST_AREA = 1e-3  # of a position: less of all regions together is none


@dataclass(frozen=True, eq=False)
class _Mapped:
    """What becomes of the features of one part of the picture."""

    affine: Affine
    amount: float
    """How far it goes, 0 to 1: AdaIN's alpha."""
    area: Float[Tensor, "1 1 y x"] | None
    """Where, on the features' grid; None for everywhere."""


class OnePass:
    """One run in one pass; it may paint further scenes that have the same paintings.

    Trained networks see the whole picture at once, whatever the tiles. Raises ImpastoError for
    settings, pictures or networks that do not go together.
    """

    one_pass, resumed = True, False

    def __init__(self, scene: Scene) -> None:
        self.scene, self.settings = scene, scene.settings
        self.content = scene.photo
        if scene.networks and self.settings.seamless:
            raise SettingError("a trained network paints no seamless picture: name a painting")
        self.sizes = [self.size_of(scene)]
        machine.use_threads(self.settings.threads)
        self.device = machine.choose_device(self.settings.device)
        self.dtype = machine.choose_dtype(self.settings.precision, self.device)
        machine.tune(self.device, self.settings.precision)
        paths = {path for part in scene.parts for path, _ in part.networks}
        self.trained = {path: residual.load(path, self.dtype, self.device) for path in paths}
        self.tile: int | None = self.settings.tile or None
        self.footprint(self.sizes[0])  # raises where it cannot fit
        self.styles: dict[tuple[Part, int], Moments] = {}
        self.history: list[Record] = []
        self.seconds = 0.0
        self.note: str | None = None
        self.pixels: Tensor | None = None

    @cached_property
    def network(self) -> AdaIN:
        """Encoder and decoder, read when there is a painting."""
        padding: Padding = "circular" if self.settings.seamless else "reflect"
        return adain.load(self.dtype, self.device, padding)

    def paint(self) -> Iterator[Step]:
        """The one step."""
        began = time.perf_counter()
        (size,) = self.sizes
        machine.keep_large_buffers()
        self.pixels = self.painted(self.scene)
        machine.wait_for(self.device)
        self.seconds += time.perf_counter() - began
        step = Step(1, 1, size, 1, 1, 1.0, {}, True, self.note, self)
        self.history.append(step.record)
        yield step

    def painted(
        self, scene: Scene, size: tuple[int, int] | None = None
    ) -> Float[Tensor, "1 3 h w"]:
        """The photo of a scene in the style of its paintings; at the settings' size if none is
        given, width and height in px. The scene's own finish is not done yet.

        The paintings' moments are those of the first time that a part was painted at that size.
        """
        size = size or self.size_of(scene)
        while True:
            tile = self.footprint(size).tile
            try:
                return self._painted(scene, size, tile)
            except (RuntimeError, MemoryError) as error:
                side = tile or max(size)
                smaller = side // 2 >= memory.SMALLEST_TILE and not self.trained
                if not memory.ran_out(error) or not smaller:
                    raise
                self.tile = side // 2
            self.note = f"memory ran out: going on in tiles of {self.tile} px, with the same result"

    def size_of(self, scene: Scene) -> tuple[int, int]:
        """Width and height that a scene is painted at, px. PictureError for a photo too slim."""
        least = vgg.smallest_side([adain.LAYER], "reflect")
        return scale_sizes(scene.photo.size, changed(self.settings, coarsest=0), least)[-1]

    def footprint(self, size: tuple[int, int]) -> memory.Footprint:
        """How a picture is painted in the memory there is. PictureError if that is not enough."""
        limit = bytes_of(self.settings.memory_limit)
        return memory.one_pass(
            size,
            self.dtype,
            limit or int(memory.available(self.device) * memory.SHARE),
            tiles.margin([adain.LAYER]),
            max(size) if self.trained else self.tile,
            max((network.shape.width for network in self.trained.values()), default=0),
            sum(area is not None for area in self.scene.areas((16, 16))),
        )

    def picture(self, full_size: bool = True) -> Picture:
        """The picture, at the size asked for, with the photo's alpha; or as it is."""
        assert self.pixels is not None
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
    def work(self) -> float:
        """Pixels times passes, as one counts them for the optimiser: next to nothing."""
        return float(self.sizes[0][0] * self.sizes[0][1])

    def estimate(self) -> tuple[float, int]:
        """Seconds and bytes that the run will take, by the time of a picture of 256 px."""
        side = min(256, max(self.sizes[0]))
        small = images.fit(self.sizes[0], side)
        seconds = []
        for _ in range(2):  # the first measures the paintings, too
            began = time.perf_counter()
            self._painted(self.scene, small, None)
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

    def _painted(
        self, scene: Scene, size: tuple[int, int], tile: int | None
    ) -> Float[Tensor, "1 3 h w"]:
        photo = scene.content_at(size).to(self.device)
        if not any(map(self._amount, scene.parts)):
            return photo
        areas = scene.areas(size)
        if not self.trained:
            return self._instant(scene, photo, areas, tile)
        found, crowd = torch.zeros_like(photo), torch.zeros_like(photo[:, :1])
        strokes = [area for area, part in zip(areas, scene.parts, strict=True) if part.strokes]
        if strokes:
            share = torch.stack([area for area in strokes if area is not None]).sum(0).to(photo)
            found, crowd = found + share * self._instant(scene, photo, areas, tile), crowd + share
        for part, area in zip(scene.parts, areas, strict=True):
            if part.networks:
                share = torch.ones_like(crowd) if area is None else area.to(photo)
                found, crowd = found + share * self._by_networks(part, photo), crowd + share
        return found / crowd.clamp_min(LEAST_AREA)

    def _by_networks(self, part: Part, photo: Tensor) -> Float[Tensor, "1 3 h w"]:
        """The photo painted by the networks of a part, each with its share."""
        with torch.no_grad():
            made = [share * self.trained[path](photo).clamp(0, 1) for path, share in part.networks]
        return torch.lerp(photo, moments.sum_of(made), self._amount(part))

    def _instant(
        self, scene: Scene, photo: Tensor, areas: list[Tensor | None], tile: int | None
    ) -> Float[Tensor, "1 3 h w"]:
        """The photo painted by AdaIN, wherever a part has paintings."""
        chosen = [(part, area) for part, area in zip(scene.parts, areas, strict=True)
                  if part.strokes]  # fmt: skip
        parts, areas = [part for part, _ in chosen], [area for _, area in chosen]
        amounts = [self._amount(part) for part in parts]
        height, width = photo.shape[-2:]
        features = self.network.encode(photo, tile)
        visible = scene.visible((width, height))
        mapped = self._mapped(parts, areas, visible, features, max(width, height), tile)
        made = self.network.decode(features, tile, partial(_changed, mapped))
        made = made[..., :height, :width]
        if min(amounts) == 1:
            return made
        lost = self.network.decode(features, tile)[..., :height, :width].sub_(photo)
        return made.sub_(lost.mul_(_kept(areas, amounts, lost)))

    def _amount(self, part: Part) -> float:
        """AdaIN's alpha: the strength; as a start of the optimiser, how far a painting reaches."""
        instant = self.settings.method == "instant"
        return part.strength if instant else part.reach(self.settings)

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
        key = part, long_side
        if key not in self.styles:
            least = vgg.smallest_side([adain.LAYER], "reflect")
            grid = GRID if self.settings.seamless else 1
            its = []
            for strokes in part.strokes:
                pixels, counts = strokes.at(long_side, least, grid)
                features = self.network.encode(pixels.to(self.device), tile)
                its.append(adain.measure(features, None if counts is None else self._guide(counts)))
            self.styles[key] = moments.mix(its, [strokes.share for strokes in part.strokes])
        return self.styles[key]

    def _guide(self, area: Float[Tensor, "1 1 h w"]) -> Float[Tensor, "1 1 y x"]:
        """How much each position of the features belongs to a mask."""
        return masks.on_grid(adain.filled_up(area), adain.LAYER).to(self.device)


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
