"""Moments: all that a style is.

For features F of C channels at P positions, and a weight w for each position (1 where there is
no mask),

    n = sum_p w_p        m = sum_p w_p F_p / n        S = sum_p w_p F_p F_p^T / n

S is the Gram matrix of Gatys et al. 2016 (eq. 3) divided by the number of positions. Moments add
up: those of two regions, tiles, machines or paintings combine linearly, and so carry masks,
tiling, distribution and the blending of styles.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

VARIANCE_FLOOR = 1e-5  # added under the square root, as in AdaIN (Huang and Belongie 2017)


@dataclass(frozen=True, eq=False)
class Moments:
    """The weight n, mean m and second moment S of feature vectors, for each picture of a batch."""

    weight: Float[Tensor, "b"]
    mean: Float[Tensor, "b c"]
    second: Float[Tensor, "b c c"]

    @property
    def covariance(self) -> Float[Tensor, "b c c"]:
        """S - m m^T."""
        return self.second - self.mean.unsqueeze(-1) * self.mean.unsqueeze(-2)

    @property
    def deviation(self) -> Float[Tensor, "b c"]:
        """The standard deviation of each channel, sqrt(S_cc - m_c^2 + 1e-5)."""
        variance = self.second.diagonal(dim1=-2, dim2=-1) - self.mean.square()
        return (variance.clamp_min(0) + VARIANCE_FLOOR).sqrt()

    def __add__(self, other: "Moments") -> "Moments":
        """The moments of both sets of positions together, each with its weight n."""
        weight = self.weight + other.weight
        a, b = self.weight / weight, other.weight / weight
        return Moments(
            weight,
            a[:, None] * self.mean + b[:, None] * other.mean,
            a[:, None, None] * self.second + b[:, None, None] * other.second,
        )

    def zeros(self) -> "Moments":
        """Moments of features that are zero everywhere, of the same shape and weight."""
        return Moments(self.weight, torch.zeros_like(self.mean), torch.zeros_like(self.second))


def measure(
    features: Float[Tensor, "b c h w"], weight: Float[Tensor, "b 1 h w"] | None = None
) -> Moments:
    """The moments of feature maps, each position weighing `weight` >= 0 (1 if None).

    Statistics are float32 for features of lower precision. Where all weights are zero the mean
    and second moment are zero too.
    """
    statistics = torch.promote_types(features.dtype, torch.float32)
    vectors = features.permute(0, 2, 3, 1).flatten(1, 2).to(statistics)  # b p c
    if weight is None:
        n = vectors.new_full((vectors.shape[0],), vectors.shape[1])
        weighted = vectors
    else:
        w = weight.permute(0, 2, 3, 1).flatten(1, 2).to(statistics)  # b p 1
        n = w.sum((1, 2))
        weighted = vectors * w
    share = n.clamp_min(torch.finfo(statistics).tiny).reciprocal()
    mean = weighted.sum(1) * share[:, None]
    second = vectors.transpose(1, 2) @ weighted * share[:, None, None]
    return Moments(n, mean, second)


def mix(styles: Sequence[Moments], weights: Sequence[float]) -> Moments:
    """The blend of several styles' moments, sum_i weights_i M_i / sum_i weights_i.

    The blended mean and second moment are those of a painting that gives each style so large a
    share of its surface. A weight of zero leaves the style out; (1, 0) is the first alone.
    """
    total = sum(weights)
    if len(styles) != len(weights) or not styles or min(weights) < 0 or total <= 0:
        raise ValueError("mix needs one weight >= 0 for each style, and one above zero")
    chosen = [(style, w / total) for style, w in zip(styles, weights, strict=True) if w > 0]
    return Moments(
        sum_of([share * style.weight for style, share in chosen]),
        sum_of([share * style.mean for style, share in chosen]),
        sum_of([share * style.second for style, share in chosen]),
    )


def sum_of(tensors: Sequence[Tensor]) -> Tensor:
    """The sum of tensors of one shape."""
    return torch.stack(list(tensors)).sum(0)
