"""The feature vectors whose self-similarity is compared: a random choice of a picture's positions.

All of them would be a matrix of positions by positions; as in STROTSS (Kolkin et al. 2019, section
2.3) some a layer do, here the same in every step of every run.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Int
from torch import Tensor

from impasto.networks.layer_names import stride_of
from impasto.networks.tiled import Guides
from impasto.networks.tiles import Box, Tile
from impasto.networks.vgg import Features

SAMPLES = 1024  # positions of each layer; as in STROTSS
Vectors = dict[str, Tensor]
"""Sampled feature vectors by layer, n c."""


class Samples:
    """The positions of some layers of a picture of a size (height, width); a random choice of what
    is `visible`, by layer, everything where that has no such layer."""

    def __init__(self, size: tuple[int, int], layers: Iterable[str], visible: Guides) -> None:
        self.positions = {layer: _chosen(size, layer, visible) for layer in layers}
        self.places: dict[tuple[str, Box], tuple[Tensor, Tensor, Tensor]] = {}

    def inside(self, tile: Tile, layer: str, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Which samples lie in the inner box, and their rows and columns there."""
        key = layer, tile.inner
        if key not in self.places:
            box = tile.inner.shrunk(stride_of(layer))
            rows, columns = self.positions[layer].unbind(1)
            mine = (rows >= box.top) & (rows < box.bottom)
            mine &= (columns >= box.left) & (columns < box.right)
            found = mine.nonzero().flatten()
            places = found, rows[found] - box.top, columns[found] - box.left
            number, row, column = (place.to(device) for place in places)
            self.places[key] = number, row, column
        return self.places[key]

    def put(self, tile: Tile, features: Features, vectors: Vectors) -> None:
        """Put this tile's vectors into their places among those of the whole picture."""
        for layer, positions in self.positions.items():
            inner = tile.inner_features(layer, features[layer].detach())
            if layer not in vectors:
                vectors[layer] = inner.new_zeros(len(positions), inner.shape[1])
            mine, rows, columns = self.inside(tile, layer, inner.device)
            vectors[layer][mine] = inner[0, :, rows, columns].T


def _chosen(size: tuple[int, int], layer: str, visible: Guides) -> Int[Tensor, "n 2"]:
    """Row and column of each sample of a layer."""
    height, width = (side // stride_of(layer) for side in size)
    chances = torch.ones(height * width)
    if layer in visible:
        chances = visible[layer].flatten().cpu().float() + 1e-9
    generator = torch.Generator().manual_seed(0)
    chosen = torch.multinomial(chances, min(SAMPLES, height * width), generator=generator)
    chosen = chosen.sort().values
    return torch.stack([chosen // width, chosen % width], 1)
