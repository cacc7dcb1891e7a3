"""A painting as a picture takes it: which part, turned how, how large, in which colors."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from impasto import images
from impasto.errors import SettingError
from impasto.images import Picture, masks
from impasto.scene.recolor import Recoloring, by_rows
from impasto.settings import WHOLE, Crop, Turn


@dataclass(frozen=True, eq=False)
class Strokes:
    """One painting as one region takes it: what of it, and how much it counts."""

    picture: Picture
    """Cropped and turned; its alpha says what counts."""
    share: float
    scale: float
    """Of the strokes: the painting's long side in those of the picture."""
    recoloring: Recoloring

    def at(self, long_side: int, least: int, grid: int = 1) -> tuple[Tensor, Tensor | None]:
        """The painting's pixels, and what counts of them, for a picture with that long side, px.

        It takes the picture's long side times the scale; never enlarged, as that has no brushwork,
        but by a scale above 1, which asks for it. Its short side is at least `least`, and both
        are multiples of `grid`.
        """
        picture = self.picture
        most = max(picture.size) * max(1.0, self.scale)
        side = max(1, round(min(long_side * self.scale, most)))
        width, height = images.fit(picture.size, side)
        if min(width, height) < least:  # a long strip at a small scale
            width, height = images.fit(picture.size, -(-side * least // min(width, height)))
            width, height = max(width, least), max(height, least)
        width, height = (max(1, round(side / grid)) * grid for side in (width, height))
        small = picture.resized(width, height)
        return by_rows(self.recoloring, small.pixels), small.alpha


def masked(picture: Picture, mask: Tensor | None) -> Picture:
    """A picture whose alpha is less where the mask is."""
    if mask is None:
        return picture
    alpha = masks.at(mask, picture.size)
    if picture.alpha is not None:
        alpha = alpha * picture.alpha
    return replace(picture, alpha=alpha)


def cropped(picture: Picture, crop: Crop) -> Picture:
    """The part of a picture that a crop names."""
    if crop == WHOLE:
        return picture
    width, height = picture.size
    left, right = (round(edge * width) for edge in (crop.left, crop.right))
    top, bottom = (round(edge * height) for edge in (crop.top, crop.bottom))
    if min(right - left, bottom - top) < images.MIN_SIDE:
        raise SettingError(
            f"style_crop leaves {right - left}x{bottom - top} px of {picture.name}: take a larger "
            f"part, at least {images.MIN_SIDE} px a side"
        )
    rows, columns = slice(top, bottom), slice(left, right)
    alpha = None if picture.alpha is None else picture.alpha[..., rows, columns]
    return replace(picture, pixels=picture.pixels[..., rows, columns], alpha=alpha)


def turned(picture: Picture, turn: Turn) -> Picture:
    """The picture mirrored left to right, then turned counter-clockwise; alpha is 0 outside it."""
    pixels, alpha = picture.pixels, picture.alpha
    if turn.mirrored:
        pixels = pixels.flip(-1)
        alpha = None if alpha is None else alpha.flip(-1)
    quarters, rest = divmod(turn.degrees, 90)
    if quarters % 4:  # else the painting itself: a large one is not kept twice
        pixels = pixels.rot90(int(quarters) % 4, (2, 3))
        alpha = None if alpha is None else alpha.rot90(int(quarters) % 4, (2, 3))
    if rest:
        seen = torch.ones_like(pixels[:, :1]) if alpha is None else alpha
        turned = _rotated(torch.cat([pixels * seen, seen], 1), math.radians(rest))
        alpha = turned[:, 3:].clamp(0, 1)
        pixels = (turned[:, :3] / alpha.clamp_min(1e-3)).clamp(0, 1)
    return replace(picture, pixels=pixels.contiguous(), alpha=alpha)


def _rotated(image: Float[Tensor, "1 c h w"], angle: float) -> Float[Tensor, "1 c y x"]:
    """The image turned counter-clockwise by up to a quarter, on a canvas that holds it all."""
    height, width = image.shape[-2:]
    cos, sin = math.cos(angle), math.sin(angle)
    wide, high = math.ceil(width * cos + height * sin), math.ceil(width * sin + height * cos)
    matrix = image.new_tensor(
        [
            [cos * wide / width, -sin * high / width, 0],
            [sin * wide / height, cos * high / height, 0],
        ]
    )
    grid = F.affine_grid(matrix[None], [1, image.shape[1], high, wide], align_corners=False)
    return F.grid_sample(image, grid, align_corners=False)
