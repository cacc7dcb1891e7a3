"""3x3 convolutions of deep maps on a CPU with a half to a quarter of the multiplications.

Lavin and Gray 2016, "Fast algorithms for convolutional neural networks", F(m x m, 3 x 3): a square
of m x m results needs (m + 2)^2 products a channel, 16 or 36, instead of 9 m^2, 36 or 144,

    Y = A^T [ (G g G^T) * (B^T d B) ] A

with the square d of the map that it sees and the kernel g. Products of all channels and squares are
(m + 2)^2 matrix products. A^T M A is one, too, and for m = 4 B^T d B: their values are rounded
once. A, B and G follow from m + 1 points (see `forms`); with those here the errors of m = 4 are
half of what they are with the usual ones, 0, 1, -1, 2 and -2.

Maps go in squares of m = 2, their gradients of m = 4. In bfloat16 m = 4 has 1.3 % of error, where
m = 2 has 0.5 and a plain convolution 0.2: enough for gradients, with which the loss after 100 steps
is the same to one percent, not for the maps that a loss is made of (and m = 2 is too much for those
that content is compared by: see `vgg.VGG`). m = 4 is 1.8 times faster than plain with 128 and 256
channels and 2.3 times with 512, m = 2 1.2 to 1.6 times with 256 or more, and not at all with 128.
In float32 m = 2 is nearer to the exact result than a plain convolution, as much faster; m = 4 has
twice a plain one's error, by which a unit of the maps may switch that does not in a tile, and is
1.2 to 2.1 times faster.

Axes are b c h w, in channels_last; c channels in, d out.
"""

import math
from collections.abc import Iterator
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.layers.strips import Frame, Padding, Source, sides
from impasto.machine.buffers import Buffers
from impasto.machine.compute import neutral

LEAST_CHANNELS = {2: 256, 4: 128}  # both in and out, by m
STRIP_VALUES = 2**21  # of the transformed map that are held at a time: 4 MB in bfloat16
PIECE = 64  # channels of a kernel that are transformed at a time: all of 512 take 38 MB in float32
Strip = tuple[slice, int, Float[Tensor, "b rows m columns m d"]]
"""Pictures of a batch, a row, and what a convolution makes of them from there on."""
ROOT = 2**0.5
POINTS = {2: (0, 1, -1), 4: (0, ROOT, -ROOT, 1 / ROOT, -1 / ROOT)}  # by m; beside these, infinity


def pays(weight: Float[Tensor, "d c k k"], dtype: torch.dtype, m: int) -> bool:
    """True where a convolution with these weights of maps of a dtype is faster this way."""
    return (
        weight.device.type == "cpu"
        and weight.shape[-1] == 3
        and dtype in (torch.float32, torch.bfloat16)
        and min(weight.shape[:2]) >= LEAST_CHANNELS[m]
    )


@cache
@neutral()
def forms(m: int) -> tuple[Tensor, Tensor, Tensor]:
    """A^T, G and B^T of F(m, 3), in float64.

    Toom and Cook: two polynomials are multiplied by their values at points, here m + 1 of them and
    infinity, where the value is the last coefficient. In each row, A and G have powers of a point,
    B^T is an inverse; its rows, of which G takes the scale, have 1 as their largest, so that with
    m = 2 they add and subtract alone.
    """
    b = torch.linalg.inv(_powers(m, m + 2)).T
    largest = b.abs().amax(1, keepdim=True)
    return _powers(m, m).T, _powers(m, 3) * largest, b / largest


def transformed(
    weight: Float[Tensor, "d c 3 3"], m: int, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "squares c d"]:
    """G g G^T of every kernel, made in float32: what `strips` takes in place of the weights."""
    _, g, _ = forms(m)
    form = torch.kron(g, g).float()
    d, c = weight.shape[:2]
    made = weight.new_empty(len(form), c, d, dtype=dtype)
    for first in range(0, c, PIECE):
        kernels = weight[:, first : first + PIECE].float().permute(2, 3, 1, 0).reshape(9, -1)
        made[:, first : first + PIECE] = (form @ kernels).view(len(form), -1, d)
    return made


def square(kernel: Float[Tensor, "squares c d"]) -> int:
    """m, the side of the squares that a kernel makes."""
    return math.isqrt(len(kernel)) - 2


def strips(
    source: Source,
    kernel: Float[Tensor, "squares c d"],
    bias: Float[Tensor, "d"] | None,
    around: int,
    padding: Padding,
    buffers: Buffers,
) -> Iterator[Strip]:
    """The convolution of maps with so many positions around them, h = height + 2 around - 2: strip
    by strip a picture, the strip's first row and its squares, of which the last may reach beyond.

    The squares' memory is that of the next strip's.
    """
    m = square(kernel)
    b, h, w = source.shape[0], *sides(source, around)
    rows, columns = -(-h // m), -(-w // m)
    strip = max(1, STRIP_VALUES // (len(kernel) * columns * max(kernel.shape[1:])))
    strip = min(strip, rows)
    frame = Frame(source, around, m * strip + 2, m * columns + 2, buffers, padding)
    space = _Space(source.like, m, strip, columns, kernel, bias, buffers)
    for picture in range(b):
        pictures = slice(picture, picture + 1)
        for top in range(0, rows, strip):
            count = min(strip, rows - top)
            seen = frame.rows(pictures, m * top - around, m * count + 2)
            yield pictures, m * top, space.convolved(seen[0], kernel, count)


class _Space:
    """What one convolution works in, strip after strip: the same memory for all of them."""

    def __init__(
        self,
        like: Tensor,
        m: int,
        rows: int,
        columns: int,
        kernel: Tensor,
        bias: Tensor | None,
        buffers: Buffers,
    ) -> None:
        squares, c, d = kernel.shape
        a, _, b = forms(m)
        self.m, self.columns = m, columns
        self.spread = torch.kron(b, b).to(like)
        sums = torch.kron(a, a)
        # the bias is one product more: added before the results are rounded
        more = 0 if bias is None else 1
        count = rows * columns
        # one buffer holds the squares seen and later the products, the other what lies between
        # and later the results
        self.seen = buffers.take(like, count * (squares * max(c, d) + more * d))
        self.full = buffers.take(like, count * max(squares * c, m * m * d))
        self.products = self.seen[-count * (squares + more) * d :].view(-1, count, d)
        if bias is not None:
            self.products[squares] = bias  # at the buffer's end, where no squares lie
            sums = torch.cat([sums, sums.new_ones(m * m, 1)], 1)
        self.sums = sums.to(like)

    def convolved(
        self,
        source: Float[Tensor, "height width c"],
        kernel: Float[Tensor, "squares c d"],
        rows: int,
    ) -> Float[Tensor, "1 rows m columns m d"]:
        """One strip, so many rows of squares."""
        m, columns, (squares, c, d) = self.m, self.columns, kernel.shape
        count = rows * columns
        full = self.full[: squares * count * c].view(m + 2, m + 2, rows, columns, c)
        if m == 2:
            self._differ(source, full)
        else:
            self._transform(source, full)
        products = self.products[:, :count]
        torch.bmm(full.view(squares, count, c), kernel, out=products[:squares])
        results = self.full[: m * m * count * d].view(m * m, -1)
        torch.mm(self.sums, products.flatten(1), out=results)  # A^T M A and the bias
        return results.view(1, m, m, rows, columns, d).permute(0, 3, 1, 4, 2, 5)

    def _transform(self, source: Tensor, out: Float[Tensor, "n n rows columns c"]) -> None:
        """B^T d B of every square as one matrix product."""
        seen = self.seen[: out.numel()].view(out.shape)
        down, right, _ = source.stride()
        strides = (down, right, self.m * down, self.m * right, 1)
        seen.copy_(source.as_strided(seen.shape, strides, source.storage_offset()))
        squares = len(self.spread)
        torch.mm(self.spread, seen.view(squares, -1), out=out.view(squares, -1))

    def _differ(self, source: Tensor, out: Float[Tensor, "4 4 rows columns c"]) -> None:
        """The same for m = 2, a twentieth of a convolution faster."""
        rows, columns, c = out.shape[2:]
        half = self.seen[: 4 * rows * source.shape[1] * c].view(4, rows, -1, c)
        _differences([source[i : i + 2 * rows : 2] for i in range(4)], list(half))
        parts = [half[:, :, i : i + 2 * columns : 2] for i in range(4)]
        _differences(parts, list(out.unbind(1)))


def _differences(d: list[Tensor], out: list[Tensor]) -> None:
    """B^T d along one axis, for m = 2."""
    torch.sub(d[0], d[2], out=out[0])
    torch.add(d[1], d[2], out=out[1])
    torch.sub(d[2], d[1], out=out[2])
    torch.sub(d[3], d[1], out=out[3])


def _powers(m: int, count: int) -> Float[Tensor, "m_and_2 count"]:
    """So many powers of each point, from 0 on; of infinity, the last power alone."""
    finite = torch.tensor(POINTS[m], dtype=torch.float64)[:, None] ** torch.arange(count)
    last = torch.zeros(1, count, dtype=torch.float64)
    last[0, -1] = 1
    return torch.cat([finite, last])
