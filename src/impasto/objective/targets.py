"""From a scene to the objective of one scale: the photo's features, what each part shall have."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from impasto.losses import matching
from impasto.losses.matching import Bank
from impasto.losses.moments import Moments, mix
from impasto.losses.pixels import TemporalTarget
from impasto.networks.layer_names import channels_of, stride_of
from impasto.networks.tiled import Guides, statistics_for, style_moments
from impasto.networks.tiles import GRID
from impasto.networks.vgg import VGG
from impasto.objective.guides import guides_of, product
from impasto.objective.matching import Banks
from impasto.objective.objective import Objective, Target
from impasto.objective.samples import Samples, Vectors
from impasto.objective.spec import Spec
from impasto.scene import Part, View
from impasto.scene.strokes import Strokes
from impasto.settings import Settings

BANK_SIZES = {1: 1024, 2: 2048}  # vectors, by stride: shallow layers say the same more often
LARGEST_BANK = 4096
SEEDS = 1_000_003  # between those of paintings that share a bank
MATCH_BYTES = 3  # per pixel of one part: the matches of all layers, in int16
LEAST_COUNT = 0.5  # of a place of the painting that a stroke is taken from: it lies mostly inside


@dataclass(frozen=True)
class Wanted:
    """What a part of the picture shall have, by layer: the moments of its paintings, and the bank
    of their strokes."""

    moments: Mapping[str, Moments]
    banks: Banks


class Styles:
    """What the parts of a picture shall have, each measured when it is first asked for.

    `least` is the shortest side that the network can take, px. Runs with the same settings share
    one of these: the frames of a film measure their paintings once.
    """

    def __init__(self, network: VGG, settings: Settings, least: int) -> None:
        self.network, self.settings, self.least = network, settings, least
        self.spec = Spec.of(settings)
        self._known: dict[tuple[tuple[Strokes, ...], int, int | None], Wanted] = {}

    def of(self, part: Part, long_side: int, tile: int | None) -> Wanted:
        """What a part's paintings have, mixed by their shares, for a picture with that long side,
        px, in tiles of that side."""
        key = part.strokes, long_side, tile
        if key not in self._known:
            self._known = {k: v for k, v in self._known.items() if k[1] == long_side}
            self._known[key] = self._measured(part, long_side, tile)
        return self._known[key]

    def _measured(self, part: Part, long_side: int, tile: int | None) -> Wanted:
        settings, device = self.settings, self.network.mean.device
        matched = self.spec.matched_layers()
        layers = dict.fromkeys([*dict(self.spec.style_layers), *matched])
        statistics = statistics_for(settings.style_loss, device)
        total = sum(strokes.share for strokes in part.strokes)
        found, sampled = [], []
        for number, strokes in enumerate(part.strokes):
            grid = GRID if settings.seamless else 1
            pixels, counts = strokes.at(long_side, self.least, grid)
            its = guides_of(counts, layers, device)
            seed = settings.seed + SEEDS * number
            samples = _samples_of(strokes, pixels, its, matched, total, seed)
            vectors: Vectors = {}
            show = partial(samples.put, vectors=vectors)
            found.append(
                style_moments(self.network, pixels.to(device), layers, tile, statistics, its, show)
            )
            sampled.append(vectors)
        shares = [strokes.share for strokes in part.strokes]
        moments = {layer: mix([own[layer] for own in found], shares) for layer in layers}
        banks = {
            layer: self._bank(layer, [own[layer] for own in sampled if layer in own], its)
            for layer, its in moments.items()
            if layer in matched
        }
        return Wanted(moments, banks)

    def _bank(self, layer: str, vectors: list[Tensor], moments: Moments) -> Bank:
        """The strokes of a layer: compared by distance where length is color, by direction else."""
        by_distance = stride_of(layer) == 1
        variance = moments.covariance.diagonal(dim1=-2, dim2=-1).sum() if by_distance else None
        return Bank.of(torch.cat(vectors), moments.mean[0], variance, self.network.dtype)


def _samples_of(
    strokes: Strokes, pixels: Tensor, counts: Guides, layers: Iterable[str], total: float, seed: int
) -> Samples:
    """Where a painting's strokes are taken from: as many of a bank as its share is of the total."""
    sizes = {
        layer: round(BANK_SIZES.get(stride_of(layer), LARGEST_BANK) * strokes.share / total)
        for layer in layers
    }
    inside = {}
    for layer, guide in counts.items():
        mostly = guide * (guide >= LEAST_COUNT)
        inside[layer] = mostly if bool(mostly.any()) else guide
    some = [layer for layer, size in sizes.items() if size]
    return Samples((pixels.shape[-2], pixels.shape[-1]), some, inside, sizes, seed)


def matching_bytes(spec: Spec, size: tuple[int, int], parts: int, dtype: torch.dtype) -> int:
    """What matching keeps in memory: the banks of so many parts, twice while they are made, the
    matches, and the scores that are looked at together. Paintings are taken to be as large as the
    picture, of that width and height, px."""
    places = {layer: size[0] * size[1] // stride_of(layer) ** 2 for layer in spec.matched_layers()}
    values = sum(
        min(BANK_SIZES.get(stride_of(layer), LARGEST_BANK), count) * channels_of(layer)
        for layer, count in places.items()
    )
    if not places:
        return 0
    each = 2 * values * dtype.itemsize + MATCH_BYTES * size[0] * size[1]
    return parts * each + 2 * matching.SCORES * dtype.itemsize


def objective_of(
    view: View,
    styles: Styles,
    tile: int | None = None,
    temporal: TemporalTarget | None = None,
) -> Objective:
    """The objective of a scene at the size of a view.

    `tile` is the side of its tiles, px, None for one piece; `temporal` what a frame of a film
    shall look like.
    """
    spec, network = styles.spec, styles.network
    device = network.mean.device
    targets = []
    for part, area in zip(view.parts, view.areas, strict=True):
        layers = dict.fromkeys([*dict(spec.style_layers), *spec.matched_layers()])
        own = guides_of(product(area, view.alpha), layers, device)
        wanted = styles.of(part, max(view.size), tile)
        targets.append(Target(wanted.moments, own, part.strength.style, wanted.banks))
    content_weight = spec.content_weight
    if view.content_share is None:
        content_weight *= view.parts[0].strength.content
    some_style = any(part.strength.value for part in view.parts)
    return Objective(
        network,
        view.photo.to(device),
        targets,
        replace(
            spec,
            content_weight=content_weight,
            style_weight=spec.style_weight if some_style else 0.0,
            matching_weight=spec.matching_weight if some_style else 0.0,
        ),
        content_guides=guides_of(
            product(view.content_share, view.alpha), dict(spec.content_layers), device
        ),
        visible_guides=guides_of(view.alpha, spec.layers(), device),
        tile=tile,
        temporal=temporal,
    )
