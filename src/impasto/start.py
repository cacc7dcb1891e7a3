"""What a run starts from, and what of it is carried from scale to scale."""

from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from impasto import images
from impasto.images import Picture
from impasto.onepass import OnePass
from impasto.pixelwise import Held
from impasto.scales import carry_up, enlarged
from impasto.scene import Scene

NOISE_MEAN, NOISE_DEVIATION = 0.5, 0.2  # of the white noise start, in [0, 1]; clamped to it


class Start:
    """The start that a scene's settings name, on a device; `held` is that of a frame of a film.

    `picture` is a start that is neither the photo, in whichever colours, nor white noise. Raises
    PictureError for a file that is no picture.
    """

    def __init__(self, scene: Scene, device: torch.device, held: Held | None = None) -> None:
        self.scene, self.device, self.held = scene, device, held
        self.name, self.seamless = scene.settings.start, scene.settings.seamless
        self.picture = self._read()

    def at(self, size: tuple[int, int]) -> Float[Tensor, "1 3 h w"]:
        """The first pixels, at a width and height."""
        if self.held is not None:
            return torch.lerp(self._shown(size), self.held.image, self.held.mask)
        if self.name != "noise":
            return self._shown(size)
        generator = torch.Generator().manual_seed(self.scene.settings.seed)
        noise = torch.randn(1, 3, size[1], size[0], generator=generator)
        return (NOISE_MEAN + NOISE_DEVIATION * noise).clamp(0, 1).to(self.device)

    def carried(
        self, pixels: Float[Tensor, "1 3 y x"], size: tuple[int, int]
    ) -> Float[Tensor, "1 3 h w"]:
        """What was painted at one size at another, with the start's own detail."""
        if self.name == "noise":  # it has no detail worth carrying
            return enlarged(pixels, size[1], size[0], self.seamless)
        here = pixels.shape[-1], pixels.shape[-2]
        return carry_up(pixels, self._shown(here), self._shown(size), self.seamless)

    def _read(self) -> Picture | None:
        match self.name:
            case "content" | "recolored" | "instant" | "noise":
                return None
            case "style":
                return self.scene.parts[0].strokes[0].picture
            case file:
                return images.read(file)

    def _shown(self, size: tuple[int, int]) -> Float[Tensor, "1 3 h w"]:
        """The start picture; of white noise, the photo."""
        if self.name == "recolored":
            return self.scene.recolored_at(size).to(self.device)
        if self.name == "instant":
            return self._instant.painted(self.scene, size).clamp(0, 1)
        if self.picture is None:
            return self.scene.content_at(size).to(self.device)
        return self.picture.resized(*size).pixels.to(self.device)

    @cached_property
    def _instant(self) -> OnePass:
        """What paints the start picture in one pass."""
        return OnePass(self.scene)
