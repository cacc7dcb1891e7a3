"""The losses of pixels alone: no network sees them, no tile cuts them.

    total variation    mean of squared neighbor differences      Mahendran and Vedaldi 2015
    out of range       mean of the squared distance to [0, 1]     not of a paper, see `out_of_range`
    temporal           sum mask (x - target)^2 / (3 h w)          Ruder et al. 2016, eq. 7

Each `..._term` returns the weighted value of its loss and adds the gradient to the one given, if
there is one, some rows at a time: nothing as large as the picture is made. The image may be some
rows of a picture of that `height`, px: the terms of all its parts add up to those of the whole.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.machine.memory import rows_of

Gradient = Float[Tensor, "1 3 h w"] | None


@dataclass(frozen=True, eq=False)
class TemporalTarget:
    """What a frame of a film shall look like: the frames before it, carried along the flow."""

    image: Float[Tensor, "1 3 h w"]
    mask: Float[Tensor, "1 1 h w"]
    """1 where they can tell, 0 elsewhere."""
    weight: float = 1.0
    """Of the temporal loss, sum_p mask(p) |x(p) - image(p)|^2 / (3 h w): Ruder, Dosovitskiy and
    Brox 2016, eq. 7."""

    def to(self, device: torch.device) -> "TemporalTarget":
        """The same on a device."""
        return replace(self, image=self.image.to(device), mask=self.mask.to(device))


def total_variation(image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b"]:
    """The mean over values of the squared differences to the right and lower neighbors.

    Mahendran and Vedaldi 2015 (their R_V^beta with beta = 2), as a mean so that its weight means
    the same at every size.
    """
    right = (image[..., :, 1:] - image[..., :, :-1]).square().flatten(1).mean(1)
    below = (image[..., 1:, :] - image[..., :-1, :]).square().flatten(1).mean(1)
    return right + below


def out_of_range(image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b"]:
    """The mean over values of the squared distance to [0, 1].

    Not of the paper: a picture file holds nothing darker than black, and cutting off at the end
    what the optimizer built on adds a tenth to the loss (docs/background/recipe.md).
    """
    return (image - image.clamp(0, 1)).square().flatten(1).mean(1)


def temporal_term(
    target: TemporalTarget, image: Float[Tensor, "1 3 h w"], gradient: Gradient
) -> Tensor:
    """The term that holds a frame to those before it."""
    change, share = (image - target.image) * target.mask, target.weight / image.numel()
    if gradient is not None:
        gradient.add_(change * target.mask, alpha=2 * share)
    return share * change.square().sum()


def range_term(
    weight: float,
    image: Float[Tensor, "1 3 h w"],
    gradient: Gradient,
    height: int | None = None,
) -> Tensor:
    """The term of pixels beyond black and white."""
    value, values = image.new_zeros(()), image[0, :, 0].numel() * (height or image.shape[2])
    for rows in rows_of(image):
        part = image[:, :, rows]
        share = weight * part.numel() / values
        value = value + share * out_of_range(part).sum()
        if gradient is not None:
            excess = part - part.clamp(0, 1)
            gradient[:, :, rows].add_(excess, alpha=2 * weight / values)
    return value


def tv_term(
    weight: float,
    image: Float[Tensor, "1 3 h w"],
    gradient: Gradient,
    height: int | None = None,
    below: bool = False,
) -> Tensor:
    """The term of total variation, see `total_variation`; `below`: the last row is that of the
    part below, and counts as a neighbor alone."""
    own = image[:, :, :-1] if below else image
    value, sides = image.new_zeros(()), (1, 3, height or image.shape[2], image.shape[3])
    for rows in rows_of(own):
        next_rows = slice(rows.start, rows.stop + 1)  # to the first neighbors of the next block
        for axis, seen in ((2, next_rows), (3, slice(rows.start, min(rows.stop, own.shape[2])))):
            change = image[:, :, seen].diff(dim=axis)
            pairs = math.prod(sides) // sides[axis] * (sides[axis] - 1)
            share = weight / max(1, pairs)
            value = value + share * change.square().sum()
            if gradient is not None:
                mine, count = gradient[:, :, seen], change.shape[axis]
                mine.narrow(axis, 0, count).sub_(change, alpha=2 * share)
                mine.narrow(axis, 1, count).add_(change, alpha=2 * share)
    return value
