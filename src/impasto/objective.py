"""The objective of one scale: targets in, loss terms and their gradient out, tile by tile.

A picture that fits into memory is one tile. A larger one is several, in two passes: the first
sums the tiles' moments to those of the whole picture; the style losses are functions of these,
and their gradient with respect to mean and second moment, a few small matrices, is all that the
second pass needs to send dL/dF back through each tile (see `moments.pull_back`). The result is
that of the whole picture, at constant memory. The loss of self-similarity is a function of a few
sampled feature vectors and goes the same way.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from impasto import loss_scaling, losses, moments, pixelwise, tiles, vgg
from impasto.kinds import LayerWeights
from impasto.layers import send_back
from impasto.losses import LossScale
from impasto.measuring import Guides, features_of, statistics_for
from impasto.moments import Moments
from impasto.pixelwise import Held
from impasto.samples import Samples, Vectors
from impasto.strips import rows_of
from impasto.tiles import Tile
from impasto.vgg import VGG, Features

Terms = dict[str, Float[Tensor, ""]]
"""Loss terms by name, already weighted: `content`, `style`, (`structure`, `tv`, `range`,
`temporal`) and their sum, `total`."""


@dataclass(frozen=True)
class Weights:
    """What each loss weighs: alpha, beta, those of total variation, of self-similarity and of
    pixels beyond black and white."""

    content: float
    style: float
    tv: float = 0.0
    structure: float = 0.0
    range: float = 0.0


@dataclass(frozen=True)
class Target:
    """The moments that one region of the picture is to have, by layer.

    `guides` say how much each position belongs to the region (Gatys et al. 2017, eq. 7; our weight
    is the square of their guide T), all of them equally where a layer has none. `weight`
    multiplies the region's style loss.
    """

    moments: Mapping[str, Moments]
    guides: Guides = field(default_factory=dict)
    weight: float = 1.0


@dataclass
class _Slopes:
    """What the second pass needs to know of the first."""

    style: dict[str, list[tuple[Tensor, Tensor | None, Tensor]]] = field(default_factory=dict)
    """By layer, for each target: n, dL/dm and dL/dS."""
    samples: dict[str, Tensor] = field(default_factory=dict)
    """By layer: dL/dF of the sampled vectors."""
    sizes: list[Tensor] = field(default_factory=list)
    """The root mean square of each layer's dL/dF, where the gradient has to be scaled."""
    scale: float | Tensor = 1.0
    """What the gradient is multiplied with on its way; see `loss_scaling`."""


class Objective:
    """alpha L_content + beta L_style + tv L_tv (+ L_structure + L_range) as a function of pixels.

    L_content = sum_l v_l content(F_l, P_l) and
    L_style = sum_r t_r a_r sum_l w_l sum_k style_k(M_rl, M*_rl)
    over regions r with their weight t_r and share a_r of the picture, layers l with theirs and the
    chosen style losses k (Gatys et al. 2016, eq. 5 and 7). `content_guides` weigh the positions of
    content layers, `visible` tells which positions count at all (a transparent photo's do not):
    shares and relative losses are of these. `held` is what a frame of a film is held to. `tile` is
    the side of the tiles in px, None for the whole picture at once.
    """

    def __init__(
        self,
        network: VGG,
        content: Float[Tensor, "1 3 h w"],
        targets: Sequence[Target],
        weights: Weights,
        content_layers: LayerWeights,
        style_layers: LayerWeights,
        style_losses: Iterable[str] = ("gram",),
        scale: LossScale = "paper",
        structure_layers: LayerWeights = (),
        content_guides: Guides | None = None,
        visible: Guides | None = None,
        tile: int | None = None,
        held: Held | None = None,
    ) -> None:
        self.network, self.weights, self.scale = network, weights, scale
        self.scaled = loss_scaling.needed(network.dtype)  # gradients, on their way
        self.held = held
        self.content_layers = {name: w for name, w in content_layers if w and weights.content}
        self.style_layers = {name: w for name, w in style_layers if w and weights.style}
        self.structure_layers = {n: w for n, w in structure_layers if w and weights.structure}
        self.style_losses = tuple(style_losses)
        known = {**self.content_layers, **self.style_layers, **self.structure_layers}
        self.layers = tuple(known)
        self.targets = tuple(targets)
        self.content_guides, self.visible = content_guides or {}, visible or {}
        self.statistics = statistics_for(self.style_losses, content.device)
        self.size = content.shape[-2], content.shape[-1]
        self.use_tiles(tile)
        self.content = features_of(network, content, self.content_layers, self.tiles)
        self.factors = {
            layer: weights.content * weight * self._content_factor(layer)
            for layer, weight in self.content_layers.items()
        }
        self.samples = Samples(self.size, self.structure_layers, self.visible)
        self.structure = self._samples_of(content) if self.structure_layers else {}

    def use_tiles(self, tile: int | None) -> None:
        """Compute in tiles of that side from now on, px; None for the whole picture at once."""
        self.tile = tile
        wrap = self.network.padding == "circular"
        self.tiles = tiles.plan(*self.size, tile or max(self.size), self.layers, wrap)

    def limited(self, style_layers: Iterable[str]) -> "Objective":
        """The same targets at some of the style layers alone: no content, no self-similarity."""
        made, chosen = copy.copy(self), set(style_layers)
        made.style_layers = {n: w for n, w in self.style_layers.items() if n in chosen}
        made.content_layers, made.factors, made.structure_layers = {}, {}, {}
        made.layers, made.samples = tuple(made.style_layers), Samples(self.size, (), {})
        made.use_tiles(self.tile)
        return made

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
        slopes = _Slopes()
        painted, samples = self._measured(image, single)
        terms = {"content": image.new_zeros(()), "style": self._style(painted, image, slopes)}
        if self.structure_layers:
            terms["structure"] = self._structure(samples, slopes)
        for tile in self.tiles if graph or self.content_layers else ():
            pixels, features = single or self._forward(image, tile, graph)
            content = self._content(tile, features)
            terms["content"] = terms["content"] + content
            if gradient is not None:
                if self.scaled:
                    slopes.scale = self._scale(tile, content, slopes)
                self._send_back(tile, features, slopes)
                if pixels.grad is not None:
                    own = pixels.grad.div_(slopes.scale) if self.scaled else pixels.grad
                    tile.outer.add_to(gradient, own)
            del features
        if self.weights.tv:
            terms["tv"] = pixelwise.total_variation(self.weights.tv, image, gradient)
        if self.weights.range:
            terms["range"] = pixelwise.out_of_range(self.weights.range, image, gradient)
        if self.held is not None:
            terms["temporal"] = pixelwise.temporal(self.held, image, gradient)
        return terms | {"total": torch.stack(list(terms.values())).sum()}

    def _forward(self, image: Tensor, tile: Tile, graph: bool) -> tuple[Tensor, Features]:
        """The outer box's pixels and their features; with what the gradient needs, if asked."""
        pixels = tile.outer.taken_from(image).clone().requires_grad_(graph)
        with torch.set_grad_enabled(graph):
            return pixels, self.network(pixels, self.layers) if self.layers else {}

    def _measured(
        self, image: Tensor, single: tuple[Tensor, Features] | None
    ) -> tuple[dict[str, list[Moments]], Vectors]:
        """The whole picture's moments, by layer for each target, and its sampled vectors."""
        sums: dict[str, list[Moments]] = {}
        samples: Vectors = {}
        means = set(self.style_losses) != {"gram"}
        for tile in self.tiles if self.style_layers or self.structure_layers else ():
            _, features = single or self._forward(image, tile, graph=False)
            for layer in self.style_layers:
                inner = tile.inner_features(layer, features[layer].detach())
                found = [
                    moments.measure(inner, self._cropped(target.guides, tile, layer),
                                    self.statistics, means)
                    for target in self.targets
                ]  # fmt: skip
                if layer in sums:
                    found = [a + b for a, b in zip(sums[layer], found, strict=True)]
                sums[layer] = found
            self.samples.put(tile, features, samples)
            del features  # before the next tile's are made
        return sums, samples

    @torch.enable_grad()
    def _style(self, painted: dict[str, list[Moments]], image: Tensor, slopes: _Slopes) -> Tensor:
        """The style term; its gradient with respect to every layer's moments goes into slopes."""
        leaves = {
            layer: [
                Moments(m.weight, m.mean.requires_grad_(), m.second.requires_grad_()) for m in found
            ]
            for layer, found in painted.items()
        }
        value = image.new_zeros(())
        for layer, regions in leaves.items():
            own = image.new_zeros(())
            for target, found in zip(self.targets, regions, strict=True):
                weight = self.weights.style * target.weight * self.style_layers[layer]
                weighted = weight * self._share(target, layer, found)
                for name in self.style_losses:
                    loss = losses.style(name, found, target.moments[layer], self.scale)
                    own = own + (weighted * loss).sum()
            value = value + own
        if value.requires_grad:
            torch.autograd.backward(value)
        slopes.style = {
            layer: [(m.weight, m.mean.grad, _gradient(m.second)) for m in found]
            for layer, found in leaves.items()
        }
        if self.scaled:
            slopes.sizes += [
                loss_scaling.size_of_style(m, m.mean.grad, _gradient(m.second)).detach()
                for found in leaves.values()
                for m in found
            ]
        return value.detach()

    def _scale(self, tile: Tile, content: Tensor, slopes: _Slopes) -> Tensor:
        """What this tile's gradient is multiplied with on its way; its share of the content term
        is bounded by that of all content layers."""
        sizes = list(slopes.sizes)
        for layer, factor in self.factors.items():
            target = self._target(tile, layer)
            assert target is not None
            sizes.append(loss_scaling.size_of_content(content, factor, target.numel()))
        return loss_scaling.factor(sizes, content)

    def _share(self, target: Target, layer: str, found: Moments) -> float | Tensor:
        """The region's share of what is visible, at this layer."""
        if layer not in target.guides:
            return 1.0
        return (found.weight / self._visible_positions(layer)).to(torch.float32)

    def _visible_positions(self, layer: str) -> Tensor | int:
        if layer in self.visible:
            return self.visible[layer].sum().clamp_min(1e-6)
        height, width = (side // vgg.stride_of(layer) for side in self.size)
        return height * width

    @torch.enable_grad()
    def _structure(self, samples: Vectors, slopes: _Slopes) -> Tensor:
        """The term of self-similarity; its gradient in the samples goes into slopes."""
        value = torch.zeros((), device=self.network.mean.device)
        leaves = {layer: vectors.float().requires_grad_() for layer, vectors in samples.items()}
        for layer, vectors in leaves.items():
            loss = losses.self_similarity(vectors, self.structure[layer])
            value = value + self.weights.structure * self.structure_layers[layer] * loss
        torch.autograd.backward(value)
        slopes.samples = {layer: _gradient(leaf) for layer, leaf in leaves.items()}
        if self.scaled:
            slopes.sizes += [own.square().mean().sqrt() for own in slopes.samples.values()]
        return value.detach()

    def _content_factor(self, layer: str) -> Tensor:
        """What multiplies the layer's squared differences."""
        visible = self.visible.get(layer)
        seen = self.content[layer] if visible is None else self.content[layer] * visible.sqrt()
        return losses.content_factor(seen, self.scale)

    def _content(self, tile: Tile, features: Features) -> Tensor:
        """This tile's share of the content term."""
        value = torch.zeros((), device=self.network.mean.device)
        for layer, factor in self.factors.items():
            inner = tile.inner_features(layer, features[layer].detach())
            target = self._target(tile, layer)
            guide = self._cropped(self.content_guides, tile, layer)
            assert target is not None
            for block in rows_of(inner):
                weight = None if guide is None else guide[:, :, block]
                distance = losses.squared_distance(inner[:, :, block], target[:, :, block], weight)
                value = value + (factor * distance).sum()
        return value

    def _send_back(self, tile: Tile, features: Features, slopes: _Slopes) -> None:
        """Accumulate the total's gradient in this tile's pixels, from dL/dF at every layer.

        The deepest layer's goes in at the end of the backward pass's way; each other's is added
        only when the pass comes by, and its features are let go: nothing waits in memory.
        """
        names = [name for name in self.layers if features[name].requires_grad]
        if not names:
            return
        *shallow, deepest = sorted(names, key=self.network.layers.index)
        for name in shallow:
            hook = partial(self._add_own, tile, name, features, slopes)
            features[name].register_hook(hook)  # type: ignore[no-untyped-call]
        top = features[deepest]
        send_back(top, self._add_own(tile, deepest, features, slopes, torch.zeros_like(top)))

    def _add_own(
        self, tile: Tile, layer: str, features: Features, slopes: _Slopes, gradient: Tensor
    ) -> Tensor:
        """Add dL/dF of one layer, inside the inner box, to the gradient that comes down to it.

        In place, or block by block of rows: a second map of that size would be the peak of memory.
        """
        maps = features.pop(layer).detach()
        inner, own = (tile.inner_features(layer, whole) for whole in (maps, gradient))
        guides = [self._cropped(target.guides, tile, layer) for target in self.targets]
        content_guide = self._cropped(self.content_guides, tile, layer)
        target = self._target(tile, layer)
        for guide, (n, mean, second) in zip(guides, slopes.style.get(layer, ()), strict=False):
            moments.pull_back(inner, guide, n / slopes.scale, mean, second, onto=own)
        if target is not None:
            factor = (2 * slopes.scale * self.factors[layer]).to(inner.dtype)
            for block in rows_of(inner):
                change = factor * (inner[:, :, block] - target[:, :, block])
                if content_guide is not None:
                    change *= content_guide[:, :, block].to(change.dtype)
                own[:, :, block] += change
        if layer in slopes.samples:
            mine, rows, columns = self.samples.inside(tile, layer, own.device)
            sampled = slopes.scale * slopes.samples[layer][mine]
            own[0, :, rows, columns] += sampled.to(own.dtype).T
        return gradient

    def _target(self, tile: Tile, layer: str) -> Tensor | None:
        """The photo's features inside the inner box, at a content layer."""
        if layer not in self.factors:
            return None
        return tile.inner.shrunk(vgg.stride_of(layer)).crop(self.content[layer])

    def _cropped(self, guides: Guides, tile: Tile, layer: str) -> Tensor | None:
        """A guide inside the inner box, if the layer has one."""
        guide = guides.get(layer)
        return None if guide is None else tile.inner.shrunk(vgg.stride_of(layer)).crop(guide)

    def _samples_of(self, image: Tensor) -> Vectors:
        """The sampled vectors of a picture, in float32."""
        samples: Vectors = {}
        for tile in self.tiles:
            _, features = self._forward(image, tile, graph=False)
            self.samples.put(tile, features, samples)
            del features
        return {layer: vectors.float() for layer, vectors in samples.items()}


def _gradient(leaf: Tensor) -> Tensor:
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
