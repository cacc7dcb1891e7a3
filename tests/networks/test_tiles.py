"""Tiled equals whole: for every loss, padding, odd size, custom layers and guides."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from impasto.losses import LossScale
from impasto.networks import tiles, vgg
from impasto.networks.layer_names import receptive_field, stride_of
from impasto.networks.tiled import features_of, statistics_for, style_moments
from impasto.objective import Objective, Spec, Target

STYLE = tuple((f"relu{i}_1", 0.2) for i in range(1, 6))
CONTENT = (("relu4_2", 1.0),)


def picture(height: int, width: int, seed: int) -> torch.Tensor:
    """Smooth colors with some grain: what a photo's features are like."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 6, 6, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return (smooth + 0.1 * torch.rand(1, 3, height, width, generator=generator)).clamp(0, 1)


def assert_tiled_is_whole(
    size: tuple[int, int] = (128, 208),
    side: int = 96,
    padding: vgg.Padding = "replicate",
    pooling: vgg.Pooling = "max",
    style_layers: tuple[tuple[str, float], ...] = STYLE,
    content_layers: tuple[tuple[str, float], ...] = CONTENT,
    style_losses: tuple[str, ...] = ("gram",),
    scale: LossScale = "relative",
    guided: bool = False,
    tv: float = 0.0,
    structure: float = 0.0,
) -> None:
    structure_layers = (("relu3_1", 0.5), ("relu4_1", 0.5)) if structure else ()
    layers = dict(style_layers) | dict(content_layers) | dict(structure_layers)
    network = vgg.load("vgg19", layers, pooling, padding)
    photo, image, painting = (picture(*size, seed) for seed in range(3))
    style = style_moments(
        network, painting, dict(style_layers), statistics=statistics_for(style_losses, photo.device)
    )
    guides: dict[str, torch.Tensor] = {}
    if guided:
        for layer in layers:
            stride = stride_of(layer)
            guides[layer] = picture(size[0] // stride, size[1] // stride, 9)[:, :1]
            guides[layer][..., : size[1] // stride * 2 // 3] = 0  # whole tiles without any
    others = {layer: 1 - guide for layer, guide in guides.items()}
    targets = [Target(style, guides, 2.0)]
    if guided:
        targets.append(Target({k: m.zeros() for k, m in style.items()}, others))
    spec = Spec(
        content_weight=0.5,
        style_weight=1.0,
        tv_weight=tv,
        structure_weight=structure,
        content_layers=content_layers,
        style_layers=style_layers,
        structure_layers=structure_layers,
        style_losses=style_losses,
        scale=scale,
    )
    whole, tiled = (
        Objective(
            network, photo, targets, spec, content_guides=others, visible_guides=guides, tile=tile
        )
        for tile in (None, side)
    )
    assert len(whole.tiles) == 1
    assert len(tiled.tiles) > 1
    terms, gradient = whole.loss(image)
    tiled_terms, tiled_gradient = tiled.loss(image)
    for name, value in terms.items():
        torch.testing.assert_close(tiled_terms[name], value, rtol=1e-5, atol=1e-8)
    assert (tiled_gradient - gradient).norm() < 1e-5 * gradient.norm()
    for name, value in tiled.terms(image).items():
        torch.testing.assert_close(value, terms[name], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("style_loss", ["gram", "wasserstein", "meanstd"])
@pytest.mark.parametrize("scale", ["relative", "paper"])
def test_every_loss(style_loss: str, scale: LossScale) -> None:
    shallow = STYLE[:4] if style_loss == "wasserstein" else STYLE
    assert_tiled_is_whole(style_losses=(style_loss,), scale=scale, style_layers=shallow)


@pytest.mark.parametrize("padding", ["zero", "reflect", "replicate", "circular"])
def test_every_padding(padding: vgg.Padding) -> None:
    assert_tiled_is_whole(padding=padding)


def test_a_margin_that_goes_round_the_picture_more_than_once() -> None:
    assert_tiled_is_whole(size=(64, 64), side=32, padding="circular")


@pytest.mark.parametrize("pooling", ["average", "average-rescaled"])
def test_every_pooling(pooling: vgg.Pooling) -> None:
    assert_tiled_is_whole(pooling=pooling)


@pytest.mark.parametrize("size", [(201, 143), (97, 255)])
def test_sizes_that_are_no_multiples(size: tuple[int, int]) -> None:
    assert_tiled_is_whole(size=size)


def test_guides_weigh_positions() -> None:
    assert_tiled_is_whole(guided=True, style_losses=("gram", "meanstd"))


def test_self_similarity() -> None:
    assert_tiled_is_whole(structure=0.7)


def test_total_variation() -> None:
    assert_tiled_is_whole(tv=3.0)


@pytest.mark.parametrize(
    ("style_layers", "content_layers", "side"),
    [
        ((("relu1_1", 1.0),), (("relu1_2", 1.0),), 40),
        ((("conv2_2", 1.0),), (("pool2", 1.0),), 64),
        ((("relu5_4", 1.0),), (("relu4_2", 1.0),), 96),
        ((("pool5", 1.0),), (("relu5_2", 1.0),), 96),
    ],
)
def test_custom_layers_have_their_own_margin(
    style_layers: tuple[tuple[str, float], ...],
    content_layers: tuple[tuple[str, float], ...],
    side: int,
) -> None:
    assert_tiled_is_whole(
        size=(150, 230), side=side, style_layers=style_layers, content_layers=content_layers
    )


def test_a_margin_too_small_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test of the tests: with half the margin, tiled is not whole."""
    monkeypatch.setattr(tiles, "margin", lambda layers: 32)
    with pytest.raises(AssertionError):
        assert_tiled_is_whole()


def test_paintings_and_targets_are_measured_in_tiles_too() -> None:
    network = vgg.load("vgg19", ["relu4_2"])
    image = picture(205, 250, 5)
    whole = style_moments(network, image, ["relu3_1", "relu4_1"])
    tiled = style_moments(network, image, ["relu3_1", "relu4_1"], 64)
    for layer, found in whole.items():
        torch.testing.assert_close(tiled[layer].second, found.second, rtol=1e-4, atol=1e-5)
    maps = features_of(network, image, ["relu4_2"], tiles.cut(205, 250, 64, ["relu4_2"]))
    torch.testing.assert_close(
        maps["relu4_2"], network(image, ["relu4_2"])["relu4_2"], rtol=1e-5, atol=5e-4
    )


@pytest.mark.parametrize(
    ("layer", "field", "margin"),
    [("relu1_1", 3, 1), ("relu2_1", 10, 4), ("relu4_2", 84, 40), ("relu5_1", 156, 80),
     ("relu5_4", 252, 128)],
)  # fmt: skip
def test_receptive_fields_and_margins(layer: str, field: int, margin: int) -> None:
    assert receptive_field(layer) == field
    assert tiles.margin([layer]) == margin


@given(height=st.integers(16, 900), width=st.integers(16, 900), side=st.integers(32, 400))
def test_inner_boxes_cover_every_position_once(height: int, width: int, side: int) -> None:
    pieces = tiles.cut(height, width, side, ["relu1_1", "relu5_1"])
    for layer in ("relu1_1", "relu3_1", "relu5_1"):
        stride = stride_of(layer)
        seen = torch.zeros(1, 1, height // stride, width // stride)
        for piece in pieces:
            piece.inner.shrunk(stride).crop(seen).add_(1)
            assert piece.inner.shrunk(stride).area > 0
        assert (seen == 1).all()
    assert sum(piece.inner.area for piece in pieces) == height * width
