"""What squares share: the curvature of each colour and frequency, and a memory in its terms."""

import pytest
import torch
from torch import Tensor

from impasto import spectrum
from impasto.lbfgs import Lbfgs
from impasto.spectrum import FIRST_PAIRS, LEAST, Spectrum

SIDE, LONG = 8, 24


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pattern(found: Spectrum, k: int) -> Tensor:
    """The square that coefficient k stands for, of length 1."""
    return found.pixels(torch.eye(len(found.scale)).double()[k : k + 1])


class Bowl:
    """1/2 z^T K z with a curvature of its own for each coefficient of each square."""

    def __init__(self, height: int, width: int) -> None:
        self.squares = Lbfgs(torch.zeros(1, 3, height, width).double(), block=SIDE)
        n = 3 * SIDE * SIDE
        self.curvature = torch.logspace(0, 3, n).double()[torch.randperm(n, generator=seed())]

    def gradient(self, x: Tensor) -> Tensor:
        shared = self.squares.spectrum
        assert shared is not None
        turned = shared.of_changes(self.squares._split(x)) * self.curvature
        return self.squares._joined(shared.pixels(turned))

    def after(self, steps: int, x: Tensor) -> float:
        """The loss that L-BFGS comes to."""
        optimizer = Lbfgs(x, history=5, block=SIDE)
        for _ in range(steps):
            x.grad = self.gradient(x)
            optimizer.step()
        return float((x * self.gradient(x)).sum()) / 2


def seed() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_turned_is_turned_back(channels: int) -> None:
    found = Spectrum(channels, SIDE, torch.zeros(1).double())
    found.scale = noise(0, channels * SIDE**2).exp()
    s, y = noise(1, 5, channels * SIDE**2), noise(2, 5, channels * SIDE**2)
    torch.testing.assert_close(found.pixels(found.of_changes(s)), s)
    along = (found.of_changes(s) * found.of_gradients(y)).sum(1)
    torch.testing.assert_close(along, (s * y).sum(1))


def test_the_patterns_are_colours_and_waves() -> None:
    found = Spectrum(3, SIDE, torch.zeros(1).double())
    flat = pattern(found, 0).view(3, SIDE, SIDE)
    torch.testing.assert_close(flat, torch.full_like(flat, 1 / (3 * SIDE**2) ** 0.5))
    red_green = pattern(found, SIDE**2).view(3, SIDE, SIDE)
    assert red_green[0].min() > 0
    torch.testing.assert_close(red_green[0], -red_green[1])
    assert red_green[2].abs().max() < 1e-12
    across = pattern(found, 1).view(3, SIDE, SIDE)  # half a wave from left to right
    torch.testing.assert_close(across, -across.flip(2))
    assert across[..., 0].min() > 0


def test_nothing_is_scaled_before_enough_pairs_are_seen() -> None:
    found = Spectrum(1, 2, torch.zeros(1).double())
    s = torch.tensor([[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]]).double()
    curvature = torch.tensor([1.0, 4.0, 9.0, -5.0]).double()
    for _ in range(FIRST_PAIRS):
        assert found.renew() is None
        found.see(s, curvature * s)
    change = found.renew()
    assert change is not None
    floored = torch.tensor([1.0, 4.0, 9.0, LEAST * 1.0]).double()  # the median: the lower one
    expected = floored.rsqrt() / floored.rsqrt().log().mean().exp()
    torch.testing.assert_close(found.scale, expected)
    torch.testing.assert_close(change, expected)
    for _ in range(12):
        assert found.renew() is None
        found.see(s / found.scale, 2 * curvature * s * found.scale)
    change = found.renew()
    assert change is not None
    torch.testing.assert_close(change, torch.ones(4).double())  # twice as steep everywhere
    assert found.due == 18


def test_a_loss_that_curves_the_other_way_teaches_nothing() -> None:
    found = Spectrum(1, 2, torch.zeros(1).double())
    for _ in range(FIRST_PAIRS):
        found.see(torch.ones(3, 4).double(), -torch.ones(3, 4).double())
    assert found.renew() is None
    assert found.scale.tolist() == [1] * 4


def test_steps_are_fewer_where_frequencies_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    bowl, start = Bowl(LONG, LONG), noise(0, 1, 3, LONG, LONG)
    shared = bowl.after(40, start.clone())
    monkeypatch.setattr(spectrum, "FIRST_PAIRS", 1000)
    assert shared < bowl.after(40, start.clone()) / 10


def test_a_step_is_what_the_pixels_took() -> None:
    """Squares across the border lose what lies beyond it, and know it."""
    bowl, x = Bowl(LONG, LONG), noise(0, 1, 3, LONG - 3, LONG - 5)
    whole = torch.zeros(1, 3, LONG, LONG).double()
    optimizer = Lbfgs(x, history=5, block=SIDE)
    for _ in range(15):
        before = x.clone()
        whole[..., : LONG - 3, : LONG - 5] = x
        x.grad = bowl.gradient(whole)[..., : LONG - 3, : LONG - 5].contiguous()
        optimizer.step()
        assert optimizer.change is not None
        torch.testing.assert_close(optimizer._moved(optimizer.change), x - before)
    assert optimizer.spectrum is not None
    assert optimizer.spectrum.scale.std() > 0.1


def test_stopped_and_resumed_is_uninterrupted() -> None:
    bowl, x = Bowl(LONG, LONG), noise(0, 1, 3, LONG, LONG)
    optimizer = Lbfgs(x, history=5, block=SIDE)
    for step in range(24):
        if step == 13:  # the scale was renewed once, and will be again
            other = x.clone()
            resumed = Lbfgs(other, history=5, block=SIDE)
            resumed.remember(optimizer.memory())
        x.grad = bowl.gradient(x)
        optimizer.step()
    for _ in range(13, 24):
        other.grad = bowl.gradient(other)
        resumed.step()
    assert torch.equal(x, other)
