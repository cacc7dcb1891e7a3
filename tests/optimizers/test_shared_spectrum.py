"""The spectrum and L-BFGS of strips are those of the whole picture."""

from typing import Any

import pytest
import torch
from torch import Tensor

from impasto.machine.exchange import Group
from impasto.machine.strips import Strips
from impasto.optimizers import spectrum
from impasto.optimizers.lbfgs import Lbfgs
from impasto.optimizers.shared_spectrum import SharedSpectrum
from impasto.optimizers.spectrum import BINS, Spectrum
from members import together

HEIGHT, WIDTH = 80, 37


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def strips_of(group: Group) -> Strips:
    return Strips.balanced(group, HEIGHT, 16, 0, False)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("seen", [1024, 24])
def test_changes_gradients_and_what_is_seen(
    count: int, seen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the transform of the whole; with 24 rows seen some members have none."""
    monkeypatch.setattr(spectrum, "SEEN", seen)
    scale, like = noise(9, 3, BINS).exp(), torch.zeros(1, 3, HEIGHT, WIDTH).double()
    z, y = noise(1, 1, 3, HEIGHT, WIDTH), noise(2, 1, 3, HEIGHT, WIDTH)

    def outcome(made: Spectrum, z: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        there, back = made.changes(z), made.gradients(y)
        for _ in range(spectrum.FIRST_PAIRS):
            made.see(z, z + y / 2)
        ratio = made.renew()
        assert ratio is not None
        return there, back, made.changes(z, 1 / ratio), made.scale

    whole = outcome(Spectrum(like, scale), z, y)

    def work(group: Group) -> tuple[Tensor, ...]:
        strips = strips_of(group)
        own = [strips.own(picture).contiguous() for picture in (z, y)]
        made = SharedSpectrum(strips.own(like), scale, strips)
        return outcome(made, *own)

    found = together(count, work)
    for number, wanted in enumerate(whole):
        own = [member[number] for member in found]
        joined = torch.cat(own, 2) if wanted.dim() == 4 else own[0]
        torch.testing.assert_close(joined, wanted)


@pytest.mark.parametrize("precondition", [False, True])
def test_steps_of_lbfgs_are_those_of_the_whole(precondition: bool) -> None:
    """On a bowl of a matrix along the columns, and with a step that is taken back."""
    matrix = torch.diag(torch.linspace(1, 30, WIDTH).double()) + 0.1

    def paint(x: Tensor, strips: Strips | None) -> Tensor:
        options: dict[str, Any] = {"history": 4, "precondition": precondition, "strips": strips}
        optimizer = Lbfgs(x, **options)
        for step in range(14):
            x.grad = x @ matrix - 1
            optimizer.retreat() if step == 5 else optimizer.step()
        return x

    start = noise(3, 1, 3, HEIGHT, WIDTH)
    whole = paint(start.clone(), None)

    def work(group: Group) -> Tensor:
        strips = strips_of(group)
        return paint(strips.own(start).clone(), strips)

    joined = torch.cat(together(2, work), 2)
    assert (whole - start).abs().max() > 0.1
    torch.testing.assert_close(joined, whole, rtol=1e-6, atol=1e-8)
