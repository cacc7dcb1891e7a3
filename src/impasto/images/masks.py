"""Masks: which part of a picture is meant, softly."""

import torch
from jaxtyping import Float
from torch import Tensor

from impasto import images
from impasto.images import Picture, Source

GRAY = (0.2126, 0.7152, 0.0722)  # what red, green and blue add to lightness (ITU-R BT.709)


def read(source: Source | Picture) -> Float[Tensor, "1 1 h w"]:
    """A mask in [0, 1] from anything that `images.read` takes: white is 1, black and clear are 0.

    Raises PictureError for what is no picture.
    """
    picture = source if isinstance(source, Picture) else images.read(source)
    gray = torch.einsum("c,bchw->bhw", picture.pixels.new_tensor(GRAY), picture.pixels)[:, None]
    return gray if picture.alpha is None else gray * picture.alpha


def at(mask: Float[Tensor, "1 1 h w"], size: tuple[int, int]) -> Float[Tensor, "1 1 y x"]:
    """The mask at a width and height, px."""
    return images.resize(mask, size[1], size[0]).clamp(0, 1)
