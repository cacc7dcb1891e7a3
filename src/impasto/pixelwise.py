"""The terms of the objective that need no network: functions of the pixels alone, without tiles.

Each returns its weighted value and adds its gradient to the one given, if there is one.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from impasto import losses
from impasto.strips import rows_of

Gradient = Float[Tensor, "1 3 h w"] | None


@dataclass(frozen=True, eq=False)
class Held:
    """What a frame of a film is held to: the picture that the frames before it make of it."""

    image: Float[Tensor, "1 3 h w"]
    mask: Float[Tensor, "1 1 h w"]
    """1 where they can tell, 0 elsewhere."""
    weight: float = 1.0
    """Of the temporal loss, sum_p mask(p) |x(p) - image(p)|^2 / (3 h w): Ruder, Dosovitskiy and
    Brox 2016, eq. 7."""

    def to(self, device: torch.device) -> "Held":
        """The same on a device."""
        return replace(self, image=self.image.to(device), mask=self.mask.to(device))


def temporal(held: Held, image: Float[Tensor, "1 3 h w"], gradient: Gradient) -> Tensor:
    """The term that holds a frame to those before it."""
    change, share = (image - held.image) * held.mask, held.weight / image.numel()
    if gradient is not None:
        gradient.add_(change * held.mask, alpha=2 * share)
    return share * change.square().sum()


def out_of_range(weight: float, image: Float[Tensor, "1 3 h w"], gradient: Gradient) -> Tensor:
    """The term of pixels beyond black and white."""
    value = image.new_zeros(())
    for rows in rows_of(image):
        part = image[:, :, rows]
        share = weight * part.numel() / image.numel()
        value = value + share * losses.out_of_range(part).sum()
        if gradient is not None:
            excess = part - part.clamp(0, 1)
            gradient[:, :, rows].add_(excess, alpha=2 * weight / image.numel())
    return value


def total_variation(weight: float, image: Float[Tensor, "1 3 h w"], gradient: Gradient) -> Tensor:
    """The term of total variation, see `losses.total_variation`."""
    value = image.new_zeros(())
    for rows in rows_of(image):
        below = slice(rows.start, rows.stop + 1)  # to the first neighbours of the next block
        for axis, seen in ((2, below), (3, rows)):
            change = image[:, :, seen].diff(dim=axis)
            pairs = image.numel() // image.shape[axis] * (image.shape[axis] - 1)
            share = weight / max(1, pairs)
            value = value + share * change.square().sum()
            if gradient is not None:
                mine, count = gradient[:, :, seen], change.shape[axis]
                mine.narrow(axis, 0, count).sub_(change, alpha=2 * share)
                mine.narrow(axis, 1, count).add_(change, alpha=2 * share)
    return value
