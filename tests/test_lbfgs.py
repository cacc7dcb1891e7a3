"""L-BFGS: its direction against the textbook's two loops on vectors."""

import pytest
import torch
from torch import Tensor

from impasto.lbfgs import FIRST_STEP, Lbfgs

MATRIX = torch.diag(torch.linspace(1, 50, 30)).double()
MATRIX[0, 1] = MATRIX[1, 0] = 0.5


def gradient_at(x: Tensor) -> Tensor:
    return MATRIX @ (x - 1)


def two_loops(gradient: Tensor, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """-H g as in Nocedal and Wright 2006, algorithm 7.4."""
    q, alphas = gradient.clone(), []
    for s, y in reversed(pairs):
        alphas.append((s @ q) / (s @ y))
        q -= alphas[-1] * y
    s, y = pairs[-1]
    q *= (s @ y) / (y @ y)
    for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
        q += s * (alpha - (y @ q) / (s @ y))
    return -q


@pytest.mark.parametrize("history", [1, 3, 20])
def test_every_step_is_the_textbooks(history: int) -> None:
    x = torch.zeros(30, dtype=torch.float64)
    optimizer = Lbfgs(x, 1.0, history)
    pairs: list[tuple[Tensor, Tensor]] = []
    for step in range(12):
        before, x.grad = x.clone(), gradient_at(x)
        optimizer.step()
        change = x - before
        if step == 0:
            torch.testing.assert_close(change.square().mean().sqrt().item(), FIRST_STEP)
            torch.testing.assert_close(change / change.norm(), -x.grad / x.grad.norm())
        else:
            torch.testing.assert_close(change, two_loops(x.grad, pairs), rtol=1e-6, atol=1e-12)
        pairs = [*pairs, (change, gradient_at(x) - x.grad)][-history:]


def test_pairs_without_curvature_are_left_out() -> None:
    x = torch.zeros(30, dtype=torch.float64)
    optimizer = Lbfgs(x, 1.0, 5)
    for gradient in (torch.ones(30), torch.ones(30) * 2, torch.ones(30) * 3):
        x.grad = gradient.double()  # grows while we go down: negative curvature
        optimizer.step()
        assert x.isfinite().all()
    assert optimizer.slots == []


def test_memory_is_bounded_by_the_history() -> None:
    x = torch.zeros(30, dtype=torch.float64)
    optimizer = Lbfgs(x, 1.0, 4)
    for _ in range(10):
        x.grad = gradient_at(x)
        optimizer.step()
    assert sorted(optimizer.slots) == [0, 1, 2, 3]
    assert optimizer.vectors.shape == (8, 30)
