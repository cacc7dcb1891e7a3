"""Colors of one picture for another: what each way promises."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from impasto.images import Picture, color
from impasto.scene import recolor
from impasto.scene.colors import Colors
from impasto.settings import settings_for


def picture(seed: int, mean: tuple[float, float, float], spread: float) -> torch.Tensor:
    """Correlated colors that stay well inside [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.rand(3, 3, generator=generator) + torch.eye(3)
    values = mixing @ (torch.rand(3, 40 * 30, generator=generator) - 0.5)
    return (values * spread + torch.tensor(mean)[:, None]).view(1, 3, 40, 30)


A, B = picture(0, (0.4, 0.5, 0.6), 0.2), picture(1, (0.6, 0.45, 0.4), 0.25)
MA, MB = recolor.moments_of(A), recolor.moments_of(B)


def statistics(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    vectors = image[0].flatten(1)
    return vectors.mean(1), torch.cov(vectors, correction=0)


@pytest.mark.parametrize("way", ["symmetric", "cholesky", "pca"])
def test_matched_colors_have_the_target_mean_and_covariance(way: recolor.ColorMap) -> None:
    mean, covariance = statistics(recolor.matched(MA, MB, way)(A))
    its_mean, its_covariance = statistics(B)
    torch.testing.assert_close(mean, its_mean, rtol=0, atol=1e-3)
    torch.testing.assert_close(covariance, its_covariance, rtol=0, atol=1e-4)


def test_the_symmetric_map_moves_colors_least() -> None:
    moved = {
        way: float((recolor.matched(MA, MB, way)(A) - A).square().mean())
        for way in ("symmetric", "cholesky", "pca")
    }
    assert moved["symmetric"] == min(moved.values())


def test_transferred_colors_have_the_target_distribution() -> None:
    found = recolor.transferred(A, B)(A)
    generator = torch.Generator().manual_seed(3)
    for axis in torch.randn(5, 3, generator=generator):
        along = [
            (color.oklab(x)[0].flatten(1).T @ (axis / axis.norm())).sort().values
            for x in (A, found, B)
        ]
        assert (along[1] - along[2]).abs().mean() < 0.1 * (along[0] - along[2]).abs().mean() + 2e-3


@pytest.mark.parametrize("amount", [0.0, 0.5])
def test_part_of_the_way(amount: float) -> None:
    for whole, part in (
        (recolor.matched(MA, MB), recolor.matched(MA, MB, amount=amount)),
        (recolor.transferred(A, B), recolor.transferred(A, B, amount)),
    ):
        wanted = A + amount * (whole(A) - A)
        torch.testing.assert_close(part(A), wanted, rtol=0, atol=1e-5)


def test_a_gray_picture_can_be_matched() -> None:
    gray = torch.full((1, 3, 20, 20), 0.5)
    flat = recolor.moments_of(gray)
    assert recolor.matched(flat, MB)(gray).isfinite().all()
    assert recolor.transferred(gray, B)(gray).isfinite().all()
    assert recolor.matched(MB, flat)(B).std() < 0.02


FLAT = torch.tensor([0.47, 0.55, 0.35]).view(1, 3, 1, 1).expand(1, 3, 20, 20)


@pytest.mark.parametrize("size", [20, 37])
def test_one_color_becomes_the_middle_of_the_others(size: int) -> None:
    """At another size as well, where float32 rounds otherwise: neither end of the colors."""
    rounded = (FLAT[..., :1, :1] + 1e-7).expand(1, 3, size, size)
    found = recolor.transferred(FLAT, A)(rounded)
    assert (found - found[..., :1, :1]).abs().max() < 1e-5
    middle = color.oklab(A)[0].flatten(1).median(1).values
    assert (color.oklab(found)[0, :, 0, 0] - middle).abs().max() < 0.05
    # whereas the least along each axis of OKLab, and the most, are far off
    assert (color.oklab(A)[0].flatten(1).amin(1) - middle).abs().max() > 0.15


@pytest.mark.parametrize("way", ["transfer", "match", "luminance"])
@pytest.mark.parametrize("photo", ["white", "black", "one color", "gray", "colored"])
@pytest.mark.parametrize("painting", ["white", "black", "one color", "gray", "colored"])
def test_plain_pictures_have_sane_colors(way: str, photo: str, painting: str) -> None:
    """The recolored painting has no color that the photo has not, nearly, and no NaN."""
    gray = A.mean(1, keepdim=True).expand_as(A)
    pictures = {
        "white": torch.ones_like(A), "black": torch.zeros_like(A), "one color": FLAT,
        "gray": gray, "colored": A,
    }  # fmt: skip
    options: dict[str, Any] = {"keep_colors": way}
    colors = Colors(settings_for(**options), Picture(pictures[photo]), "poppies", None)
    found = colors.of_painting(Picture(pictures[painting]))(pictures[painting])
    chroma, wanted = (color.oklab(x)[:, 1:].norm(dim=1) for x in (found, pictures[photo]))
    assert found.isfinite().all()
    assert float(chroma.max()) < float(wanted.max()) + 0.05
    assert abs(float(found.mean()) - float(pictures[photo].mean())) < 0.06


def test_a_gain_has_its_limit() -> None:
    """The widest channel is stretched no more than three times, and 50 times without a limit."""
    faint = 0.5 + 0.01 * (A - 0.5)
    mine, before = recolor.moments_of(faint), float(faint.std((2, 3)).max())
    limited, free = (
        float(recolor.matched(mine, MB, most_gain=most)(faint).std((2, 3)).max())
        for most in (3.0, math.inf)
    )
    assert 2 * before < limited <= 3.01 * before
    assert free > 10 * limited


def test_colors_are_those_of_the_weighted_pixels() -> None:
    half = torch.zeros(1, 1, *A.shape[-2:])
    half[..., :20] = 1
    found = recolor.moments_of(A, half).mean[0]
    torch.testing.assert_close(found.float(), A[..., :20].mean((0, 2, 3)), rtol=0, atol=1e-5)


def test_desaturated_has_no_chroma_and_the_same_lightness() -> None:
    found = color.oklab(recolor.desaturated(1.0)(A))
    assert found[:, 1:].abs().max() < 1e-3
    torch.testing.assert_close(found[:, :1], color.oklab(A)[:, :1], rtol=0, atol=1e-3)
    torch.testing.assert_close(recolor.desaturated(0.0)(A), A, rtol=0, atol=1e-5)


def test_lightness_is_matched() -> None:
    found = color.oklab(recolor.lightness_matched(A, B)(A))[:, :1]
    its = color.oklab(B)[:, :1]
    assert float(found.mean()) == pytest.approx(float(its.mean()), abs=2e-3)
    assert float(found.std()) == pytest.approx(float(its.std()), rel=0.02)


def test_chroma_is_kept_whatever_the_lightness() -> None:
    """Saturated colors and extreme lightness: no screen has them all."""
    photo = torch.from_numpy(np.random.default_rng(0).random((1, 3, 30, 30), dtype=np.float32))
    for painted in (torch.zeros_like(photo), torch.ones_like(photo), photo.flip(-1)):
        found = recolor.with_chroma_of(painted, photo)
        assert found.min() >= 0
        assert found.max() <= 1
        apart = (color.oklab(found) - color.oklab(photo))[:, 1:].abs().max()
        assert apart < 0.01  # 1 unit of OKLab times 100


def test_lightness_goes_as_far_as_it_can() -> None:
    gray = torch.full((1, 3, 4, 4), 0.5)
    painted = torch.full((1, 3, 4, 4), 0.9)
    torch.testing.assert_close(recolor.with_chroma_of(painted, gray), painted, rtol=0, atol=2e-3)
