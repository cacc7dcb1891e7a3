"""The way back: from the gradient of the loss in moments and samples to that of a tile's pixels.

The first pass over the tiles leaves `Slopes`: a few small matrices for each layer. The second pass
sends dL/dF of every layer back through each tile's network, layer by layer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from impasto import losses
from impasto.layers.convolution import send_back
from impasto.losses import moments
from impasto.losses.moments import Moments
from impasto.machine.memory import rows_of
from impasto.networks.layer_names import stride_of
from impasto.networks.tiled import Guides
from impasto.networks.tiles import Tile
from impasto.networks.vgg import Features
from impasto.objective import guides, loss_scaling
from impasto.objective.matching import Matching
from impasto.objective.samples import Samples


@dataclass(frozen=True)
class ContentTarget:
    """The photo's features at a layer, what multiplies their squared differences, and where."""

    features: Float[Tensor, "1 c h w"]
    factor: Float[Tensor, "1"]

    def inside(self, tile: Tile, layer: str) -> Tensor:
        """The photo's features inside a tile's inner box: a view."""
        return tile.inner.shrunk(stride_of(layer)).crop(self.features)


@dataclass(frozen=True)
class StyleSlope:
    """The gradient of the style loss in the moments of one target at one layer."""

    guides: Guides
    n: Float[Tensor, "b"]
    mean: Float[Tensor, "b c"] | None
    second: Float[Tensor, "b c c"]

    @classmethod
    def of(cls, measured: Moments, own_guides: Guides) -> "StyleSlope":
        """The gradients that a backward pass left in measured moments."""
        return cls(own_guides, measured.weight, measured.mean.grad, gradient_of(measured.second))


@dataclass
class Slopes:
    """What the second pass needs to know of the first, and how it sends that back."""

    content: Mapping[str, ContentTarget]
    content_guides: Guides
    samples: Samples
    matching: Matching
    scaled: bool
    """Whether gradients are multiplied on their way, as those in float16 have to be."""
    style: dict[str, list[StyleSlope]] = field(default_factory=dict)
    """By layer, for each target."""
    sampled: dict[str, Tensor] = field(default_factory=dict)
    """By layer: dL/dF of the sampled vectors."""
    sizes: list[Tensor] = field(default_factory=list)
    """The root mean square of each layer's dL/dF, where the gradient has to be scaled."""
    scale: float | Tensor = 1.0
    """What the gradient is multiplied with on its way; see `loss_scaling`."""

    def scale_for(self, tile: Tile, content: Tensor, features: Features) -> Tensor:
        """What this tile's gradient is multiplied with on its way; the tile's share of the content
        term is bounded by that of all content layers."""
        sizes = [*self.sizes, *self.matching.sizes(tile, features)]
        for layer, target in self.content.items():
            count = target.inside(tile, layer).numel()
            sizes.append(loss_scaling.size_of_content(content, target.factor, count))
        return loss_scaling.factor(sizes, content)

    def send_back(self, tile: Tile, features: Features, order: Sequence[str]) -> None:
        """Accumulate the total's gradient in a tile's pixels, from dL/dF at every layer.

        order: the network's layers. The deepest layer's gradient starts the backward pass; each
        other's is added only when the pass comes by, and its features are let go: nothing waits in
        memory. Where the pass fails, as for want of memory, all of them are let go: their hooks
        would hold them for good.
        """
        *shallow, deepest = sorted(features, key=order.index)
        for name in shallow:
            hook = partial(self.add_own, tile, name, features)
            features[name].register_hook(hook)  # type: ignore[no-untyped-call]
        top = features[deepest]
        try:
            send_back(top, self.add_own(tile, deepest, features, torch.zeros_like(top)))
        finally:
            features.clear()

    def add_own(self, tile: Tile, layer: str, features: Features, gradient: Tensor) -> Tensor:
        """Add dL/dF of one layer, inside the inner box, to the gradient that comes down to it.

        In place, or block by block of rows: a second map of that size would be the peak of memory.
        """
        maps = features.pop(layer).detach()
        inner, own = (tile.inner_features(layer, whole) for whole in (maps, gradient))
        for slope in self.style.get(layer, ()):
            guide = guides.inside(slope.guides, tile, layer)
            n = slope.n / self.scale
            moments.pull_back(inner, guide, n, slope.mean, slope.second, onto=own)
        self.matching.add_slope(tile, layer, inner, self.scale, own)
        if layer in self.content:
            self._add_content(tile, layer, inner, own)
        if layer in self.sampled:
            mine, rows, columns = self.samples.inside(tile, layer, own.device)
            sampled = self.scale * self.sampled[layer][mine]
            own[0, :, rows, columns] += sampled.to(own.dtype).T
        return gradient

    def _add_content(self, tile: Tile, layer: str, inner: Tensor, own: Tensor) -> None:
        """Add the content loss's own gradient, weighed by the content guide."""
        target = self.content[layer]
        wanted = target.inside(tile, layer)
        guide = guides.inside(self.content_guides, tile, layer)
        factor = self.scale * target.factor
        for block in rows_of(inner):
            weight = None if guide is None else guide[:, :, block]
            own[:, :, block] += losses.content_slope(
                inner[:, :, block], wanted[:, :, block], factor, weight
            )


def gradient_of(leaf: Tensor) -> Tensor:
    """The gradient that a backward pass left in a leaf. RuntimeError if it left none: a missing
    gradient is no zero, but a fault."""
    if leaf.grad is None:
        raise RuntimeError(f"a backward pass left no gradient in a leaf of {tuple(leaf.shape)}")
    return leaf.grad
