"""Matching: which vector of a bank is nearest, how far it is, and the gradient of that."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from impasto.losses import matching
from impasto.losses.matching import Bank


def maps(seed: int, channels: int = 5, dtype: torch.dtype = torch.float32) -> Tensor:
    """1 c 6 7."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, channels, 6, 7, generator=generator, dtype=dtype)


def bank_of(
    count: int, by_distance: bool, channels: int = 5, dtype: torch.dtype = torch.float32
) -> tuple[Bank, Tensor]:
    """A bank of random vectors, and these."""
    vectors = torch.randn(count, channels, generator=torch.Generator().manual_seed(1), dtype=dtype)
    mean = vectors.mean(0)
    variance = (vectors - mean).square().sum(1).mean() if by_distance else None
    return Bank.of(vectors, mean, variance, dtype), vectors


def rows(features: Tensor) -> Tensor:
    """p c."""
    return features[0].flatten(1).T


def compared(bank: Bank, *vector: float, factor: float = 1.0) -> tuple[int, float, list[float]]:
    """The match of one feature vector, its distance, and a factor times the gradient."""
    features = torch.tensor(vector).view(1, -1, 1, 1)
    found = matching.nearest(features, bank)
    slope = torch.zeros_like(features)
    matching.add_slope(features, found, bank, factor, None, slope)
    return int(found), float(matching.distance(features, found, bank)), slope.flatten().tolist()


def test_by_direction_by_hand() -> None:
    """mu = (1, 0), F - mu = (3, 4): q = (0.6, 0.8). Nearest of (0, 1) and (-1, 0) is the first,
    with a cosine of 0.8. dL/dF = (cos q - v) / |F - mu| = (0.48, 0.64 - 1) / 5."""
    vectors = torch.tensor([[1.0, 7.0], [-4.0, 0.0]])
    bank = Bank.of(vectors, torch.tensor([1.0, 0.0]), None, torch.float32)
    found, value, slope = compared(bank, 4.0, 4.0)
    assert found == 0
    assert value == pytest.approx(0.2)
    assert slope == pytest.approx([0.096, -0.072])
    features = torch.tensor([4.0, 4.0]).view(1, 2, 1, 1)
    steepness = matching.steepness(features, matching.nearest(features, bank), bank)
    assert float(steepness) == pytest.approx(0.096**2 + 0.072**2)


def test_by_distance_by_hand() -> None:
    """mu = 0, d^2 = 4: F = (3, 1) becomes (1.5, 0.5), the bank (1, 0) and (0, 4). The first is
    nearest, at |(0.5, 0.5)|^2 / 2 = 0.25; dL/dF = (0.5, 0.5) / 2. Longer is not nearer."""
    vectors = torch.tensor([[2.0, 0.0], [0.0, 8.0]])
    bank = Bank.of(vectors, torch.zeros(2), torch.tensor(4.0), torch.float32)
    found, value, slope = compared(bank, 3.0, 1.0, factor=2.0)
    assert found == 0
    assert value == pytest.approx(0.25)
    assert slope == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("count", [1, 63, 64, 700])
def test_nearest_is_the_best_of_all_pairs(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By torch.nn.functional and torch.cdist, whatever is looked at together."""
    features = maps(0)
    bank, vectors = bank_of(count, by_distance=False)
    centered, mean = rows(features) - vectors.mean(0), vectors.mean(0)
    cosines = F.cosine_similarity(centered[:, None], (vectors - mean)[None], dim=2)
    assert matching.nearest(features, bank).flatten().tolist() == cosines.argmax(1).tolist()
    bank, _ = bank_of(count, by_distance=True)
    nearest = torch.cdist(rows(features), vectors).argmin(1)
    monkeypatch.setattr(matching, "SCORES", 64)
    assert matching.nearest(features, bank).flatten().tolist() == nearest.tolist()


@pytest.mark.parametrize("by_distance", [False, True])
def test_the_gradient_is_that_of_the_value(by_distance: bool) -> None:
    """By finite differences, in float64, with weights."""
    bank, _ = bank_of(40, by_distance, dtype=torch.float64)
    features = maps(0, dtype=torch.float64)
    weight = torch.rand(1, 1, 6, 7, generator=torch.Generator().manual_seed(2)).double()
    found = matching.nearest(features, bank)

    class Matched(torch.autograd.Function):
        @staticmethod
        def forward(ctx: torch.autograd.function.FunctionCtx, features: Tensor) -> Tensor:
            ctx.save_for_backward(features)
            return matching.distance(features, found, bank, weight)

        @staticmethod
        def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> Tensor:
            (features,) = ctx.saved_tensors  # type: ignore[attr-defined]
            slope = torch.zeros_like(features)
            matching.add_slope(features, found, bank, gradients[0], weight, slope)
            return slope

    assert torch.autograd.gradcheck(Matched.apply, (features.requires_grad_(),))


@pytest.mark.parametrize("by_distance", [False, True])
def test_a_painting_is_made_of_its_own_strokes(by_distance: bool) -> None:
    features = maps(3)
    vectors = rows(features)
    variance = (vectors - vectors.mean(0)).square().sum(1).mean() if by_distance else None
    bank = Bank.of(vectors, vectors.mean(0), variance, torch.float32)
    found = matching.nearest(features, bank)
    assert found.flatten().tolist() == list(range(42))
    assert float(matching.distance(features, found, bank)) == pytest.approx(0, abs=1e-10)
    assert float(matching.steepness(features, found, bank)) == pytest.approx(0, abs=1e-10)


def test_places_count_by_their_weight() -> None:
    """Ones are no weights; a place of weight 0 counts nothing, and its gradient stays."""
    bank, _ = bank_of(40, by_distance=False)
    features = maps(0)
    found = matching.nearest(features, bank)
    one, none = torch.ones(1, 1, 6, 7), torch.zeros(1, 1, 6, 7)
    assert matching.distance(features, found, bank, one) == matching.distance(features, found, bank)
    assert matching.distance(features, found, bank, none) == 0
    half = none.clone()
    half[..., :3, :] = 1
    upper = matching.distance(features[:, :, :3], found[:3], bank)
    torch.testing.assert_close(matching.distance(features, found, bank, half), upper)
    slope = torch.zeros_like(features)
    matching.add_slope(features, found, bank, 1.0, half, slope)
    assert slope[:, :, :3].abs().amin() > 0
    assert slope[:, :, 3:].abs().amax() == 0


def test_a_vector_without_length_has_no_direction() -> None:
    """Such as all of a picture of one color: no division by zero."""
    bank, vectors = bank_of(40, by_distance=False)
    features = vectors.mean(0).view(1, 5, 1, 1).expand(1, 5, 6, 7).contiguous()
    found = matching.nearest(features, bank)
    slope = torch.zeros_like(features)
    matching.add_slope(features, found, bank, 1.0, None, slope)
    assert bool(slope.isfinite().all())
    assert float(matching.distance(features, found, bank)) == pytest.approx(42 / 2, rel=0.01)


def test_half_precision_finds_the_same_or_one_as_near() -> None:
    bank, _ = bank_of(300, by_distance=False, channels=32)
    half, _ = bank_of(300, by_distance=False, channels=32)
    half = Bank(half.mean, half.vectors.bfloat16(), None)
    features = maps(0, channels=32)
    best = matching.distance(features, matching.nearest(features, bank), bank)
    near = matching.distance(features, matching.nearest(features, half), bank)
    assert float(best) <= float(near) <= 1.01 * float(best)
