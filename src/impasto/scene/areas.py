"""Areas: where each part of a picture is, softly, at one width and height."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.images import masks
from impasto.scene.regions import Part
from impasto.settings import Strength

Area = Float[Tensor, "1 1 h w"]
"""How much each pixel belongs to a part, 0 to 1."""


def areas_of(
    parts: Sequence[Part], mask: Tensor | None, size: tuple[int, int]
) -> list[Area | None]:
    """Where each part is at a width and height, px: together at most one, and at most the mask.

    None for the only part of a picture without a mask, which is everywhere.
    """
    if len(parts) == 1 and parts[0].areas is None and mask is None:
        return [None]
    limit = 1.0 if mask is None else masks.at(mask, size)
    found = [
        None
        if part.areas is None
        else torch.stack([masks.at(area, size) for area in part.areas]).sum(0).clamp_max(1)
        for part in parts
    ]
    taken = [area for area in found if area is not None]
    total = torch.stack(taken).sum(0) if taken else torch.zeros(1, 1, size[1], size[0])
    crowd = total.clamp_min(1)
    rest = (1 - total).clamp_min(0)
    return [(rest if area is None else area / crowd) * limit for area in found]


def softened(
    parts: Sequence[Part], keep: Float[Tensor, "1 1 _ _"], strength: float, size: tuple[int, int]
) -> list[Part]:
    """The parts, and behind each of them what `keep` takes of it: the same strokes at that
    strength, or at the part's own where that is less. size: width and height of the photo, px."""
    found, kept = [], masks.at(keep, size)
    for part, area in zip(parts, areas_of(parts, None, size), strict=True):
        soft = kept if area is None else kept * area
        if area is not None and part.areas is not None:
            part = replace(part, areas=(area - soft,))
        less = Strength(min(strength, part.strength.value))
        found += [part, replace(part, areas=(soft,), strength=less)]
    return found


def content_share_of(parts: Sequence[Part], areas: Sequence[Area | None]) -> Area | None:
    """What multiplies the content weight at each pixel: the parts' own, 1 where nothing is painted.

    None where there is only one part, and it is everywhere.
    """
    some = [area for area in areas if area is not None]
    if not some:
        return None
    shares = [area * part.strength.content for area, part in zip(some, parts, strict=True)]
    return torch.stack(shares).sum(0) + (1 - torch.stack(some).sum(0)).clamp_min(0)


def canvas_of(
    parts: Sequence[Part], mask: Tensor | None, areas: Sequence[Area | None]
) -> Area | None:
    """Where the picture is painted (1) and where it stays the photo (0); None: everywhere."""
    if mask is None and any(part.areas is None for part in parts):
        return None
    some = [area for area in areas if area is not None]
    return torch.stack(some).sum(0).clamp(0, 1)
