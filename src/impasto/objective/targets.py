"""From a scene to the objective of one scale: the photo's features, each part's moments."""

from dataclasses import replace

from impasto.losses.moments import Moments, mix
from impasto.losses.pixels import TemporalTarget
from impasto.networks.tiled import statistics_for, style_moments
from impasto.networks.tiles import GRID
from impasto.networks.vgg import VGG
from impasto.objective.guides import guides_of, product
from impasto.objective.objective import Objective, Target
from impasto.objective.spec import Spec
from impasto.scene import Part, View
from impasto.settings import Settings


class StyleMoments:
    """The moments that parts of a picture shall have, each measured when it is first asked for.

    `least` is the shortest side that the network can take, px. Runs with the same settings share
    one of these: the frames of a film measure their paintings once.
    """

    def __init__(self, network: VGG, settings: Settings, least: int) -> None:
        self.network, self.settings, self.least = network, settings, least
        self._known: dict[tuple[Part, int, int | None], dict[str, Moments]] = {}

    def of(self, part: Part, long_side: int, tile: int | None) -> dict[str, Moments]:
        """The moments of a part's paintings by layer, mixed by their shares, for a picture with
        that long side, px, in tiles of that side."""
        key = part, long_side, tile
        if key not in self._known:
            self._known = {k: v for k, v in self._known.items() if k[1] == long_side}
            self._known[key] = self._measured(part, long_side, tile)
        return self._known[key]

    def _measured(self, part: Part, long_side: int, tile: int | None) -> dict[str, Moments]:
        settings, device = self.settings, self.network.mean.device
        layers, grid = dict(settings.style_layers), GRID if settings.seamless else 1
        statistics = statistics_for(settings.style_loss, device)
        found = []
        for strokes in part.strokes:
            pixels, counts = strokes.at(long_side, self.least, grid)
            its = guides_of(counts, layers, device)
            measured = style_moments(self.network, pixels.to(device), layers, tile, statistics, its)
            found.append(measured)
        shares = [strokes.share for strokes in part.strokes]
        return {layer: mix([moments[layer] for moments in found], shares) for layer in layers}


def objective_of(
    view: View,
    styles: StyleMoments,
    tile: int | None = None,
    temporal: TemporalTarget | None = None,
) -> Objective:
    """The objective of a scene at the size of a view.

    `tile` is the side of its tiles, px, None for one piece; `temporal` what a frame of a film
    shall look like.
    """
    spec, network = Spec.of(styles.settings), styles.network
    device = network.mean.device
    targets = []
    for part, area in zip(view.parts, view.areas, strict=True):
        own = guides_of(product(area, view.alpha), dict(spec.style_layers), device)
        measured = styles.of(part, max(view.size), tile)
        targets.append(Target(measured, own, part.strength.style))
    content_weight = spec.content_weight
    if view.content_share is None:
        content_weight *= view.parts[0].strength.content
    some_style = any(part.strength.value for part in view.parts)
    every = [dict(spec.style_layers), dict(spec.content_layers), dict(spec.structure_layers)]
    return Objective(
        network,
        view.photo.to(device),
        targets,
        replace(
            spec,
            content_weight=content_weight,
            style_weight=spec.style_weight if some_style else 0.0,
        ),
        content_guides=guides_of(
            product(view.content_share, view.alpha), dict(spec.content_layers), device
        ),
        visible_guides=guides_of(view.alpha, {k: v for d in every for k, v in d.items()}, device),
        tile=tile,
        temporal=temporal,
    )
