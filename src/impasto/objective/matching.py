"""The term of matching: which stroke each place of the picture is held to, tile by tile."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from impasto.losses import matching
from impasto.losses.matching import Bank
from impasto.networks.layer_names import stride_of
from impasto.networks.tiled import Guides
from impasto.networks.tiles import Tile
from impasto.networks.vgg import Features
from impasto.objective import guides

Banks = Mapping[str, Bank]
"""The strokes that a part of the picture takes, by layer."""


class Matching:
    """The matches of a picture of that size (height, width) with the banks of its parts.

    `parts` are each part's banks, guides and weight: one without banks is not matched. `weights`
    are those of the layers, `places` tells how many places of a layer count. The matches are found
    when the objective is next evaluated after `renew`, as at the beginning, and stay until then.
    """

    def __init__(
        self,
        size: tuple[int, int],
        parts: Sequence[tuple[Banks, Guides, float]],
        weights: Mapping[str, float],
        places: Callable[[str], Tensor | int],
    ) -> None:
        self.size, self.places = size, places
        self.parts = tuple(part for part in parts if part[0])
        self.weights = {layer: w for layer, w in weights.items() if w and self.parts}
        self.due = True
        """Whether the matches have yet to be found, or found anew."""
        self.matches: dict[str, Int[Tensor, "parts h w"]] = {}

    def limited(self, layers: set[str] | None) -> "Matching":
        """The same at some of the layers alone, or at all (None), with matches of its own."""
        chosen = self.weights if layers is None else self.weights.keys() & layers
        weights = {layer: self.weights[layer] for layer in self.weights if layer in chosen}
        return Matching(self.size, self.parts, weights, self.places)

    def renew(self) -> None:
        """Find the matches anew when the objective is next evaluated."""
        self.due = True

    def _find(self, tile: Tile, features: Features) -> None:
        """Find the matches of a tile's inner box."""
        for layer in self.weights:
            maps = tile.inner_features(layer, features[layer].detach())
            stride = stride_of(layer)
            if layer not in self.matches:
                shape = len(self.parts), self.size[0] // stride, self.size[1] // stride
                self.matches[layer] = torch.zeros(shape, dtype=torch.int16, device=maps.device)
            box = tile.inner.shrunk(stride)
            for found, (banks, own, _) in zip(self.matches[layer], self.parts, strict=True):
                guide = guides.inside(own, tile, layer)
                if guide is None or bool(guide.any()):
                    box.crop(found).copy_(matching.nearest(maps, banks[layer]))

    def term(self, tile: Tile, features: Features) -> Tensor:
        """A tile's share of the term; finds the matches where they are due."""
        if self.due:
            self._find(tile, features)
        shares = [
            factor * matching.distance(*compared)
            for layer in self.weights
            for factor, compared in self._compared(tile, layer, features)
        ]
        return torch.stack(shares).sum()

    def sizes(self, tile: Tile, features: Features) -> list[Tensor]:
        """The root mean squares of dL/dF of a tile, by layer and part: see `loss_scaling`."""
        return [
            factor * (matching.steepness(*compared) / compared[0].numel()).sqrt()
            for layer in self.weights
            for factor, compared in self._compared(tile, layer, features)
        ]

    def add_slope(
        self, tile: Tile, layer: str, maps: Tensor, scale: float | Tensor, onto: Tensor
    ) -> None:
        """Add a layer's dL/dF, times the scale, to that of a tile's inner box, in place."""
        if layer not in self.weights:
            return
        for number, (banks, own, _) in enumerate(self.parts):
            guide = guides.inside(own, tile, layer)
            matches, factor = self._inside(number, tile, layer), self._factor(number, layer)
            matching.add_slope(maps, matches, banks[layer], scale * factor, guide, onto)

    def state(self) -> dict[str, Tensor]:
        """All that `load` needs to go on: the matches by layer; none where they are due."""
        return {} if self.due else dict(self.matches)

    def load(self, matches: Mapping[str, Tensor]) -> None:
        """Go on from a state; there may be none."""
        self.due = not (matches and self.weights)
        if not self.due:
            device = next(iter(self.parts[0][0].values())).mean.device
            self.matches = {layer: found.to(device, copy=True) for layer, found in matches.items()}

    def _compared(
        self, tile: Tile, layer: str, features: Features
    ) -> Iterator[tuple[Float[Tensor, ""] | float, tuple[Tensor, Tensor, Bank, Tensor | None]]]:
        """For each part its factor, and what its losses are functions of: the maps of a tile's
        inner box, their matches, the bank and the guide."""
        maps = tile.inner_features(layer, features[layer].detach())
        for number, (banks, own, _) in enumerate(self.parts):
            guide = guides.inside(own, tile, layer)
            matches = self._inside(number, tile, layer)
            yield self._factor(number, layer), (maps, matches, banks[layer], guide)

    def _inside(self, number: int, tile: Tile, layer: str) -> Int[Tensor, "h w"]:
        """A part's matches in a tile's inner box: a view."""
        return tile.inner.shrunk(stride_of(layer)).crop(self.matches[layer][number])

    def _factor(self, number: int, layer: str) -> Float[Tensor, ""] | float:
        """What multiplies the sum over the places: a mean over all that count, weighted."""
        return self.parts[number][2] * self.weights[layer] / self.places(layer)
