"""Each formula of method.md for moments, gradients and steps, worked out in plain lines."""

from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor
from torch.nn import functional as F

import impasto
from impasto import images
from impasto.layers import convolution
from impasto.losses import moments
from impasto.networks import vgg
from impasto.networks.tiled import style_moments
from impasto.objective import Objective, Spec, Target
from impasto.optimizers import lbfgs, spectrum
from impasto.optimizers.minimizer import Minimizer
from impasto.painting import scales
from impasto.scene import recolor
from impasto.settings import settings_for
from plain import CONTENT, STYLE, features, picture, plain_vgg
from small import ROOT


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
    spec = Spec(content_weight=0.0, style_weight=3.0, content_layers=CONTENT, style_layers=STYLE)
    objective = Objective(network, photo, targets, spec)
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
    kernel = convolution.kernel(features(1, 2, 9, 3).view(2, 3, 3, 3), torch.zeros(2).double())
    slope = features(2, 2)
    y = convolution.convolution(x, kernel, "zero")
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
    (found,) = torch.autograd.grad((convolution.max_pool(x) * features(4, 1, 2, 2)).sum(), x)
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
    minimizer = Minimizer(x, settings_for(optimizer="sgd"))
    eta = 0.02 / bowl(x)[1].square().mean().sqrt()
    for _ in range(4):
        minimizer.step(bowl)
        v = 0.9 * v + bowl(x)[1]
        x = x - eta * v
        torch.testing.assert_close(minimizer.pixels, x, rtol=1e-5, atol=1e-6)


def test_adam() -> None:
    """
    u <- 0.9 u + 0.1 g,   v <- 0.99 v + 0.01 g^2
    x <- x - 0.02 (u / (1 - 0.9^t)) / sqrt(v / (1 - 0.99^t))
    """
    x, u, v = near_the_middle(), 0.0, 0.0
    minimizer = Minimizer(x, settings_for(optimizer="adam"))
    for t in range(1, 6):
        g = bowl(x)[1]
        u, v = 0.9 * u + 0.1 * g, 0.99 * v + 0.01 * g**2
        x = x - 0.02 * (u / (1 - 0.9**t)) / (v / (1 - 0.99**t)).sqrt()
        minimizer.step(bowl)
        torch.testing.assert_close(minimizer.pixels, x, rtol=1e-4, atol=1e-5)


MATRIX = torch.diag(torch.linspace(1, 50, 12)).double()
MATRIX[0, 1] = MATRIX[1, 0] = 0.5
Pairs = list[tuple[Tensor, Tensor]]


def inverse_hessian(pairs: Pairs, bolder: float = 1.0) -> Tensor:
    """H as the page writes it, a matrix; its first guess so many times that of L-BFGS."""
    s, y = pairs[-1]
    one = torch.eye(len(s)).double()
    h = bolder * (s @ y) / (y @ y) * one
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
    assert (settings_for().history, settings_for("paper").history) == (12, 100)
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


def test_first_guess() -> None:
    """
    H_0 = (1 + m / M) s . y / y . y   of the newest pair, with m pairs in the memory
    """
    assert (settings_for().precondition, settings_for("paper").precondition) == (True, False)
    assert lbfgs.BOLDER == 1.0
    x = torch.zeros(1, 1, 4, 6, dtype=torch.float64)
    optimizer = lbfgs.Lbfgs(x, history=3, precondition=True)
    torch.manual_seed(0)
    slope, rate = torch.rand_like(x), torch.rand_like(x) + 0.5
    pairs: Pairs = []
    for step in range(4):
        before, x.grad = x.clone(), slope + rate * x
        optimizer.step()
        made = (x - before).flatten()
        if step:
            bolder = 1 + len(pairs) / 3
            wanted = inverse_hessian(pairs, bolder) @ x.grad.flatten()
            torch.testing.assert_close(made, -wanted)
        pairs = [*pairs, (made, rate.flatten() * made)][-3:]


def test_spectrum() -> None:
    """
    x = W z = K C^T F^-1 D F C R z,   D_k = (kappa_k / <kappa>)^(-1/2),   dL/dz = W^T dL/dx
    q = round(31 sqrt(|k| / |k_max|))
    r_q = max(sum_{k in q} Re(s_k y*_k) / sum_{k in q} |s_k|^2, 0.2 median)
    kappa_q = (r_{q-1} r_q^2 r_{q+1})^(1/4)   between bins interpolated: D
    """
    high, wide = 20, 54
    found = spectrum.Spectrum(torch.zeros(1, 3, high, wide).double())
    colors = np.array([[1, 1, 1], [1, -1, 0], [1, 1, -2]]) / np.sqrt([[3], [2], [6]])
    full = (20 + 19 + 19, 54 + 32 + 42)  # mirrored by less than its side, to a multiple of 32
    ky, kx = np.meshgrid(*map(np.fft.fftfreq, full), indexing="ij")
    place = 31 * np.sqrt(np.sqrt((ky**2 + kx**2) / 0.5))
    generator = torch.Generator().manual_seed(0)
    ss, sy, half = np.zeros((3, 32)), np.zeros((3, 32)), full[1] // 2 + 1
    for _ in range(8):
        s, y = torch.randn(2, 1, 3, high, wide, generator=generator, dtype=torch.float64)
        y += s
        found.see(s, y)
        one, other = (np.fft.fft2(np.einsum("dc,chw->dhw", colors, v[0]), full) for v in (s, y))
        for color, q in np.ndindex(3, 32):
            k = (np.round(place) == q) & (np.arange(full[1]) < half)  # the rest says the same
            ss[color, q] += (np.abs(one[color]) ** 2)[k].sum()
            sy[color, q] += (one[color] * other[color].conj()).real[k].sum()
    found.renew()
    kappa = sy / np.where(ss, ss, 1)
    kappa = np.maximum(kappa, 0.2 * np.sort(kappa.flatten())[47])  # of an even number, the lower
    r = np.pad(kappa, ((0, 0), (1, 1)), mode="edge")
    kappa = (r[:, :-2] * r[:, 1:-1] ** 2 * r[:, 2:]) ** 0.25
    d = np.stack([np.interp(place, np.arange(32), row**-0.5) for row in kappa])
    d /= np.exp(np.log(d[..., :half]).mean())

    def w(z: Any) -> Any:
        mirrored = np.pad(z, ((0, 0), (19, 19), (32, 42)), mode="reflect")
        turned = np.fft.ifft2(d * np.fft.fft2(np.einsum("dc,chw->dhw", colors, mirrored))).real
        return np.einsum("dc,dhw->chw", colors, turned)[:, 19 : 19 + high, 32 : 32 + wide]

    z, g = torch.randn(2, 1, 3, high, wide, generator=generator, dtype=torch.float64)
    np.testing.assert_allclose(found.changes(z)[0].numpy(), w(z[0].numpy()))
    slope = found.gradients(g)  # by the definition of W^T
    assert float((z * slope).sum()) == pytest.approx(float((w(z[0].numpy()) * g[0].numpy()).sum()))
    assert [found.due, spectrum.LEAST] == [12, 0.2]


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
    found = recolor.matched(*map(recolor.moments_of, (photo, painting)))(photo)
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
            precision="float32",
        )  # fmt: skip
        return next(run).losses

    plain, strong = first_terms(0.5), first_terms(0.8)
    assert strong["content"] / plain["content"] == pytest.approx((2 * 0.2) ** 2, rel=1e-4)
    assert strong["style"] / plain["style"] == pytest.approx((2 * 0.8) ** 2, rel=1e-4)


# ---------------------------------------------------------------- the page
