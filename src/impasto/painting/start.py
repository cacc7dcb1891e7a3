"""What a run starts from, and what of it is carried from scale to scale."""

from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from impasto import images
from impasto.images import Picture, enlarged
from impasto.losses.pixels import TemporalTarget
from impasto.painting.one_pass import OnePassRun
from impasto.painting.scales import carry_up
from impasto.scene import Scene, View
from impasto.scene.reading import need_of

NOISE_MEAN, NOISE_DEVIATION = 0.5, 0.2  # of the white noise start, in [0, 1]; clamped to it


class Start:
    """The start that a scene's settings name, on a device; `temporal` is that of a film's frame.

    `picture` is a start that is neither the photo, in whichever colors, nor white noise. Raises
    PictureError for a file that is no picture.
    """

    def __init__(
        self, scene: Scene, device: torch.device, temporal: TemporalTarget | None = None
    ) -> None:
        self.scene, self.device, self.temporal = scene, device, temporal
        self.name, self.seamless = scene.settings.start, scene.settings.seamless
        self.picture = self._read()

    def at(self, view: View) -> Float[Tensor, "1 3 h w"]:
        """The first pixels, at the size of a view."""
        if self.temporal is not None:
            return torch.lerp(self._shown(view), self.temporal.image, self.temporal.mask)
        if self.name != "noise":
            return self._shown(view)
        generator = torch.Generator().manual_seed(self.scene.settings.seed)
        noise = torch.randn(1, 3, view.size[1], view.size[0], generator=generator)
        return (NOISE_MEAN + NOISE_DEVIATION * noise).clamp(0, 1).to(self.device)

    def carried(self, pixels: Float[Tensor, "1 3 y x"], view: View) -> Float[Tensor, "1 3 h w"]:
        """What was painted at one size, at the size of a view, with the start's own detail."""
        if self.name == "noise":  # it has no detail worth carrying
            return enlarged(pixels, view.size[1], view.size[0], self.seamless)
        before = self.scene.at((pixels.shape[-1], pixels.shape[-2]))
        return carry_up(pixels, self._shown(before), self._shown(view), self.seamless)

    def _read(self) -> Picture | None:
        match self.name:
            case "content" | "recolored" | "instant" | "noise":
                return None
            case "style":
                return self.scene.parts[0].strokes[0].picture
            case file:
                need = need_of(self.scene.settings, self.scene.settings.size)
                return images.read(file, need=need)

    def _shown(self, view: View) -> Float[Tensor, "1 3 h w"]:
        """The start picture; of white noise, the photo."""
        if self.name == "recolored":
            return view.recolored.to(self.device)
        if self.name == "instant":
            return self._instant.painted(self.scene, view.size).clamp(0, 1)
        if self.picture is None:
            return view.photo.to(self.device)
        return self.picture.resized(*view.size).pixels.to(self.device)

    @cached_property
    def _instant(self) -> OnePassRun:
        """What paints the start picture in one pass."""
        return OnePassRun(self.scene)
