"""Moments: by hand, and the identities that everything else is built on."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from impasto.losses import moments
from impasto.losses.moments import Moments
from impasto.machine import memory


def random_features(seed: int, h: int = 5, w: int = 7, c: int = 3) -> torch.Tensor:
    return torch.randn(1, c, h, w, generator=torch.Generator().manual_seed(seed)).double()


def assert_same(a: Moments, b: Moments) -> None:
    torch.testing.assert_close(a.weight, b.weight)
    torch.testing.assert_close(a.mean, b.mean)
    torch.testing.assert_close(a.second, b.second)


def test_by_hand() -> None:
    # Two channels at two positions: (1, 0) and (3, 2).
    features = torch.tensor([[[[1.0, 3.0]], [[0.0, 2.0]]]])
    found = moments.measure(features)
    assert found.weight.tolist() == [2]
    assert found.mean.tolist() == [[2, 1]]
    # S = ((1, 0)(1, 0)^T + (3, 2)(3, 2)^T) / 2 = [[10, 6], [6, 4]] / 2
    assert found.second.tolist() == [[[5, 3], [3, 2]]]
    # S - m m^T = [[5 - 4, 3 - 2], [3 - 2, 2 - 1]]
    assert found.covariance.tolist() == [[[1, 1], [1, 1]]]
    torch.testing.assert_close(found.deviation, torch.tensor([[1.0, 1.0]]) * (1 + 1e-5) ** 0.5)


def test_weighted_by_hand() -> None:
    features = torch.tensor([[[[1.0, 3.0]]]])
    found = moments.measure(features, torch.tensor([[[[3.0, 1.0]]]]))
    assert found.weight.tolist() == [4]
    assert found.mean.tolist() == [[1.5]]  # (3 * 1 + 1 * 3) / 4
    assert found.second.tolist() == [[[3.0]]]  # (3 * 1 + 1 * 9) / 4


def test_second_moment_is_the_papers_gram_over_positions() -> None:
    features = random_features(0)
    flat = features[0].flatten(1)
    torch.testing.assert_close(moments.measure(features).second[0], flat @ flat.T / 35)


@given(seed=st.integers(0, 1000), cut=st.integers(1, 6))
def test_regions_add_up_to_the_whole(seed: int, cut: int) -> None:
    features = random_features(seed)
    left, right = features[..., :cut], features[..., cut:]
    assert_same(moments.measure(left) + moments.measure(right), moments.measure(features))


@given(seed=st.integers(0, 1000))
def test_soft_weights_add_up_to_the_whole(seed: int) -> None:
    features = random_features(seed)
    share = torch.rand(1, 1, 5, 7, generator=torch.Generator().manual_seed(seed)).double()
    both = moments.measure(features, share) + moments.measure(features, 1 - share)
    assert_same(both, moments.measure(features))


def test_weights_of_one_change_nothing() -> None:
    features = random_features(1)
    ones = torch.ones(1, 1, 5, 7).double()
    assert_same(moments.measure(features, ones), moments.measure(features))


def test_weights_of_zero_leave_zeros() -> None:
    found = moments.measure(random_features(1), torch.zeros(1, 1, 5, 7).double())
    assert found.mean.abs().sum() == 0
    assert found.second.abs().sum() == 0


def test_positions_do_not_matter() -> None:
    features = random_features(2)
    order = torch.randperm(35, generator=torch.Generator().manual_seed(0))
    shuffled = features.flatten(2)[..., order].view(1, 3, 5, 7)
    assert_same(moments.measure(shuffled), moments.measure(features))


def test_bfloat16_features_have_float32_statistics() -> None:
    features = random_features(3, 64, 64).bfloat16()
    found = moments.measure(features)
    assert found.second.dtype == torch.float32
    torch.testing.assert_close(
        found.second.double(), moments.measure(features.double()).second, rtol=5e-3, atol=2e-3
    )


def test_batches_are_measured_picture_by_picture() -> None:
    a, b = random_features(4), random_features(5)
    both = moments.measure(torch.cat([a, b]))
    torch.testing.assert_close(both.second[1], moments.measure(b).second[0])
    torch.testing.assert_close(both.mean[0], moments.measure(a).mean[0])


def test_mix_of_one_and_nothing_is_the_one() -> None:
    a, b = moments.measure(random_features(4)), moments.measure(random_features(5))
    assert_same(moments.mix([a, b], [1.0, 0.0]), a)
    assert_same(moments.mix([a, b], [0.0, 7.0]), b)


def test_equal_mix_is_the_moments_of_both_paintings() -> None:
    a, b = random_features(4), random_features(5)
    mixed = moments.mix([moments.measure(a), moments.measure(b)], [2.0, 2.0])
    both = moments.measure(torch.cat([a, b], 3))
    torch.testing.assert_close(mixed.mean, both.mean)
    torch.testing.assert_close(mixed.second, both.second)


@pytest.mark.parametrize("weights", [[1.0], [0.0, 0.0], [1.0, -1.0], []])
def test_mix_refuses_weights_that_mean_nothing(weights: list[float]) -> None:
    a = moments.measure(random_features(4))
    with pytest.raises(ValueError, match="one weight"):
        moments.mix([a, a], weights)


def test_zeros_keep_shape_and_weight() -> None:
    found = moments.measure(random_features(6)).zeros()
    assert found.weight.tolist() == [35]
    assert found.second.shape == (1, 3, 3)
    assert found.second.abs().sum() == 0


def test_wide_statistics_of_bfloat16_features_are_exact_and_so_is_their_gradient() -> None:
    """Two large terms that cancel: dL/dm = -2 G m beside dL/dS = G, for features near m."""
    generator = torch.Generator().manual_seed(0)
    features = (100 + torch.randn(1, 8, 40, 50, generator=generator)).bfloat16()
    exact = moments.measure(features.double())
    found = moments.measure(features, statistics=torch.float64)
    torch.testing.assert_close(found.second, exact.second, rtol=1e-12, atol=0)
    weights = torch.randn(1, 8, 8, generator=generator).double()
    slope = -torch.matmul(weights + weights.mT, exact.mean[..., None])[..., 0]
    expected = moments.pull_back(features.double(), None, exact.weight, slope, weights)
    gradient = moments.pull_back(features, None, exact.weight, slope, weights)
    assert gradient.dtype == torch.bfloat16
    torch.testing.assert_close(gradient.double(), expected, rtol=0.01, atol=1e-5)


def test_nothing_and_nothing_is_nothing_and_adds_nothing() -> None:
    """Two tiles outside a mask, and one inside."""
    features = random_features(0)
    nothing = moments.measure(features, torch.zeros(1, 1, 5, 7))
    something = moments.measure(features)
    both = nothing + nothing
    assert float(both.mean.abs().max()) == 0
    assert_same(both + something, something)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("cropped", [False, True])
@pytest.mark.parametrize("with_mean", [False, True])
def test_a_gradient_is_added_in_place(
    dtype: torch.dtype,
    weighted: bool,
    cropped: bool,
    with_mean: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two rows at a time, where it cannot be at once."""
    monkeypatch.setattr(memory, "BLOCK_VALUES", 2 * 4 * 9)
    maps = random_features(0, 6, 9, 4).to(dtype, memory_format=torch.channels_last)
    around = random_features(1, 6, 9, 4).to(dtype, memory_format=torch.channels_last)
    before = around.clone()
    inside = (..., slice(2, 5), slice(1, 8) if cropped else slice(None))
    features, onto = maps[inside], around[inside]
    weight = random_features(2, *features.shape[2:], 1).abs().to(dtype) if weighted else None
    second = random_features(3, 4, 4, 1)[0]
    mean = random_features(4, 4, 1, 1)[0, :, :, 0] if with_mean else None
    if dtype == torch.bfloat16:  # float64 statistics would make it wide
        second, mean = second.float(), None if mean is None else mean.float()
    n = second.new_tensor([7.0])
    found = moments.pull_back(features, weight, n, mean, second, onto=onto)
    assert found.data_ptr() == onto.data_ptr()
    alone = moments.pull_back(features, weight, n, mean, second)
    tolerance = {"rtol": 0.02, "atol": 0.02} if dtype == torch.bfloat16 else {}
    torch.testing.assert_close(onto, before[inside] + alone, **tolerance)
    around[inside] = before[inside]
    assert torch.equal(around, before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_gram_matrices_need_no_means(dtype: torch.dtype) -> None:
    features = random_features(0).to(dtype)
    found, whole = moments.measure(features, means=False), moments.measure(features)
    assert torch.equal(found.second, whole.second)
    assert bool(found.mean.isnan().all())
    both = found + found  # as tiles are added
    assert_same(Moments(both.weight / 2, whole.mean, both.second), whole)


@pytest.mark.parametrize("height", [1, 37, 64])
def test_the_mean_of_bfloat16_features_is_that_of_float32(height: int) -> None:
    """Positive features, whose sums are large."""
    features = random_features(0, height, 53, 8).abs().bfloat16()
    features = features.contiguous(memory_format=torch.channels_last)
    exact = moments.measure(features.double())
    found = moments.measure(features)
    torch.testing.assert_close(found.mean.double(), exact.mean, rtol=1e-3, atol=0)
    weight = random_features(1, height, 53, 1).abs().bfloat16()
    exact = moments.measure(features.double(), weight.double())
    found = moments.measure(features, weight)
    torch.testing.assert_close(found.mean.double(), exact.mean, rtol=2e-3, atol=0)


@pytest.mark.parametrize("means", [True, False])
def test_positions_beyond_equal_blocks_count(means: bool) -> None:
    """129^2 are 16 blocks and one position more: the brightest."""
    features = random_features(11, 129, 129).repeat(1, 22, 1, 1).bfloat16()
    assert features.numel() > moments.FEW_VALUES
    features[..., -1, -1] = 300
    found, exact = moments.measure(features, means=means), moments.measure(features.double())
    assert float((found.second - exact.second).norm() / exact.second.norm()) < 0.002
    if means:
        torch.testing.assert_close(found.mean.double(), exact.mean, rtol=0, atol=0.002)
    else:
        assert found.mean.isnan().all()
