"""Each formula of method.md for the network and the losses, worked out in plain lines."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor
from torch.nn import functional as F

from impasto import losses, weights
from impasto.layers import convolution
from impasto.losses import moments
from impasto.losses.moments import Moments
from impasto.networks import vgg
from impasto.networks.layer_names import layer_names, receptive_field, stride_of
from impasto.networks.tiled import style_moments
from impasto.objective import Objective, Spec, Target
from impasto.settings import settings_for
from plain import BLOCKS, CONTENT, STYLE, features, flat_moments, picture, plain_vgg


def through_relu(before: Tensor, loss: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Rectified features (n m) and the gradient of a loss of them at the ReLU's input."""
    before = before.clone().requires_grad_()
    after = torch.relu(before)
    (gradient,) = torch.autograd.grad(loss(after).sum(), before)
    return after.detach()[0].flatten(1), gradient[0].flatten(1)


# ---------------------------------------------------------------- the formulas


def test_receptive_fields() -> None:
    """
    pixels:       field = 1,  stride = 1
    convolution:  field <- field + 2 stride
    pooling:      field <- field + stride,  then  stride <- 2 stride
    """
    # One channel, positive weights and mean pooling: all that a position sees has a gradient.
    tensors = {"mean": torch.zeros(3)}
    for name in weights.convolution_names(BLOCKS):
        channels = 3 if name == "conv1_1" else 1
        tensors[f"{name}.weight"] = torch.full((1, channels, 3, 3), 1 / 9).double()
        tensors[f"{name}.bias"] = torch.ones(1).double()
    network = vgg.VGG(tensors, "average", "zero", torch.float64)
    field, stride = 1, 1
    for name in layer_names():
        if name.startswith("relu"):
            continue
        if name.startswith("conv"):
            field += 2 * stride
        else:
            field, stride = field + stride, 2 * stride
        assert (receptive_field(name), stride_of(name)) == (field, stride)
        image = torch.ones(1, 3, 32, 640, dtype=torch.float64, requires_grad=True)
        found = network(image, [name])[name]
        assert found.shape[-1] == 640 // stride
        (seen,) = torch.autograd.grad(found[..., found.shape[-1] // 2].sum(), image)
        assert int((seen[0, 0].sum(0) > 0).sum()) == field


def test_preprocessing() -> None:
    """
    b + sum W (255 BGR - (103.939, 116.779, 123.68)) = b + sum W' (RGB - mean)
    W' = 255 W with its red and blue exchanged,   mean = (123.68, 116.779, 103.939) / 255
    """
    blue_green_red = torch.tensor([103.939, 116.779, 123.68]).double()
    rgb, kernel, bias = features(0, 3), features(1, 6, 3, 3)[0, None], torch.ones(2).double()
    kernel = kernel.view(2, 3, 3, 3)
    theirs = F.conv2d(255 * rgb.flip(1) - blue_green_red.view(1, 3, 1, 1), kernel, bias, padding=1)
    mean = weights.load("vgg19", ("mean",))["mean"].double()
    folded = 255 * kernel.flip(1)
    ours = F.conv2d(rgb - mean.view(1, 3, 1, 1), folded, bias, padding=1)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-3)


def test_forward() -> None:
    """
    convolution:  y_d(p) = b_d + sum_c sum_q W_dc(q) x_c(p + q)     q: the 3x3 places around 0
    ReLU:         y = max(x, 0)
    pooling:      y(p) = the maximum of x over the 2x2 window p     or the mean
    """
    x, kernel, bias = (
        features(0, 3),
        features(1, 2, 9, 3).view(2, 3, 3, 3),
        features(2)[0, 0, 0, :2],
    )
    made = convolution.convolution(x, convolution.kernel(kernel, bias), "zero", rectify=False)
    for d, row, column in np.ndindex(2, 5, 6):
        value = bias[d].clone()
        for c, i, j in np.ndindex(3, 3, 3):
            y, z = row + i - 1, column + j - 1
            if 0 <= y < 5 and 0 <= z < 6:
                value += kernel[d, c, i, j] * x[0, c, y, z]
        assert made[0, d, row, column].item() == pytest.approx(value.item())
    rectified = convolution.convolution(x, convolution.kernel(kernel, bias), "zero")
    torch.testing.assert_close(rectified, made.clamp_min(0))
    pooled = convolution.max_pool(rectified)
    assert pooled.shape == (1, 2, 2, 3)  # of 5 x 6: the odd row is left out
    for row, column in np.ndindex(2, 3):
        window = rectified[0, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        torch.testing.assert_close(pooled[0, :, row, column], window.amax((1, 2)))
    net = vgg.load("vgg19", ["pool1"], "average")
    found = net(picture(0, 6, 8), ["relu1_2", "pool1"])
    window = found["relu1_2"][0, :, 2:4, 4:6]
    torch.testing.assert_close(found["pool1"][0, :, 1, 2], window.mean((1, 2)))


def test_factors_pass_through() -> None:
    """
    relu(a (W x + b)) = a relu(W x + b)      pool(a x) = a pool(x)
    """
    factor = torch.tensor([0.01, 7.0]).double().view(1, 2, 1, 1)
    x, first, second = features(0, 3), features(1, 6, 3, 3), features(2, 8, 3, 3)
    first, second = first.view(2, 3, 3, 3), second.view(4, 2, 3, 3)
    plain = convolution.max_pool(F.relu(F.conv2d(x, first)))
    scaled = convolution.max_pool(F.relu(F.conv2d(x, first * factor.view(2, 1, 1, 1))))
    torch.testing.assert_close(scaled, factor * plain)
    torch.testing.assert_close(
        F.conv2d(scaled, second / factor, padding=1), F.conv2d(plain, second, padding=1)
    )


def test_content() -> None:
    """
    L_content = 1/2 sum_ij (F_ij - P_ij)^2
    dL_content/dF_ij = F_ij - P_ij   if F_ij > 0, else 0
    """
    photo = torch.relu(features(1))
    f, gradient = through_relu(features(0), lambda after: losses.content(after, photo))
    p = photo[0].flatten(1)
    value = losses.content(f.view(1, 4, 5, 6), photo).item()
    assert value == pytest.approx(0.5 * ((f - p) ** 2).sum().item())
    torch.testing.assert_close(gradient, torch.where(f > 0, f - p, 0.0))
    assert (f == 0).any()


def test_gram_matrix() -> None:
    """
    G_ij = sum_k F_ik F_jk,   S = G / M,   m_i = sum_k F_ik / M
    """
    maps = features(0, 3)
    found, f = moments.measure(maps), maps[0].flatten(1)
    for i, j in np.ndindex(3, 3):
        g = sum(f[i, k] * f[j, k] for k in range(30))
        assert found.second[0, i, j].item() == pytest.approx(float(g) / 30)
        assert found.mean[0, i].item() == pytest.approx(float(sum(f[i])) / 30)


def test_style() -> None:
    """
    E_l = 1 / (4 N^2 M^2) sum_ij (G_ij - A_ij)^2 = 1 / (4 N^2) sum_ij (S_ij - S*_ij)^2
    dE_l/dF_ij = 1 / (N^2 M^2) (F^T (G - A))_ji   if F_ij > 0, else 0
    L_style = sum_l w_l E_l,   w_l = 1/5
    """
    painting = torch.relu(features(1))
    target = moments.measure(painting)
    f, gradient = through_relu(
        features(0), lambda after: losses.gram(moments.measure(after), target)
    )
    (n, m), a = f.shape, painting[0].flatten(1) @ painting[0].flatten(1).T
    difference = f @ f.T - a
    expected = (difference**2).sum() / (4 * n**2 * m**2)
    found = losses.gram(moments.measure(f.view(1, 4, 5, 6)), target)
    torch.testing.assert_close(found[0], expected)
    by_moments = (f @ f.T / m - target.second[0]).square().sum() / (4 * n**2)
    torch.testing.assert_close(found[0], by_moments)
    slope = (f.T @ difference).T / (n**2 * m**2)
    torch.testing.assert_close(gradient, torch.where(f > 0, slope, 0.0))
    assert settings_for("paper").style_layers == STYLE  # the sum is checked in test_total


def test_total(network: vgg.VGG) -> None:
    """
    L_total = alpha L_content + beta L_style
    """
    photo, painting, start = (picture(seed) for seed in range(3))
    alpha, beta = 0.5, 2e4
    objective = Objective(
        network, photo, [Target(style_moments(network, painting, dict(STYLE)))],
        Spec(content_weight=alpha, style_weight=beta, content_layers=CONTENT, style_layers=STYLE),
    )  # fmt: skip
    terms, gradient = objective.loss(start)
    with torch.no_grad():
        p, targets = plain_vgg(photo)["relu4_2"], plain_vgg(painting)
    image = start.clone().requires_grad_()
    maps = plain_vgg(image)
    content = 0.5 * (maps["relu4_2"] - p).square().sum()
    style = torch.zeros(())
    for layer, weight in STYLE:
        (_, s, _), (_, wanted, _) = flat_moments(maps[layer]), flat_moments(targets[layer])
        style = style + weight * (s - wanted).square().sum() / (4 * len(s) ** 2)
    total = alpha * content + beta * style
    assert terms["content"].item() == pytest.approx(alpha * content.item(), rel=1e-3)
    assert terms["style"].item() == pytest.approx(beta * style.item(), rel=1e-3)
    assert terms["total"].item() == pytest.approx(total.item(), rel=1e-3)
    assert 0.1 < terms["content"] / terms["style"] < 10  # neither hides the other
    (expected,) = torch.autograd.grad(total, image)
    assert (gradient - expected).norm() < 1e-3 * expected.norm()


def test_meanstd() -> None:
    """
    meanstd = sum_i (m_i - m*_i)^2 + sum_i (sd_i - sd*_i)^2,   sd_i = sqrt(S_ii - m_i^2 + 1e-5)
    """
    a, b = features(0), features(1) * 2 + 1
    (m, _, sd), (m_, _, sd_) = flat_moments(a), flat_moments(b)
    expected = ((m - m_) ** 2).sum() + ((sd - sd_) ** 2).sum()
    torch.testing.assert_close(losses.meanstd(moments.measure(a), moments.measure(b))[0], expected)
    torch.testing.assert_close(moments.measure(a).deviation[0], sd)


def test_wasserstein() -> None:
    """
    wasserstein = |m - m*|^2 + tr(V) + tr(V*) - 2 tr (R V R)^(1/2),   R = V*^(1/2)
    V = S - m m^T + r I,   V* = S* - m* m*^T + r I,   r = 0.001 tr(S* - m* m*^T) / N
    wasserstein = sum_i (m_i - m*_i)^2 + sum_i (sqrt(v_i + r) - sqrt(v*_i + r))^2
    """
    a, b = features(0), features(1) * 2 + 1
    (m, s, _), (m_, s_, _) = flat_moments(a), flat_moments(b)
    r = 0.001 * (s_ - torch.outer(m_, m_)).trace() / 4
    v, v_ = s - torch.outer(m, m) + r * torch.eye(4), s_ - torch.outer(m_, m_) + r * torch.eye(4)
    root = scipy.linalg.sqrtm(v_.numpy())
    cross = np.trace(scipy.linalg.sqrtm(root @ v.numpy() @ root)).real
    expected = ((m - m_) ** 2).sum().item() + v.trace().item() + v_.trace().item() - 2 * cross
    found = losses.wasserstein(moments.measure(a), moments.measure(b)).item()
    assert found == pytest.approx(expected, rel=1e-8)

    # By hand: m = (1, 2), v = (4, 9) against m* = (3, 2), v* = (1, 3); r = 0.001 (1 + 3) / 2
    def gaussian(mean: list[float], variances: list[float]) -> Moments:
        m, v = torch.tensor([mean]).double(), torch.diag(torch.tensor(variances)).double()
        return Moments(torch.ones(1).double(), m, v[None] + m[:, :, None] * m[:, None, :])

    first, second = 4.002**0.5 - 1.002**0.5, 9.002**0.5 - 3.002**0.5
    found = losses.wasserstein(gaussian([1, 2], [4, 9]), gaussian([3, 2], [1, 3])).item()
    assert found == pytest.approx(4 + first**2 + second**2)


def test_trace_of_a_root() -> None:
    """
    d tr V^(1/2) / dV = 1/2 V^(-1/2)
    """
    f = features(0)[0].flatten(1)
    v = (f @ f.T)[None].requires_grad_()
    (gradient,) = torch.autograd.grad(losses.trace_sqrt(v).sum(), v)
    expected = np.linalg.inv(scipy.linalg.sqrtm(v.detach()[0].numpy())) / 2
    torch.testing.assert_close(gradient[0], torch.from_numpy(expected.real))


def test_total_variation() -> None:
    """
    TV = mean (x(right) - x)^2 + mean (x(below) - x)^2
    """
    x = features(0, 3).numpy()
    right = np.mean([(x[0, c, i, j + 1] - x[0, c, i, j]) ** 2 for c, i, j in np.ndindex(3, 5, 5)])
    below = np.mean([(x[0, c, i + 1, j] - x[0, c, i, j]) ** 2 for c, i, j in np.ndindex(3, 4, 6)])
    found = losses.total_variation(torch.from_numpy(x)).item()
    assert found == pytest.approx(float(right + below))


def test_self_similarity() -> None:
    """
    L = 1/n sum_ij |D_ij / sum_i D_ij - D*_ij / sum_i D*_ij|
    D_ij = 1 - F_i . F_j / (|F_i| |F_j|)
    """

    def distances(f: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        d = np.array(
            [[1 - a @ b / np.sqrt((a @ a) * (b @ b)) for b in f] for a in f]
        )  # d[i, j], columns j to a sum of one
        return d / d.sum(0)

    a, b = features(0)[0].flatten(1).T, features(1)[0].flatten(1).T
    expected = np.abs(distances(a.numpy()) - distances(b.numpy())).sum() / len(a)
    assert losses.self_similarity(a, b).item() == pytest.approx(expected)
