"""What a scene is made of, read and checked: the photo, masks, and each region's paintings."""

import math
import numbers
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from impasto import fingerprint, machine, segmentation
from impasto.errors import PictureError, SettingError, WeightsError
from impasto.images import Need, Picture, fit, folder, masks, objects, paintings
from impasto.machine.memory import check_limit
from impasto.scene.colors import SMALL, Colors
from impasto.scene.regions import (
    AnyPicture,
    Part,
    Region,
    Style,
    for_each,
    name_of,
    origin_of,
    paintings_of,
)
from impasto.scene.strokes import Strokes, cropped, masked, turned
from impasto.settings import WHOLE, Crop, Settings, Strength
from impasto.weights import trained

SEEN = {"content": "photo", "palette": "palette"}  # inputs that may not be transparent
PROPORTIONS = 1.03  # how far a mask's may be from its picture's
LEAST_AREA = 1e-3  # of a painting: less has no strokes to take


class Reader:
    """Reads the pictures of a scene, and keeps a list of them for the recipe.

    `inputs` are the pictures by what they are, `networks` the files of trained networks, `sources`
    says what each is called, to find it again, `notes` what a front end should tell its user,
    `words` the masks that were found in the photo. `may_lack` says that there may be none.
    Raises ImpastoError for what cannot be read or does not fit; before anything is read, for a
    memory limit that cannot be kept.
    """

    def __init__(self, settings: Settings, may_lack: bool = False) -> None:
        compute = machine.start(settings.devices[0], settings.precision)
        check_limit(settings.memory_limit, compute.dtype)
        self.settings = settings
        self.inputs: dict[str, Picture] = {}
        self.networks: dict[str, Path] = {}
        self.sources: dict[str, Any] = {}
        self.notes: list[str] = []
        self.words: dict[str, Tensor] = {}
        self.by_word: dict[str, str] = {}
        self.may_lack = may_lack

    def picture(self, what: str, source: AnyPicture, side: int) -> Picture:
        """A picture of which so many px of the long side are needed, or a painting by its
        name. All of a photo is needed where its own size is painted."""
        whole = what == "content" and self.settings.original_size
        need = need_of(self.settings, None if whole else side)
        picture = self.inputs[what] = paintings.picture(source, need)
        if what in SEEN and picture.alpha is not None and not bool(picture.alpha.any()):
            raise PictureError(
                f"the {SEEN[what]} {picture.name!r} is fully transparent: there is nothing to see"
            )
        return picture

    def mask(self, what: str, source: AnyPicture, of: Picture) -> Tensor:
        """A mask of a picture: a file's, or what a word (`segmentation.WORDS`) means in it.

        PictureError if it is black, has other proportions, or nothing is found.
        """
        self._say(segmentation.stands_before(source))
        if segmentation.is_word(source):
            return self._found(what, str(source), of)
        segmentation.check_word(source)
        read = self.picture(what, objects.drawn(source), max(of.size))
        mask, (width, height), its = masks.read(read), read.own_size, of.own_size
        if abs(math.log(width / height * its[1] / its[0])) > math.log(PROPORTIONS):
            raise PictureError(
                f"the {what} {read.name!r} is {width}x{height} px, but {of.name!r} is "
                f"{its[0]}x{its[1]}: give both the same proportions"
            )
        return mask

    def _found(self, what: str, word: str, of: Picture) -> Tensor:
        """The mask that a word means in a picture; in the photo it is looked for once."""
        is_photo = of is self.inputs.get("content")
        mask = self.words.get(word) if is_photo else None
        if mask is None:
            finding = segmentation.found(of, word, self.may_lack)
            mask = finding.mask
            self._say(finding.note)
        if is_photo:
            self.words[word] = mask
        self.by_word[what] = word
        self.inputs[what] = Picture(mask.expand(1, 3, -1, -1), None, word, word)
        return mask

    def _say(self, note: str | None) -> None:
        """Note what a front end should tell its user, once."""
        self.notes += [note] if note and note not in self.notes else []

    def part(self, region: Region, photo: Picture, main: Style | None, colors: Colors) -> Part:
        """A region with everything read. main: the style of the rest, which the lists of the
        settings are for."""
        name, strength = region.name, region.strength
        strength = self.settings.strength if strength is None else strength
        if not isinstance(strength, numbers.Real) or not 0 <= strength <= 1:
            raise SettingError(f"the strength of {name} is {strength!r}: it must be 0 to 1")
        styles = paintings_of(region.style)
        is_main = region.style is main
        shares = for_each(
            self.settings.style_weights or (1.0,), len(styles), "style_weights", is_main
        )
        if sum(shares) <= 0:
            raise SettingError("style_weights are all 0: give one style a weight")
        strokes: tuple[Strokes, ...] = ()
        networks: tuple[tuple[Path, float], ...] = ()
        if any(map(trained.is_network, styles)):
            networks = self._networks(region, styles, shares)
        else:
            strokes = self._strokes(region, styles, shares, is_main, colors)
        areas = None
        if region.mask is not None:
            areas = (self.mask(f"{name} mask", region.mask, photo),)
        self._note(region, styles)
        prints = [(fingerprint_of(s.picture), s.share, s.scale) for s in strokes]
        key = f"{prints} {networks} {strength}"
        return Part(areas, strokes, networks, Strength(strength), key)

    def _note(self, region: Region, styles: Sequence[AnyPicture]) -> None:
        """Say in the recipe what a region's pictures are called."""
        self.sources["regions"].append(
            {
                "name": region.name,
                "style": [name_of(origin_of(style)) for style in styles],
                "mask": self.name_of(f"{region.name} mask"),
                "strength": region.strength,
                "style_mask": self.name_of(f"{region.name} style mask"),
            }
        )

    def name_of(self, what: str) -> str | None:
        """What a picture that was read is called in the recipe: a file by its name, a mask that was
        found by its word; None if it came from no file."""
        picture = self.inputs.get(what)
        if picture is None or what in self.by_word:
            return self.by_word.get(what)
        name = name_of(picture.origin)
        return f"./{name}" if name in segmentation.WORDS else name

    def _strokes(
        self,
        region: Region,
        styles: Sequence[AnyPicture],
        shares: Sequence[float],
        is_main: bool,
        colors: Colors,
    ) -> tuple[Strokes, ...]:
        """The paintings of a region, each as the region takes it."""
        settings, count = self.settings, len(styles)
        scales = for_each(settings.style_scale, count, "style_scale", is_main)
        crops = for_each(settings.style_crop or (WHOLE,), count, "style_crop", is_main)
        strokes: list[Strokes] = []
        for style, share, scale, crop in zip(styles, shares, scales, crops, strict=True):
            self._say(paintings.stands_before(style))
            found = folder.sources(style)
            each = share / sum(shares) / len(found) / len(settings.style_turn)
            for source in found:
                least = min(crop.right - crop.left, crop.bottom - crop.top)
                need = need_of(settings, math.ceil(settings.size * scale / least))
                picture = paintings.picture(source, need)
                if len(found) > 1:  # a folder may hold more than memory does
                    picture = self._enough_of(picture, scale, crop)
                self.inputs[f"{region.name} painting {len(self.inputs)}"] = picture
                mask = None
                if region.style_mask is not None:
                    mask = self.mask(f"{region.name} style mask", region.style_mask, picture)
                if each == 0:
                    continue
                chosen = cropped(masked(picture, mask), crop)
                _check_seen(chosen)
                recoloring = colors.of_painting(picture)
                strokes += [
                    Strokes(turned(chosen, turn), each, scale, recoloring)
                    for turn in settings.style_turn
                ]
        return tuple(strokes)

    def _enough_of(self, picture: Picture, scale: float, crop: Crop) -> Picture:
        """A painting no larger than the largest scale needs it."""
        part = max(crop.right - crop.left, crop.bottom - crop.top)
        side = math.ceil(self.settings.size * scale / part)
        if max(picture.size) <= side:
            return picture
        return replace(picture.resized(*fit(picture.size, side)), origin=picture.origin)

    def _networks(
        self, region: Region, styles: Sequence[AnyPicture], shares: Sequence[float]
    ) -> tuple[tuple[Path, float], ...]:
        """The trained networks of a region with their shares."""
        found = []
        for style, share in zip(styles, shares, strict=True):
            if not trained.is_network(style) or region.style_mask is not None:
                raise SettingError(
                    f"{region.name} mixes a trained network with a painting or its mask: give a "
                    "region the one or the other"
                )
            assert isinstance(style, str | os.PathLike)
            path = trained.network_path(style)
            if not path.is_file():
                raise WeightsError(f"there is no network {path}: check the name")
            self.networks[f"{region.name} network {len(self.networks)}"] = path
            if share:
                found.append((path, share / sum(shares)))
        return tuple(found)


def _check_seen(painting: Picture) -> None:
    """PictureError for a painting of which nothing is left."""
    share = 1.0 if painting.alpha is None else float(painting.alpha.mean())
    if share < LEAST_AREA:
        part = f"only {share:.2%}" if share else "nothing"
        raise PictureError(
            f"{part} of the painting {painting.name!r} can be seen: make it less transparent, or "
            "choose another mask or crop"
        )


def need_of(settings: Settings, side: int | None) -> Need:
    """What a picture is read for: so many px of its long side, and enough for its colors; in the
    memory that the settings leave, if that is not a card's."""
    card = machine.choose_device(settings.devices[0]).type == "cuda"
    wanted = None if side is None else max(side, SMALL)
    return Need(wanted, limit=None if card else settings.memory_limit)


def fingerprint_of(picture: Picture) -> str:
    """The fingerprint of a picture's pixels and alpha."""
    parts = (picture.pixels,) if picture.alpha is None else (picture.pixels, picture.alpha)
    return fingerprint.short(*parts)
