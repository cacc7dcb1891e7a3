"""Moments: all that a style is.

For features F of C channels at P positions, and a weight w for each position (1 where there is
no mask),

    n = sum_p w_p        m = sum_p w_p F_p / n        S = sum_p w_p F_p F_p^T / n

S is the Gram matrix of Gatys et al. 2016 (eq. 3) divided by the number of positions. Moments add
up: those of two regions, tiles, machines or paintings combine linearly, and so carry masks,
tiling, distribution and the blending of styles.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from impasto.machine.exchange import Exchange
from impasto.machine.memory import rows_of

BLOCKS = 16  # that sums over positions are made of, see _sums
FEW_VALUES = 2**20  # of maps whose sums are made at once, in float32
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
        """The moments of both sets of positions together, each with its weight n.

        Two sets that weigh nothing, such as tiles outside a mask, weigh nothing together.
        """
        weight = self.weight + other.weight
        share = _share(weight)
        a, b = self.weight * share, other.weight * share
        return Moments(
            weight,
            a[:, None] * self.mean + b[:, None] * other.mean,
            a[:, None, None] * self.second + b[:, None, None] * other.second,
        )

    def zeros(self) -> "Moments":
        """Moments of features that are zero everywhere, of the same shape and weight."""
        return Moments(self.weight, torch.zeros_like(self.mean), torch.zeros_like(self.second))


def measure(
    features: Float[Tensor, "b c h w"],
    weight: Float[Tensor, "b 1 h w"] | None = None,
    statistics: torch.dtype | None = None,
    means: bool = True,
) -> Moments:
    """The moments of feature maps, each position weighing `weight` >= 0 (1 if None).

    Statistics are of the type given, or float32 for features of lower precision. Where all
    weights are zero the mean and second moment are zero too. Differentiable with respect to the
    features, once. Without `means`, which Gram matrices do without, that of every channel is nan.
    """
    wide = statistics or torch.promote_types(features.dtype, torch.float32)
    if weight is None:
        n = features.new_full((features.shape[0],), features[0, 0].numel(), dtype=wide)
    else:
        n = weight.to(wide).sum((1, 2, 3))
    mean, second = _Measure.apply(features, weight, n, means)  # type: ignore[no-untyped-call]
    return Moments(n, mean, second)


def of_all(found: Sequence[Moments], exchange: Exchange, means: bool = True) -> list[Moments]:
    """The moments of all members' positions together, from those of each: one message.

    It holds n, n S and, with `means`, n m of each of the moments found.
    """
    message = []
    for own in found:
        n = own.weight
        message += [n, n[:, None, None] * own.second] + ([n[:, None] * own.mean] if means else [])
    sums, made = iter(exchange.sum(message)), []
    for own in found:
        n = next(sums)
        second = _share(n)[:, None, None] * next(sums)
        made.append(Moments(n, _share(n)[:, None] * next(sums) if means else own.mean, second))
    return made


def pull_back(
    features: Float[Tensor, "b c h w"],
    weight: Float[Tensor, "b 1 h w"] | None,
    n: Float[Tensor, "b"],
    mean_gradient: Float[Tensor, "b c"] | None,
    second_gradient: Float[Tensor, "b c c"],
    onto: Float[Tensor, "b c h w"] | None = None,
) -> Float[Tensor, "b c h w"]:
    """dL/dF from dL/dm (None for zero) and dL/dS: (dL/dm + (dL/dS + dL/dS^T) F) w / n; added to
    `onto` in place, if that is given.

    The features may be a tile of a larger picture, with the n of the whole: a tile needs to know
    no more of the others than these two small gradients.
    """
    share = _share(n)
    symmetric = (second_gradient + second_gradient.mT) * share[:, None, None]
    # Statistics wider than float32 are those of delicate losses, whose two terms nearly cancel.
    delicate = second_gradient.dtype == torch.float64
    precise = torch.promote_types(features.dtype, torch.float32) if delicate else features.dtype
    symmetric, offset = symmetric.to(precise), None
    if mean_gradient is not None:
        offset = (mean_gradient * share[:, None]).to(precise)[:, None]
    if onto is None:
        return _pulled(features, weight, offset, symmetric)
    if weight is None and precise == onto.dtype and _rows_touch(features) and _rows_touch(onto):
        made = _vectors(onto).baddbmm_(_vectors(features), symmetric)  # half the time of a map more
        if offset is not None:
            made += offset
        return onto
    for rows in rows_of(onto):
        part = None if weight is None else weight[:, :, rows]
        onto[:, :, rows] += _pulled(features[:, :, rows], part, offset, symmetric)
    return onto


def _pulled(
    features: Float[Tensor, "b c h w"],
    weight: Float[Tensor, "b 1 h w"] | None,
    offset: Float[Tensor, "b 1 c"] | None,
    symmetric: Float[Tensor, "b c c"],
) -> Float[Tensor, "b c h w"]:
    """(offset + symmetric F) w, in the type of the matrix on the way."""
    gradient = torch.matmul(_vectors(features).to(symmetric.dtype), symmetric)
    if offset is not None:
        gradient += offset
    if weight is not None:
        gradient *= _vectors(weight).to(symmetric.dtype)
    gradient = gradient.to(features.dtype)
    return gradient.view(-1, *features.shape[-2:], features.shape[1]).permute(0, 3, 1, 2)


class _Measure(torch.autograd.Function):
    """Mean and second moment; saves the features as they are and no wider copy of them."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor | None, n: Tensor, means: bool
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(features, n)
        ctx.weight = weight
        vectors, share = _vectors(features), _share(n)
        weights = [None] * len(vectors) if weight is None else _vectors(weight)
        sums = [_sums(own, w, n.dtype, means) for own, w in zip(vectors, weights, strict=True)]
        mean, second = (torch.stack(found) for found in zip(*sums, strict=True))
        return mean * share[:, None], second * share[:, None, None]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        features, n = ctx.saved_tensors
        return pull_back(features, ctx.weight, n, *gradients), None, None, None


def _sums(
    vectors: Float[Tensor, "p c"],
    weight: Float[Tensor, "p 1"] | None,
    wide: torch.dtype,
    means: bool,
) -> tuple[Float[Tensor, "c"], Float[Tensor, "c c"]]:
    """sum_p w v, or nan, and sum_p w v v^T, in blocks: nothing as large as the maps is made.

    A product of bfloat16 matrices is summed in float32 but rounded to bfloat16 (0.2 %); over 16
    blocks the roundings average out to 0.04 %, at two and a half times the speed of float32. The
    first sum is a product with ones, too, in 256 blocks: nothing is widened. That is too much for
    statistics asked for in float64, and for small maps, which take a tenth to three quarters of
    the time in one block of float32.
    """
    count = vectors.shape[1]
    second = torch.zeros(count, count, dtype=wide, device=vectors.device)
    first = second.new_full((count,), 0.0 if means else math.nan)
    few = vectors.numel() <= FEW_VALUES
    narrow = vectors.dtype == torch.bfloat16 and wide != torch.float64 and not few
    if narrow and weight is None:
        each, rest = _parted(vectors, BLOCKS)
        second += torch.bmm(each.mT, each).sum(0, dtype=wide)
        second += rest.to(wide).mT @ rest.to(wide)
        return first + _sum_in_parts(vectors, BLOCKS**2, wide) if means else first, second
    blocks = vectors.chunk(1 if few else BLOCKS)
    weights: Sequence[Tensor | None] = [None] * len(blocks)
    if weight is not None:
        weights = weight.to(vectors.dtype).chunk(len(blocks))
    for block, own in zip(blocks, weights, strict=True):
        weighted = block if own is None else block * own
        if means and narrow:
            first += _sum_in_parts(weighted, BLOCKS, wide)
        elif means:
            first += weighted.sum(0, dtype=wide)
        if not narrow:
            block = block.to(wide)
            weighted = block if own is None else weighted.to(wide)
        second += block.mT @ weighted
    return first, second


def _sum_in_parts(
    vectors: Float[Tensor, "p c"], count: int, wide: torch.dtype
) -> Float[Tensor, "c"]:
    """The sum over the positions, of so many partial sums that are each rounded."""
    each, rest = _parted(vectors, count)
    sums = torch.bmm(each.new_ones(count, 1, each.shape[1]), each)[:, 0]
    found: Tensor = sums.sum(0, dtype=wide) + rest.sum(0, dtype=wide)
    return found


def _parted(
    vectors: Float[Tensor, "p c"], count: int
) -> tuple[Float[Tensor, "count n c"], Float[Tensor, "rest c"]]:
    """So many blocks of equal length, and what is left."""
    length = len(vectors) // count
    whole = count * length
    return vectors[:whole].reshape(count, length, vectors.shape[1]), vectors[whole:]


def _vectors(maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b p c"]:
    """Feature vectors by position: a view of maps in channels_last."""
    return maps.permute(0, 2, 3, 1).flatten(1, 2)


def _rows_touch(maps: Float[Tensor, "b c h w"]) -> bool:
    """True where `_vectors` is a view: one picture's rows in channels_last, in their full width."""
    across, along = maps.stride(3), maps.stride(2)
    return len(maps) == maps.stride(1) == 1 and along == maps.shape[3] * across


def _share(n: Float[Tensor, "b"]) -> Float[Tensor, "b"]:
    """1 / n, and nearly nothing of nothing where n is zero."""
    return n.clamp_min(torch.finfo(n.dtype).tiny).reciprocal()


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
