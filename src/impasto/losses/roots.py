"""Square roots of symmetric matrices, and their trace, differentiable where a loss needs it."""

import torch
from jaxtyping import Float
from torch import Tensor


def matrix_sqrt(matrix: Float[Tensor, "b c c"]) -> Float[Tensor, "b c c"]:
    """The symmetric square root of positive semi-definite matrices; not differentiable here."""
    values, vectors = eigen(matrix)
    return vectors * values.clamp_min(0).sqrt().unsqueeze(-2) @ vectors.mT


def trace_sqrt(matrix: Float[Tensor, "b c c"]) -> Float[Tensor, "b"]:
    """tr M^(1/2) of positive semi-definite matrices, with the gradient 1/2 M^(-1/2)."""
    value: Tensor = _TraceSqrt.apply(matrix)  # type: ignore[no-untyped-call]
    return value


class _TraceSqrt(torch.autograd.Function):
    """One eigendecomposition gives value and gradient; none is differentiated.

    Eigenvalues below 10 machine epsilons of the largest are rounding noise: in the gradient they
    count as that floor, which bounds it.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, matrix: Tensor) -> Tensor:
        values, vectors = eigen(matrix)
        floor = values[..., -1:].clamp_min(1e-30) * (10 * torch.finfo(values.dtype).eps)
        ctx.save_for_backward(vectors, torch.maximum(values, floor).rsqrt())
        return values.clamp_min(0).sqrt().sum(-1)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grad_outputs: Tensor) -> tuple[Tensor]:
        vectors, inverse_roots = ctx.saved_tensors  # type: ignore[attr-defined]
        half = (vectors * inverse_roots.unsqueeze(-2)) @ vectors.mT / 2
        return (grad_outputs[0][:, None, None] * half,)


def eigen(matrix: Float[Tensor, "b c c"]) -> tuple[Tensor, Tensor]:
    """Eigenvalues (ascending) and eigenvectors of symmetric matrices; on the CPU where the device
    cannot (MPS)."""
    here = matrix.cpu() if matrix.device.type == "mps" else matrix
    values, vectors = torch.linalg.eigh((here + here.mT) / 2)
    return values.to(matrix.device), vectors.to(matrix.device)
