"""The losses. Style losses compare moments; the content loss compares features; none needs weights.

    content            1/2 sum (F - P)^2                          Gatys et al. 2016, eq. 1
    gram               sum (S - S*)^2 / (4 C^2)                   eq. 4, at equal picture sizes
    wasserstein        W2^2 of N(m, S - m m^T) and the target's   Vacher et al. 2020, section 3
    meanstd            sum (m - m*)^2 + sum (sd - sd*)^2          Li et al. 2017, table 1, BN
    self-similarity    mean_j sum_i |D_ij - D*_ij|                Kolkin et al. 2019, eq. 6

F and P are the features of the painted picture and of the photo; m, S, sd the moments of the
painted picture and, with a star, of the painting; C the number of channels. Each loss has three
scales: as the paper writes it, as a mean over entries, and relative to what the target itself
measures, which makes one weight mean the same at every size, for every painting and network.
"""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from impasto.losses.moments import Moments
from impasto.losses.roots import matrix_sqrt, trace_sqrt

RIDGE = 1e-3  # of the mean variance of a target: what the Wasserstein distance blurs by
ROWS = 64  # of a feature map that are widened at a time

LossScale = Literal["paper", "mean", "relative"]
StyleLoss = Callable[[Moments, Moments], Float[Tensor, "b"]]


def content(
    features: Float[Tensor, "b c h w"],
    target: Float[Tensor, "b c h w"],
    scale: LossScale = "paper",
) -> Float[Tensor, "b"]:
    """How far the features are from the photo's.

    `paper`: 1/2 sum (F - P)^2, Gatys et al. 2016, eq. 1. `mean`: the mean of (F - P)^2.
    `relative`: sum (F - P)^2 / sum P^2.
    """
    return content_factor(target, scale) * squared_distance(features, target)


def squared_distance(
    features: Float[Tensor, "b c h w"],
    target: Float[Tensor, "b c h w"],
    weight: Float[Tensor, "b 1 h w"] | None = None,
) -> Float[Tensor, "b"]:
    """sum w (F - P)^2, in float32 or wider; w is the weight of each position, 1 if None."""
    statistics = torch.promote_types(features.dtype, torch.float32)
    squares = (features.to(statistics) - target.to(statistics)).square()
    if weight is not None:
        squares *= weight
    return squares.flatten(1).sum(1)


def content_slope(
    features: Float[Tensor, "b c h w"],
    target: Float[Tensor, "b c h w"],
    factor: Float[Tensor, "b"],
    weight: Float[Tensor, "b 1 h w"] | None = None,
) -> Float[Tensor, "b c h w"]:
    """2 f w (F - P), the gradient in F of f times `squared_distance`, in the features' type.

    The objective sends it back without autograd, some rows at a time: a formula of the content loss
    that changes above changes here, too.
    """
    slope = (2 * factor).to(features.dtype).view(-1, 1, 1, 1) * (features - target)
    return slope if weight is None else slope * weight.to(slope.dtype)


def content_factor(target: Float[Tensor, "b c h w"], scale: LossScale) -> Float[Tensor, "b"]:
    """What the content loss multiplies sum (F - P)^2 with; it depends on the photo alone."""
    statistics = torch.promote_types(target.dtype, torch.float32)
    if scale == "paper":
        return target.new_full(target.shape[:1], 1 / 2, dtype=statistics)
    if scale == "mean":
        return target.new_full(target.shape[:1], 1 / target[0].numel(), dtype=statistics)
    rows = torch.split(
        target, ROWS, 2
    )  # a whole map in float32 would be the peak of a run's memory
    sizes = torch.stack([part.to(statistics).square().sum((1, 2, 3)) for part in rows])
    return sizes.sum(0).clamp_min(1e-12).reciprocal()


def gram(moments: Moments, target: Moments) -> Float[Tensor, "b"]:
    """sum_ij (S_ij - S*_ij)^2 / (4 C^2).

    E_l of Gatys et al. 2016, eq. 4, where photo and painting have equally many positions M:
    their G is M S. For other sizes theirs mixes the two areas into the loss; ours does not.
    """
    channels = moments.second.shape[-1]
    return (moments.second - target.second).square().sum((-2, -1)) / (4 * channels**2)


def wasserstein(moments: Moments, target: Moments) -> Float[Tensor, "b"]:
    """The squared 2-Wasserstein distance of the Gaussians with these means and covariances.

    |m - m*|^2 + tr(A) + tr(A*) - 2 tr (R A R)^(1/2) with the covariances A, A* and R = A*^(1/2)
    (Dowson and Landau 1982, eq. 4; as a style loss: Vacher et al. 2020). A departure: both
    Gaussians are blurred by RIDGE times the target's mean variance. Without, the gradient grows
    without bound in every direction in which the picture does not vary, and there are many where
    there are more channels than positions: such pictures came out full of the network's patterns.
    """
    means = (moments.mean - target.mean).square().sum(-1)
    channels = target.mean.shape[-1]
    blur = RIDGE * _trace(target.covariance).detach() / channels
    ridge = blur[:, None, None] * torch.eye(channels, dtype=blur.dtype, device=blur.device)
    covariance, wanted = moments.covariance + ridge, target.covariance + ridge
    traces = _trace(covariance) + _trace(wanted)
    root = matrix_sqrt(wanted.detach())
    return means + traces - 2 * trace_sqrt(root @ covariance @ root)


def meanstd(moments: Moments, target: Moments) -> Float[Tensor, "b"]:
    """sum_c (m_c - m*_c)^2 + sum_c (sd_c - sd*_c)^2.

    The batch-normalization statistics of Li et al. 2017 (table 1), also AdaIN's style loss
    (Huang and Belongie 2017, eq. 13, without its square root).
    """
    means = (moments.mean - target.mean).square().sum(-1)
    return means + (moments.deviation - target.deviation).square().sum(-1)


STYLE_LOSSES: dict[str, StyleLoss] = {
    "gram": gram,
    "wasserstein": wasserstein,
    "meanstd": meanstd,
}


def style(
    name: str, moments: Moments, target: Moments, scale: LossScale = "paper"
) -> Float[Tensor, "b"]:
    """The style loss of that name on one of the three scales.

    `paper`: the function's own value. `mean`: the mean over the C x C (gram) or C entries.
    `relative`: divided by the loss of an all-zero feature map, which is |S*|^2 for gram,
    |m*|^2 + |sd*|^2 for meanstd and |m*|^2 + tr(A*) for wasserstein (but for the small constants
    that keep roots differentiable: 0.2 % of it for meanstd, up to 3 % for wasserstein).
    """
    loss = STYLE_LOSSES[name]
    value = loss(moments, target)
    if scale == "paper":
        return value
    if scale == "mean":
        return value * 4 if name == "gram" else value / moments.mean.shape[-1]
    return value / loss(target.zeros(), target).detach().clamp_min(1e-12)


def self_similarity(
    vectors: Float[Tensor, "n c"], target: Float[Tensor, "n c"]
) -> Float[Tensor, ""]:
    """How differently two pictures' own parts resemble each other, 0 to 2.

    mean_j sum_i |D_ij / sum_i D_ij - E_ij / sum_i E_ij| for the cosine distances D between the
    feature vectors of one picture, and E between those of the other at the same positions: the
    content loss of STROTSS (Kolkin et al. 2019, eq. 6), times the number of positions.
    """
    mine, its = (_relations(vectors), _relations(target))
    return (mine - its).abs().sum(0).mean()


def _relations(vectors: Float[Tensor, "n c"]) -> Float[Tensor, "n n"]:
    """Cosine distances, each column's summing to one."""
    unit = F.normalize(vectors, dim=1)
    distance = (1 - unit @ unit.mT).clamp_min(0)
    return distance / distance.sum(0, keepdim=True).clamp_min(1e-12)


def _trace(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=-2, dim2=-1).sum(-1)
