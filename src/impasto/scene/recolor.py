"""Whose colors the picture has: the photo's, the painting's, or those of a third picture.

A `Recoloring` takes pixels to pixels, one by one, so it is found once on small pictures and holds
at every size; it can be pickled. The ways are those of Gatys et al. 2016b, "Preserving color in
neural artistic style transfer", and the transfer of whole distributions of Pitié et al. 2005.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.images import color
from impasto.losses import moments
from impasto.losses.moments import Moments

KeepColors = Literal["none", "luminance", "match", "transfer"]
ColorMap = Literal["symmetric", "cholesky", "pca"]
Recoloring = Callable[[Tensor], Tensor]
"""Pixels b 3 h w in [0, 1] to the same."""

LEAST_VARIANCE = 1e-6  # added to the covariance of colors: a gray picture has none in two axes
ROUNDS, QUANTILES = 24, 512  # of the transfer of a distribution
TIE = 1e-4  # of OKLab's axes: colors nearer to each other than this are the same color
GRAY = 0.01  # how far the channels of a gray picture may lie apart: 2.5 of 255
STRIP = 128  # rows
HALVINGS = 10  # of the search for a lightness that a screen has
CHROMA_ERROR = 0.004  # in OKLab, of a color that a screen has


def unchanged(image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """The picture as it is."""
    return image


def moments_of(
    image: Float[Tensor, "1 3 h w"], weight: Float[Tensor, "1 1 h w"] | None = None
) -> Moments:
    """The moments of a picture's colors, each pixel weighing as much as given, in float64."""
    return moments.measure(image.double(), weight, torch.float64)


def matched(
    source: Moments,
    target: Moments,
    way: ColorMap = "symmetric",
    amount: float = 1.0,
    most_gain: float = math.inf,
) -> Recoloring:
    """Give the source's colors the mean and covariance of the target's, in sRGB.

    x -> A (x - m) + m* with A C A^T = C* (Gatys et al. 2016b, eq. 1 to 3). `cholesky`: A = L* L^-1;
    `pca`: A = C*^(1/2) C^(-1/2); `symmetric`: the symmetric A, which moves colors least (the
    Monge-Kantorovich map, Pitié and Kokaram 2007). `amount` 0 ... 1 goes part of the way.
    `most_gain` limits how many times the symmetric map stretches colors along any axis.
    """
    mean, covariance = _statistics(source)
    its_mean, its_covariance = _statistics(target)
    if way == "cholesky":
        mine, its = torch.linalg.cholesky(covariance), torch.linalg.cholesky(its_covariance)
        matrix = its @ torch.linalg.inv(mine)
    elif way == "pca":
        matrix = _power(its_covariance, 0.5) @ _power(covariance, -0.5)
    else:
        root, inverse = _power(covariance, 0.5), _power(covariance, -0.5)
        matrix = inverse @ _power(root @ its_covariance @ root, 0.5) @ inverse
        gains, axes = torch.linalg.eigh(matrix)
        matrix = axes * gains.clamp_max(most_gain) @ axes.T
    return partial(_mapped, matrix=matrix, mean=mean, its_mean=its_mean, amount=amount)


def transferred(
    source: Float[Tensor, "1 3 h w"], target: Float[Tensor, "1 3 y x"], amount: float = 1.0
) -> Recoloring:
    """Give the source's colors the target's whole distribution, in OKLab.

    Along one rotated set of axes after the other, each quantile of the source goes to that of the
    target (Pitié et al. 2005, "N-dimensional probability density function transfer"). Of a color
    that fills many quantiles, as flat grounds do, the middle one counts.
    """
    mine, its = (_vectors(color.oklab(image)) for image in (source, target))
    levels = torch.linspace(0, 1, QUANTILES)
    generator = torch.Generator().manual_seed(0)
    rounds = []
    for number in range(ROUNDS):
        turned = torch.linalg.qr(torch.randn(3, 3, generator=generator)).Q
        axes = torch.eye(3) if number == 0 else turned
        tables = [
            (torch.quantile(a, levels).contiguous(), torch.quantile(b, levels).contiguous())
            for a, b in zip((mine @ axes).T, (its @ axes).T, strict=True)
        ]
        rounds.append((axes, tables))
        mine = _moved(mine, axes, tables)
    return partial(_redistributed, rounds=rounds, amount=amount)


def desaturated(amount: float) -> Recoloring:
    """Take that share of the chroma away: what is left at 1 is lightness alone."""
    return partial(_with_less_chroma, amount=amount)


def neutral(image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """`desaturated`, its three channels exactly alike."""
    return desaturated(1.0)(image).mean(1, keepdim=True).expand_as(image)


def is_gray(
    image: Float[Tensor, "1 3 h w"], weight: Float[Tensor, "1 1 h w"] | None = None
) -> bool:
    """True for a picture without color, wherever it weighs anything."""
    apart = image.amax(1, keepdim=True) - image.amin(1, keepdim=True)
    return float((apart if weight is None else apart * weight).max()) < GRAY


def lightness_matched(
    source: Float[Tensor, "1 3 h w"], target: Float[Tensor, "1 3 y x"], amount: float = 1.0
) -> Recoloring:
    """`desaturated`, with the lightness's mean and deviation brought to the target's.

    Gatys et al. 2016b, section 4.2; theirs is the Y of YIQ, ours the L of OKLab.
    """
    gray = desaturated(amount)
    mine, its = color.oklab(source)[:, :1], color.oklab(target)[:, :1]
    ratio = float(its.std() / mine.std().clamp_min(1e-3))
    means = mine.mean(), its.mean()
    return partial(_lightened, gray=gray, ratio=ratio, means=means, amount=amount)


def with_chroma_of(
    painted: Float[Tensor, "1 3 h w"], photo: Float[Tensor, "1 3 h w"], amount: float = 1.0
) -> Float[Tensor, "1 3 h w"]:
    """The painted lightness with the photo's chroma, and what it has left of its own under 1.

    Where no screen has such a color the lightness gives way, not the chroma: as far towards the
    photo's as it must.
    """
    lab, own = color.oklab(painted.clamp(0, 1)), color.oklab(photo)
    wanted, safe = lab[:, :1], own[:, :1]
    if amount < 1:
        chroma = lab[:, 1:] + amount * own[:, 1:]
        return color.from_oklab(torch.cat([wanted, chroma], 1)).clamp(0, 1)
    chroma = own[:, 1:]
    low, high = torch.zeros_like(wanted), torch.ones_like(wanted)
    for _ in range(HALVINGS):
        share = (low + high) / 2
        shown = _shown(safe + share * (wanted - safe), chroma)
        low, high = torch.where(shown, share, low), torch.where(shown, high, share)
    lightness = torch.where(_shown(wanted, chroma), wanted, safe + low * (wanted - safe))
    return color.from_oklab(torch.cat([lightness, chroma], 1)).clamp(0, 1)


def by_rows(
    way: Callable[..., Tensor], *images: Float[Tensor, "1 3 h w"]
) -> Float[Tensor, "1 3 h w"]:
    """What a function of single pixels makes of images, some rows at a time: it may take ten times
    a picture's memory on its way."""
    found = torch.empty_like(images[0])
    for top in range(0, found.shape[2], STRIP):
        rows = slice(top, top + STRIP)
        found[:, :, rows] = way(*(image[:, :, rows] for image in images))
    return found


def _mapped(image: Tensor, matrix: Tensor, mean: Tensor, its_mean: Tensor, amount: float) -> Tensor:
    """Colors moved along a linear map from one mean to another."""
    moved = torch.einsum("dc,bchw->bdhw", matrix.to(image), image - _column(mean, image))
    moved = moved + _column(its_mean, image)
    return (image + amount * (moved - image)).clamp(0, 1)


def _redistributed(
    image: Tensor, rounds: list[tuple[Tensor, list[tuple[Tensor, Tensor]]]], amount: float
) -> Tensor:
    """Colors moved along one set of axes after the other."""
    vectors = _vectors(color.oklab(image))
    for axes, tables in rounds:
        vectors = _moved(vectors, axes.to(vectors), tables)
    lab = vectors.T.view(3, *image.shape[-2:])[None]
    moved = color.from_oklab(lab).clamp(0, 1)
    return image + amount * (moved - image)


def _with_less_chroma(image: Tensor, amount: float) -> Tensor:
    lab = color.oklab(image)
    lab[:, 1:] *= 1 - amount
    return color.from_oklab(lab).clamp(0, 1)


def _lightened(
    image: Tensor, gray: Recoloring, ratio: float, means: tuple[Tensor, Tensor], amount: float
) -> Tensor:
    """The gray picture, its lightness stretched by the ratio from one mean to the other."""
    lab, (mean, its_mean) = color.oklab(gray(image)), means
    moved = ratio * (lab[:, :1] - mean) + its_mean
    lab[:, :1] += amount * (moved.clamp(0, 1) - lab[:, :1])
    return color.from_oklab(lab).clamp(0, 1)


def _shown(lightness: Tensor, chroma: Tensor) -> Tensor:
    """Where a screen has such a color, nearly."""
    rgb = color.from_oklab(torch.cat([lightness, chroma], 1)).clamp(0, 1)
    return (color.oklab(rgb)[:, 1:] - chroma).abs().amax(1, keepdim=True) < CHROMA_ERROR


def _statistics(colors: Moments) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the colors; none is quite without variance."""
    covariance = colors.covariance[0]
    return colors.mean[0], covariance + LEAST_VARIANCE * torch.eye(3).to(covariance)


def _power(matrix: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    power: Tensor = vectors * values.clamp_min(1e-12) ** exponent @ vectors.T
    return power


def _moved(vectors: Tensor, axes: Tensor, tables: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Each coordinate along the axes, from its quantile there to the other table's."""
    turned = vectors @ axes
    columns = []
    for values, (mine, its) in zip(turned.T.contiguous(), tables, strict=True):
        mine, its = mine.to(values), its.to(values)
        rank = (_rank(mine, values - TIE) + _rank(mine, values + TIE)) / 2
        below = rank.long().clamp_max(QUANTILES - 2)
        columns.append(torch.lerp(its[below], its[below + 1], rank - below))
    return torch.stack(columns, 1) @ axes.T


def _rank(table: Float[Tensor, "q"], values: Float[Tensor, "p"]) -> Float[Tensor, "p"]:
    """Where the values lie in a sorted table, from 0 to its last place."""
    above = torch.searchsorted(table, values).clamp(1, len(table) - 1)
    left, right = table[above - 1], table[above]
    return above - 1 + ((values - left) / (right - left).clamp_min(1e-9)).clamp(0, 1)


def _vectors(image: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "p 3"]:
    return image[0].flatten(1).T


def _column(values: Tensor, image: Tensor) -> Tensor:
    return values.to(image).view(1, 3, 1, 1)
