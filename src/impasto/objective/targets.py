"""From a scene to the objective of one scale: the photo's features, what each part shall have."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from jaxtyping import Float
from torch import Tensor

from impasto import weights
from impasto.losses import matching
from impasto.losses.matching import Bank
from impasto.losses.moments import Moments, mix
from impasto.losses.pixels import TemporalTarget
from impasto.machine.strips import Strips
from impasto.networks import kept
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
from impasto.settings import Settings

BANK_SIZES = {1: 1024, 2: 2048}  # vectors, by stride: shallow layers say the same more often
LARGEST_BANK = 4096
SEEDS = 1_000_003  # between those of paintings that share a bank
MATCH_BYTES = 3  # per pixel of one part: the matches of all layers, in int16
MOST_KEPT = 8  # paintings of a part: more would take the cache for themselves
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
    one of these: the frames of a film measure their paintings once. What is measured for one long
    side is let go for the next, but for the last `remembered`.
    """

    def __init__(self, network: VGG, settings: Settings, least: int, remembered: int = 0) -> None:
        self.network, self.settings, self.least = network, settings, least
        self.remembered = remembered
        self.spec = Spec.of(settings)
        self.layers = dict.fromkeys([*dict(self.spec.style_layers), *self.spec.matched_layers()])
        self._known: dict[tuple[Hashable, int, int | None], Wanted] = {}

    def of(self, part: Part, long_side: int, tile: int | None) -> Wanted:
        """What a part's paintings have, mixed by their shares, for a picture with that long side,
        px, in tiles of that side."""
        key = part.measured_as, long_side, tile
        found = self._known.pop(key, None)
        if found is None:
            others = [k for k in self._known if k[1] != long_side]
            for other in others[: max(0, len(others) - self.remembered)]:
                del self._known[other]
            found = self._measured(part, long_side, tile)
        self._known[key] = found  # last: what was asked for longest ago is first
        return found

    def _measured(self, part: Part, long_side: int, tile: int | None) -> Wanted:
        keep = self.network.mean.device.type == "cpu" and len(part.strokes) <= MOST_KEPT
        shares = [strokes.share for strokes in part.strokes]
        found = []
        for number, strokes in enumerate(part.strokes):
            grid = GRID if self.settings.seamless else 1
            pixels, counts = strokes.at(long_side, self.least, grid)
            sizes = self._bank_sizes(strokes.share, sum(shares))
            seed = self.settings.seed + SEEDS * number
            words = f"{self._words} {tile} {sizes} {seed}"
            inputs = {"pixels": pixels, "counts": counts}
            measure = partial(self._of_painting, pixels, counts, tile, sizes, seed)
            name = strokes.picture.origin
            found.append(kept.tensors(words, inputs, measure, name) if keep else measure())
        moments = {
            layer: mix([_moments_in(own, layer) for own in found], shares) for layer in self.layers
        }
        banks = {
            layer: self._bank(layer, found, moments[layer])
            for layer in moments
            if layer in self.spec.matched_layers()
        }
        return Wanted(moments, banks)

    def _of_painting(
        self,
        pixels: Float[Tensor, "1 3 h w"],
        counts: Float[Tensor, "1 1 h w"] | None,
        tile: int | None,
        sizes: Mapping[str, int],
        seed: int,
    ) -> dict[str, Tensor]:
        """The moments of a painting, and the vectors that go into the banks, so many by layer."""
        device = self.network.mean.device
        statistics = statistics_for(self.settings.style_loss, device)
        guides = guides_of(counts, self.layers, device)
        samples = _samples_of(pixels, guides, sizes, seed)
        vectors: Vectors = {}
        show = partial(samples.put, vectors=vectors)
        its = style_moments(
            self.network, pixels.to(device), self.layers, tile, statistics, guides, show
        )
        found = {_bank(layer): own for layer, own in vectors.items()}
        for layer, own in its.items():
            parts = {"weight": own.weight, "mean": own.mean, "second": own.second}
            found |= {f"{part} {layer}": value for part, value in parts.items()}
        return found

    def _bank_sizes(self, share: float, total: float) -> dict[str, int]:
        """How many vectors a painting gives to each bank: as its share is of the total."""
        return {
            layer: round(BANK_SIZES.get(stride_of(layer), LARGEST_BANK) * share / total)
            for layer in self.spec.matched_layers()
        }

    @cached_property
    def _words(self) -> str:
        """What the moments and banks of a painting depend on, beside its pixels."""
        settings, network = self.settings, self.network
        exact = [name for name, weight in settings.content_layers if weight]
        how = network.pooling, network.padding, network.dtype, settings.style_loss
        return f"{weights.recorded(settings.backbone)} {how} {exact} {list(self.layers)}"

    def _bank(self, layer: str, found: Sequence[Mapping[str, Tensor]], moments: Moments) -> Bank:
        """The strokes of a layer in all paintings: compared by distance where length is color, by
        direction else."""
        vectors = [own[_bank(layer)] for own in found if _bank(layer) in own]
        by_distance = stride_of(layer) == 1
        variance = moments.covariance.diagonal(dim1=-2, dim2=-1).sum() if by_distance else None
        return Bank.of(torch.cat(vectors), moments.mean[0], variance, self.network.dtype)


def _bank(layer: str) -> str:
    """What the sampled vectors of a layer are called among the tensors of a painting."""
    return f"bank {layer}"


def _moments_in(found: Mapping[str, Tensor], layer: str) -> Moments:
    """The moments of a layer among the tensors that were measured of a painting."""
    return Moments(*(found[f"{part} {layer}"] for part in ("weight", "mean", "second")))


def _samples_of(pixels: Tensor, counts: Guides, sizes: Mapping[str, int], seed: int) -> Samples:
    """Where a painting's strokes are taken from, so many for each layer's bank."""
    inside = {}
    for layer, guide in counts.items():
        mostly = guide * (guide >= LEAST_COUNT)
        inside[layer] = mostly if bool(mostly.any()) else guide
    some = [layer for layer, size in sizes.items() if size]
    return Samples((pixels.shape[-2], pixels.shape[-1]), some, inside, sizes, seed)


def matching_bytes(
    spec: Spec, size: tuple[int, int], parts: int, dtype: torch.dtype, device: torch.device
) -> int:
    """What matching keeps in memory: the banks of so many parts, twice while they are made, the
    matches, and the scores that the device looks at together. Paintings are taken to be as large
    as the picture, of that width and height, px."""
    places = {layer: size[0] * size[1] // stride_of(layer) ** 2 for layer in spec.matched_layers()}
    banks = {
        layer: min(BANK_SIZES.get(stride_of(layer), LARGEST_BANK), count)
        for layer, count in places.items()
    }
    if not places:
        return 0
    values = sum(count * channels_of(layer) for layer, count in banks.items())
    each = 2 * values * dtype.itemsize + MATCH_BYTES * size[0] * size[1]
    scores = matching.SCORES
    if device.type != "cpu":
        scores = min(
            matching.CARD_SCORES, max(count * places[layer] for layer, count in banks.items())
        )
    return parts * each + 2 * scores * dtype.itemsize


def objective_of(
    view: View,
    styles: Styles,
    tile: int | None = None,
    temporal: TemporalTarget | None = None,
    strips: Strips | None = None,
) -> Objective:
    """The objective of a scene at the size of a view.

    `tile` is the side of its tiles, px, None for one piece; `temporal` what a frame of a film
    shall look like. Of several `strips` it is this member's.
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
        strips=strips,
    )
