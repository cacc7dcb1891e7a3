"""Guides: how much each position of a layer's feature maps belongs to a part of the picture."""

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from impasto.networks.layer_names import receptive_field, stride_of
from impasto.networks.tiles import Tile

EFFECTIVE_FIELD = 0.5  # of the receptive field's side: a unit hardly listens to what lies beyond
# (Luo et al. 2016, "Understanding the effective receptive field")


def on_grid(mask: Float[Tensor, "1 1 h w"], layer: str) -> Float[Tensor, "1 1 y x"]:
    """How much each position of a layer belongs to the mask: the guide of Gatys et al. 2017.

    The mask's mean over what the position listens to: a triangle as wide as the effective
    receptive field. So the guides of regions that sum to one do so on every layer, and soft edges
    stay soft. (Their `simple` propagation; `inside` would leave borders unpainted.)
    """
    stride = stride_of(layer)
    shrunk = F.avg_pool2d(mask, stride) if stride > 1 else mask
    half = round(receptive_field(layer) * EFFECTIVE_FIELD / stride / 2)
    if half < 1:
        return shrunk
    kernel = torch.cat([torch.arange(1, half + 2), torch.arange(half, 0, -1)]).to(shrunk)
    kernel = kernel / kernel.sum()
    for shape in ((1, 1, -1, 1), (1, 1, 1, -1)):
        weights = kernel.view(shape)
        pads = (0, 0, half, half) if shape[2] == -1 else (half, half, 0, 0)
        shrunk = F.conv2d(F.pad(shrunk, pads, mode="replicate"), weights)
    return shrunk


def guides_of(
    area: Tensor | None, layers: Iterable[str], device: torch.device
) -> dict[str, Tensor]:
    """An area of the picture on the grid of each layer; none for everywhere."""
    if area is None:
        return {}
    return {layer: on_grid(area, layer).to(device) for layer in layers}


def product(area: Tensor | None, other: Tensor | None) -> Tensor | None:
    """The product of two areas, each of which may be everywhere (None)."""
    if area is None or other is None:
        return other if area is None else area
    return area * other


def inside(guides: Mapping[str, Tensor], tile: Tile, layer: str) -> Tensor | None:
    """A layer's guide inside a tile's inner box; None where the layer has none."""
    guide = guides.get(layer)
    return None if guide is None else tile.inner.shrunk(stride_of(layer)).crop(guide)
