"""Areas: where each part of a picture is, softly, at one width and height."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.images import masks
from impasto.scene.regions import Part

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


def shown_of(
    parts: Sequence[Part], areas: Sequence[Area | None], keep: Area, strength: float
) -> Area | None:
    """How much of what is painted shows, and how much of the photo beneath: where `keep` is, as
    much as that strength is of the part's own. None for parts that are no stronger than that.

    keep: of the areas' size. Painting the places with a lower strength would not do: a small face
    lies within reach of the strokes around it in VGG-19's deep layers, and content at relu4_2
    knows little of its colors.
    """
    own = [part.strength.value for part in parts]
    shares = [1.0 if value <= strength else strength / value for value in own]
    if min(shares) == 1:
        return None
    shown = torch.zeros_like(keep)
    for area, share in zip(areas, shares, strict=True):
        seen = 1 - keep * (1 - share)
        shown = shown + (seen if area is None else area * seen)
    return shown
