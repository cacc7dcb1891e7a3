"""Whole pictures measured tile by tile: a painting's moments, a photo's feature maps."""

from collections.abc import Callable, Iterable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.losses import moments
from impasto.losses.moments import Moments
from impasto.networks import tiles
from impasto.networks.layer_names import stride_of
from impasto.networks.tiles import Tile
from impasto.networks.vgg import VGG, Features

Guides = Mapping[str, Tensor]
"""The weight of each position, >= 0, by layer: 1 1 h w on the layer's grid."""


def statistics_for(style_losses: Iterable[str], device: torch.device) -> torch.dtype | None:
    """The type that moments need for these losses; None for float32, all that Apple's MPS has.

    The Wasserstein distance takes square roots of the eigenvalues of a covariance, most of which
    are near zero where there are more channels than strokes: roundings of 1e-7 would become 3e-4.
    """
    delicate = "wasserstein" in style_losses and device.type != "mps"
    return torch.float64 if delicate else None


def style_moments(
    network: VGG,
    style: Float[Tensor, "1 3 h w"],
    layers: Iterable[str],
    tile: int | None = None,
    statistics: torch.dtype | None = None,
    guides: Guides | None = None,
    show: Callable[[Tile, Features], None] | None = None,
) -> dict[str, Moments]:
    """The moments of a painting at each of the layers, over tiles of that side if given.

    `guides` say how much each position of the painting counts. `show` is given each tile's
    features.
    """
    names = tuple(layers)
    sums: dict[str, Moments] = {}
    side = tile or max(style.shape)
    wrap = network.padding == "circular"
    for piece in tiles.cut(style.shape[-2], style.shape[-1], side, names, wrap):
        with torch.no_grad():
            features = network(piece.outer.taken_from(style), names)
        if show is not None:
            show(piece, features)
        for layer in names:
            inner = piece.inner_features(layer, features[layer])
            guide = (guides or {}).get(layer)
            if guide is not None:
                guide = piece.inner.shrunk(stride_of(layer)).crop(guide)
            found = moments.measure(inner, guide, statistics)
            sums[layer] = sums[layer] + found if layer in sums else found
    return sums


def features_of(
    network: VGG,
    image: Float[Tensor, "b 3 h w"],
    layers: Iterable[str],
    pieces: Iterable[Tile],
) -> Features:
    """The feature maps of the whole picture at each of the layers, put together from tiles."""
    names = tuple(layers)
    found: Features = {}
    for piece in pieces if names else ():
        with torch.no_grad():
            features = network(piece.outer.taken_from(image), names)
        for layer in names:
            stride = stride_of(layer)
            if layer not in found:
                height, width = (side // stride for side in image.shape[-2:])
                shape = (*features[layer].shape[:2], height, width)
                found[layer] = torch.empty(
                    shape,
                    dtype=network.dtype,
                    device=image.device,
                    memory_format=torch.channels_last,
                )
            inner = piece.inner_features(layer, features[layer])
            piece.inner.shrunk(stride).crop(found[layer]).copy_(inner)
    return found
