"""The objective of one scale: targets in, loss terms and their gradient out, tile by tile.

A picture that fits into memory is one tile. A larger one is several, in two passes: the first
sums the tiles' moments to those of the whole picture; the style losses are functions of these,
and their gradient with respect to mean and second moment, a few small matrices, is all that the
second pass needs to send dL/dF back through each tile (see `moments.pull_back`). The result is
that of the whole picture, at constant memory. The loss of self-similarity is a function of a few
sampled feature vectors and goes the same way. Where several members paint one picture, each has the
tiles of its strip, and the sums go over the members, too.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from impasto import losses
from impasto.losses import moments
from impasto.losses.moments import Moments
from impasto.losses.pixels import TemporalTarget, range_term, temporal_term, tv_term
from impasto.machine.exchange import sum_of
from impasto.machine.memory import rows_of
from impasto.machine.strips import Strips
from impasto.networks import tiles
from impasto.networks.layer_names import stride_of
from impasto.networks.tiled import Guides, features_of, statistics_for
from impasto.networks.tiles import Tile
from impasto.networks.vgg import VGG, Features
from impasto.objective import guides, loss_scaling
from impasto.objective.backward import ContentTarget, Slopes, StyleSlope, gradient_of
from impasto.objective.matching import Banks, Matching
from impasto.objective.samples import Samples, Vectors
from impasto.objective.spec import Spec

Terms = dict[str, Float[Tensor, ""]]
"""Loss terms by name, already weighted: `content`, `style`, (`matching`, `structure`, `tv`,
`range`, `temporal`) and their sum, `total`."""


@dataclass(frozen=True)
class Target:
    """The moments that one part of the picture is to have, by layer.

    `guides` say how much each position belongs to the part (Gatys et al. 2017, eq. 7; our weight
    is the square of their guide T), all of them equally where a layer has none. `weight`
    multiplies the part's losses of style and of matching, for which it has `banks`.
    """

    moments: Mapping[str, Moments]
    guides: Guides = field(default_factory=dict)
    weight: float = 1.0
    banks: Banks = field(default_factory=dict)


class Objective:
    """alpha L_content + beta L_style + tv L_tv (+ L_matching + L_structure + L_range) of pixels.

    L_content = sum_l v_l content(F_l, P_l) and
    L_style = sum_r t_r a_r sum_l w_l sum_k style_k(M_rl, M*_rl)
    over parts r with their weight t_r and share a_r of the picture, layers l with theirs and the
    chosen style losses k (Gatys et al. 2016, eq. 5 and 7). `content_guides` weigh the positions of
    content layers, `visible_guides` tell which positions count at all (a transparent photo's do
    not): shares and relative losses are of these. `temporal` is what a frame of a film shall look
    like. `tile` is the side of the tiles in px, None for the whole picture at once. Content and
    guides are those of the whole picture; of several `strips` this is the member's own: its `loss`
    takes that strip alone, and all members ask for it together.
    """

    def __init__(
        self,
        network: VGG,
        content: Float[Tensor, "1 3 h w"],
        targets: Sequence[Target],
        spec: Spec,
        *,
        content_guides: Guides | None = None,
        visible_guides: Guides | None = None,
        tile: int | None = None,
        temporal: TemporalTarget | None = None,
        strips: Strips | None = None,
    ) -> None:
        self.network, self.spec = network, spec
        self.temporal = temporal
        self.size = content.shape[-2], content.shape[-1]
        self.strips = strips or Strips.whole(self.size[0])
        self.targets = tuple(replace(own, guides=self._around(own.guides)) for own in targets)
        self.scaled = loss_scaling.needed(network.dtype)  # gradients, on their way
        content_layers = {n: w for n, w in spec.content_layers if w and spec.content_weight}
        self.style_layers = {n: w for n, w in spec.style_layers if w and spec.style_weight}
        self.structure_layers = {
            n: w for n, w in spec.structure_layers if w and spec.structure_weight
        }
        content = self.strips.around(content)
        self.matching = Matching(
            (content.shape[-2], content.shape[-1]),
            [(target.banks, target.guides, target.weight) for target in self.targets],
            {n: w * spec.matching_weight for n, w in spec.matching_layers},
            self._visible_positions,
        )
        self.layers = tuple(
            {
                **content_layers,
                **self.style_layers,
                **self.matching.weights,
                **self.structure_layers,
            }
        )
        self.content_guides = self._around(content_guides or {})
        self.visible_guides = self._around(visible_guides or {})
        self.visible = {n: own.sum().clamp_min(1e-6) for n, own in (visible_guides or {}).items()}
        self.statistics = statistics_for(spec.style_losses, content.device)
        self.use_tiles(tile)
        features = features_of(network, content, content_layers, self.tiles)
        self.content = {
            layer: ContentTarget(
                features[layer],
                spec.content_weight * weight * self._content_factor(layer, features[layer]),
            )
            for layer, weight in content_layers.items()
        }
        chosen = Samples(self.size, self.structure_layers, visible_guides or {})
        self.samples = chosen.from_row(self.strips.first)
        self.structure = self._samples_of(content) if self.structure_layers else {}

    def use_tiles(self, tile: int | None) -> None:
        """Compute in tiles of that side from now on, px; None for the whole picture at once."""
        self.tile, strips = tile, self.strips
        wrap, rows = self.network.padding == "circular", None
        if strips.shared:
            rows = strips.top - strips.first, strips.bottom - strips.first
        size = strips.end - strips.first, self.size[1]
        self.tiles = tiles.cut(*size, tile or max(size), self.layers, wrap, rows)
        margin = tiles.margin(self.layers) if self.layers else 0
        self.margin = max(margin, int(self.spec.tv_weight > 0))  # border rows that count, px

    def limited(self, style_layers: Iterable[str] | None, matching: bool = True) -> "Objective":
        """The same targets at some of the style layers alone, without content and self-similarity,
        or of all terms (None); without the strokes that places are held to, unless `matching`."""
        made = copy.copy(self)
        chosen = None if style_layers is None else set(style_layers)
        made.matching = self.matching.limited(chosen if matching else set())
        if chosen is not None:
            made.style_layers = {n: w for n, w in self.style_layers.items() if n in chosen}
            made.content, made.structure_layers = {}, {}
            made.samples = Samples(self.size, (), {})
        made.layers = tuple(
            {**made.content, **made.style_layers, **made.matching.weights, **made.structure_layers}
        )
        made.use_tiles(self.tile)
        return made

    def loss(self, image: Float[Tensor, "1 3 h w"]) -> tuple[Terms, Float[Tensor, "1 3 h w"]]:
        """The weighted loss terms of a picture and the gradient of their sum."""
        outer = self.strips.bordered(image.detach(), self.margin)
        gradient = torch.zeros_like(outer)
        terms = self._evaluate(outer, gradient)
        return terms, self.strips.unbordered(gradient, self.margin)

    def terms(self, image: Float[Tensor, "1 3 h w"]) -> Terms:
        """The weighted loss terms of a picture alone, at a third of the cost."""
        return self._evaluate(self.strips.bordered(image.detach(), self.margin), None)

    def _evaluate(self, image: Tensor, gradient: Tensor | None) -> Terms:
        """The terms; their gradient is added to `gradient`, if there is one. Image and gradient are
        those of the outer strip."""
        graph = gradient is not None
        single = self._forward(image, self.tiles[0], graph) if len(self.tiles) == 1 else None
        slopes = Slopes(self.content, self.content_guides, self.samples, self.matching, self.scaled)
        measured, samples = self._measured(image, single)
        terms = {"content": image.new_zeros(()), "style": self._style(measured, image, slopes)}
        if self.structure_layers:
            terms["structure"] = self._structure(samples, slopes)
        if self.matching.weights:
            terms["matching"] = image.new_zeros(())
        for tile in self.tiles if graph or self.content or self.matching.weights else ():
            pixels, features = single or self._forward(image, tile, graph)
            content = self._content(tile, features)
            terms["content"] = terms["content"] + content
            if self.matching.weights:
                terms["matching"] = terms["matching"] + self.matching.term(tile, features)
            if gradient is not None:
                if self.scaled:
                    slopes.scale = slopes.scale_for(tile, content, features)
                if self.layers:
                    slopes.send_back(tile, features, self.network.layers)
                    own = gradient_of(pixels)
                    tile.outer.add_to(gradient, own.div_(slopes.scale) if self.scaled else own)
            del features
        self.matching.due = False
        terms |= self._terms_of_pixels(image, gradient)
        if self.strips.shared:
            terms = self._of_all_members(terms)
        return terms | {"total": torch.stack(list(terms.values())).sum()}

    def _of_all_members(self, terms: Terms) -> Terms:
        """The terms of the picture from those of the strips. Terms of moments and samples are the
        picture's on every member: the first one's count, so that all have the same bits."""
        known = () if self.strips.exchange.rank == 0 else ("style", "structure")
        shares = {n: torch.zeros_like(own) if n in known else own for n, own in terms.items()}
        return dict(zip(terms, self.strips.exchange.sum(list(shares.values())), strict=True))

    def _terms_of_pixels(self, outer: Tensor, slope: Tensor | None) -> Terms:
        """The terms that need no network; their gradient is added to the one given."""
        terms: Terms = {}
        strips, height = self.strips, self.size[0]
        image, gradient = strips.inside(outer), None if slope is None else strips.inside(slope)
        if self.spec.tv_weight:
            below = strips.bottom < height
            rows = slice(strips.top - strips.first, strips.bottom - strips.first + below)
            slopes = None if slope is None else slope[:, :, rows]
            weight = self.spec.tv_weight
            terms["tv"] = tv_term(weight, outer[:, :, rows], slopes, height, below)
        if self.spec.range_weight:
            terms["range"] = range_term(self.spec.range_weight, image, gradient, height)
        if self.temporal is not None:
            terms["temporal"] = temporal_term(self.temporal, image, gradient)
        return terms

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
        means = set(self.spec.style_losses) != {"gram"}
        for tile in self.tiles if self.style_layers or self.structure_layers else ():
            _, features = single or self._forward(image, tile, graph=False)
            for layer in self.style_layers:
                inner = tile.inner_features(layer, features[layer].detach())
                areas = [guides.inside(target.guides, tile, layer) for target in self.targets]
                found = [moments.measure(inner, area, self.statistics, means) for area in areas]
                if layer in sums:
                    found = [a + b for a, b in zip(sums[layer], found, strict=True)]
                sums[layer] = found
            self.samples.put(tile, features, samples)
            del features  # before the next tile's are made
        if self.strips.shared:
            sums, samples = self._sums_of_all(sums, means), self._samples_of_all(samples)
        return sums, samples

    def _sums_of_all(self, sums: dict[str, list[Moments]], means: bool) -> dict[str, list[Moments]]:
        """The picture's moments from those of the strips."""
        if not sums:
            return sums
        every = [own for found in sums.values() for own in found]
        whole = iter(moments.of_all(every, self.strips.exchange, means))
        return {layer: [next(whole) for _ in found] for layer, found in sums.items()}

    def _samples_of_all(self, samples: Vectors) -> Vectors:
        """The picture's sampled vectors; each member has zeros for those of the others."""
        if not samples:
            return samples
        whole = self.strips.exchange.sum(list(samples.values()))
        return dict(zip(samples, whole, strict=True))

    @torch.enable_grad()
    def _style(self, measured: dict[str, list[Moments]], image: Tensor, slopes: Slopes) -> Tensor:
        """The style term; its gradient with respect to every layer's moments goes into slopes."""
        leaves = {
            layer: [
                replace(m, mean=m.mean.requires_grad_(), second=m.second.requires_grad_())
                for m in found
            ]
            for layer, found in measured.items()
        }
        value = image.new_zeros(())
        for layer, found in leaves.items():
            own = image.new_zeros(())
            for target, its in zip(self.targets, found, strict=True):
                weight = self.spec.style_weight * target.weight * self.style_layers[layer]
                weighted = weight * self._share(target, layer, its)
                for name in self.spec.style_losses:
                    loss = losses.style(name, its, target.moments[layer], self.spec.scale)
                    own = own + (weighted * loss).sum()
            value = value + own
        if leaves:
            torch.autograd.backward(value)
        for layer, found in leaves.items():
            pairs = zip(found, self.targets, strict=True)
            slopes.style[layer] = [StyleSlope.of(its, target.guides) for its, target in pairs]
            if self.scaled:
                slopes.sizes += [
                    loss_scaling.size_of_style(m, m.mean.grad, gradient_of(m.second)).detach()
                    for m in found
                ]
        return value.detach()

    def _share(self, target: Target, layer: str, found: Moments) -> float | Tensor:
        """The part's share of what is visible, at this layer."""
        if layer not in target.guides:
            return 1.0
        return (found.weight / self._visible_positions(layer)).to(torch.float32)

    def _visible_positions(self, layer: str) -> Tensor | int:
        if layer in self.visible:
            return self.visible[layer]
        height, width = (side // stride_of(layer) for side in self.size)
        return height * width

    @torch.enable_grad()
    def _structure(self, samples: Vectors, slopes: Slopes) -> Tensor:
        """The term of self-similarity; its gradient in the samples goes into slopes."""
        value = torch.zeros((), device=self.network.mean.device)
        leaves = {layer: vectors.float().requires_grad_() for layer, vectors in samples.items()}
        for layer, vectors in leaves.items():
            loss = losses.self_similarity(vectors, self.structure[layer])
            value = value + self.spec.structure_weight * self.structure_layers[layer] * loss
        torch.autograd.backward(value)
        slopes.sampled = {layer: gradient_of(leaf) for layer, leaf in leaves.items()}
        if self.scaled:
            slopes.sizes += [own.square().mean().sqrt() for own in slopes.sampled.values()]
        return value.detach()

    def _content_factor(self, layer: str, features: Tensor) -> Tensor:
        """What multiplies the layer's squared differences."""
        stride, visible = stride_of(layer), self.visible_guides.get(layer)
        seen = self.strips.inside(features, stride)
        if visible is not None:
            seen = seen * self.strips.inside(visible, stride).sqrt()
        factor = losses.content_factor(seen, self.spec.scale)
        if self.strips.shared and self.spec.scale != "paper":  # one over a sum of all positions
            factor = sum_of(factor.reciprocal(), self.strips.exchange).reciprocal()
        return factor

    def _around(self, guides: Guides) -> Guides:
        """Guides of the whole picture as the outer strip has them."""
        if not self.strips.shared:
            return guides
        return {n: self.strips.around(own, stride_of(n)) for n, own in guides.items()}

    def _content(self, tile: Tile, features: Features) -> Tensor:
        """This tile's share of the content term."""
        value = torch.zeros((), device=self.network.mean.device)
        for layer, target in self.content.items():
            inner = tile.inner_features(layer, features[layer].detach())
            wanted = target.inside(tile, layer)
            guide = guides.inside(self.content_guides, tile, layer)
            for block in rows_of(inner):
                weight = None if guide is None else guide[:, :, block]
                distance = losses.squared_distance(inner[:, :, block], wanted[:, :, block], weight)
                value = value + (target.factor * distance).sum()
        return value

    def _samples_of(self, image: Tensor) -> Vectors:
        """The sampled vectors of a picture, in float32."""
        samples: Vectors = {}
        for tile in self.tiles:
            _, features = self._forward(image, tile, graph=False)
            self.samples.put(tile, features, samples)
            del features
        if self.strips.shared:
            samples = self._samples_of_all(samples)
        return {layer: vectors.float() for layer, vectors in samples.items()}
