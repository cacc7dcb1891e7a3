"""A random choice of a picture's positions, and their feature vectors.

For the loss of self-similarity: all of them would be a matrix of positions by positions; as in
STROTSS (Kolkin et al. 2019, section 2.3) some a layer do, here the same in every step of every run.
For the banks of matching: a painting says most things more than once.
"""

import copy
from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Int
from torch import Tensor

from impasto.networks.layer_names import stride_of
from impasto.networks.tiled import Guides
from impasto.networks.tiles import Box, Tile
from impasto.networks.vgg import Features

SAMPLES = 1024  # positions of each layer; as in STROTSS
MOST_CHANCES = 2**24  # that torch.multinomial can choose among
TRIES = 64  # for each position of a larger map that does not count everywhere
Vectors = dict[str, Tensor]
"""Sampled feature vectors by layer, n c."""


class Samples:
    """The positions of some layers of a picture of a size (height, width); a random choice of what
    is `visible`, by layer, everything where that has no such layer. `counts`: how many, by layer,
    if not all take SAMPLES."""

    def __init__(
        self,
        size: tuple[int, int],
        layers: Iterable[str],
        visible: Guides,
        counts: Mapping[str, int] | None = None,
        seed: int = 0,
    ) -> None:
        self.positions = {
            layer: _chosen(size, layer, visible, (counts or {}).get(layer, SAMPLES), seed)
            for layer in layers
        }
        self.places: dict[tuple[str, Box], tuple[Tensor, Tensor, Tensor]] = {}

    def from_row(self, first: int) -> "Samples":
        """The same positions, counted from that row of the picture, px."""
        made = copy.copy(self)
        made.positions = {
            layer: own - torch.tensor([first // stride_of(layer), 0])
            for layer, own in self.positions.items()
        }
        made.places = {}
        return made

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


def _chosen(
    size: tuple[int, int], layer: str, visible: Guides, count: int, seed: int
) -> Int[Tensor, "n 2"]:
    """Row and column of each sample of a layer."""
    height, width = (side // stride_of(layer) for side in size)
    chances = visible[layer].flatten().cpu().float() if layer in visible else None
    if chances is not None:
        count = min(count, int(chances.count_nonzero()))
    if count == 0:
        chances, count = None, 1  # nothing counts, but something has to be compared
    generator = torch.Generator().manual_seed(seed)
    if height * width > MOST_CHANCES:
        chosen = _some_of_many(height * width, chances, count, generator)
    else:
        chances = torch.ones(height * width) if chances is None else chances
        count = min(count, height * width)
        chosen = torch.multinomial(chances, count, generator=generator)
    chosen = chosen.sort().values
    return torch.stack([chosen // width, chosen % width], 1)


def _some_of_many(
    places: int, chances: Tensor | None, count: int, generator: torch.Generator
) -> Int[Tensor, "n"]:
    """So many of the places by their chances, one or the other of them twice."""
    if chances is None:
        return torch.randint(places, (count,), generator=generator)
    tried = torch.randint(places, (count * TRIES,), generator=generator)
    hit = torch.rand(len(tried), generator=generator) * chances.max() < chances[tried]
    first = tried[hit][:count]
    return first if len(first) else chances.topk(count).indices
