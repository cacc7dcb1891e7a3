"""Masks: which part of a picture is meant, softly."""

import torch
from jaxtyping import Float
from torch import Tensor

from impasto import images
from impasto.errors import PictureError
from impasto.images import Picture, Source, objects

GRAY = (0.2126, 0.7152, 0.0722)  # what red, green and blue add to lightness (ITU-R BT.709)
ONES = (1 / 255, 1 / 65535)  # what a 1 of whole numbers becomes where white is the largest number
COLORED = 0.05  # mean difference between the channels of what is no gray
DARK = 0.02  # of 1: a mask without anything brighter is black, or holds other numbers than a mask


def read(source: Source | Picture) -> Float[Tensor, "1 1 h w"]:
    """A mask in [0, 1] from anything that `images.read` takes: white is 1, black and clear are 0.

    Where all that can be seen is black or colored, as cut-out tools and brushes leave it, alpha is
    the mask. Masks of nothing but the whole numbers 0 and 1 are masks of 0 and 1, and of a dict of
    Gradio's editor what was drawn is the mask. Raises PictureError for what is no picture, and for
    a mask that is black.
    """
    found = source if isinstance(source, Picture) else images.read(objects.drawn(source))
    gray = torch.einsum("c,bchw->bhw", found.pixels.new_tensor(GRAY), found.pixels)[:, None]
    if found.alpha is not None:
        gray = found.alpha if _is_stencil(found) else gray * found.alpha
    most = float(gray.max())
    if any(abs(most / one - 1) < 1e-3 for one in ONES):
        return (gray / most).round()
    if most < DARK:
        raise PictureError(
            f"the mask {found.name!r} is black, or nearly (its brightest is {most:.3f} of 1): what "
            "is white in it is meant"
        )
    return gray


def _is_stencil(mask: Picture) -> bool:
    """True where alpha is the mask: the colors that can be seen are black, or none are gray."""
    assert mask.alpha is not None
    seen = mask.pixels * mask.alpha
    spread = (seen.amax(1) - seen.amin(1)).sum() / mask.alpha.sum().clamp_min(1e-6)
    return float(seen.max()) < DARK or float(spread) > COLORED


def at(mask: Float[Tensor, "1 1 h w"], size: tuple[int, int]) -> Float[Tensor, "1 1 y x"]:
    """The mask at a width and height, px."""
    return images.resize(mask, size[1], size[0]).clamp(0, 1)
