"""L-BFGS: its direction against the textbook's two loops on vectors."""

from typing import Any

import pytest
import torch
from torch import Tensor

from impasto.machine.buffers import Buffers
from impasto.optimizers import lbfgs
from impasto.optimizers.lbfgs import FIRST_STEP, Lbfgs

MATRIX = torch.diag(torch.linspace(1, 50, 30)).double()
MATRIX[0, 1] = MATRIX[1, 0] = 0.5


def gradient_at(x: Tensor) -> Tensor:
    return MATRIX @ (x - 1)


def two_loops(gradient: Tensor, pairs: list[tuple[Tensor, Tensor]], bolder: float = 1.0) -> Tensor:
    """-H g as in Nocedal and Wright 2006, algorithm 7.4; the first guess times a factor."""
    q, alphas = gradient.clone(), []
    for s, y in reversed(pairs):
        alphas.append((s @ q) / (s @ y))
        q -= alphas[-1] * y
    s, y = pairs[-1]
    q *= bolder * (s @ y) / (y @ y)
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


@pytest.mark.parametrize("wide", [2**21, 100])
def test_a_step_is_the_textbooks_of_the_pairs_as_they_are_kept(
    wide: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounded to bfloat16, and some values at a time: 100 // 6 of 30."""
    monkeypatch.setattr(lbfgs, "WIDE_VALUES", wide)
    x = torch.zeros(30, dtype=torch.float64)
    optimizer = Lbfgs(x, 1.0, 3, dtype=torch.bfloat16)
    pairs: list[tuple[Tensor, Tensor]] = []
    for step in range(8):
        before, x.grad = x.clone(), gradient_at(x)
        optimizer.step()
        change = x - before
        if step:
            torch.testing.assert_close(change, two_loops(x.grad, pairs), rtol=1e-6, atol=1e-12)
        made = change, gradient_at(x) - x.grad
        pairs = [*pairs, tuple(part.bfloat16().double() for part in made)][-3:]  # type: ignore[list-item]
    assert optimizer.vectors.dtype == torch.bfloat16
    assert gradient_at(x).norm() < 0.1 * gradient_at(torch.zeros_like(x)).norm()


def test_rows_are_widened_some_values_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same steps as with all at once, through a renewal of the spectrum."""
    found = []
    for wide in (2**21, 10 * 700):  # a tenth of the values, and what is left of them
        monkeypatch.setattr(lbfgs, "WIDE_VALUES", wide)
        x = torch.linspace(0, 60, 3 * 48 * 48, dtype=torch.float64).view(1, 3, 48, 48).sin()
        optimizer = Lbfgs(x, history=5, precondition=True, dtype=torch.bfloat16)
        for _ in range(12):
            x.grad = 2 * (x - 0.5) + 0.1 * x.roll(1, 3)
            optimizer.step()
        assert optimizer.spectrum is not None
        assert optimizer.spectrum.learned
        found.append(x)
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("uncounted", [(), (6,), (5,), (4, 6)])
def test_a_pair_that_does_not_count_is_as_if_it_had_never_been(uncounted: tuple[int, ...]) -> None:
    """A renewal may leave a pair without curvature. The ring of slots has turned."""
    optimizer = Lbfgs(torch.zeros(8, dtype=torch.float64), history=3)
    generator = torch.Generator().manual_seed(1)
    s, y, g = torch.randn(3, 7, 8, generator=generator, dtype=torch.float64)
    y = s + 0.3 * y  # curved
    for i in range(7):
        optimizer._remember(s[i], y[i], g[i])
    assert optimizer.slots == [1, 2, 0]
    for pair in uncounted:
        y[pair] = -s[pair]
        optimizer.vectors[2 * (pair % 3) + 1] = y[pair]
    optimizer.products = optimizer.vectors @ optimizer.vectors.T
    made = optimizer._direction(g[6], optimizer._along(g[6][None])[0])
    usable = [(s[i], y[i]) for i in range(4, 7) if i not in uncounted]
    torch.testing.assert_close(made, two_loops(g[6], usable))


def test_preconditioned_the_first_guess_is_bolder() -> None:
    """Nothing was learned yet, so the direction is the textbook's, from a first guess of
    (1 + 2 / 4) s.y / y.y with two pairs in a memory of four."""
    x = torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    optimizer = Lbfgs(x, history=4, precondition=True)
    generator = torch.Generator().manual_seed(1)
    s, y, g = torch.randn(3, 2, 48, generator=generator, dtype=torch.float64)
    y = s + 0.3 * y
    for i in range(2):
        along = optimizer._remember(s[i], y[i], g[i])
    made = optimizer._direction(g[1], along)
    torch.testing.assert_close(made, two_loops(g[1], [(s[0], y[0]), (s[1], y[1])], bolder=1.5))


def test_pixels_without_a_gradient_stay() -> None:
    x = torch.zeros(1, 3, 24, 24)
    optimizer = Lbfgs(x, 1.0, 5)
    for _ in range(4):
        x.grad = torch.zeros_like(x)
        x.grad[..., :8, :8] = x[..., :8, :8] - 1  # a ninth of the picture
        optimizer.step()
    assert x[..., :8, :8].sub(1).abs().max() < 1e-3
    assert x.count_nonzero() == 3 * 8 * 8


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


def test_memory_of_maps_is_borrowed_for_a_step_alone() -> None:
    """The same steps in it, and all of it is given back."""
    buffers, taken = Buffers(), []
    buffers.reserve(2**23)
    take = buffers.take

    def watched(*arguments: Any) -> Tensor:
        made = take(*arguments)
        taken.append(made.data_ptr())
        return made

    buffers.take = watched  # type: ignore[method-assign, assignment]
    start = torch.linspace(0, 1, 3 * 256 * 256).view(1, 3, 256, 256).sin()
    found = []
    for lent in (None, buffers):
        x = start.clone()
        optimizer = Lbfgs(x, history=2, buffers=lent, dtype=torch.bfloat16)
        for _ in range(4):
            x.grad = 2 * (x - 0.5) + 0.1 * x.roll(1, 3)
            optimizer.step()
        found.append(x)
    assert torch.equal(*found)
    first = torch.frombuffer(buffers.memory, dtype=torch.uint8).data_ptr()
    pair = 3 * start.nbytes  # s, y and the gradient; beside it the rows in their width, then alone
    assert taken == [first, first + pair, first] * 3
