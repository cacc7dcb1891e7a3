"""Tiles: a picture too large for memory, cut so that nothing changes.

Every tile answers for its inner box, on the grid of the deepest layer's stride, and is computed
from an outer box with a margin that covers the receptive field. Borders inside the picture are
then never padded where it shows, and only true borders are: a sum over the tiles' inner features
is the sum over the whole picture's features, and so is its gradient when each tile's is
accumulated over its whole outer box.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from impasto.networks.layer_names import receptive_field, stride_of

GRID = 16  # px; opposite edges meet only where every pooling halves evenly


@dataclass(frozen=True)
class Box:
    """A rectangle, px: rows top to bottom, columns left to right, the ends excluded."""

    top: int
    bottom: int
    left: int
    right: int

    def crop(self, image: Shaped[Tensor, "*_ h w"]) -> Tensor:
        """The part of an image inside the box: a view."""
        return image[..., self.top : self.bottom, self.left : self.right]

    def taken_from(self, image: Float[Tensor, "b c h w"]) -> Tensor:
        """The pixels inside the box, from the other side where it lies beyond a border."""
        height, width = image.shape[-2:]
        if self._fits(height, width):
            return self.crop(image)
        rows, columns = self._wrapped(height, width)
        return image[..., rows.to(image.device)[:, None], columns.to(image.device)]

    def add_to(self, image: Float[Tensor, "b c h w"], part: Float[Tensor, "b c y x"]) -> None:
        """Add what belongs to the box to an image, in place: the reverse of `taken_from`."""
        height, width = image.shape[-2:]
        if self._fits(height, width):
            self.crop(image).add_(part)
            return
        rows, columns = (index.to(image.device) for index in self._wrapped(height, width))
        narrow = part.new_zeros(*part.shape[:-1], width).index_add_(-1, columns, part)
        image.index_add_(-2, rows, narrow)

    def _fits(self, height: int, width: int) -> bool:
        return self.top >= 0 and self.left >= 0 and self.bottom <= height and self.right <= width

    def _wrapped(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """The rows and columns of an endlessly repeated image."""
        rows = torch.arange(self.top, self.bottom) % height
        return rows, torch.arange(self.left, self.right) % width

    def shrunk(self, stride: int) -> "Box":
        """The box on a feature map of that stride; what pooling rounds away is left out."""
        return Box(*(edge // stride for edge in (self.top, self.bottom, self.left, self.right)))

    def within(self, outer: "Box") -> "Box":
        """The same box, counted from the corner of another."""
        return Box(
            self.top - outer.top,
            self.bottom - outer.top,
            self.left - outer.left,
            self.right - outer.left,
        )

    def clipped(self, height: int, width: int) -> "Box":
        """The part of the box that lies on a picture of that size."""
        return Box(
            max(0, self.top), min(height, self.bottom), max(0, self.left), min(width, self.right)
        )

    @property
    def area(self) -> int:
        """Pixels inside."""
        return (self.bottom - self.top) * (self.right - self.left)


@dataclass(frozen=True)
class Tile:
    """What one tile answers for (inner) and what it is computed from (outer), px."""

    inner: Box
    outer: Box

    def inner_features(self, layer: str, features: Float[Tensor, "b c h w"]) -> Tensor:
        """The features of the inner box, from those of the outer box: a view."""
        return self.features_box(layer).crop(features)

    def features_box(self, layer: str) -> Box:
        """Where the inner box lies on the outer box's feature map of this layer."""
        stride = stride_of(layer)
        return self.inner.shrunk(stride).within(self.outer.shrunk(stride))


def margin(layers: Iterable[str]) -> int:
    """How far, in px, the deepest of these layers looks beyond its cell, rounded up to its stride.

    80 px for relu5_1: a receptive field of 156 px around a cell of 16 reaches 70 px to each side.
    """
    deepest = max(layers, key=receptive_field)
    stride = max(stride_of(layer) for layer in layers)
    beyond = (receptive_field(deepest) - stride_of(deepest)) / 2
    return math.ceil(beyond / stride) * stride


def cut(
    height: int,
    width: int,
    side: int,
    layers: Iterable[str],
    wrap: bool = False,
    rows: tuple[int, int] | None = None,
) -> list[Tile]:
    """Tiles of about `side` px that cover a picture; one tile if it is no larger than that.

    `wrap`: the picture's opposite edges meet, so that margins go beyond its borders. `rows`: cover
    those from the first to the second alone; the others are margins, which go beyond left and right
    at most.
    """
    layers = tuple(layers)
    stride = max((stride_of(layer) for layer in layers), default=1)
    beyond = margin(layers) if layers else 0
    if rows is not None:
        return _cut_rows(rows, (height, width), side, stride, beyond, wrap)
    found, columns = [], _edges(width, side, stride)
    for top, bottom in pairwise(_edges(height, side, stride)):
        for left, right in pairwise(columns):
            outer = Box(top - beyond, bottom + beyond, left - beyond, right + beyond)
            if not wrap:
                outer = outer.clipped(height, width)
            found.append(Tile(Box(top, bottom, left, right), outer))
    if wrap and len(found) == 1:
        return [Tile(found[0].inner, found[0].inner)]  # the network goes round by itself
    return found


def _cut_rows(
    rows: tuple[int, int], size: tuple[int, int], side: int, stride: int, beyond: int, wrap: bool
) -> list[Tile]:
    """The tiles of some rows of a picture of a height and width."""
    (top, bottom), (height, width) = rows, size
    columns, found = _edges(width, side, stride), []
    around = wrap and len(columns) > 2  # else the network goes round by itself
    for above, below in pairwise(top + edge for edge in _edges(bottom - top, side, stride)):
        for left, right in pairwise(columns):
            inner = Box(above, below, left, right)
            outer = Box(above - beyond, below + beyond, left - beyond, right + beyond)
            clipped = outer.clipped(height, width)
            if around:
                clipped = Box(clipped.top, clipped.bottom, outer.left, outer.right)
            found.append(Tile(inner, clipped))
    return found


def _edges(length: int, side: int, stride: int) -> list[int]:
    """0, multiples of the stride about `side` apart, and `length`."""
    count = min(math.ceil(length / side), max(1, length // (2 * stride)))
    inside = [round(i * length / count / stride) * stride for i in range(1, count)]
    return [0, *inside, length]
