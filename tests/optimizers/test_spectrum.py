"""The spectrum: the curvature of each color and frequency, and steps in it."""

import numpy as np
import pytest
import torch
from torch import Tensor

from impasto.optimizers import lbfgs, spectrum
from impasto.optimizers.lbfgs import Lbfgs
from impasto.optimizers.spectrum import BINS, FIRST_PAIRS, LAST_PAIRS, LEAST, Spectrum

LONG = 40


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def some(height: int, width: int, channels: int = 3) -> Spectrum:
    """A spectrum with a scale of its own for each bin."""
    scale = noise(9, channels, BINS).exp()
    return Spectrum(torch.zeros(1, channels, height, width).double(), scale)


class Bowl:
    """1/2 |V^T x|^2: its curvature is the square of V's scale, in all the picture."""

    def __init__(self, height: int, width: int) -> None:
        steep = torch.logspace(0, 1.5, BINS).double().flip(0)
        known = torch.stack([steep, 0.5 * steep, 0.3 * steep])
        self.filter = Spectrum(torch.zeros(1, 3, height, width).double(), known)

    def gradient(self, x: Tensor) -> Tensor:
        return self.filter.changes(self.filter.gradients(x)).contiguous()

    def after(self, steps: int, x: Tensor, known: Tensor | None = None) -> float:
        """The loss that L-BFGS comes to."""
        optimizer = Lbfgs(x, history=5, precondition=True, known=known)
        for _ in range(steps):
            x.grad = self.gradient(x)
            optimizer.step()
        return float((x * self.gradient(x)).sum()) / 2


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 5, 33), (3, 40, 67), (3, 64, 2)])
def test_gradients_are_those_of_the_change_of_variables(
    channels: int, height: int, width: int
) -> None:
    """<W z, g> = <z, W^T g>, also of pictures smaller than what they are mirrored by."""
    found = some(height, width, channels)
    z, g = noise(1, 1, channels, height, width), noise(2, 1, channels, height, width)
    there = (found.changes(z) * g).sum()
    torch.testing.assert_close(there, (z * found.gradients(g)).sum())
    assert (found.changes(z) - z).abs().max() > 0.1


def test_flat_colors_and_a_chessboard_are_multiplied_by_the_ends_of_the_scale() -> None:
    found = some(67, 90)
    flat = torch.ones(1, 3, 67, 90).double()
    torch.testing.assert_close(found.changes(flat), found.scale[0, 0] * flat)
    for row, color in ((1, [1.0, -1, 0]), (2, [1.0, 1, -2])):
        colored = flat * torch.tensor(color).double().view(1, 3, 1, 1)
        torch.testing.assert_close(found.changes(colored), found.scale[row, 0] * colored)
    y, x = torch.arange(67)[:, None], torch.arange(90)
    board = flat * (1 - 2.0 * ((y + x) % 2))
    torch.testing.assert_close(found.changes(board), found.scale[0, -1] * board)


def test_waves_between_two_bins_are_multiplied_by_what_lies_between() -> None:
    found = some(40, 40)
    width = found.size[1]
    number = np.arange(width // 2 + 1) / width * 2**0.5  # of upright waves
    at = np.sqrt(number) * (BINS - 1)
    expected = np.interp(at, np.arange(BINS), found.scale[1].numpy())
    np.testing.assert_allclose(found.filter[1, 0].numpy(), expected)


def test_a_scale_changes_no_lengths_on_average() -> None:
    torch.testing.assert_close(some(40, 60).filter.log().mean(), torch.zeros(()).double())


def seen(found: Spectrum, curvature: Tensor, seed: int) -> None:
    """Show it a pair of a loss with a curvature for each bin, in z."""
    s = noise(seed, 1, 3, *found.size)
    steep = curvature[:, found.bins.round().long()] * found.filter.square()
    waves = torch.fft.rfft2(torch.einsum("dc,bchw->bdhw", found.colors, s))
    y = torch.fft.irfft2(waves * steep, s=found.size)
    found.see(s, torch.einsum("cd,bchw->bdhw", found.colors, y))


def test_curvatures_are_found_once_enough_pairs_were_seen() -> None:
    found = Spectrum(torch.zeros(1, 3, 30, 50).double())
    present = found.bins.round().long().unique()
    curvature = torch.linspace(1, 9, 3 * BINS).double().view(3, BINS)
    curvature[2, BINS - 1] = -5
    for i in range(FIRST_PAIRS):
        assert found.renew() is None
        seen(found, curvature, i)
    assert not found.learned
    change = found.renew()
    assert change is not None
    assert found.learned
    torch.testing.assert_close(change, found.filter)
    known = torch.zeros_like(curvature)  # bins without waves are as flat as can be
    known[:, present] = curvature[:, present]
    least = known.clamp_min(LEAST * known.median())
    beside = torch.cat([least[:, :1], least, least[:, -1:]], 1)
    expected = (beside[:, :-2] * least.square() * beside[:, 2:]) ** -0.125  # a root of a mean
    torch.testing.assert_close(found.scale / found.scale[0, 9], expected / expected[0, 9])
    for i in range(12):
        assert found.renew() is None
        seen(found, 2 * curvature, i)
    change = found.renew()
    assert change is not None
    torch.testing.assert_close(change, torch.ones_like(change))  # twice as steep everywhere
    assert found.due == 18


def test_of_many_pairs_the_last_are_measured() -> None:
    found, other = (Spectrum(torch.zeros(1, 3, 30, 50).double()) for _ in range(2))
    found.due = other.due = LAST_PAIRS + 3
    rising, falling = torch.linspace(1, 9, 3 * BINS), torch.linspace(9, 1, 3 * BINS)
    for i in range(LAST_PAIRS + 3):
        early = (falling if i < 3 else rising).double().view(3, BINS)
        assert found.renew() is other.renew() is None
        seen(found, early, i)
        seen(other, rising.double().view(3, BINS), i)
    assert found.renew() is not None
    assert other.renew() is not None
    torch.testing.assert_close(found.scale, other.scale)


def test_of_a_large_picture_the_middle_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectrum, "SEEN", 24)
    found, other = (Spectrum(torch.zeros(1, 3, 41, 20).double()) for _ in range(2))
    s, y = noise(1, 1, 3, 41, 20), noise(2, 1, 3, 41, 20)
    found.see(s, y)
    s[:, :, :8], y[:, :, 32:] = 0, 0
    other.see(s, y)
    torch.testing.assert_close(other.ss, found.ss)
    torch.testing.assert_close(other.sy, found.sy)
    assert found.ss.sum() > 0


def test_the_middle_teaches_what_the_whole_does(monkeypatch: pytest.MonkeyPatch) -> None:
    bowl, learned = Bowl(200, 160), []
    for size in (spectrum.SEEN, 128):
        monkeypatch.setattr(spectrum, "SEEN", size)
        found = Spectrum(torch.zeros(1, 3, 200, 160).double())
        for seed in range(FIRST_PAIRS):
            change = noise(seed, 1, 3, 200, 160)
            found.see(change, bowl.gradient(change))
        found.renew()
        learned.append(found.scale)
    assert found.seen == (128, 128)
    present = found.seen_bins.round().long().unique()
    assert len(present) >= BINS - 2
    assert (learned[1] / learned[0])[:, present].log().abs().mean() < 0.1
    assert (learned[0][0, 5] / learned[0][0, -1]).log().abs() > 1  # and it is not all the same


def test_a_loss_that_curves_the_other_way_teaches_nothing() -> None:
    found = Spectrum(torch.zeros(1, 3, 30, 50).double())
    for i in range(FIRST_PAIRS):
        seen(found, -torch.ones(3, BINS).double(), i)
    assert found.renew() is None
    assert not found.learned
    assert found.scale.unique().tolist() == [1]


def test_steps_are_fewer_where_frequencies_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    bowl, start = Bowl(LONG, LONG), noise(0, 1, 3, LONG, LONG)
    shared = bowl.after(40, start.clone())
    monkeypatch.setattr(spectrum, "FIRST_PAIRS", 1000)
    assert shared < bowl.after(40, start.clone()) / 3
    known = 1 / bowl.filter.scale
    assert bowl.after(12, start.clone(), known) < bowl.after(12, start.clone()) / 3


def test_the_first_step_is_as_long_as_asked_for_whatever_is_known() -> None:
    x = torch.zeros(1, 3, LONG, LONG).double()
    optimizer = Lbfgs(x, precondition=True, known=some(LONG, LONG).scale)
    x.grad = noise(0, 1, 3, LONG, LONG)
    optimizer.step()
    assert float(x.square().mean().sqrt()) == pytest.approx(lbfgs.FIRST_STEP)


def test_a_step_is_what_the_pixels_took() -> None:
    """Before and after the spectrum was renewed."""
    bowl, x = Bowl(LONG - 3, LONG - 5), noise(0, 1, 3, LONG - 3, LONG - 5)
    optimizer = Lbfgs(x, history=5, precondition=True)
    for _ in range(15):
        before, x.grad = x.clone(), bowl.gradient(x)
        optimizer.step()
        assert optimizer.change is not None
        torch.testing.assert_close(optimizer._moved(optimizer.change), x - before)
    assert optimizer.spectrum is not None
    assert optimizer.spectrum.scale.std() > 0.1


def test_what_is_remembered_is_scaled_with_the_rest() -> None:
    """After a renewal the pairs are still the steps and slopes that the pixels had; but for a
    little at the borders, where the picture is mirrored."""
    bowl, x = Bowl(LONG, LONG), noise(0, 1, 3, LONG, LONG)
    optimizer = Lbfgs(x, history=5, precondition=True)
    for _ in range(FIRST_PAIRS + 1):
        x.grad = bowl.gradient(x)
        optimizer.step()
    before = [optimizer._moved(row).clone() for row in optimizer.vectors[0::2]]
    products = optimizer.products.clone()
    optimizer._renew()
    after = [optimizer._moved(row) for row in optimizer.vectors[0::2]]
    assert optimizer.spectrum is not None
    assert optimizer.spectrum.learned
    for one, other in zip(before, after, strict=True):
        inside = one[..., 8:-8, 8:-8]
        assert (one - other)[..., 8:-8, 8:-8].norm() < 0.02 * inside.norm()
    assert (products - optimizer.products).abs().max() > 0.1 * products.abs().max()
    rows = optimizer.vectors
    torch.testing.assert_close(rows @ rows.T, optimizer.products)


def test_stopped_and_resumed_is_uninterrupted() -> None:
    bowl, x = Bowl(LONG, LONG), noise(0, 1, 3, LONG, LONG)
    optimizer = Lbfgs(x, history=5, precondition=True)
    for step in range(24):
        if step == 13:  # the scale was renewed once, and will be again
            other = x.clone()
            resumed = Lbfgs(other, history=5, precondition=True)
            resumed.load(optimizer.state())
        x.grad = bowl.gradient(x)
        optimizer.step()
    for _ in range(13, 24):
        other.grad = bowl.gradient(other)
        resumed.step()
    assert torch.equal(x, other)
