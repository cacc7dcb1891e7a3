"""The photo with its regions, and the paintings each of them takes, read and ready.

Everything a run reads is settled here, once: several styles and their shares, crops and turns of a
painting, masks, transparency, and whose colours are kept. The engine asks for it size by size.
"""

import copy
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from impasto import images, masks, packages, paintings, recolour
from impasto.errors import PictureError, SettingError, WeightsError
from impasto.images import Picture
from impasto.moments import mix
from impasto.recolour import Recolouring
from impasto.scales import enlarged
from impasto.scene.parts import (
    DIGITS,
    AnyPicture,
    Part,
    Region,
    Style,
    fingerprint,
    for_each,
    merged,
    named,
    origin_of,
    several,
)
from impasto.settings import Settings
from impasto.strokes import Strokes, cropped, masked, turned
from impasto.values import box_of, turn_of

SMALL = 256  # px, long side of the pictures that recolourings are found on
MOST_GAIN = 3.0  # of the start's colours: more would turn a flat sky's noise into grain
PROPORTIONS = 1.03  # how far a mask's may be from its picture's
LEAST_AREA = 1e-3  # of the picture: less of a mask is as good as none


class Scene:
    """A photo with its regions. Raises ImpastoError for what cannot be read or does not fit."""

    def __init__(
        self,
        content: AnyPicture,
        style: Style | None,
        settings: Settings,
        mask: AnyPicture | None = None,
        style_mask: AnyPicture | None = None,
        regions: Sequence[Region] = (),
    ) -> None:
        self.settings = settings
        self.inputs: dict[str, Picture] = {}
        self.networks: dict[str, Path] = {}
        self.photo = self._read("content", content)
        self.sources: dict[str, Any] = {"content": self.photo.origin}
        asked = list(regions)
        if style is None and style_mask is not None:
            raise SettingError("there is a style mask, but no painting of its own for the rest")
        if style is not None and not any(region.mask is None for region in asked):
            asked.append(Region(style, None, None, style_mask, "rest"))
        elif style is not None:
            raise SettingError(
                "there is a painting for the rest twice: name it once, as a region or by itself"
            )
        if not asked:
            raise SettingError("there is no painting: name one, or regions with theirs")
        self.mask = None if mask is None else self._mask("mask", mask, self.photo)
        if mask is not None:
            self.sources["mask"] = self.inputs["mask"].origin
        self.sources["regions"] = []
        self._find_colours(asked)
        self.parts = merged([self._part(region, style) for region in named(asked)])
        if self.networks and settings.keep_colors in ("match", "transfer"):
            raise SettingError(
                f"keep_colors {settings.keep_colors} recolours the painting, which a trained "
                "network does not show: use luminance"
            )

    @property
    def paintings(self) -> list[str]:
        """The names of all paintings, in the order given."""
        names = [picture.name for name, picture in self.inputs.items() if " painting" in name]
        return list(dict.fromkeys([*names, *(path.name for path in self.networks.values())]))

    @property
    def reach(self) -> float:
        """How far the painting gets, see `Part.reach`: that of the part where it gets furthest."""
        return max(part.reach(self.settings) for part in self.parts)

    def content_at(self, size: tuple[int, int]) -> Float[Tensor, "1 3 h w"]:
        """The photo as it is painted over: at that width and height, recoloured if asked."""
        pixels = self._visible.resized(*size).pixels
        if self.recolour is recolour.unchanged:
            return pixels
        return recolour.by_rows(self.recolour, pixels)

    def recolored_at(self, size: tuple[int, int]) -> Float[Tensor, "1 3 h w"]:
        """The photo with its colours brought to those of its paintings, part by part."""
        photo = found = self.content_at(size)
        for area, tone in zip(self.areas(size), self._tones, strict=True):
            toned = recolour.by_rows(tone, photo)
            found = toned if area is None else torch.addcmul(found, area, toned - photo)
        return found

    @cached_property
    def _tones(self) -> list[Recolouring]:
        """For each part, what gives the photo there the mean and covariance of its paintings'
        colours, as far as the painting reaches.
        """
        size = images.fit(self.photo.size, min(SMALL, max(self.photo.size)))
        photo, visible = self.content_at(size), self.visible(size)
        found = []
        for part, area in zip(self.parts, self.areas(size), strict=True):
            weight = area if visible is None else visible if area is None else area * visible
            its = [recolour.moments_of(*strokes.at(SMALL, 1)) for strokes in part.strokes]
            wanted = mix(its, [strokes.share for strokes in part.strokes])
            mine, amount = recolour.moments_of(photo, weight), part.reach(self.settings)
            found.append(recolour.matched(mine, wanted, amount=amount, most_gain=MOST_GAIN))
        return found

    def areas(self, size: tuple[int, int]) -> list[Tensor | None]:
        """Where each part is, 1 1 h w, together at most one; None for everywhere."""
        if len(self.parts) == 1 and self.parts[0].areas is None and self.mask is None:
            return [None]
        limit = 1.0 if self.mask is None else masks.at(self.mask, size)
        found = [
            None if part.areas is None
            else torch.stack([masks.at(mask, size) for mask in part.areas]).sum(0).clamp_max(1)
            for part in self.parts
        ]  # fmt: skip
        taken = [area for area in found if area is not None]
        total = torch.stack(taken).sum(0) if taken else torch.zeros(1, 1, size[1], size[0])
        crowd = total.clamp_min(1)
        rest = (1 - total).clamp_min(0)
        return [(rest if area is None else area / crowd) * limit for area in found]

    def held(self, size: tuple[int, int]) -> Float[Tensor, "1 1 h w"] | None:
        """What multiplies the content weight, place by place: each part's own, 1 where nothing is
        painted. None: the only part's, everywhere."""
        areas = [area for area in self.areas(size) if area is not None]
        if not areas:
            return None
        holds = [area * part.hold for area, part in zip(areas, self.parts, strict=True)]
        return torch.stack(holds).sum(0) + (1 - torch.stack(areas).sum(0)).clamp_min(0)

    def painted(self, size: tuple[int, int]) -> Float[Tensor, "1 1 h w"] | None:
        """Where the picture is painted and where it stays the photo; None: painted everywhere."""
        if self.mask is None and any(part.areas is None for part in self.parts):
            return None
        areas = [area for area in self.areas(size) if area is not None]
        return torch.stack(areas).sum(0).clamp(0, 1)

    def visible(self, size: tuple[int, int]) -> Float[Tensor, "1 1 h w"] | None:
        """The photo's alpha, if it has one: what is transparent weighs nothing."""
        return None if self.photo.alpha is None else masks.at(self.photo.alpha, size)

    def finish(self, pixels: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "1 3 h w"]:
        """What was painted, with the photo's chroma and the photo where nothing is painted."""
        size = pixels.shape[-1], pixels.shape[-2]
        luminance, painted = self.settings.keep_colors == "luminance", self.painted(size)
        if not luminance and painted is None:
            return pixels
        photo = self.photo.resized(*size).pixels.to(pixels)
        if luminance:
            way = partial(recolour.with_chroma_of, amount=self.settings.color_amount)
            pixels = recolour.by_rows(way, pixels, photo)
        if painted is None:
            return pixels
        return torch.lerp(photo, pixels, painted.to(pixels))

    def picture_of(self, pixels: Float[Tensor, "1 3 h w"], full_size: bool = True) -> Picture:
        """What was painted as a picture, finished: with the photo's alpha, and at its own size if
        the settings ask for it; or just as large as it is, without alpha."""
        photo, size = self.photo, (pixels.shape[-1], pixels.shape[-2])
        if not full_size:
            return Picture(self.finish(pixels).clamp(0, 1).cpu(), None, photo.name)
        full = photo.size if self.settings.original_size else size
        pixels = enlarged(pixels.clamp(0, 1), full[1], full[0], self.settings.seamless)
        pixels = self.finish(pixels).clamp_(0, 1).cpu()  # in place: a large one is a GB
        alpha = None if photo.alpha is None else photo.resized(*full).alpha
        return Picture(pixels, alpha, photo.name, None, photo.exif)

    def of(self, photo: Picture) -> "Scene":
        """The same paintings, masks and settings for another photo of the same proportions, such
        as the next frame of a film. How colours are changed stays what it was for the first."""
        made = copy.copy(self)
        for name in ("_visible", "_tones", "fingerprints"):
            made.__dict__.pop(name, None)
        made.photo = photo
        made.inputs = self.inputs | {"content": photo}
        made.sources = self.sources | {"content": photo.origin}
        return made

    def with_settings(self, settings: Settings) -> "Scene":
        """The same scene with settings that differ in how it is optimised."""
        made = copy.copy(self)
        made.settings = settings
        return made

    def recipe(self, start: Picture | None = None) -> dict[str, Any]:
        """What is painted with what, as JSON holds it; `start` is the picture it starts from."""
        from impasto import __version__

        prints = dict(self.fingerprints)
        if start is not None:
            prints["start"] = fingerprint(start)
        return {
            "impasto": __version__,
            "torch": torch.__version__,
            "content": self.photo.name,
            "style": self.paintings,
            "sources": self.sources,
            "inputs": prints,
            "settings": self.settings.as_dict(),
        }

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """SHA-256 of the pixels of all that is read, and of networks' files, to 16 digits."""
        found = {name: fingerprint(picture) for name, picture in self.inputs.items()}
        return found | {
            name: packages.digest_of(path)[:DIGITS] for name, path in self.networks.items()
        }

    @cached_property
    def _visible(self) -> Picture:
        """The photo, with the mean colour under what is transparent."""
        photo = self.photo
        if photo.alpha is None:
            return photo
        seen = (photo.pixels * photo.alpha).sum((2, 3), keepdim=True)
        mean = seen / photo.alpha.sum().clamp_min(1e-6)
        return replace(photo, pixels=torch.where(photo.alpha > 1e-3, photo.pixels, mean))

    def _read(self, what: str, source: AnyPicture) -> Picture:
        picture = paintings.picture(source)
        self.inputs[what] = picture
        return picture

    def _mask(self, what: str, source: AnyPicture, of: Picture) -> Tensor:
        """A mask of a picture. PictureError if it is black, or has other proportions."""
        mask = masks.read(self._read(what, source))
        width, height = self.inputs[what].size
        if abs(math.log(width / height * of.size[1] / of.size[0])) > math.log(PROPORTIONS):
            raise PictureError(
                f"the {what} {self.inputs[what].name!r} is {width}x{height} px, but {of.name!r} is "
                f"{of.size[0]}x{of.size[1]}: give both the same proportions"
            )
        if float(mask.mean()) < LEAST_AREA:
            raise PictureError(
                f"the {what} {self.inputs[what].name!r} is black: what is white in it is meant"
            )
        return mask

    def _enough_of(
        self, picture: Picture, scale: float, box: tuple[float, float, float, float]
    ) -> Picture:
        """A painting no larger than the largest scale needs it."""
        part = max(box[2] - box[0], box[3] - box[1])
        side = math.ceil(self.settings.size * scale / part)
        if max(picture.size) <= side:
            return picture
        small = picture.resized(*images.fit(picture.size, side))
        return replace(small, origin=picture.origin)

    def _find_colours(self, regions: list[Region]) -> None:
        """Settle how the photo is recoloured, and what the paintings are recoloured to."""
        settings = self.settings
        self.recolour: Recolouring = recolour.unchanged
        self.palette: Tensor | None = None
        if settings.keep_colors != "none" and settings.palette != "none":
            raise SettingError(
                f"keep_colors {settings.keep_colors} and palette {settings.palette} contradict "
                "each other: choose one"
            )
        small = _small(self._visible)
        if settings.keep_colors == "luminance":
            self.recolour = recolour.desaturated(settings.color_amount)
        elif settings.palette != "none":
            if settings.palette == "style":
                style = several(regions[-1].style)[0]
                if paintings.is_network(style):
                    raise SettingError(
                        f"palette style takes the painting's colours, but {style} is a trained "
                        "network: name a picture"
                    )
                its = _small(paintings.picture(paintings.sources(style)[0]))
            else:
                its = self.palette = _small(self._read("palette", settings.palette))
            self.recolour = recolour.transferred(small, its, settings.color_amount)

    def _recolouring(self, picture: Picture) -> Recolouring:
        """How a painting is recoloured."""
        settings, small, photo = self.settings, _small(picture), _small(self._visible)
        amount = settings.color_amount
        match settings.keep_colors:
            case "luminance":
                return recolour.lightness_matched(small, photo, amount)
            case "match":
                mine, its = recolour.moments_of(small), recolour.moments_of(photo)
                return recolour.matched(mine, its, settings.color_map, amount)
            case "transfer":
                return recolour.transferred(small, photo, amount)
        if self.palette is not None:
            return recolour.transferred(small, self.palette, amount)
        return recolour.unchanged

    def _part(self, region: Region, main: Style | None) -> Part:
        """A region with everything read."""
        name, strength = region.name, region.strength
        strength = self.settings.strength if strength is None else strength
        if not 0 <= strength <= 1:
            raise SettingError(f"the strength of {name} is {strength}: it must be 0 to 1")
        strokes, networks = self._strokes(region, region.style is main)
        areas = None
        if region.mask is not None:
            areas = (self._mask(f"{name} mask", region.mask, self.photo),)

        def origin(what: str) -> str | None:
            picture = self.inputs.get(f"{name} {what}")
            return None if picture is None else picture.origin

        self.sources["regions"].append(
            {
                "name": name,
                "style": [origin_of(style) for style in several(region.style)],
                "mask": origin("mask"),
                "strength": region.strength,
                "style_mask": origin("style mask"),
            }
        )
        prints = [(fingerprint(s.picture), s.share, s.scale) for s in strokes]
        return Part(areas, strokes, networks, strength, f"{prints} {networks} {strength}")

    def _strokes(
        self, region: Region, is_main: bool
    ) -> tuple[tuple[Strokes, ...], tuple[tuple[Path, float], ...]]:
        """The paintings of a region, each as it takes them, or its networks."""
        name, settings, styles = region.name, self.settings, several(region.style)
        shares = for_each(settings.style_weights or (1.0,), len(styles), "style_weights", is_main)
        scales = for_each(settings.style_scale, len(styles), "style_scale", is_main)
        crops = for_each(settings.style_crop or ("0:0:1:1",), len(styles), "style_crop", is_main)
        if sum(shares) <= 0:
            raise SettingError("style_weights are all 0: give one style a weight")
        if any(map(paintings.is_network, styles)):
            return (), self._trained(region, shares)
        strokes: list[Strokes] = []
        for style, share, scale, crop in zip(styles, shares, scales, crops, strict=True):
            found = paintings.sources(style)
            for source in found:
                picture = paintings.picture(source)
                if len(found) > 1:  # a folder may hold more than memory does
                    picture = self._enough_of(picture, scale, box_of(crop))
                self.inputs[f"{name} painting {len(self.inputs)}"] = picture
                mask = None
                if region.style_mask is not None:
                    mask = self._mask(f"{name} style mask", region.style_mask, picture)
                each = share / sum(shares) / len(found) / len(settings.style_turn)
                if each == 0:
                    continue
                recolouring = self._recolouring(picture)
                chosen = cropped(masked(picture, mask), box_of(crop))
                strokes += [
                    Strokes(turned(chosen, *turn_of(turn)), each, scale, recolouring)
                    for turn in settings.style_turn
                ]
        return tuple(strokes), ()

    def _trained(self, region: Region, shares: list[Any]) -> tuple[tuple[Path, float], ...]:
        """The trained networks of a region with their shares."""
        found = []
        for style, share in zip(several(region.style), shares, strict=True):
            if not paintings.is_network(style) or region.style_mask is not None:
                raise SettingError(
                    f"{region.name} mixes a trained network with a painting or its mask: give a "
                    "region the one or the other"
                )
            assert isinstance(style, str | os.PathLike)
            path = paintings.network_path(style)
            if not path.is_file():
                raise WeightsError(f"there is no network {path}: check the name")
            self.networks[f"{region.name} network {len(self.networks)}"] = path
            if share:
                found.append((path, share / sum(shares)))
        return tuple(found)


def _small(picture: Picture) -> Float[Tensor, "1 3 h w"]:
    """The picture at 256 px or less."""
    return picture.resized(*images.fit(picture.size, min(SMALL, max(picture.size)))).pixels
