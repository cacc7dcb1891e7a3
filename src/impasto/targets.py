"""From a scene to the objective of one scale: the photo's features, each region's moments."""

from collections.abc import Iterable

import torch
from torch import Tensor

from impasto import masks, memory
from impasto.measuring import statistics_for, style_moments
from impasto.moments import Moments, mix
from impasto.objective import Objective, Target, Weights
from impasto.pixelwise import Held
from impasto.scales import GRID
from impasto.scene import Part, Scene
from impasto.vgg import VGG


def objective_of(
    scene: Scene,
    network: VGG,
    size: tuple[int, int],
    tile: int | None,
    least: int,
    past: Held | None = None,
) -> Objective:
    """The objective of a scene at a width and height, px.

    `tile` is the side of its tiles, None for one piece; `least` the shortest side, px, that the
    network can take; `past` what a frame of a film is held to.
    """
    settings, device = scene.settings, network.mean.device
    areas, visible = scene.areas(size), scene.visible(size)
    targets = []
    for part, area in zip(scene.parts, areas, strict=True):
        counts = _times(area, visible)
        guides = _guides(counts, dict(settings.style_layers), device)
        measured = part_moments(scene, part, network, max(size), tile, least)
        targets.append(Target(measured, guides, (2 * part.strength) ** 2))
    content_weight, held = settings.content_weight, scene.held(size)
    if held is None:
        content_weight *= scene.parts[0].hold
    known = dict(settings.style_layers) | dict(settings.content_layers)
    return Objective(
        network,
        scene.content_at(size).to(device),
        targets,
        Weights(
            content_weight,
            settings.style_weight if any(part.strength for part in scene.parts) else 0.0,
            settings.tv_weight,
            settings.structure_weight,
            settings.range_weight,
        ),
        settings.content_layers,
        settings.style_layers,
        settings.style_loss,
        settings.loss_scale,
        settings.structure_layers,
        _guides(_times(held, visible), dict(settings.content_layers), device),
        _guides(visible, known | dict(settings.structure_layers), device),
        tile,
        past,
    )


def mask_bytes(scene: Scene) -> int:
    """Bytes a pixel that a scale keeps for masks: guides of every part and of what is visible, and
    the photo where it stays."""
    little = (16, 16)
    visible = scene.visible(little)
    parts = [area for area in scene.areas(little) if not (area is None and visible is None)]
    guides = len(parts) + (visible is not None)
    photo = memory.PIXEL_BYTES if scene.painted(little) is not None else 0
    return guides * memory.GUIDE_BYTES + photo


def part_moments(
    scene: Scene, part: Part, network: VGG, long_side: int, tile: int | None, least: int
) -> dict[str, Moments]:
    """What a part is to have, by layer: its paintings' moments, mixed by their shares."""
    settings, device = scene.settings, network.mean.device
    layers, grid = dict(settings.style_layers), GRID if settings.seamless else 1
    statistics = statistics_for(settings.style_loss, device)
    found = []
    for strokes in part.strokes:
        pixels, counts = strokes.at(long_side, least, grid)
        guides = _guides(counts, layers, device)
        found.append(style_moments(network, pixels.to(device), layers, tile, statistics, guides))
    shares = [strokes.share for strokes in part.strokes]
    return {layer: mix([moments[layer] for moments in found], shares) for layer in layers}


def _guides(area: Tensor | None, layers: Iterable[str], device: torch.device) -> dict[str, Tensor]:
    """A mask on the grid of each layer; none for everywhere."""
    if area is None:
        return {}
    return {layer: masks.on_grid(area, layer).to(device) for layer in layers}


def _times(area: Tensor | None, other: Tensor | None) -> Tensor | None:
    """The product of two masks, each of which may be everywhere."""
    if area is None or other is None:
        return other if area is None else area
    return area * other
