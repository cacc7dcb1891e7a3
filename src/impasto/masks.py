"""Masks: which part of a picture is meant, softly, and what that means on a layer's grid."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from impasto import images, vgg
from impasto.images import Picture, Source

GREY = (0.2126, 0.7152, 0.0722)  # what red, green and blue add to lightness (ITU-R BT.709)
EFFECTIVE_FIELD = 0.5  # of the receptive field's side: a unit hardly listens to what lies beyond
# (Luo et al. 2016, "Understanding the effective receptive field")


def read(source: Source | Picture) -> Float[Tensor, "1 1 h w"]:
    """A mask in [0, 1] from anything that `images.read` takes: white is 1, black and clear are 0.

    Raises PictureError for what is no picture.
    """
    picture = source if isinstance(source, Picture) else images.read(source)
    grey = torch.einsum("c,bchw->bhw", picture.pixels.new_tensor(GREY), picture.pixels)[:, None]
    return grey if picture.alpha is None else grey * picture.alpha


def at(mask: Float[Tensor, "1 1 h w"], size: tuple[int, int]) -> Float[Tensor, "1 1 y x"]:
    """The mask at a width and height, px."""
    return images.resize(mask, size[1], size[0]).clamp(0, 1)


def on_grid(mask: Float[Tensor, "1 1 h w"], layer: str) -> Float[Tensor, "1 1 y x"]:
    """How much each position of a layer belongs to the mask: the guide of Gatys et al. 2017.

    The mask's mean over what the position listens to: a triangle as wide as the effective
    receptive field. So the guides of regions that sum to one do so on every layer, and soft edges
    stay soft. (Their `simple` propagation; `inside` would leave borders unpainted.)
    """
    stride = vgg.stride_of(layer)
    shrunk = F.avg_pool2d(mask, stride) if stride > 1 else mask
    half = round(vgg.receptive_field(layer) * EFFECTIVE_FIELD / stride / 2)
    if half < 1:
        return shrunk
    kernel = torch.cat([torch.arange(1, half + 2), torch.arange(half, 0, -1)]).to(shrunk)
    kernel = kernel / kernel.sum()
    for shape in ((1, 1, -1, 1), (1, 1, 1, -1)):
        weights = kernel.view(shape)
        pads = (0, 0, half, half) if shape[2] == -1 else (half, half, 0, 0)
        shrunk = F.conv2d(F.pad(shrunk, pads, mode="replicate"), weights)
    return shrunk
