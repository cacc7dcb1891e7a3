"""A scene at one size: all that a scale of a run asks of it, made once, when it is asked for."""

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.images import Picture, masks
from impasto.scene import recolor
from impasto.scene.areas import Area, areas_of, canvas_of, content_share_of, shown_of
from impasto.scene.recolor import Recoloring
from impasto.scene.regions import Part


class View:
    """A scene at a width and height, px.

    photo: without transparency, as it is painted over. recoloring: of the photo. tones: for each
    part, what brings the photo's colors to those of its paintings. keep: where what is painted
    shows in part only, as much as keep_strength is of the strength.
    """

    def __init__(
        self,
        size: tuple[int, int],
        photo: Picture,
        parts: Sequence[Part],
        mask: Tensor | None,
        alpha: Tensor | None,
        recoloring: Recoloring,
        tones: Callable[[], Sequence[Recoloring]],
        keep: Tensor | None = None,
        keep_strength: float = 1.0,
    ) -> None:
        self.size, self.parts = size, parts
        self._photo, self._mask, self._alpha = photo, mask, alpha
        self._recoloring, self._tones = recoloring, tones
        self._keep, self._keep_strength = keep, keep_strength

    @cached_property
    def photo(self) -> Float[Tensor, "1 3 h w"]:
        """The photo as it is painted over: recolored, if the settings ask for it."""
        pixels = self._photo.resized(*self.size).pixels
        if self._recoloring is recolor.unchanged:
            return pixels
        return recolor.by_rows(self._recoloring, pixels)

    @cached_property
    def recolored(self) -> Float[Tensor, "1 3 h w"]:
        """The photo with its colors brought to those of its paintings, part by part."""
        found = self.photo
        for area, tone in zip(self.areas, self._tones(), strict=True):
            toned = recolor.by_rows(tone, self.photo)
            found = toned if area is None else torch.addcmul(found, area, toned - self.photo)
        return found

    @cached_property
    def areas(self) -> list[Area | None]:
        """Where each part is; None for the only one, which is everywhere."""
        return areas_of(self.parts, self._mask, self.size)

    @cached_property
    def canvas(self) -> Area | None:
        """Where the picture is painted, and where it stays the photo; None: painted everywhere."""
        return canvas_of(self.parts, self._mask, self.areas)

    @cached_property
    def shown(self) -> Area | None:
        """How much of what is painted shows in the end, the photo beneath it: the canvas, but less
        where the photo is kept. None: painted everywhere, and all of it shows."""
        if self._keep is None:
            return self.canvas
        keep = masks.at(self._keep, self.size)
        shown = shown_of(self.parts, self.areas, keep, self._keep_strength)
        return self.canvas if shown is None else shown

    @cached_property
    def content_share(self) -> Area | None:
        """What multiplies the content weight, place by place; None: the only part's, everywhere."""
        return content_share_of(self.parts, self.areas)

    @cached_property
    def alpha(self) -> Area | None:
        """The photo's alpha, if it has one: what is transparent weighs nothing."""
        return None if self._alpha is None else masks.at(self._alpha, self.size)
