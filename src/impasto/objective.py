"""The objective of one scale: targets in, loss terms and their gradient out, tile by tile.

A picture that fits into memory is one tile. A larger one is several, in two passes: the first
sums the tiles' moments to those of the whole picture; the style losses are functions of these,
and their gradient with respect to mean and second moment, a few small matrices, is all that the
second pass needs to send dL/dF back through each tile (see `moments.pull_back`). The result is
that of the whole picture, at constant memory.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from impasto import losses, moments, tiles, vgg
from impasto.losses import LossScale
from impasto.moments import Moments
from impasto.settings import LayerWeights
from impasto.tiles import Tile
from impasto.vgg import VGG, Features

Terms = dict[str, Float[Tensor, ""]]
"""Loss terms by name, already weighted: `content`, `style`, `tv` and their sum, `total`."""
Gradients = dict[str, tuple[Tensor, Tensor]]
"""dL/dm and dL/dS by layer."""

BLOCK_VALUES = 2**21  # of a feature map that are worked on at a time: 4 MB in bfloat16


@dataclass(frozen=True)
class Weights:
    """What each loss weighs: alpha, beta and the weight of total variation."""

    content: float
    style: float
    tv: float = 0.0


class Objective:
    """alpha L_content + beta L_style + tv L_tv as a function of a picture's pixels.

    L_content = sum_l v_l content(F_l, P_l) and L_style = sum_l w_l sum_k style_k(M_l, M*_l) over
    the layers l with their weights and the chosen style losses k (Gatys et al. 2016, eq. 5 and 7).
    `guides` weigh the positions of style layers (1 1 h w, by layer; Gatys et al. 2017, eq. 7);
    `tile` is the side of the tiles in px, None for the whole picture at once.
    """

    def __init__(
        self,
        network: VGG,
        content: Float[Tensor, "1 3 h w"],
        style: Mapping[str, Moments],
        weights: Weights,
        content_layers: LayerWeights,
        style_layers: LayerWeights,
        style_losses: Iterable[str] = ("gram",),
        scale: LossScale = "paper",
        guides: Mapping[str, Tensor] | None = None,
        tile: int | None = None,
    ) -> None:
        self.network, self.weights, self.scale = network, weights, scale
        self.content_layers = {name: w for name, w in content_layers if w and weights.content}
        self.style_layers = {name: w for name, w in style_layers if w and weights.style}
        self.style_losses = tuple(style_losses)
        self.layers = tuple({**self.content_layers, **self.style_layers})
        self.style, self.guides = style, guides or {}
        self.statistics = statistics_for(self.style_losses, content.device)
        self.size = content.shape[-2], content.shape[-1]
        self.use_tiles(tile)
        self.content = features_of(network, content, self.content_layers, self.tiles)
        self.factors = {
            layer: weights.content * weight * losses.content_factor(self.content[layer], scale)
            for layer, weight in self.content_layers.items()
        }

    def use_tiles(self, tile: int | None) -> None:
        """Compute in tiles of that side from now on, px; None for the whole picture at once."""
        self.tile = tile
        self.tiles = tiles.plan(*self.size, tile or max(self.size), self.layers)

    def evaluate(self, image: Float[Tensor, "1 3 h w"]) -> tuple[Terms, Float[Tensor, "1 3 h w"]]:
        """The weighted loss terms of a picture and the gradient of their sum."""
        gradient = torch.zeros_like(image)
        return self._evaluate(image.detach(), gradient), gradient

    def terms(self, image: Float[Tensor, "1 3 h w"]) -> Terms:
        """The weighted loss terms of a picture alone, at a third of the cost."""
        return self._evaluate(image.detach(), None)

    def _evaluate(self, image: Tensor, gradient: Tensor | None) -> Terms:
        """The terms; their gradient is added to `gradient`, if there is one."""
        graph = gradient is not None
        single = self._forward(image, self.tiles[0], graph) if len(self.tiles) == 1 else None
        style, style_gradients = self._style(self._painted(image, single), image)
        content = image.new_zeros(())
        for tile in self.tiles if graph or self.content_layers else ():
            pixels, features = single or self._forward(image, tile, graph)
            content = content + self._content(tile, features)
            if gradient is not None:
                self._send_back(tile, features, style_gradients)
                if pixels.grad is not None:
                    tile.outer.crop(gradient).add_(pixels.grad)
        terms = {"content": content, "style": style}
        if self.weights.tv:
            terms["tv"] = self._total_variation(image, gradient)
        return terms | {"total": torch.stack(list(terms.values())).sum()}

    def _forward(self, image: Tensor, tile: Tile, graph: bool) -> tuple[Tensor, Features]:
        """The outer box's pixels and their features; with what the gradient needs, if asked."""
        pixels = tile.outer.crop(image).clone().requires_grad_(graph)
        with torch.set_grad_enabled(graph):
            return pixels, self.network(pixels, self.layers) if self.layers else {}

    def _painted(self, image: Tensor, single: tuple[Tensor, Features] | None) -> dict[str, Moments]:
        """The moments of the whole picture at the style layers, summed over the tiles."""
        sums: dict[str, Moments] = {}
        for tile in self.tiles if self.style_layers else ():
            _, features = single or self._forward(image, tile, graph=False)
            for layer in self.style_layers:
                inner = tile.inner_features(layer, features[layer].detach())
                found = moments.measure(inner, self._guide(tile, layer), self.statistics)
                sums[layer] = sums[layer] + found if layer in sums else found
        return sums

    @torch.enable_grad()
    def _style(self, painted: dict[str, Moments], image: Tensor) -> tuple[Tensor, Gradients]:
        """The style term and its gradient with respect to every layer's moments."""
        leaves = {
            layer: Moments(m.weight, m.mean.requires_grad_(), m.second.requires_grad_())
            for layer, m in painted.items()
        }
        value = image.new_zeros(())
        for layer, found in leaves.items():
            for name in self.style_losses:
                loss = losses.style(name, found, self.style[layer], self.scale).sum()
                value = value + self.weights.style * self.style_layers[layer] * loss
        if leaves:
            torch.autograd.backward(value)
        self.counts = {layer: m.weight for layer, m in leaves.items()}
        return value.detach(), {
            layer: (_gradient(m.mean), _gradient(m.second)) for layer, m in leaves.items()
        }

    def _content(self, tile: Tile, features: Features) -> Tensor:
        """This tile's share of the content term."""
        value = torch.zeros((), device=self.network.mean.device)
        for layer, factor in self.factors.items():
            inner = tile.inner_features(layer, features[layer].detach())
            target = self._target(tile, layer)
            assert target is not None
            for block in _blocks(inner):
                distance = losses.squared_distance(inner[:, :, block], target[:, :, block])
                value = value + (factor * distance).sum()
        return value

    def _send_back(self, tile: Tile, features: Features, style: Gradients) -> None:
        """Accumulate the total's gradient in this tile's pixels, from dL/dF at every layer.

        The deepest layer's goes in at the end of the backward pass's way; each other's is added
        only when the pass comes by, and its features are let go: nothing waits in memory.
        """
        names = [name for name in self.layers if features[name].requires_grad]
        if not names:
            return
        *shallow, deepest = sorted(names, key=self.network.layers.index)
        for name in shallow:
            hook = partial(self._add_own, tile, name, features, style)
            features[name].register_hook(hook)  # type: ignore[no-untyped-call]
        top = features[deepest]
        torch.autograd.backward(
            top, self._add_own(tile, deepest, features, style, torch.zeros_like(top))
        )

    def _add_own(
        self, tile: Tile, layer: str, features: Features, style: Gradients, gradient: Tensor
    ) -> Tensor:
        """Add dL/dF of one layer, inside the inner box, to the gradient that comes down to it.

        In place, and block by block of rows: a second map of that size would be the peak of memory.
        """
        inner = tile.inner_features(layer, features.pop(layer).detach())
        own = tile.inner_features(layer, gradient)
        guide, target = self._guide(tile, layer), self._target(tile, layer)
        for block in _blocks(inner):
            part = inner[:, :, block]
            if layer in style:
                weight = None if guide is None else guide[:, :, block]
                n, (mean, second) = self.counts[layer], style[layer]
                own[:, :, block] += moments.pull_back(part, weight, n, mean, second)
            if target is not None:
                factor = 2 * self.factors[layer].to(inner.dtype)
                own[:, :, block] += factor * (part - target[:, :, block])
        return gradient

    def _target(self, tile: Tile, layer: str) -> Tensor | None:
        """The photo's features inside the inner box, at a content layer."""
        if layer not in self.factors:
            return None
        return tile.inner.shrunk(vgg.stride_of(layer)).crop(self.content[layer])

    def _guide(self, tile: Tile, layer: str) -> Tensor | None:
        guide = self.guides.get(layer)
        return None if guide is None else tile.inner.shrunk(vgg.stride_of(layer)).crop(guide)

    def _total_variation(self, image: Tensor, gradient: Tensor | None) -> Tensor:
        """The term of total variation, of the pixels alone: no tiles."""
        with torch.set_grad_enabled(gradient is not None):
            pixels = image.requires_grad_(gradient is not None)
            value = self.weights.tv * losses.total_variation(pixels).sum()
        if gradient is not None:
            (slope,) = torch.autograd.grad(value, pixels)
            gradient.add_(slope)
        image.requires_grad_(False)
        return value.detach()


def _blocks(features: Float[Tensor, "b c h w"]) -> list[slice]:
    """Rows to be worked on at a time, so that what is made on the way stays small."""
    height, values = features.shape[2], features.shape[1] * features.shape[3]
    rows = max(1, BLOCK_VALUES // values)
    return [slice(top, top + rows) for top in range(0, height, rows)]


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
) -> dict[str, Moments]:
    """The moments of a painting at each of the layers, over tiles of that side if given."""
    names = tuple(layers)
    sums: dict[str, Moments] = {}
    for piece in tiles.plan(style.shape[-2], style.shape[-1], tile or max(style.shape), names):
        with torch.no_grad():
            features = network(piece.outer.crop(style), names)
        for layer in names:
            inner = piece.inner_features(layer, features[layer])
            found = moments.measure(inner, statistics=statistics)
            sums[layer] = sums[layer] + found if layer in sums else found
    return sums


def features_of(
    network: VGG,
    image: Float[Tensor, "1 3 h w"],
    layers: Iterable[str],
    pieces: Iterable[Tile],
) -> Features:
    """The feature maps of the whole picture at each of the layers, put together from tiles."""
    names = tuple(layers)
    found: Features = {}
    for piece in pieces if names else ():
        with torch.no_grad():
            features = network(piece.outer.crop(image), names)
        for layer in names:
            stride = vgg.stride_of(layer)
            if layer not in found:
                height, width = (side // stride for side in image.shape[-2:])
                shape = (1, features[layer].shape[1], height, width)
                found[layer] = torch.empty(
                    shape, dtype=network.dtype, device=image.device,
                    memory_format=torch.channels_last,
                )  # fmt: skip
            inner = piece.inner_features(layer, features[layer])
            piece.inner.shrunk(stride).crop(found[layer]).copy_(inner)
    return found


def _gradient(leaf: Tensor) -> Tensor:
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
