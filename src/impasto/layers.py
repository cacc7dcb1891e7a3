"""The network's layers, each with a backward pass that keeps no more than it needs.

PyTorch's own keep the padded input of every convolution (for a gradient of the weights that
nobody asks for) and eight bytes for every window of a pooling. Here the weights are constants: a
rectified convolution keeps its result, or nothing where a pooling follows, and a pooling keeps
which of its values won. That is a quarter of the memory, in the same time. Wide convolutions on a
CPU go Winograd's way (see `winograd`).

Axes are b c h w, in channels_last; the gradients of all functions here can be taken once.
"""

from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from impasto import winograd
from impasto.buffers import Buffers

STRIP_VALUES = 2**20  # of a plain convolution's maps that are made at a time: 2 MB in bfloat16
BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes of a value
Padding = Literal["zero", "reflect", "replicate", "circular"]


class Kernel(NamedTuple):
    """The constants of a 3x3 convolution: in channels_last, or in Winograd's form where it pays."""

    weight: Float[Tensor, "d c 3 3"] | Float[Tensor, "squares c d"]
    bias: Float[Tensor, "d"]
    back: Float[Tensor, "c d 3 3"] | Float[Tensor, "squares d c"]
    """The weights turned by half a circle, channels swapped: a plain convolution with them takes a
    gradient back, with half the memory of PyTorch's own backward pass (oneDNN copies its map)."""


def kernel(
    weight: Float[Tensor, "d c 3 3"], bias: Float[Tensor, "d"], dtype: torch.dtype | None = None
) -> Kernel:
    """A convolution's constants from its weights and bias, for maps of a dtype (else theirs)."""
    dtype = dtype or weight.dtype
    back = weight.flip(2, 3).transpose(0, 1)
    return Kernel(constants(weight, dtype), bias.to(dtype), constants(back, dtype, exact=False))


def constants(
    weight: Float[Tensor, "d c m m"], dtype: torch.dtype, exact: bool = True
) -> Float[Tensor, "d c m m"] | Float[Tensor, "squares c d"]:
    """What `convolved` takes of the weights: themselves, or Winograd's form.

    In small squares where the result is to be exact, in large ones for gradients.
    """
    squares = 2 if exact else 4
    if winograd.pays(weight, dtype, squares):
        return winograd.transformed(weight, squares).to(dtype)
    return weight.to(dtype, memory_format=torch.channels_last)


def convolved(
    x: Float[Tensor, "b c height width"],
    weight: Tensor,
    bias: Float[Tensor, "d"] | None,
    zeros: int = 0,
    rectify: bool = False,
    buffers: Buffers | None = None,
    alive: Float[Tensor, "b c height width"] | None = None,
) -> Float[Tensor, "b d h w"]:
    """The convolution of maps with so many zeros around them, with `constants`; its positive part
    if `rectify`. No gradient.

    `alive`: other maps; where they are not positive, the maps count as zero.
    """
    buffers = buffers or Buffers()
    if weight.dim() == 4:
        return _plain(x, weight, bias, zeros, rectify, buffers, alive)
    made = winograd.convolution(x, weight, bias, zeros, buffers, alive)
    return F.relu_(made) if rectify else made


def _plain(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    zeros: int,
    rectify: bool,
    buffers: Buffers,
    alive: Tensor | None,
) -> Float[Tensor, "b d h w"]:
    """A convolution without detours, on a CPU strip by strip into a buffer of ours."""
    if x.device.type != "cpu":
        x = x if alive is None else torch.ops.aten.threshold_backward(x, alive, 0)
        made = F.conv2d(x, weight, bias, padding=zeros)
        return F.relu_(made) if rectify else made
    b, _, height, width = x.shape
    h, w = height + 2 * zeros - 2, width + 2 * zeros - 2
    made = buffers.maps(x, b, len(weight), h, w)
    strip = max(1, STRIP_VALUES // (b * w * max(weight.shape[:2])))
    for top in range(0, h, strip):
        out = made[:, :, top : top + strip]
        first, end = top - zeros, top - zeros + out.shape[2] + 2
        above, below = max(0, -first), max(0, end - height)
        rows = slice(max(0, first), min(end, height))
        seen = x[:, :, rows]
        if alive is not None:
            seen = torch.ops.aten.threshold_backward(seen, alive[:, :, rows], 0)
        if above or below:
            seen = F.pad(seen, (0, 0, above, below))
        found = F.conv2d(seen, weight, bias, padding=(0, zeros))
        if rectify:
            torch.clamp_min(found, 0, out=out)
        else:
            out.copy_(found)
    return made


def convolution(
    x: Float[Tensor, "b c h w"],
    kernel: Kernel,
    padding: Padding,
    rectify: bool = True,
    pooled: bool = False,
    buffers: Buffers | None = None,
) -> Float[Tensor, "b d h w"]:
    """A 3x3 convolution, padded by one pixel; its positive part if `rectify`.

    Differentiable with respect to x alone. `pooled`: the result goes into `max_pool` and nowhere
    else. That sends no gradient to units that are zero, so none need be remembered.
    """
    made: Tensor = _Convolution.apply(  # type: ignore[no-untyped-call]
        x, kernel, padding, rectify, pooled, buffers or Buffers()
    )
    return made


def pad(
    x: Float[Tensor, "b c h w"], padding: Padding, buffers: Buffers | None = None
) -> Float[Tensor, "b c height width"]:
    """The maps with one position more on each side."""
    made = winograd.framed(x, 1, 1, 1, buffers or Buffers())
    for axis in (3, 2) if padding != "zero" else ():
        last = made.shape[axis] - 1
        near, far = {"reflect": (2, last - 2), "replicate": (1, last - 1),
                     "circular": (last - 1, 1)}[padding]  # fmt: skip
        made.select(axis, 0).copy_(made.select(axis, near))
        made.select(axis, last).copy_(made.select(axis, far))
    return made


def max_pool(
    x: Float[Tensor, "b c h w"], buffers: Buffers | None = None
) -> Float[Tensor, "b c h2 w2"]:
    """The maximum of each 2x2 window of rectified maps; an odd last row or column is left out.

    The gradient goes to the first of equal maxima, row by row, as PyTorch's does; windows of
    zeros, whose units are dead, send none.
    """
    buffers = buffers or Buffers()
    if torch.is_grad_enabled() and x.requires_grad:
        made: Tensor = _MaxPool.apply(x, buffers)  # type: ignore[no-untyped-call]
        return made
    _, found = _maxima(x, buffers)
    return found.permute(0, 3, 1, 2)


def in_parts(x: Float[Tensor, "b c h w"], dtype: torch.dtype) -> Float[Tensor, "b c3 h w"]:
    """Maps in a narrower type without loss: what they round to, the rest, and the first again.

    With `weight_in_parts` a convolution is as exact as in float32, but for its result.
    """
    made: Tensor = _InParts.apply(x, dtype)  # type: ignore[no-untyped-call]
    return made


def weight_in_parts(
    weight: Float[Tensor, "d c 3 3"], dtype: torch.dtype
) -> Float[Tensor, "d c3 3 3"]:
    """The weights for maps in parts: rounded, the same for the maps' rest, and their own rest."""
    rounded = weight.to(dtype).to(torch.float32)
    return torch.cat([rounded, rounded, weight - rounded], 1)


class _InParts(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, x: Tensor, dtype: torch.dtype) -> Tensor:
        rounded = x.to(dtype)
        return torch.cat([rounded, (x - rounded).to(dtype), rounded], 1)

    @staticmethod
    @once_differentiable
    def backward(_: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # of the maps themselves: that with the rounded weights, a relative 0.2 % from the exact one
        return gradient[:, : gradient.shape[1] // 3].float(), None


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
        zeros = 1 if padding == "zero" else 0
        x = x if zeros else pad(x, padding, buffers)
        made = convolved(x, kernel.weight, kernel.bias, zeros, rectify, buffers)
        if not made.is_contiguous(memory_format=torch.channels_last):
            made = buffers.maps(made, *made.shape).copy_(made)
        ctx.padding, ctx.back, ctx.buffers = padding, kernel.back, buffers
        ctx.masked = rectify and not pooled
        if ctx.masked:
            ctx.save_for_backward(made)
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        made = ctx.saved_tensors[0] if ctx.masked else None
        zeros = 1 if ctx.padding == "zero" else 2
        below = convolved(gradient, ctx.back, None, zeros, buffers=ctx.buffers, alive=made)
        return _folded(below, ctx.padding), None, None, None, None, None


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
        rows, found = _maxima(x, buffers)
        left, right = _windows(x).unbind(3)
        won_right = _greater(right, left, buffers)
        won_lower = _greater(rows[:, 1::2], rows[:, 0::2], buffers)
        won_upper = buffers.take(x, *found.shape, dtype=torch.bool)
        won_upper.copy_(found).logical_and_(~won_lower)  # rectified: what is true is positive
        ctx.save_for_backward(won_right, won_upper, won_lower)
        ctx.shape, ctx.buffers = x.shape, buffers
        return found.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        won_right, won_upper, won_lower = ctx.saved_tensors
        found = gradient.permute(0, 2, 3, 1)
        b, h, w, c = found.shape
        rows = ctx.buffers.take(found, b, h, 2, w, c)
        _keep(found, won_upper, rows[:, :, 0])
        _keep(found, won_lower, rows[:, :, 1])
        rows = rows.view(b, 2 * h, w, c)
        columns = ctx.buffers.take(found, b, 2 * h, w, 2, c)
        _keep(rows, won_right, columns[:, :, :, 1])
        torch.sub(rows, columns[:, :, :, 1], out=columns[:, :, :, 0])
        below = columns.view(b, 2 * h, 2 * w, c).permute(0, 3, 1, 2)
        height, width = ctx.shape[-2:]
        if (height, width) == (2 * h, 2 * w):
            return below, None
        return winograd.framed(below, 0, height - 2 * h, width - 2 * w, ctx.buffers), None


def _greater(one: Tensor, other: Tensor, buffers: Buffers) -> Tensor:
    """Where one is greater than the other: as values first, in a quarter of the time."""
    values = torch.gt(one, other, out=buffers.take(one, *one.shape))
    return buffers.take(one, *one.shape, dtype=torch.bool).copy_(values)


def _keep(values: Tensor, mask: Tensor, out: Tensor) -> None:
    """The values where the mask says so, else 0: as bits, which takes a third of the time."""
    bits = BITS[values.element_size()]
    torch.mul(values.view(bits), mask.view(torch.int8), out=out.view(bits))


def _maxima(
    x: Float[Tensor, "b c h w"], buffers: Buffers
) -> tuple[Float[Tensor, "b h2 w2 c"], Float[Tensor, "b y x c"]]:
    """The larger of the two columns of each window, and the largest of all four, by position."""
    left, right = _windows(x).unbind(3)
    b, h, w, c = left.shape
    rows, found = buffers.take(x, b, h, w, c), buffers.take(x, b, h // 2, w, c)
    torch.maximum(left, right, out=rows)
    torch.maximum(rows[:, 0::2], rows[:, 1::2], out=found)
    return rows, found


def _windows(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h2 w2 2 c"]:
    """The maps by position, with the two columns of each window apart: a view of even ones."""
    b, c, height, width = x.shape
    even = x[..., : height // 2 * 2, : width // 2 * 2].permute(0, 2, 3, 1)
    return even.reshape(b, height // 2 * 2, width // 2, 2, c)
