"""Matching: each place of the picture is held to the nearest stroke of the painting.

A bank holds feature vectors A_j of a painting at one layer, with their mean mu. A feature vector F
of the picture and those of the bank are compared as

    q = (F - mu) / |F - mu|             v_j = (A_j - mu) / |A_j - mu|                by direction
    q = (F - mu) / d                    v_j = (A_j - mu) / d                         by distance

where d^2 is the painting's variance, the mean of |A - mu|^2. In both cases

    L = sum_p w_p |q_p - v_j(p)|^2 / 2,      j(p) = argmin_j |q_p - v_j|^2

which is 1 - cos(q, v) by direction. So do Kolkin et al. 2022 (NNST, section 3.3: cosine distance of
centered features); Li and Wand 2016 (CNNMRF, eq. 2 and 3) match patches of 3x3 positions. A
departure: the shallowest layer is compared by distance. A direction has no length, and length is
color and brightness there: dark cloth came out with colored specks. By distance everywhere, strokes
come out flat.

A place needs nothing but the bank: the loss is a sum over places, whatever tile they lie in. While
the j(p) stay what they are, the gradient is that of a sum of squares.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from impasto.machine.memory import rows_of

SCORES = 2**20  # products of places and bank that are looked at together
CARD_SCORES = 2**27  # on a card, for which small pieces of work last as long as large ones
GROUP = 64  # of a bank, of which the best is found first: argmax alone takes four times as long
SHORTEST = 1e-6  # of |F - mu|: what is shorter has no direction


@dataclass(frozen=True, eq=False)
class Bank:
    """The strokes of a painting at one layer: what its feature vectors are compared as.

    `mean` is mu, `vectors` are the v_j, in the type that products are made in, `size` is d: None
    where directions are compared.
    """

    mean: Float[Tensor, "c"]
    vectors: Float[Tensor, "n c"]
    size: Float[Tensor, ""] | None

    @classmethod
    def of(
        cls,
        vectors: Float[Tensor, "n c"],
        mean: Float[Tensor, "c"],
        variance: Float[Tensor, ""] | None,
        dtype: torch.dtype,
    ) -> "Bank":
        """The bank of these feature vectors, at most 32767 of them; compared by distance if there
        is a variance, the mean of |A - mu|^2, by direction else."""
        wide = torch.promote_types(dtype, torch.float32)
        size = None if variance is None else variance.to(wide).clamp_min(SHORTEST**2).sqrt()
        whole = torch.arange(-(-len(vectors) // GROUP) * GROUP, device=vectors.device)
        bank = cls(mean.to(wide), vectors, size)
        compared, _ = bank.compared(vectors[whole % len(vectors)])
        return replace(bank, vectors=compared.to(dtype))

    def compared(
        self, features: Float[Tensor, "p c"]
    ) -> tuple[Float[Tensor, "p c"], Float[Tensor, "..."]]:
        """q of feature vectors, in float32 or wider, and what F - mu is divided by to that end."""
        centered = features.to(torch.promote_types(features.dtype, self.mean.dtype)) - self.mean
        length = self.size
        if length is None:
            length = centered.norm(dim=1, keepdim=True).clamp_min(SHORTEST)
        return centered.div_(length), length


def nearest(features: Float[Tensor, "1 c h w"], bank: Bank) -> Int[Tensor, "h w"]:
    """j(p): for each place the number of the nearest vector of the bank, as int16.

    q . v_j - |v_j|^2 / 2 is largest for it; the products are made in the type of the bank.
    """
    vectors = bank.vectors
    halves = vectors.float().square().sum(1).div_(2).to(vectors.dtype)
    most = SCORES if features.device.type == "cpu" else CARD_SCORES
    rows = max(1, most // (len(vectors) * features.shape[3]))
    found = torch.empty(features.shape[2:], dtype=torch.int16, device=features.device)
    for top in range(0, features.shape[2], rows):
        part, places = features[:, :, top : top + rows], found[top : top + rows]
        q = bank.compared(_vectors(part))[0].to(vectors.dtype)
        scores = torch.addmm(halves, q, vectors.T, beta=-1)
        places.copy_(_argmax(scores).view(places.shape))
    return found


def distance(
    features: Float[Tensor, "1 c h w"],
    matches: Int[Tensor, "h w"],
    bank: Bank,
    weight: Float[Tensor, "1 1 h w"] | None = None,
) -> Float[Tensor, ""]:
    """L of the given matches, in float32 or wider; w is 1 if None."""
    value = torch.zeros((), dtype=bank.mean.dtype, device=features.device)
    for block in _blocks(features, matches, bank, weight):
        value += block.weighed(block.change.square().sum(1, keepdim=True) / 2).sum()
    return value


def steepness(
    features: Float[Tensor, "1 c h w"],
    matches: Int[Tensor, "h w"],
    bank: Bank,
    weight: Float[Tensor, "1 1 h w"] | None = None,
) -> Float[Tensor, ""]:
    """The sum over places of |dL/dF_p|^2: what gradients in half precision are scaled by."""
    value = torch.zeros((), dtype=bank.mean.dtype, device=features.device)
    for block in _blocks(features, matches, bank, weight):
        value += block.slope(bank).square().sum()
    return value


def add_slope(
    features: Float[Tensor, "1 c h w"],
    matches: Int[Tensor, "h w"],
    bank: Bank,
    factor: Float[Tensor, ""] | float,
    weight: Float[Tensor, "1 1 h w"] | None,
    onto: Float[Tensor, "1 c h w"],
) -> None:
    """Add the factor times dL/dF, for the given matches, to a gradient in place.

    By direction it is (cos(q, v) q - v) w / |F - mu|, by distance (q - v) w / d.
    """
    for block in _blocks(features, matches, bank, weight):
        own = onto[:, :, block.rows]
        own += block.slope(bank).mul_(factor).to(onto.dtype).T.view(own.shape)


class _Block(NamedTuple):
    """Some rows of a map as they are compared with their matches."""

    rows: slice
    q: Float[Tensor, "p c"]
    change: Float[Tensor, "p c"]
    """q - v."""
    length: Tensor
    """What F - mu was divided by."""
    weight: Float[Tensor, "p 1"] | None

    def weighed(self, values: Float[Tensor, "p c"]) -> Float[Tensor, "p c"]:
        """Values of places, times the weights of these."""
        return values if self.weight is None else values * self.weight

    def slope(self, bank: Bank) -> Float[Tensor, "p c"]:
        """dL/dF; uses up `change`. By direction what lies along q changes nothing."""
        change = self.change
        if bank.size is None:
            change = change.addcmul_(self.q, (self.q * change).sum(1, keepdim=True), value=-1)
        return self.weighed(change.div_(self.length))


def _blocks(
    features: Float[Tensor, "1 c h w"],
    matches: Int[Tensor, "h w"],
    bank: Bank,
    weight: Float[Tensor, "1 1 h w"] | None,
) -> Iterator[_Block]:
    """Some rows at a time, without rows that weigh nothing."""
    for rows in rows_of(features):
        own = None if weight is None else weight[0, 0, rows].reshape(-1, 1)
        if own is None or bool(own.any()):
            q, length = bank.compared(_vectors(features[:, :, rows]))
            yield _Block(rows, q, q - bank.vectors[matches[rows].flatten().int()], length, own)


def _argmax(scores: Float[Tensor, "p n"]) -> Int[Tensor, "p"]:
    """Where the largest of each row is: first in which group, then where in there."""
    groups = scores.view(len(scores), -1, GROUP)
    best = groups.amax(2).argmax(1)
    inside = groups[torch.arange(len(scores), device=scores.device), best].argmax(1)
    return best * GROUP + inside


def _vectors(maps: Float[Tensor, "1 c h w"]) -> Float[Tensor, "p c"]:
    """Feature vectors by place."""
    return maps[0].permute(1, 2, 0).flatten(0, 1)
