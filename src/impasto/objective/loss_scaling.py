"""Loss scaling: gradients of maps in float16, which knows nothing between 0 and 6e-8.

The gradient of a loss in one value of a map is small, the more so the more positions there are:
1e-7 is usual. In float16 most of them would be lost, so the whole backward pass is multiplied with
a power of two, and the picture's gradient, in float32, divided by it (Micikevicius et al. 2018,
"Mixed precision training", section 3.2). A departure: the factor is not found by trial, as where
networks are trained, but before each pass, from how large the gradients are going to be. Losses
that are functions of moments tell that of themselves.

bfloat16 reaches as far as float32 and needs none of it.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.losses.moments import Moments

WANTED = 1 / 32  # root mean square of the largest of all dL/dF; on the way down single values reach
# 2000 times that, and 65504 is the end. From 1/256 to 4 the error is the same
LEAST = 1e-30  # a smaller one is none


def needed(dtype: torch.dtype) -> bool:
    """True for a dtype that does not reach as far down as float32."""
    return torch.finfo(dtype).tiny > 1e-30


def factor(sizes: Sequence[Float[Tensor, ""]], like: Tensor) -> Float[Tensor, ""]:
    """The power of two that brings the largest of these root mean squares to WANTED, about.

    1 if there are none; a float32 on the device of another tensor.
    """
    one = like.new_ones((), dtype=torch.float32)
    if not sizes:
        return one
    largest = torch.stack([size.to(one) for size in sizes]).amax().clamp_min(LEAST)
    return torch.exp2((WANTED / largest).log2().floor())


def size_of_style(
    found: Moments,
    mean_gradient: Float[Tensor, "b c"] | None,
    second_gradient: Float[Tensor, "b c c"],
) -> Float[Tensor, ""]:
    """The root mean square of dL/dF over positions and channels, without F (see `pull_back`).

    With A = (dL/dS + dL/dS^T) / n and b = dL/dm / n (None for zero) the mean of |A F_p + b|^2 over
    the positions p is tr(A S A) + 2 b . A m + |b|^2: of all that weigh the same.
    """
    n = found.weight.clamp_min(1)
    matrix = (second_gradient + second_gradient.mT) / n[:, None, None]
    square = (matrix @ found.second * matrix).sum((-2, -1))
    if mean_gradient is not None:
        offset = mean_gradient / n[:, None]
        moved = (matrix @ found.mean[:, :, None])[:, :, 0]
        square = square + (2 * offset * moved + offset.square()).sum(-1)
    return (square.clamp_min(0) / found.second.shape[-1]).mean().sqrt()


def size_of_content(
    value: Float[Tensor, ""], factor: Float[Tensor, "b"], count: int
) -> Float[Tensor, ""]:
    """That of dL/dF = 2 f (F - P) over so many values, for the value f |F - P|^2 of the loss."""
    return (2 * (factor.mean() * value / count).sqrt()).detach()
