"""The losses: by hand, against the papers' closed-form derivatives, gradcheck and SciPy."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from impasto import losses
from impasto.losses import moments
from impasto.losses.moments import Moments


def random_features(seed: int, c: int = 4, h: int = 5, w: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, c, h, w, generator=generator, dtype=torch.float64)


def gaussian(mean: list[float], variances: list[float]) -> Moments:
    """Moments with that mean and a diagonal covariance."""
    m, v = torch.tensor([mean]).double(), torch.diag(torch.tensor(variances)).double()
    return Moments(torch.ones(1).double(), m, v[None] + m[:, :, None] * m[:, None, :])


def test_content_by_hand() -> None:
    painted, photo = torch.tensor([[[[1.0, 4.0]]]]), torch.tensor([[[[3.0, 1.0]]]])
    # differences -2 and 3: squares 4 + 9 = 13; the photo's own squares 9 + 1 = 10
    assert losses.content(painted, photo).item() == 6.5
    assert losses.content(painted, photo, "mean").item() == 6.5
    assert losses.content(painted, photo, "relative").item() == pytest.approx(1.3)


def test_gram_by_hand() -> None:
    # S = [[5, 3], [3, 2]] against the zero target: (25 + 9 + 9 + 4) / (4 * 2^2)
    features = torch.tensor([[[[1.0, 3.0]], [[0.0, 2.0]]]])
    painted = moments.measure(features)
    assert losses.gram(painted, painted.zeros()).item() == 47 / 16


def test_gram_is_the_papers_e_l() -> None:
    """E_l = 1 / (4 N^2 M^2) sum (G - A)^2 with G = F F^T, as the paper writes it."""
    painted, target = random_features(0), random_features(1)
    f, p = painted[0].flatten(1), target[0].flatten(1)
    n, m = f.shape
    e_l = ((f @ f.T - p @ p.T) ** 2).sum() / (4 * n**2 * m**2)
    found = losses.gram(moments.measure(painted), moments.measure(target))
    torch.testing.assert_close(found, e_l[None])


def test_meanstd_by_hand() -> None:
    a, b = gaussian([1, 2], [4, 9]), gaussian([3, 2], [1, 1])
    # means (1 - 3)^2, deviations (2 - 1)^2 + (3 - 1)^2; 1e-5 is added to every variance
    assert losses.meanstd(a, b).item() == pytest.approx(4 + 1 + 4, rel=1e-4)


def test_wasserstein_of_independent_channels_by_hand() -> None:
    a, b = gaussian([1, 2], [4, 9]), gaussian([3, 2], [1, 1])
    # commuting covariances: |m - m*|^2 + |sd - sd*|^2, the target's mean variance being 1
    expected = 4 + (4.001**0.5 - 1.001**0.5) ** 2 + (9.001**0.5 - 1.001**0.5) ** 2
    assert losses.wasserstein(a, b).item() == pytest.approx(expected)


def test_wasserstein_of_a_thing_to_itself_is_zero() -> None:
    a = moments.measure(random_features(3))
    assert losses.wasserstein(a, a).item() == pytest.approx(0, abs=1e-9)


def test_wasserstein_against_scipy() -> None:
    a, b = moments.measure(random_features(0)), moments.measure(random_features(1) * 2 + 1)
    x, y = a.covariance[0].numpy(), b.covariance[0].numpy()
    ridge = 1e-3 * np.trace(y) / len(y) * np.eye(len(y))
    x, y = x + ridge, y + ridge
    root = scipy.linalg.sqrtm(y)
    cross = scipy.linalg.sqrtm(root @ x @ root)
    means = ((a.mean - b.mean) ** 2).sum().item()
    expected = means + np.trace(x) + np.trace(y) - 2 * np.trace(cross).real
    assert losses.wasserstein(a, b).item() == pytest.approx(expected, rel=1e-9)


def test_wasserstein_survives_more_channels_than_positions() -> None:
    """Covariances of rank 3 in 16 channels: value and gradient stay finite in float32."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, 16, 2, 2, generator=generator, requires_grad=True)
    target = moments.measure(torch.randn(1, 16, 2, 2, generator=generator))
    value = losses.wasserstein(moments.measure(features), target)
    value.sum().backward()
    assert value.item() > 0
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_wasserstein_pulls_in_no_direction_that_neither_varies_in() -> None:
    """A = diag(0, 0), A* = diag(0, 2): dW/dA = 1 - sqrt((A* + r) / (A + r)), r = 1e-3."""
    a, b = gaussian([1, 1], [0, 0]), gaussian([1, 1], [0, 2])
    a.second.requires_grad_()
    (found,) = torch.autograd.grad(losses.wasserstein(a, b).sum(), a.second)
    assert found[0, 0, 0].item() == pytest.approx(0, abs=1e-6)
    assert found[0, 1, 1].item() == pytest.approx(1 - (2.001 / 0.001) ** 0.5)


@pytest.mark.parametrize("scale", ["paper", "mean", "relative"])
@pytest.mark.parametrize("name", list(losses.STYLE_LOSSES))
def test_style_losses_gradcheck(name: str, scale: losses.LossScale) -> None:
    target = moments.measure(random_features(9) * 1.5 + 0.3)

    def value(features: Tensor) -> Tensor:
        return losses.style(name, moments.measure(features), target, scale)

    assert torch.autograd.gradcheck(value, random_features(8).requires_grad_())


@pytest.mark.parametrize("scale", ["paper", "mean", "relative"])
def test_content_gradcheck(scale: losses.LossScale) -> None:
    target = random_features(2)
    features = random_features(1).requires_grad_()
    assert torch.autograd.gradcheck(lambda f: losses.content(f, target, scale), features)


def test_total_variation_by_hand_and_gradcheck() -> None:
    image = torch.tensor([[[[0.0, 2.0], [1.0, 0.0]]]])
    # to the right: (4 + 1) / 2, below: (1 + 4) / 2
    assert losses.total_variation(image).item() == 5
    assert torch.autograd.gradcheck(losses.total_variation, random_features(1).requires_grad_())


def test_out_of_range_by_hand() -> None:
    image = torch.tensor([[[[-0.5, 0.0], [1.0, 1.2]]]])
    assert losses.out_of_range(image).item() == pytest.approx((0.25 + 0.04) / 4)


def test_trace_sqrt_gradient_is_half_the_inverse_root() -> None:
    matrix = torch.tensor([[[4.0, 0.0], [0.0, 9.0]]], dtype=torch.float64, requires_grad=True)
    value = losses.trace_sqrt(matrix)
    value.sum().backward()
    assert value.item() == pytest.approx(5)  # 2 + 3
    assert matrix.grad is not None
    torch.testing.assert_close(matrix.grad, torch.diag(torch.tensor([1 / 4, 1 / 6]).double())[None])


@pytest.mark.parametrize("name", list(losses.STYLE_LOSSES))
def test_relative_style_losses_do_not_depend_on_the_features_scale(name: str) -> None:
    a, b = random_features(0), random_features(1)

    def value(factor: float) -> float:
        painted, target = moments.measure(a * factor), moments.measure(b * factor)
        return losses.style(name, painted, target, "relative").item()

    # the floor of 1e-5 under the variances is the only thing that does not scale
    assert value(1e4) == pytest.approx(value(1e3), rel=1e-5)


def test_relative_loss_of_nothing_is_one() -> None:
    target = moments.measure(random_features(1))
    for name in losses.STYLE_LOSSES:
        assert losses.style(name, target.zeros(), target, "relative").item() == pytest.approx(1)


def test_mean_scale_is_the_mean_of_squares() -> None:
    a, b = moments.measure(random_features(0)), moments.measure(random_features(1))
    found = losses.style("gram", a, b, "mean").item()
    assert found == pytest.approx((a.second - b.second).square().mean().item())
    assert losses.style("meanstd", a, b, "mean").item() == pytest.approx(
        losses.meanstd(a, b).item() / 4
    )


def through_relu(before: Tensor) -> tuple[Tensor, Tensor]:
    """The input of a ReLU, with a gradient to come, and its output."""
    before = before.clone().requires_grad_()
    return before, torch.relu(before)


def test_content_derivative_of_the_paper() -> None:
    """dL/dF = F - P where F > 0, else 0 (Gatys et al. 2016, eq. 2)."""
    photo = torch.relu(random_features(1))
    before, f = through_relu(random_features(0))
    losses.content(f, photo).sum().backward()
    expected = torch.where(f > 0, f - photo, torch.zeros_like(f))
    assert before.grad is not None
    torch.testing.assert_close(before.grad, expected.detach())


def test_style_derivative_of_the_paper() -> None:
    """dE/dF = (F^T (G - A))^T / (N^2 M^2) where F > 0, else 0 (Gatys et al. 2016, eq. 6)."""
    target = torch.relu(random_features(1))
    before, features = through_relu(random_features(0))
    losses.gram(moments.measure(features), moments.measure(target)).sum().backward()
    f, p = features.detach()[0].flatten(1), target[0].flatten(1)  # n m
    n, m = f.shape
    difference = f @ f.T - p @ p.T
    expected = torch.where(f > 0, (f.T @ difference).T / (n**2 * m**2), torch.zeros_like(f))
    assert before.grad is not None
    torch.testing.assert_close(before.grad[0].flatten(1), expected)


def test_self_similarity_by_hand() -> None:
    """e1, e2, -e1 against e1, e2, e3.

    Cosine distances 1 (e1, e2), 2 (e1, -e1), 1 (e2, -e1), each column to a sum of one:
    (0, 1/3, 2/3), (1/2, 0, 1/2), (2/3, 1/3, 0). Three orthogonal vectors: 0 and 1/2 twice in
    each. Sums of the differences 1/3, 0, 1/3; their mean 2/9.
    """
    axes = torch.eye(3, dtype=torch.float64)
    opposed = torch.stack([axes[0], axes[1], -axes[0]])
    assert float(losses.self_similarity(opposed, axes)) == pytest.approx(2 / 9)
    assert float(losses.self_similarity(5 * opposed, opposed)) == pytest.approx(0, abs=1e-12)


def test_gradient_of_self_similarity() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 6, 4, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: losses.self_similarity(x, b), a.requires_grad_())


def test_weights_of_the_squared_distance() -> None:
    """Weights 2 and 0 on differences of 3 and 5, in two channels: 2 (9 + 9) = 36."""
    a = torch.tensor([3.0, 5.0]).view(1, 1, 1, 2).expand(1, 2, 1, 2)
    weight = torch.tensor([2.0, 0.0]).view(1, 1, 1, 2)
    assert float(losses.squared_distance(a, torch.zeros_like(a), weight)) == 36


def test_the_slope_of_the_content_loss_is_its_gradient() -> None:
    """By autograd, with and without weights, one factor for each picture."""
    generator = torch.Generator().manual_seed(0)
    features, target = torch.randn(2, 2, 3, 4, 5, generator=generator, dtype=torch.float64)
    weight = torch.rand(2, 1, 4, 5, generator=generator, dtype=torch.float64)
    factor = torch.tensor([0.5, 3.0], dtype=torch.float64)
    leaf = features.clone().requires_grad_()
    for own in (None, weight):
        value = (factor * losses.squared_distance(leaf, target, own)).sum()
        (expected,) = torch.autograd.grad(value, leaf)
        found = losses.content_slope(features, target, factor, own)
        torch.testing.assert_close(found, expected)
