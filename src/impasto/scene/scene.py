"""The photo with its regions, and the paintings each of them takes, read and ready.

Everything a run reads is settled here, once: several styles and their shares, crops and turns of a
painting, masks, transparency, and whose colors are kept. A run asks for it size by size (`at`).
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from impasto import fingerprint, machine, segmentation
from impasto.errors import SettingError
from impasto.images import Picture, enlarged
from impasto.scene import recolor
from impasto.scene.colors import SMALL, Colors, small, small_size, to_paintings
from impasto.scene.reading import Reader, fingerprint_of
from impasto.scene.recolor import Recoloring
from impasto.scene.regions import (
    AnyPicture,
    Region,
    Style,
    merged,
    name_of,
    numbered,
    paintings_of,
)
from impasto.scene.view import View
from impasto.settings import FILE_OR, Settings
from impasto.version import __version__

RESULT_BYTES = 40  # per pixel of a result at the photo's own size, until it is a file


class Scene:
    """A photo with its regions. Raises ImpastoError for what cannot be read or does not fit.

    Masks are files or words (`segmentation.WORDS`). keep: where white, what is painted shows as
    much as `keep_strength` is of the strength, and the photo beneath it.
    may_lack: what a word says need not be in the photo, which may be the first of many.
    """

    @machine.neutral()
    def __init__(
        self,
        content: AnyPicture,
        style: Style | None,
        settings: Settings,
        mask: AnyPicture | None = None,
        style_mask: AnyPicture | None = None,
        regions: Sequence[Region] = (),
        keep: AnyPicture | None = None,
        may_lack: bool = False,
    ) -> None:
        _check_given(content, regions)
        reader = Reader(settings, may_lack)
        self.settings = settings
        self.inputs, self.networks, self.sources = reader.inputs, reader.networks, reader.sources
        self.notes = reader.notes
        """What a front end should tell its user."""
        side = settings.size
        if any(map(segmentation.is_word, (mask, keep, *(region.mask for region in regions)))):
            side = max(side, segmentation.LONGEST)
        self.photo = reader.picture("content", content, side)
        self.sources["content"] = reader.name_of("content")
        asked = _with_rest(regions, style, style_mask)
        self.mask = None if mask is None else reader.mask("mask", mask, self.photo)
        if mask is not None:
            self.sources["mask"] = reader.name_of("mask")
        self.sources["regions"] = []
        self.keep = None if keep is None else reader.mask("keep", keep, self.photo)
        if keep is not None:
            self.sources["keep"] = reader.name_of("keep")
        palette = None
        if settings.palette not in ("none", "style") and settings.keep_colors == "none":
            palette = reader.picture("palette", settings.palette, SMALL)
        first = paintings_of(asked[-1].style)[0]
        self.colors = Colors(settings, self.opaque_photo, first, palette)
        self._asked = [
            reader.part(region, self.photo, style, self.colors) for region in numbered(asked)
        ]
        self.words = reader.words
        """The masks that were found in the photo, by their words."""
        self.parts = merged(self._asked)
        if self.networks and settings.keep_colors in ("match", "transfer"):
            raise SettingError(
                f"keep_colors {settings.keep_colors} recolors the painting, which a trained "
                "network does not show: use luminance"
            )

    @property
    def paintings(self) -> list[str]:
        """The names of all paintings, in the order given."""
        names = [picture.name for name, picture in self.inputs.items() if " painting" in name]
        return list(dict.fromkeys([*names, *(path.name for path in self.networks.values())]))

    @property
    def reach(self) -> float:
        """How far the painting gets (`Strength.reach`) in the part where it gets furthest."""
        return max(part.strength.reach(self.settings) for part in self.parts)

    def at(self, size: tuple[int, int]) -> View:
        """The scene at a width and height, px."""
        return View(
            size,
            self.opaque_photo,
            self.parts,
            self.mask,
            self.photo.alpha,
            self.colors.of_photo,
            lambda: self._tones,
            self.keep,
            self.settings.keep_strength,
        )

    def finish(self, pixels: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "1 3 h w"]:
        """What was painted, with the photo's chroma, and the photo where nothing is painted, or
        some of it where it is kept; gray where all that went in is."""
        size = pixels.shape[-1], pixels.shape[-2]
        luminance, shown = self.settings.keep_colors == "luminance", self.at(size).shown
        if self.is_gray:
            pixels, luminance = recolor.by_rows(recolor.neutral, pixels), False
        if not luminance and shown is None:
            return pixels
        photo = self.photo.resized(*size).pixels.to(pixels)
        if luminance:
            way = partial(recolor.with_chroma_of, amount=self.settings.color_amount)
            pixels = recolor.by_rows(way, pixels, photo)
        if shown is None:
            return pixels
        return torch.lerp(photo, pixels, shown.to(pixels))

    @machine.neutral()
    def picture_of(self, pixels: Float[Tensor, "1 3 h w"], full_size: bool = True) -> Picture:
        """What was painted as a picture, finished: with the photo's alpha, and at the photo's size
        if the settings ask for it; or just as large as it is, without alpha."""
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
        as the next frame of a film. How colors are changed stays what it was for the first."""
        made = copy.copy(self)
        for name in ("opaque_photo", "is_gray", "_tones", "fingerprints"):
            made.__dict__.pop(name, None)
        made.photo = photo
        made.inputs = self.inputs | {"content": photo}
        made.sources = self.sources | {"content": name_of(photo.origin)}
        return made

    def with_words(self, found: Mapping[str, Tensor]) -> "Scene":
        """The same scene with other masks for words that were found in its photo."""
        made, before = copy.copy(self), {id(mask): word for word, mask in self.words.items()}

        def now(mask: Tensor) -> Tensor:
            word = before.get(id(mask))
            return mask if word is None else found[word]

        made.words = dict(found)
        made.mask = None if self.mask is None else now(self.mask)
        made.keep = None if self.keep is None else now(self.keep)
        made._asked = [
            replace(part, areas=part.areas and tuple(map(now, part.areas))) for part in self._asked
        ]
        made.parts = merged(made._asked)
        made.__dict__.pop("_tones", None)
        return made

    def words_in(self, photo: Picture) -> dict[str, Tensor]:
        """The masks of the scene's words in another photo; black where there is no such thing."""
        return {word: segmentation.found(photo, word, empty=True).mask for word in self.words}

    def with_settings(self, settings: Settings) -> "Scene":
        """The same scene with settings that differ in how it is optimized."""
        made = copy.copy(self)
        made.settings = settings
        return made

    def recipe(self, start: Picture | None = None) -> dict[str, Any]:
        """What is painted with what, as JSON holds it; `start` is the picture it starts from."""
        prints = dict(self.fingerprints)
        if start is not None:
            prints["start"] = start.fingerprint or fingerprint_of(start)
        return {
            "impasto": __version__,
            "torch": torch.__version__,
            "content": self.photo.name,
            "style": self.paintings,
            "sources": self.sources,
            "inputs": prints,
            "settings": self.recorded_settings(),
        }

    def recorded_settings(self) -> dict[str, Any]:
        """The settings as the recipe has them: files by their names."""
        recorded = self.settings.as_dict()
        if "palette" in self.inputs:
            recorded["palette"] = self.inputs["palette"].origin
        return recorded | {name: name_of(recorded[name], words) for name, words in FILE_OR.items()}

    @property
    def bytes(self) -> int:
        """The memory of all pictures that were read, and of the result at the photo's own size if
        the settings ask for that."""
        pictures = [self.photo, self.opaque_photo, *self.inputs.values()]
        pictures += [strokes.picture for part in self.parts for strokes in part.strokes]
        parts = [*self.parts, *self._asked]
        masks = [self.mask, self.keep, *(area for part in parts for area in part.areas or ())]
        maps = [m for p in pictures for m in (p.pixels, p.alpha)] + masks
        storages = [m.untyped_storage() for m in maps if m is not None]
        width, height = self.photo.size if self.settings.original_size else (0, 0)
        kept = {storage.data_ptr(): storage.nbytes() for storage in storages}
        return sum(kept.values()) + width * height * RESULT_BYTES

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprints of all pictures that were read, and of networks' files."""
        found = {
            name: picture.fingerprint or fingerprint_of(picture)
            for name, picture in self.inputs.items()
        }
        return found | {
            name: fingerprint.of_file(path)[: fingerprint.DIGITS]
            for name, path in self.networks.items()
        }

    @cached_property
    def opaque_photo(self) -> Picture:
        """The photo, with the mean color under what is transparent."""
        photo = self.photo
        if photo.alpha is None:
            return photo
        seen = (photo.pixels * photo.alpha).sum((2, 3), keepdim=True)
        mean = seen / photo.alpha.sum().clamp_min(1e-6)
        return replace(photo, pixels=torch.where(photo.alpha > 1e-3, photo.pixels, mean))

    @cached_property
    def is_gray(self) -> bool:
        """True where the photo has no color, and no painting brings any: nor has the result then.

        The optimizer knows no gray: its gradients differ from channel to channel, and would leave a
        cast of some levels.
        """
        kept = self.settings.keep_colors == "luminance"  # then the photo's own chroma comes back
        photo = small(self.opaque_photo) if kept else self.at(small_size(self.photo)).photo
        return recolor.is_gray(photo) and self._has_gray_paintings

    @cached_property
    def _has_gray_paintings(self) -> bool:
        """Whether all paintings, as they are recolored, are without color."""
        strokes = [strokes for part in self.parts for strokes in part.strokes]
        return not self.networks and all(recolor.is_gray(*each.at(SMALL, 1)) for each in strokes)

    @cached_property
    def _tones(self) -> list[Recoloring]:
        """For each part, what brings the photo's colors there to those of its paintings."""
        view, found = self.at(small_size(self.photo)), []
        for part, area in zip(self.parts, view.areas, strict=True):
            weight = (
                area if view.alpha is None else view.alpha if area is None else area * view.alpha
            )
            found.append(to_paintings(part, view.photo, weight, self.settings))
        return found


def _check_given(content: AnyPicture, regions: Sequence[Region]) -> None:
    """SettingError where there is no photo, or where regions are none."""
    if content is None or (isinstance(content, str | list | tuple) and not content):
        raise SettingError("there is no photo: name a file, or give a picture")
    if not isinstance(regions, list | tuple) or not all(isinstance(r, Region) for r in regions):
        raise SettingError("regions must be a list of Region: give Region(style, mask)")


def _with_rest(
    regions: Sequence[Region], style: Style | None, style_mask: AnyPicture | None
) -> list[Region]:
    """The regions asked for, and the rest that takes the style, as one more of them.

    Raises SettingError where there is nothing to paint with, or the rest is named twice.
    """
    asked = list(regions)
    if style is not None:
        paintings_of(style)
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
    return asked
