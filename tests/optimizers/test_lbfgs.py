"""L-BFGS: its direction against the textbook's two loops on vectors."""

from typing import Any

import pytest
import torch
from torch import Tensor

from impasto.machine.buffers import Buffers
from impasto.optimizers import lbfgs
from impasto.optimizers.lbfgs import FIRST_STEP, LONGEST, Lbfgs
from impasto.optimizers.spectrum import BINS

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


def test_squares_are_widened_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of nine, the last one alone, or all: the same steps, through a renewal of what they
    share."""
    found = []
    for wide in (2**21, 2 * 10 * 3 * 16**2):
        monkeypatch.setattr(lbfgs, "WIDE_VALUES", wide)
        x = torch.linspace(0, 60, 3 * 48 * 48, dtype=torch.float64).view(1, 3, 48, 48).sin()
        optimizer = Lbfgs(x, history=5, block=16, dtype=torch.bfloat16)
        for _ in range(12):
            x.grad = 2 * (x - 0.5) + 0.1 * x.roll(1, 3)
            optimizer.step()
        assert optimizer.spectrum is not None
        assert optimizer.spectrum.learned
        found.append(x)
    torch.testing.assert_close(*found)


def test_a_pair_that_a_square_does_not_count_is_as_if_it_had_never_been() -> None:
    """In each square the textbook's step of the pairs that count there; where none does, down the
    gradient by what the newest pair told of all the others. The ring of slots has turned."""
    history, squares, values = 3, 4, 8
    x = torch.zeros(1, 2, 4, 4, dtype=torch.float64)
    optimizer = Lbfgs(x, history=history, block=2)
    generator = torch.Generator().manual_seed(1)
    s, y, g = torch.randn(3, 7, squares, values, generator=generator, dtype=torch.float64)
    y = s + 0.3 * y  # curved
    for pair, square in ((4, 1), (6, 1), (5, 2), (4, 3), (5, 3), (6, 3)):
        y[pair, square] = -s[pair, square]
    for i in range(7):
        along = optimizer._remember(s[i], y[i], g[i])
    made = optimizer._direction(g[6], along)
    assert optimizer.slots == [1, 2, 0]
    kept = [(s[i], y[i]) for i in range(4, 7)]
    usable = [[(a[b], c[b]) for a, c in kept if optimizer._curved(
        a[b] @ a[b], a[b] @ c[b], c[b] @ c[b])] for b in range(squares)]  # fmt: skip
    assert [len(pairs) for pairs in usable] == [3, 1, 2, 0]
    newest = [pairs[-1] for pairs in (usable[0], usable[2])]
    both = sum(a @ c for a, c in newest) / sum(c @ c for _, c in newest)
    bolder = 1 + lbfgs.BOLDER
    expected = torch.stack([
        two_loops(g[6, b], usable[b], bolder) if usable[b] else -bolder * both * g[6, b]
        for b in range(squares)
    ])  # fmt: skip
    lengths = expected.norm(dim=1)
    assert lengths.max() < LONGEST * lengths.median()
    torch.testing.assert_close(made, expected)


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
    assert optimizer.vectors.shape == (1, 8, 30)


def test_squares_with_losses_of_their_own_are_minimized_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # four squares of 8 px, of which the last have 3 px beyond the border
    monkeypatch.setattr(lbfgs, "LONGEST", 1e9)
    monkeypatch.setattr(lbfgs, "BOLDER", 0)  # what one memory of the whole is without
    curvature = torch.ones(1, 1, 16, 13, dtype=torch.float64)
    curvature[..., 8:, :] = 1.5
    curvature *= torch.linspace(1, 2, 13, dtype=torch.float64)
    whole = torch.zeros(1, 1, 16, 13, dtype=torch.float64)
    together = Lbfgs(whole, 1.0, 3, block=8)
    corners = [(r, c) for r in (slice(0, 8), slice(8, 16)) for c in (slice(0, 8), slice(8, 13))]
    parts = [whole[0, 0, r, c].clone() for r, c in corners]
    alone = [Lbfgs(part, 1.0, 3) for part in parts]
    for step in range(6):
        whole.grad = curvature * (whole - 1)
        together.step()
        for (r, c), part, optimizer in zip(corners, parts, alone, strict=True):
            part.grad = curvature[0, 0, r, c] * (part - 1)
            optimizer.step()
            if step == 0:  # the first step goes down the gradient of the whole
                part.copy_(whole[0, 0, r, c])
                optimizer.change = part.flatten()[None].clone()
            torch.testing.assert_close(whole[0, 0, r, c], part)


def test_no_square_takes_a_step_much_longer_than_the_others() -> None:
    torch.manual_seed(0)
    x = torch.zeros(1, 3, 32, 32)
    optimizer = Lbfgs(x, 1.0, 5, block=8)
    curvature = torch.rand_like(x) + 0.5
    curvature[..., :8, :8] = 1e-3  # nearly flat: its own step would be a thousand times as long
    slope = torch.ones_like(x)
    for _ in range(4):
        before, x.grad = x.clone(), slope + curvature * x
        optimizer.step()
    lengths = torch.stack([p.norm() for q in (x - before).split(8, 2) for p in q.split(8, 3)])
    assert float(lengths[0]) == pytest.approx(LONGEST * float(lengths.median()), rel=1e-4)
    assert lengths[1:].max() < lengths[0]


def test_masked_squares_do_not_shorten_the_steps_of_others() -> None:
    """What is shared leaks a little of a step into its surroundings: that is not the usual step."""
    known = torch.linspace(2, 0.5, BINS).expand(3, BINS)
    x = torch.zeros(1, 3, 48, 48)
    optimizer = Lbfgs(x, 1.0, 5, block=8, known=known)
    for _ in range(12):
        x.grad = torch.zeros_like(x)
        x.grad[..., :8, :8] = torch.linspace(1, 5, 8) * (x[..., :8, :8] - 1)
        optimizer.step()
    assert x[..., :8, :8].sub(1).abs().max() < 0.01  # 0.05 where all squares are counted


def test_squares_without_a_gradient_stay() -> None:
    x = torch.zeros(1, 3, 24, 24)
    optimizer = Lbfgs(x, 1.0, 5, block=8)
    for _ in range(4):
        x.grad = torch.zeros_like(x)
        x.grad[..., :8, :8] = x[..., :8, :8] - 1  # a ninth of the picture
        optimizer.step()
    assert x[..., :8, :8].sub(1).abs().max() < 1e-3
    assert x.count_nonzero() == 3 * 8 * 8


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
        optimizer = Lbfgs(x, history=2, block=32, buffers=lent, dtype=torch.bfloat16)
        for _ in range(4):
            x.grad = 2 * (x - 0.5) + 0.1 * x.roll(1, 3)
            optimizer.step()
        found.append(x)
    assert torch.equal(*found)
    first = torch.frombuffer(buffers.memory, dtype=torch.uint8).data_ptr()
    pair = 3 * start.nbytes  # s, y and the gradient; beside it the rows in their width, then alone
    assert taken == [first, first + pair, first] * 3
