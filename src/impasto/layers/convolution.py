"""The network's layers, each with a backward pass that keeps no more than it needs.

PyTorch's own keep the padded input of every convolution (for a gradient of the weights that
nobody asks for) and eight bytes for every window of a pooling. Here the weights are constants: a
rectified convolution keeps its result, or nothing where a pooling follows, and a pooling keeps
which of its values won. That is a quarter of the memory, in the same time. Wide convolutions on a
CPU go Winograd's way (see `winograd`).

Axes are b c h w, in channels_last; the gradients of all functions here can be taken once.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from impasto.layers import winograd
from impasto.layers.pooling import Pooled, Unpooled
from impasto.layers.strips import Frame, Maps, Padding, Source, repeated, sides
from impasto.machine.buffers import Buffers

STRIP_VALUES = 2**20  # of a plain convolution's maps that are made at a time: 2 MB in bfloat16
FEW_CHANNELS = 4  # alone they leave most of a processor's vectors empty: see `in_blocks`


class Kernel(NamedTuple):
    """The constants of a 3x3 convolution, in one of the forms of `constants`."""

    weight: Float[Tensor, "md c n n"] | Float[Tensor, "squares c d"]
    bias: Float[Tensor, "d"]
    back: Float[Tensor, "mc d n n"] | Float[Tensor, "squares d c"]
    """The weights turned by half a circle, channels swapped: a plain convolution with them takes a
    gradient back, with half the memory of PyTorch's own backward pass (oneDNN copies its map)."""
    parts: bool = False
    """Whether the weights are those of maps `in_parts`."""


def kernel(
    weight: Float[Tensor, "d c 3 3"],
    bias: Float[Tensor, "d"],
    dtype: torch.dtype | None = None,
    squares: int = 2,
    parts: bool = False,
) -> Kernel:
    """A convolution's constants from its weights and bias, for maps of a dtype (else theirs), which
    are made in squares of that side where it pays; gradients in squares of 4.

    `parts`: the maps that go in are of a wider type, and are seen `in_parts`.
    """
    dtype = dtype or weight.dtype
    back = weight.flip(2, 3).transpose(0, 1)
    seen = weight_in_parts(weight, dtype) if parts else weight
    return Kernel(constants(seen, dtype, squares), bias.to(dtype), constants(back, dtype, 4), parts)


def constants(
    weight: Float[Tensor, "d c k k"], dtype: torch.dtype, squares: int = 2
) -> Float[Tensor, "md c n n"] | Float[Tensor, "squares c d"]:
    """What `convolved` takes of the weights: themselves, `in_blocks` where they make few channels,
    or Winograd's form where it pays.

    `squares` is the side of the results made together Winograd's way, 2 or 4; 1 for none.
    """
    if squares > 1 and winograd.pays(weight, dtype, squares):
        return winograd.transformed(weight, squares, dtype)
    if len(weight) <= FEW_CHANNELS and weight.shape[3] == 3:
        weight = in_blocks(weight)
    return weight.to(dtype, memory_format=torch.channels_last)


def in_blocks(weight: Float[Tensor, "d c 3 3"]) -> Float[Tensor, "d4 c 4 4"]:
    """A convolution as one to the four positions of a block, two on each time: to three channels in
    half the time of the plain one, with the same result."""
    d, c = weight.shape[:2]
    found = weight.new_zeros(2, 2, d, c, 4, 4)
    for row in range(2):
        for column in range(2):
            found[row, column, :, :, row : row + 3, column : column + 3] = weight
    return found.flatten(0, 2)


def convolved(
    x: Float[Tensor, "b c height width"],
    weight: Tensor,
    bias: Float[Tensor, "d"] | None,
    rectify: bool = False,
    buffers: Buffers | None = None,
) -> Float[Tensor, "b d h w"]:
    """The convolution of maps, h = height - 2, with `constants`; its positive part if `rectify`.
    No gradient."""
    return _whole(Maps(x), weight, bias, 0, "zero", rectify, buffers or Buffers())


def _whole(
    source: Source,
    weight: Tensor,
    bias: Tensor | None,
    around: int,
    padding: Padding,
    rectify: bool,
    buffers: Buffers,
) -> Float[Tensor, "b d h w"]:
    """A convolution's strips, put together in channels_last."""
    b, h, w = source.shape[0], *sides(source, around)
    made = buffers.take(source.like, b, h, w, _channels(weight))
    for pictures, top, found in _strips(source, weight, bias, around, padding, buffers):
        _put(found, made[pictures, top:], rectify)
    return made.permute(0, 3, 1, 2)


def _put(
    found: Float[Tensor, "b rows m columns m d"], out: Float[Tensor, "b h w d"], rectify: bool
) -> None:
    """Write a strip's squares to maps, from their first row on; what reaches beyond is left out."""
    m = found.shape[2]
    for rows, down, height in _pieces(found.shape[1], m, out.shape[1]):
        for columns, right, width in _pieces(found.shape[3], m, out.shape[2]):
            squares = found[:, rows, :down, columns, :right]
            target = out[:, height, width].view(squares.shape)
            if rectify:
                torch.clamp_min(squares, 0, out=target)
            else:
                target.copy_(squares)


def _channels(weight: Float[Tensor, "md c n n"] | Float[Tensor, "squares c d"]) -> int:
    """How many a convolution with these `constants` makes."""
    return weight.shape[2] if weight.dim() == 3 else len(weight) // (weight.shape[3] - 2) ** 2


def _pieces(count: int, m: int, side: int) -> Iterator[tuple[slice, int, slice]]:
    """Of so many squares in a row, those inside a side whole, then the one that its end cuts: which
    they are, how much of each lies inside, and where."""
    side = min(side, count * m)
    whole, rest = divmod(side, m)
    if whole:
        yield slice(0, whole), m, slice(0, whole * m)
    if rest:
        yield slice(whole, whole + 1), rest, slice(whole * m, side)


def _pooled(
    source: Source,
    kernel: Kernel,
    around: int,
    padding: Padding,
    wins: bool,
    buffers: Buffers,
) -> Pooled:
    """A convolution's strips, pooled one after the other."""
    b, h, w = source.shape[0], *sides(source, around)
    pooled = Pooled(source.like, (b, h, w, len(kernel.bias)), wins, buffers)
    for pictures, top, found in _strips(
        source, kernel.weight, kernel.bias, around, padding, buffers
    ):
        if found.shape[2] == 2:
            pooled.take_windows(pictures, top, found)
        else:
            pooled.take(pictures, top, found[:, :, 0, :, 0])
    return pooled


def _strips(
    source: Source,
    weight: Tensor,
    bias: Tensor | None,
    around: int,
    padding: Padding,
    buffers: Buffers,
) -> Iterator[winograd.Strip]:
    """A convolution of maps with so many positions around them, strip by strip: see
    `winograd.strips`. Squares of a plain one have m = 1, or 2 `in_blocks`."""
    if weight.dim() == 3:
        yield from winograd.strips(source, weight, bias, around, padding, buffers)
        return
    m = weight.shape[3] - 2
    bias = None if bias is None else bias.repeat(m * m)
    b, height, _, _ = source.shape
    h, w = sides(source, around)
    h, w = h + h % m, w + w % m
    batch, strip = b, h  # all at once
    if source.like.device.type == "cpu":
        batch, strip = 1, min(h, max(2, STRIP_VALUES // (w * max(weight.shape[:2])) // 2 * 2))
    frame = Frame(source, around, strip + 2, w + 2, buffers, padding, batch)
    bare = isinstance(source, Maps) and source.alive is None and padding == "zero" and m == 1
    maps = source.like if bare else None
    for picture in range(0, b, batch):
        pictures = slice(picture, picture + batch)
        for top in range(0, h, strip):
            first, count, beside = top - around, min(strip, h - top) + 2, 0
            if maps is not None and first >= 0 and first + count <= height:
                seen, beside = maps[pictures, first : first + count], around
            else:
                seen = frame.rows(pictures, first, count)
            x = seen.permute(0, 3, 1, 2)
            found = F.conv2d(x, weight, bias, stride=m, padding=(0, beside)).permute(0, 2, 3, 1)
            squares = found.view(*found.shape[:3], m, m, -1)
            yield pictures, top, squares.transpose(2, 3)


def convolution(
    x: Float[Tensor, "b c h w"],
    kernel: Kernel,
    padding: Padding,
    rectify: bool = True,
    pooled: bool = False,
    buffers: Buffers | None = None,
) -> Float[Tensor, "b d height width"]:
    """A 3x3 convolution, padded by one pixel; its positive part if `rectify`; of that `max_pool`
    if `pooled`.

    Differentiable with respect to x alone. Maps that a kernel sees `in_parts` come whole; their
    gradient is that with the rounded weights, a relative 0.2 % from the exact one. A pooling sends
    no gradient to units that are zero, so behind a convolution it is all that need be remembered.
    """
    made: Tensor = _Convolution.apply(  # type: ignore[no-untyped-call]
        x, kernel, padding, rectify, pooled, buffers or Buffers()
    )
    return made


def pad(
    x: Float[Tensor, "b c h w"], padding: Padding, buffers: Buffers | None = None
) -> Float[Tensor, "b c height width"]:
    """The maps with one position more on each side."""
    b, c, h, w = x.shape
    made = (buffers or Buffers()).maps(x, b, c, h + 2, w + 2)
    made[..., 1:-1, 1:-1].copy_(x)
    for axis, side in ((3, w), (2, h)):
        for place, seen in zip((0, side + 1), repeated(side, padding), strict=True):
            target = made.select(axis, place)
            if padding == "zero":
                target.zero_()
            else:
                target.copy_(made.select(axis, seen + 1))
    return made


def max_pool(
    x: Float[Tensor, "b c h w"], buffers: Buffers | None = None
) -> Float[Tensor, "b c h2 w2"]:
    """The maximum of each 2x2 window of rectified maps; an odd last row or column is left out.

    The gradient goes to the first of equal maxima, row by row, as PyTorch's does; windows of
    zeros, whose units are dead, send none.
    """
    made: Tensor = _MaxPool.apply(x, buffers or Buffers())  # type: ignore[no-untyped-call]
    return made


@torch.enable_grad()
def send_back(maps: Float[Tensor, "b c h w"], gradient: Float[Tensor, "b c h w"]) -> None:
    """A backward pass from maps with this gradient.

    What torch.autograd.backward does with the two of them, but for its check that their shapes
    agree, for which it loads PyTorch's symbolic shapes and sympy: half a second of every run.
    """
    torch.autograd.backward(_Seeded.apply(maps, gradient))  # type: ignore[no-untyped-call]


def in_parts(x: Float[Tensor, "b c h w"], dtype: torch.dtype) -> Float[Tensor, "b c3 h w"]:
    """Maps in a narrower type without loss: what they round to, the rest, and the first again.

    With `weight_in_parts` a convolution is as exact as in float32, but for its result.
    """
    rounded = x.to(dtype)
    return torch.cat([rounded, (x - rounded).to(dtype), rounded], 1)


def weight_in_parts(
    weight: Float[Tensor, "d c 3 3"], dtype: torch.dtype
) -> Float[Tensor, "d c3 3 3"]:
    """The weights for maps in parts: rounded, the same for the maps' rest, and their own rest."""
    rounded = weight.to(dtype).to(torch.float32)
    return torch.cat([rounded, rounded, weight - rounded], 1)


class _Seeded(torch.autograd.Function):
    """A number whose gradient in the maps is given."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, gradient: Tensor) -> Tensor:
        ctx.gradient = gradient
        return maps.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor, None]:
        gradient, ctx.gradient = ctx.gradient, None  # it may be gone before the pass ends
        return gradient, None


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        kernel: Kernel,
        padding: Padding,
        rectify: bool,
        pooled: bool,
        buffers: Buffers,
    ) -> Tensor:
        ctx.padding, ctx.back, ctx.buffers, ctx.dtype = padding, kernel.back, buffers, x.dtype
        if kernel.parts:
            x = in_parts(x, kernel.weight.dtype)
        if pooled:
            found = _pooled(Maps(x), kernel, 1, padding, ctx.needs_input_grad[0], buffers)
            ctx.shape = found.shape
            ctx.save_for_backward(*found.won)
            return found.maxima.permute(0, 3, 1, 2)
        made = _whole(Maps(x), kernel.weight, kernel.bias, 1, padding, rectify, buffers)
        ctx.shape = None
        ctx.save_for_backward(*((made,) if rectify else ()))
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        source: Source
        if ctx.shape is None:
            source = Maps(gradient, *saved)
        else:
            source = Unpooled(gradient, saved, ctx.shape)
        around = 1 if ctx.padding == "zero" else 2
        below = _whole(source, ctx.back, None, around, "zero", False, ctx.buffers)
        return _folded(below, ctx.padding).to(ctx.dtype), None, None, None, None, None


def _folded(gradient: Float[Tensor, "b c h w"], padding: Padding) -> Tensor:
    """The gradient of a map from that of the padded map: each border goes where it came from."""
    if padding == "zero":
        return gradient
    near = 2 if padding == "reflect" else 1  # the row that the border repeats
    for axis in (2, 3):
        last = gradient.shape[axis] - 1
        if padding == "circular":
            gradient.select(axis, last - near).add_(gradient.select(axis, 0))
            gradient.select(axis, near).add_(gradient.select(axis, last))
            continue
        gradient.select(axis, near).add_(gradient.select(axis, 0))
        gradient.select(axis, last - near).add_(gradient.select(axis, last))
    return gradient[..., 1:-1, 1:-1]


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, buffers: Buffers) -> Tensor:
        maps = x.permute(0, 2, 3, 1)
        b, h, w, c = maps.shape
        pooled = Pooled(x, (b, h, w, c), ctx.needs_input_grad[0], buffers)
        pooled.take(slice(None), 0, maps)
        ctx.save_for_backward(*pooled.won)
        ctx.shape, ctx.buffers = pooled.shape, buffers
        return pooled.maxima.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        below = ctx.buffers.take(gradient, *ctx.shape)
        source = Unpooled(gradient, ctx.saved_tensors, ctx.shape)
        source.put(slice(None), slice(0, ctx.shape[1]), below)
        return below.permute(0, 3, 1, 2), None
