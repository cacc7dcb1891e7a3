"""Each formula of method.md for what the preset `best` changes, worked out in plain lines."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from impasto.losses import matching
from impasto.losses.moments import Moments
from impasto.networks import vgg
from impasto.networks.tiled import style_moments
from impasto.objective import Objective, Spec, Target
from impasto.settings import settings_for
from plain import CONTENT, STYLE, flat_moments, picture, plain_vgg

MATCHED = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")


def bank_of(network: vgg.VGG, painting: Tensor, layer: str, wanted: Moments) -> matching.Bank:
    """Every stroke of a painting at a layer."""
    with torch.no_grad():
        vectors = network(painting, [layer])[layer][0].flatten(1).T
    variance = wanted.covariance.diagonal(dim1=-2, dim2=-1).sum()
    return matching.Bank.of(
        vectors, wanted.mean[0], variance if layer == "relu1_1" else None, torch.float32
    )


def compared(picture: Tensor, painting: Tensor, layer: str) -> tuple[Tensor, Tensor]:
    """q and v, as the page writes them, one vector a row."""
    f, a = picture[0].flatten(1).T, painting[0].flatten(1).T
    m = a.mean(0)
    if layer == "relu1_1":
        d = (a - m).square().sum(1).mean().sqrt()
        return (f - m) / d, (a - m) / d
    return F.normalize(f - m, dim=1), F.normalize(a - m, dim=1)


def test_compared_by_direction() -> None:
    """
    q_k = (F_k - m*) / |F_k - m*|,   v_j = (A_j - m*) / |A_j - m*|
    """
    network, painting = vgg.load("vgg19", ["relu2_1"], padding="zero"), picture(1)
    wanted = style_moments(network, painting, ["relu1_1", "relu2_1"])
    bank = bank_of(network, painting, "relu2_1", wanted["relu2_1"])
    maps = plain_vgg(picture(0))["relu2_1"].detach()
    q, v = compared(maps, plain_vgg(painting)["relu2_1"].detach(), "relu2_1")
    torch.testing.assert_close(bank.compared(maps[0].flatten(1).T)[0], q, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(bank.vectors[: len(v)], v, rtol=1e-3, atol=1e-4)


def test_compared_by_distance() -> None:
    """
    q_k = (F_k - m*) / d,   v_j = (A_j - m*) / d,   d^2 = tr(S* - m* m*^T)
    """
    network, painting = vgg.load("vgg19", ["relu1_1"], padding="zero"), picture(1)
    wanted = style_moments(network, painting, ["relu1_1"])["relu1_1"]
    bank = bank_of(network, painting, "relu1_1", wanted)
    maps = plain_vgg(picture(0))["relu1_1"].detach()
    q, v = compared(maps, plain_vgg(painting)["relu1_1"].detach(), "relu1_1")
    torch.testing.assert_close(bank.compared(maps[0].flatten(1).T)[0], q, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(bank.vectors[: len(v)], v, rtol=1e-3, atol=1e-4)


def test_matching() -> None:
    """
    matching = mean over k of 1/2 |q_k - v_j(k)|^2,   j(k) = argmin_j |q_k - v_j|^2
    """
    features, strokes = torch.randn(1, 5, 4, 6), torch.randn(1, 5, 3, 7)
    for layer in ("relu1_1", "relu2_1"):
        q, v = compared(features, strokes, layer)
        vectors = strokes[0].flatten(1).T
        variance = (vectors - vectors.mean(0)).square().sum(1).mean()
        bank = matching.Bank.of(
            vectors, vectors.mean(0), variance if layer == "relu1_1" else None, torch.float32
        )
        found = matching.nearest(features, bank)
        j = torch.cdist(q, v).argmin(1)
        assert found.flatten().tolist() == j.tolist()
        value = matching.distance(features, found, bank)
        expected = (q - v[j]).square().sum(1).mean() / 2
        torch.testing.assert_close(value / 24, expected)


def test_matching_gradients() -> None:
    """
    dL/dF_k = ((q_k . v_j) q_k - v_j) / (M |F_k - m*|)     by direction
    dL/dF_k = (q_k - v_j) / (M d)                          by distance
    """
    features, strokes = torch.randn(1, 5, 4, 6), torch.randn(1, 5, 3, 7)
    vectors = strokes[0].flatten(1).T
    variance = (vectors - vectors.mean(0)).square().sum(1).mean()
    for layer, size in (("relu2_1", None), ("relu1_1", variance)):
        bank = matching.Bank.of(vectors, vectors.mean(0), size, torch.float32)
        leaf = features.clone().requires_grad_()
        q, v = compared(leaf, strokes, layer)
        j = torch.cdist(q, v).argmin(1)
        ((q - v[j]).square().sum(1).mean() / 2).backward()
        slope = torch.zeros_like(features)
        found = matching.nearest(features, bank)
        matching.add_slope(features, found, bank, 1 / 24, None, slope)
        assert leaf.grad is not None
        torch.testing.assert_close(slope, leaf.grad)
        q = q.detach()
        length = (features[0].flatten(1).T - vectors.mean(0)).norm(dim=1, keepdim=True)
        closed = ((q * v[j]).sum(1, keepdim=True) * q - v[j]) / (24 * length)
        if size is not None:
            closed = (q - v[j]) / (24 * size.sqrt())
        torch.testing.assert_close(slope[0].flatten(1).T, closed)


def test_relative() -> None:
    """
    content = |F - P|^2 / |P|^2   at relu4_2
    gram    = |S - S*|^2 / |S*|^2
    meanstd = (|m - m*|^2 + |sd - sd*|^2) / (|m*|^2 + |sd* - sqrt(1e-5)|^2)
    style   = mean over relu1_1 ... relu5_1 of (gram + meanstd)
    range   = mean over pixels and colors of (x - min(max(x, 0), 1))^2
    total   = 0.15 content + style + matching + 100 range
    """
    best = settings_for()
    assert (best.content_weight, best.style_weight, best.tv_weight) == (0.15, 1, 0)
    assert (best.matching_weight, best.range_weight) == (1, 100)
    assert (best.style_loss, best.loss_scale) == (("gram", "meanstd"), "relative")
    assert (best.content_layers, best.style_layers) == (CONTENT, STYLE)
    network = vgg.load("vgg19", [*dict(STYLE), "relu4_2"], padding="zero")
    photo, painting, start = (picture(seed) for seed in range(3))
    start = 1.5 * start - 0.2
    wanted = style_moments(network, painting, dict(STYLE))
    banks = {layer: bank_of(network, painting, layer, wanted[layer]) for layer in MATCHED}
    target = Target(wanted, banks=banks)
    terms = Objective(network, photo, [target], Spec.of(best)).terms(start)
    with torch.no_grad():
        maps, targets, p = plain_vgg(start), plain_vgg(painting), plain_vgg(photo)["relu4_2"]
    content = (maps["relu4_2"] - p).square().sum() / p.square().sum()
    style = torch.zeros(())
    for layer in dict(STYLE):
        (m, s, sd), (m_, s_, sd_) = flat_moments(maps[layer]), flat_moments(targets[layer])
        gram = (s - s_).square().sum() / s_.square().sum()
        both = (m - m_).square().sum() + (sd - sd_).square().sum()
        style += gram + both / (m_.square().sum() + (sd_ - 1e-5**0.5).square().sum())
    assert terms["content"].item() == pytest.approx(0.15 * content.item(), rel=1e-3)
    assert terms["style"].item() == pytest.approx(style.item() / 5, rel=1e-3)
    beyond = (start - start.clamp_min(0).clamp_max(1)).square().mean()
    assert terms["range"].item() == pytest.approx(100 * beyond.item(), rel=1e-4)
    pairs = [compared(maps[layer], targets[layer], layer) for layer in MATCHED]
    nearest = torch.stack([(torch.cdist(q, v).amin(1) ** 2).mean() / 2 for q, v in pairs]).mean()
    assert terms["matching"].item() == pytest.approx(nearest.item(), rel=1e-3)
    total = 0.15 * content + style / 5 + nearest + 100 * beyond
    assert terms["total"].item() == pytest.approx(total.item(), rel=1e-3)
