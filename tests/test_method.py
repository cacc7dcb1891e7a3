"""docs/method.md: every formula worked out again in plain lines, every name and number in it.

A test whose docstring is a formula of the page checks that formula; the page and these docstrings
must agree to the letter, so neither can change alone.
"""

import contextlib
import importlib
import inspect
import io
import re
from collections.abc import Callable
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor
from torch.nn import functional as F

import impasto
from impasto import images, layers, lbfgs, losses, moments, recolour, scales, vgg, weights
from impasto.measuring import style_moments
from impasto.moments import Moments
from impasto.objective import Objective, Target, Weights
from impasto.optimise import Minimiser
from impasto.settings import Settings, settings_for

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "method.md").read_text("utf-8")
PROSE = re.sub(r"```.*?```", "", PAGE, flags=re.S)
FORMULAS = [block.strip() for block in re.findall(r"```text\n(.*?)```", PAGE, re.S)]
CODE_LINES = re.findall(r"^Code: .*?(?=\n\n|\n```)", PAGE, re.S | re.M)
STYLE = tuple((f"relu{i}_1", 0.2) for i in range(1, 6))
CONTENT = (("relu4_2", 1.0),)
BLOCKS = (2, 2, 4, 4, 4)


def features(seed: int, c: int = 4, h: int = 5, w: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, c, h, w, generator=generator, dtype=torch.float64)


def picture(seed: int, height: int = 64, width: int = 80) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 6, 6, generator=generator)
    return F.interpolate(coarse, size=(height, width), mode="bilinear").clamp(0, 1)


def through_relu(before: Tensor, loss: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Rectified features (n m) and the gradient of a loss of them at the ReLU's input."""
    before = before.clone().requires_grad_()
    after = torch.relu(before)
    (gradient,) = torch.autograd.grad(loss(after).sum(), before)
    return after.detach()[0].flatten(1), gradient[0].flatten(1)


def plain_vgg(image: Tensor) -> dict[str, Tensor]:
    """The rectified layers of the shipped VGG-19, by PyTorch's own functions, zeros beyond."""
    tensors = weights.load("vgg19")
    x, found = image - tensors["mean"].view(1, 3, 1, 1), {}
    for block, count in enumerate(BLOCKS, 1):
        for i in range(1, count + 1):
            kernel, bias = (tensors[f"conv{block}_{i}.{part}"] for part in ("weight", "bias"))
            x = found[f"relu{block}_{i}"] = F.relu(F.conv2d(x, kernel.float(), bias, padding=1))
        x = F.max_pool2d(x, 2)
    return found


def flat_moments(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """m, S and sd of a feature map 1 n h w, as the page writes them."""
    f = maps[0].flatten(1)
    mean, second = f.mean(1), f @ f.T / f.shape[1]
    return mean, second, (second.diagonal() - mean**2 + 1e-5).sqrt()


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
    for name in vgg.layer_names():
        if name.startswith("relu"):
            continue
        if name.startswith("conv"):
            field += 2 * stride
        else:
            field, stride = field + stride, 2 * stride
        assert (vgg.receptive_field(name), vgg.stride_of(name)) == (field, stride)
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
    made = layers.convolution(x, layers.kernel(kernel, bias), "zero", rectify=False)
    for d, row, column in np.ndindex(2, 5, 6):
        value = bias[d].clone()
        for c, i, j in np.ndindex(3, 3, 3):
            y, z = row + i - 1, column + j - 1
            if 0 <= y < 5 and 0 <= z < 6:
                value += kernel[d, c, i, j] * x[0, c, y, z]
        assert made[0, d, row, column].item() == pytest.approx(value.item())
    rectified = layers.convolution(x, layers.kernel(kernel, bias), "zero")
    torch.testing.assert_close(rectified, made.clamp_min(0))
    pooled = layers.max_pool(rectified)
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
    plain = layers.max_pool(F.relu(F.conv2d(x, first)))
    scaled = layers.max_pool(F.relu(F.conv2d(x, first * factor.view(2, 1, 1, 1))))
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
        Weights(alpha, beta), CONTENT, STYLE, ("gram",), "paper",
    )  # fmt: skip
    terms, gradient = objective.evaluate(start)
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


def test_relative() -> None:
    """
    content = |F - P|^2 / |P|^2   at relu4_2
    gram    = |S - S*|^2 / |S*|^2
    meanstd = (|m - m*|^2 + |sd - sd*|^2) / (|m*|^2 + |sd* - sqrt(1e-5)|^2)
    style   = mean over relu1_1 ... relu5_1 of (gram + meanstd)
    range   = mean over pixels and colours of (x - min(max(x, 0), 1))^2
    total   = 0.1 content + style + 100 range
    """
    best = settings_for()
    assert (best.content_weight, best.style_weight, best.tv_weight) == (0.1, 1, 0)
    assert best.range_weight == 100
    assert (best.style_loss, best.loss_scale) == (("gram", "meanstd"), "relative")
    assert (best.content_layers, best.style_layers) == (CONTENT, STYLE)
    network = vgg.load("vgg19", [*dict(STYLE), "relu4_2"], padding="zero")
    photo, painting, start = (picture(seed) for seed in range(3))
    start = 1.5 * start - 0.2
    objective = Objective(
        network, photo, [Target(style_moments(network, painting, dict(STYLE)))],
        Weights(best.content_weight, best.style_weight, range=best.range_weight),
        best.content_layers, best.style_layers,
        best.style_loss, best.loss_scale,
    )  # fmt: skip
    terms = objective.terms(start)
    with torch.no_grad():
        maps, targets, p = plain_vgg(start), plain_vgg(painting), plain_vgg(photo)["relu4_2"]
    content = (maps["relu4_2"] - p).square().sum() / p.square().sum()
    style = torch.zeros(())
    for layer in dict(STYLE):
        (m, s, sd), (m_, s_, sd_) = flat_moments(maps[layer]), flat_moments(targets[layer])
        gram = (s - s_).square().sum() / s_.square().sum()
        both = (m - m_).square().sum() + (sd - sd_).square().sum()
        style += gram + both / (m_.square().sum() + (sd_ - 1e-5**0.5).square().sum())
    assert terms["content"].item() == pytest.approx(0.1 * content.item(), rel=1e-3)
    assert terms["style"].item() == pytest.approx(style.item() / 5, rel=1e-3)
    beyond = (start - start.clamp_min(0).clamp_max(1)).square().mean()
    assert terms["range"].item() == pytest.approx(100 * beyond.item(), rel=1e-4)
    total = 0.1 * content + style / 5 + 100 * beyond
    assert terms["total"].item() == pytest.approx(total.item(), rel=1e-3)


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


def test_moments() -> None:
    """
    n = sum_k w_k,   m = sum_k w_k F_k / n,   S = sum_k w_k F_k F_k^T / n
    """
    maps, w = features(0), features(1, 1).abs()
    f, k = maps[0].flatten(1).T, w.flatten()
    found = moments.measure(maps, w)
    n = sum(k)
    torch.testing.assert_close(found.weight[0], n)
    torch.testing.assert_close(found.mean[0], sum(k[i] * f[i] for i in range(30)) / n)
    second = sum(k[i] * torch.outer(f[i], f[i]) for i in range(30)) / n
    torch.testing.assert_close(found.second[0], second)


def test_moments_add_up() -> None:
    """
    n = n1 + n2,   m = (n1 m1 + n2 m2) / n,   S = (n1 S1 + n2 S2) / n
    """
    maps = features(0)
    one, two = moments.measure(maps[..., :2]), moments.measure(maps[..., 2:])
    n1, n2 = 10, 20
    for found in (one + two, moments.measure(maps)):
        assert found.weight.item() == n1 + n2
        torch.testing.assert_close(found.mean, (n1 * one.mean + n2 * two.mean) / 30)
        torch.testing.assert_close(found.second, (n1 * one.second + n2 * two.second) / 30)


def test_mix() -> None:
    """
    M = sum_i a_i M_i / sum_i a_i
    """
    one, two = moments.measure(features(0)), moments.measure(features(1))
    found = moments.mix([one, two], [1.0, 3.0])
    torch.testing.assert_close(found.mean, (one.mean + 3 * two.mean) / 4)
    torch.testing.assert_close(found.second, (one.second + 3 * two.second) / 4)


def test_regions(network: vgg.VGG) -> None:
    """
    L_style = sum_r (2 s_r)^2 sum_l w_l (n_rl / M_l) style_rl
    """
    photo, painting, start = (picture(seed) for seed in range(3))
    left = {name: picture(9)[:, :1, :: 2**i, :: 2**i] for i, name in enumerate(dict(STYLE))}
    guides = [left, {name: 1 - guide for name, guide in left.items()}]
    wanted, strengths = style_moments(network, painting, dict(STYLE)), (0.25, 0.7)
    targets = [
        Target(wanted, guide, (2 * s) ** 2) for guide, s in zip(guides, strengths, strict=True)
    ]
    objective = Objective(network, photo, targets, Weights(0.0, 3.0), CONTENT, STYLE)
    with torch.no_grad():
        maps = plain_vgg(start)
    expected = 0.0
    for guide, s in zip(guides, strengths, strict=True):
        for name, w_l in STYLE:
            f, w = maps[name][0].flatten(1), guide[name].flatten()
            n, m = w.sum(), len(w)
            e = ((f * w) @ f.T / n - wanted[name].second[0]).square().sum() / (4 * len(f) ** 2)
            expected += (2 * s) ** 2 * w_l * float(n / m * e)
    assert objective.terms(start)["style"].item() == pytest.approx(3 * expected, rel=1e-3)


def test_pull_back() -> None:
    """
    dL/dF_k = (dL/dm + (dL/dS + dL/dS^T) F_k) w_k / n
    """
    maps, w = features(0).requires_grad_(), features(1, 1).abs()
    by_mean, by_second = features(2)[0, 0, 0, :4], features(3)[0, 0, :4, :4]
    f, k = maps[0].flatten(1), w.flatten()
    loss = by_mean @ ((f * k).sum(1) / k.sum()) + (by_second * ((f * k) @ f.T / k.sum())).sum()
    (expected,) = torch.autograd.grad(loss, maps)
    found = moments.pull_back(maps.detach(), w, k.sum()[None], by_mean[None], by_second[None])
    torch.testing.assert_close(found, expected)
    for p in (0, 17):
        by_hand = (by_mean + (by_second + by_second.T) @ f[:, p]) * k[p] / k.sum()
        torch.testing.assert_close(found[0].flatten(1)[:, p], by_hand.detach())


def test_backward() -> None:
    """
    pooling:      dL/dx = dL/dy at the window's maximum, else 0     mean: dL/dy / 4 at all
    ReLU:         dL/dx = dL/dy where y > 0, else 0
    convolution:  dL/dx_c(p) = sum_d sum_q W_dc(q) dL/dy_d(p - q)
    """
    x = features(0, 3).requires_grad_()
    kernel = layers.kernel(features(1, 2, 9, 3).view(2, 3, 3, 3), torch.zeros(2).double())
    slope = features(2, 2)
    y = layers.convolution(x, kernel, "zero")
    (found,) = torch.autograd.grad((y * slope).sum(), x)
    passed = torch.where(y > 0, slope, 0.0)[0]
    for c, row, column in np.ndindex(3, 5, 6):
        value = 0.0
        for d, i, j in np.ndindex(2, 3, 3):
            r, s = row - (i - 1), column - (j - 1)
            if 0 <= r < 5 and 0 <= s < 6:
                value += float(kernel.weight[d, c, i, j] * passed[d, r, s])
        assert found[0, c, row, column].item() == pytest.approx(value)
    x = torch.relu(features(3, 1, 4, 4)).requires_grad_()
    (found,) = torch.autograd.grad((layers.max_pool(x) * features(4, 1, 2, 2)).sum(), x)
    for i, j in np.ndindex(2, 2):
        window = (0, 0, slice(2 * i, 2 * i + 2), slice(2 * j, 2 * j + 2))
        top = (x[window] == x[window].max()) & (x[window] > 0)
        torch.testing.assert_close(found[window], top * features(4, 1, 2, 2)[0, 0, i, j])
    (found,) = torch.autograd.grad(F.avg_pool2d(x, 2).sum(), x)
    assert found.unique().tolist() == [1 / 4]


CURVATURE = torch.linspace(1, 6, 48).view(1, 3, 4, 4)


def bowl(x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """1/2 sum k (x - 1/2)^2 and its gradient."""
    return {"total": (CURVATURE * (x - 0.5) ** 2).sum() / 2}, CURVATURE * (x - 0.5)


def near_the_middle() -> Tensor:
    return 0.5 + 0.3 * features(0, 3, 4, 4).float().clamp(-1, 1)


def test_gradient_descent() -> None:
    """
    v <- 0.9 v + g,   x <- x - eta v,   eta = 0.02 / rms(g_0)
    """
    x, v = near_the_middle(), torch.zeros(1, 3, 4, 4)
    minimiser = Minimiser(x, settings_for(optimizer="sgd"))
    eta = 0.02 / bowl(x)[1].square().mean().sqrt()
    for _ in range(4):
        minimiser.step(bowl)
        v = 0.9 * v + bowl(x)[1]
        x = x - eta * v
        torch.testing.assert_close(minimiser.pixels, x, rtol=1e-5, atol=1e-6)


def test_adam() -> None:
    """
    u <- 0.9 u + 0.1 g,   v <- 0.99 v + 0.01 g^2
    x <- x - 0.02 (u / (1 - 0.9^t)) / sqrt(v / (1 - 0.99^t))
    """
    x, u, v = near_the_middle(), 0.0, 0.0
    minimiser = Minimiser(x, settings_for(optimizer="adam"))
    for t in range(1, 6):
        g = bowl(x)[1]
        u, v = 0.9 * u + 0.1 * g, 0.99 * v + 0.01 * g**2
        x = x - 0.02 * (u / (1 - 0.9**t)) / (v / (1 - 0.99**t)).sqrt()
        minimiser.step(bowl)
        torch.testing.assert_close(minimiser.pixels, x, rtol=1e-4, atol=1e-5)


MATRIX = torch.diag(torch.linspace(1, 50, 12)).double()
MATRIX[0, 1] = MATRIX[1, 0] = 0.5
Pairs = list[tuple[Tensor, Tensor]]


def inverse_hessian(pairs: Pairs) -> Tensor:
    """H as the page writes it, a matrix."""
    s, y = pairs[-1]
    one = torch.eye(len(s)).double()
    h = (s @ y) / (y @ y) * one
    for s, y in pairs:
        rho = 1 / (s @ y)
        back = one - rho * torch.outer(y, s)
        h = back.T @ h @ back + rho * torch.outer(s, s)
    return h


def steps_of_lbfgs(history: int) -> list[tuple[Tensor, Tensor, Pairs]]:
    """Steps down a quadratic: what was changed, the gradient before, the pairs remembered."""
    x = torch.zeros(12, dtype=torch.float64)
    optimizer, pairs, found = lbfgs.Lbfgs(x, history=history), [], []
    for _ in range(8):
        before, x.grad = x.clone(), MATRIX @ (x - 1)
        gradient = x.grad.clone()
        optimizer.step()
        found.append((x - before, gradient, list(pairs)))
        pairs = [*pairs, (x - before, MATRIX @ (x - 1) - gradient)][-history:]
    return found


def test_lbfgs() -> None:
    """
    first step:  x <- x - 0.02 g / rms(g)
    others:      x <- x - H g
    s = x_new - x,   y = g_new - g,   rho = 1 / (s . y)
    H = (s . y) / (y . y) I   of the newest pair, then
    H <- (I - rho s y^T) H (I - rho y s^T) + rho s s^T   for each pair, the oldest first
    """
    assert (lbfgs.FIRST_STEP, lbfgs.CARRIED_STEP) == (0.02, 0.005)
    assert (settings_for().history, settings_for("paper").history) == (20, 100)
    (change, g, _), *others = steps_of_lbfgs(history=3)
    torch.testing.assert_close(change, -0.02 * g / g.square().mean().sqrt())
    for change, g, pairs in others:
        torch.testing.assert_close(change, -inverse_hessian(pairs) @ g, rtol=1e-6, atol=1e-10)


def test_two_loops() -> None:
    """
    q = g
    newest pair first:  a_i = rho_i s_i . q,   q <- q - a_i y_i
    q <- (s . y) / (y . y) q   of the newest pair
    oldest pair first:  b = rho_i y_i . q,   q <- q + (a_i - b) s_i
    H g = q
    """
    for change, g, pairs in steps_of_lbfgs(history=3)[1:]:
        q, a = g.clone(), {}
        for i in reversed(range(len(pairs))):
            s, y = pairs[i]
            a[i] = (s @ q) / (s @ y)
            q = q - a[i] * y
        s, y = pairs[-1]
        q = (s @ y) / (y @ y) * q
        for i, (s, y) in enumerate(pairs):
            q = q + (a[i] - (y @ q) / (s @ y)) * s
        torch.testing.assert_close(q, inverse_hessian(pairs) @ g)
        torch.testing.assert_close(change, -q, rtol=1e-6, atol=1e-10)


def test_squares() -> None:
    """
    s_b . y_b > 0.05 |s_b| |y_b|
    x_b <- x_b - min(1, 3 median(|H g|) / |H_b g_b|) H_b g_b
    """
    assert (settings_for().block, settings_for("paper").block) == (32, 0)
    assert (lbfgs.SQUARE_CURVATURE, lbfgs.LONGEST) == (0.05, 3.0)
    torch.manual_seed(0)
    x = torch.zeros(1, 1, 16, 24, dtype=torch.float64)
    optimizer = lbfgs.Lbfgs(x, history=3, block=8)
    slope, rate = torch.rand_like(x), torch.rand_like(x) + 0.5
    rate[..., :8, :8] = 0.01  # nearly flat: a step far too long
    rate[..., 8:, 16:] = -1  # curved the other way: of no use
    all_pairs: Pairs = []
    for step in range(4):
        before, x.grad = x.clone(), slope + rate * x
        optimizer.step()
        pair = (x - before, rate * (x - before))
        if step:
            made = x - before
            wanted = [_move(corner, x.grad, all_pairs) for corner in _corners()]
            usual = torch.stack([v.norm() for v in wanted]).median()
            for corner, move in zip(_corners(), wanted, strict=True):
                shorter = min(1.0, float(3 * usual / move.norm()))
                torch.testing.assert_close(made[corner].flatten(), -shorter * move)
        all_pairs.append(pair)
        all_pairs = all_pairs[-3:]


def _corners() -> list[tuple[int, int, slice, slice]]:
    """Six squares of 8 px."""
    return [(0, 0, slice(y, y + 8), slice(x, x + 8)) for y in (0, 8) for x in (0, 8, 16)]


def _move(corner: tuple[int, int, slice, slice], gradient: Tensor, pairs: Pairs) -> Tensor:
    """H_b g_b; where no pair counts, H_b is a multiple of the identity, of what the others know."""
    g = gradient[corner].flatten()
    cut = [(s[corner].flatten(), y[corner].flatten()) for s, y in pairs]
    curved = [(s, y) for s, y in cut if s @ y > 0.05 * s.norm() * y.norm()]
    if curved:
        return inverse_hessian(curved) @ g
    sy = yy = 0.0
    for other in _corners():
        s, y = (v[other].flatten() for v in pairs[-1])
        if s @ y > 0.05 * s.norm() * y.norm():
            sy, yy = sy + float(s @ y), yy + float(y @ y)
    return sy / yy * g


def test_scales() -> None:
    """
    side_i = 128 (512 / 128)^(i / 2),   i = 0 ... 2
    """
    found = scales.scale_sizes((512, 400), settings_for(), 16)
    assert [max(size) for size in found] == [round(128 * 4 ** (i / 2)) for i in range(3)]
    assert [max(size) for size in found] == [128, 256, 512]


def test_carry_up() -> None:
    """
    x_fine = c_fine + up(x_coarse - c_coarse)
    """
    fine, painted = picture(0, 48, 64), picture(1, 24, 32)
    coarse = images.resize(fine, 24, 32)
    up = F.interpolate(painted - coarse, size=(48, 64), mode="bicubic", antialias=True)
    torch.testing.assert_close(scales.carry_up(painted, coarse, fine), fine + up)
    torch.testing.assert_close(scales.carry_up(coarse, coarse, fine), fine)  # nothing painted
    torch.testing.assert_close(scales.carry_up(coarse + 0.1, coarse, fine), fine + 0.1)


def test_color_map() -> None:
    """
    x' = T (x - m) + m*,   T = C^(-1/2) (C^(1/2) C* C^(1/2))^(1/2) C^(-1/2),   T C T = C*
    """
    photo = 0.4 + 0.1 * features(0, 3, 20, 20).clamp(-2, 2)
    mixed = torch.einsum("dc,bchw->bdhw", torch.rand(3, 3).double(), features(1, 3, 20, 20))
    painting = 0.5 + 0.04 * mixed.clamp(-2, 2)

    def statistics(image: Tensor) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        values = image[0].flatten(1).numpy()
        return values.mean(1), np.cov(values, bias=True) + 1e-6 * np.eye(3)

    (m, c), (m_, c_) = statistics(photo), statistics(painting)
    root = scipy.linalg.sqrtm(c).real
    inverse = np.linalg.inv(root)
    t = inverse @ scipy.linalg.sqrtm(root @ c_ @ root).real @ inverse
    np.testing.assert_allclose(t @ c @ t, c_, atol=1e-9)
    expected = t @ (photo[0].flatten(1).numpy() - m[:, None]) + m_[:, None]
    found = recolour.matched(*map(recolour.moments_of, (photo, painting)))(photo)
    np.testing.assert_allclose(found[0].flatten(1).numpy(), expected.clip(0, 1), atol=1e-5)
    assert 0 < expected.min() < expected.max() < 1


def test_strength() -> None:
    """
    alpha <- alpha (2 (1 - s))^2,   beta <- beta (2 s)^2
    """

    def first_terms(strength: float) -> dict[str, float]:
        photo = ROOT / "examples" / "china.jpg"
        run = impasto.steps(
            photo, "great-wave", strength=strength, start="noise", size=48, coarsest=0, steps=1,
            precision="float32", threads=2,
        )  # fmt: skip
        return next(run).losses

    plain, strong = first_terms(0.5), first_terms(0.8)
    assert strong["content"] / plain["content"] == pytest.approx((2 * 0.2) ** 2, rel=1e-4)
    assert strong["style"] / plain["style"] == pytest.approx((2 * 0.8) ** 2, rel=1e-4)


# ---------------------------------------------------------------- the page


def test_the_page_and_these_tests_tell_the_same_formulas() -> None:
    tests = [value for name, value in globals().items() if name.startswith("test_")]
    checked = [inspect.cleandoc(test.__doc__) for test in tests if test.__doc__]
    assert len(checked) > 25
    assert sorted(FORMULAS) == sorted(checked)


def test_every_formula_is_followed_by_its_code() -> None:
    assert len(FORMULAS) == len(re.findall(r"```text\n[^`]*```\nCode: ", PAGE))


def references() -> list[tuple[str, str]]:
    """Every name of the page's `Code:` lines and the file that the line says it is in."""
    found = []
    for line in CODE_LINES:
        names: list[str] = []
        for name, target in re.findall(r"`([\w.]+)`|\]\(\.\./([^)]+)\)", line):
            if name and "." in name:
                names.append(name)
            elif target:
                found += [(known, target) for known in names]
                names = []
        assert not names, f"no file follows {names}"
    return found


@pytest.mark.parametrize(("name", "file"), references())
def test_every_name_is_where_the_page_says(name: str, file: str) -> None:
    module, *path = name.split(".")
    here: Any = importlib.import_module(f"impasto.{module}")
    for part in path:
        here = getattr(here, part)
    text = (ROOT / file).read_text("utf-8")
    assert re.search(rf"^ *(?:def {path[-1]}\(|class {path[-1]}\b|{path[-1]}\b.*=)", text, re.M)


def test_names_outside_the_code_lines() -> None:
    assert len(references()) > 40
    known = {item.name for item in fields(Settings)}
    for names in re.findall(r"settings? ((?:`\w+`(?:, )?)+)", PROSE):
        for name in re.findall(r"`(\w+)`", names):
            assert name in known, name
    options = set(re.findall(r"`--([\w-]+)", PROSE))
    assert options <= {name.replace("_", "-") for name in known}
    for layer in re.findall(r"\b(?:relu|conv|pool)\d(?:_\d)?\b", PAGE):
        assert layer in vgg.layer_names()


def test_the_table_of_layers() -> None:
    rows = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \| (\d+) \| ([\d,]+) \|$", PAGE, re.M)
    tensors = weights.load("vgg19")
    assert [row[0] for row in rows] == [n for n in vgg.layer_names() if not n.startswith("relu")]
    channels, total, painting = 3, 0, 0
    for name, *numbers in rows:
        after, stride, field, count = (int(number.replace(",", "")) for number in numbers)
        assert (stride, field) == (vgg.stride_of(name), vgg.receptive_field(name))
        if name.startswith("conv"):
            assert tensors[f"{name}.weight"].shape == (after, channels, 3, 3)
            parts = (tensors[f"{name}.weight"], tensors[f"{name}.bias"])
            assert count == sum(part.numel() for part in parts) == 9 * channels * after + after
        assert (count == 0) == name.startswith("pool")
        channels, total = after, total + count
        painting = total if name == "conv5_1" else painting
    assert f"{painting:,}" in PROSE
    sizes = (channels * 7 * 7, 4096, 4096, 1000)
    assert str(sizes[0]) in PROSE
    dense = [a * b + b for a, b in pairwise(sizes)]
    for number, count in enumerate(dense, 1):
        assert re.search(rf"^\| dense {number}.* {count:,} \|$", PAGE, re.M)
    assert re.search(rf"^\| all .* {total + sum(dense):,} \|$", PAGE, re.M)
    assert total + sum(dense) == 143_667_240


def test_the_snippets_print_what_the_page_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    snippets = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    assert len(snippets) >= 7
    for number, snippet in enumerate(snippets, 1):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(snippet, f"snippet {number}", "exec"), names)
        promised = re.findall(r"^ *print\(.*\)  # (.*)$|^# (.*)$", snippet, re.M)
        assert [a or b for a, b in promised] == printed.getvalue().splitlines()
    # The last one paints as the program does.
    run = impasto.steps(
        "examples/china.jpg", "great-wave", preset="paper", size=96, steps=10, precision="float32",
        threads=2,
    )  # fmt: skip
    totals = [step.losses["total"] for step in run]
    assert names["totals"][:6] == pytest.approx(totals[:6], rel=1e-2)
