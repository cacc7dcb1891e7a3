"""The network of instant mode: its statistics, its decoder, its tiles."""

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from impasto import weights
from impasto.layers.convolution import max_pool
from impasto.losses import moments
from impasto.networks import adain
from impasto.networks.adain import AdaIN


@pytest.fixture(scope="module")
def network() -> AdaIN:
    return adain.load()


def decoded_plainly(features: torch.Tensor) -> torch.Tensor:
    """The decoder as it was published: double by repetition, reflect, convolve, rectify."""
    tensors, x = weights.load("adain-decoder"), features
    for name in adain.DECODER:
        if name in adain.UPSAMPLED:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        weight, bias = (tensors[f"{name}.{part}"].float() for part in ("weight", "bias"))
        x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), weight, bias)
        x = x if name == "conv1_1" else F.relu(x)
    return x


def test_the_decoder_is_the_published_one(network: AdaIN, astronaut: torch.Tensor) -> None:
    features = network.encode(astronaut[..., :48])
    assert features.shape == (1, 512, 8, 6)
    made, plain = network.decode(features), decoded_plainly(features)
    torch.testing.assert_close(made, plain, atol=2e-5, rtol=0)  # values of about 1


def test_the_decoder_inverts_the_encoder(network: AdaIN, astronaut: torch.Tensor) -> None:
    again = network.decode(network.encode(astronaut)).flatten(2)
    for picture, alike in ((astronaut, True), (astronaut.flip(-1), False)):
        both = torch.stack([again.flatten(), picture.flatten()])
        assert (torch.corrcoef(both)[0, 1] > 0.75) == alike


def test_sides_are_filled_up_to_multiples_of_eight(network: AdaIN, astronaut: torch.Tensor) -> None:
    odd = astronaut[..., :61, :43]
    filled = F.pad(odd, (0, 5, 0, 3), mode="replicate")
    assert torch.equal(network.encode(odd), network.encode(filled))
    assert network.encode(odd).shape[-2:] == (8, 6)


def test_a_batch_is_its_pictures(network: AdaIN, astronaut: torch.Tensor) -> None:
    both = torch.cat([astronaut, astronaut.flip(2)])
    features = network.encode(both)
    made = network.decode(features)
    for index in range(2):
        alone = network.encode(both[index : index + 1])
        torch.testing.assert_close(features[index : index + 1], alone, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(
            made[index : index + 1], network.decode(alone), atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize("padding", ["reflect", "circular"])
def test_tiles_are_the_whole_picture(padding: adain.Padding) -> None:
    network = adain.load(padding=padding)
    image = torch.rand(1, 3, 208, 272, generator=torch.Generator().manual_seed(1))
    features, tiled = network.encode(image), network.encode(image, tile=96)
    torch.testing.assert_close(tiled, features, atol=1e-4, rtol=1e-4)
    changes: Callable[..., torch.Tensor] = lambda part, _: part * 1.2  # noqa: E731
    whole = network.decode(features, change=changes)
    torch.testing.assert_close(network.decode(features, 96, changes), whole, atol=1e-4, rtol=0)


def test_a_narrower_margin_would_be_noticed(
    monkeypatch: pytest.MonkeyPatch, network: AdaIN
) -> None:
    image = torch.rand(1, 3, 208, 272, generator=torch.Generator().manual_seed(1))
    features = network.encode(image)
    whole = network.decode(features)
    monkeypatch.setattr(adain.tiles, "margin", lambda layers: 16)
    assert (network.encode(image, tile=96) - features).abs().max() > 1e-2
    assert (network.decode(features, 96) - whole).abs().max() > 1e-3


@pytest.mark.parametrize("way", ["adain", "covariance"])
def test_features_get_the_moments_of_the_style(way: adain.Transform) -> None:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(6, 6, generator=generator)
    content = torch.rand(2, 6, 20, 30, generator=generator)
    style = torch.einsum("dc,bchw->bdhw", mixing, torch.rand(1, 6, 25, 25, generator=generator))
    mine, its = adain.measure(content), adain.measure(style)
    found = adain.measure(adain.transform(mine, its, way)(content))
    torch.testing.assert_close(found.mean, its.mean.expand(2, -1), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found.deviation, its.deviation.expand(2, -1), atol=0, rtol=2e-2)
    wanted = its.covariance.expand(2, -1, -1)
    difference = (found.covariance - wanted).norm() / wanted.norm()
    assert difference < 0.05 if way == "covariance" else difference > 0.2


def test_adain_by_hand() -> None:
    """Values 0 and 2 have mean 1 and deviation 1; 10 and 14 have 12 and 2: x becomes 2 x + 10."""
    content = torch.tensor([0.0, 2.0]).view(1, 1, 1, 2)
    style = torch.tensor([10.0, 14.0]).view(1, 1, 1, 2)
    affine = adain.transform(adain.measure(content), adain.measure(style))
    torch.testing.assert_close(affine(content), style, atol=1e-3, rtol=0)


@pytest.mark.parametrize("way", ["adain", "covariance"])
def test_a_picture_in_its_own_style_keeps_its_features(way: adain.Transform) -> None:
    features = torch.rand(1, 8, 3, 4, generator=torch.Generator().manual_seed(2))
    mine = moments.measure(features)
    torch.testing.assert_close(
        adain.transform(mine, mine, way)(features), features, atol=1e-4, rtol=1e-4
    )


def test_pooling_without_a_gradient_is_the_same() -> None:
    x = torch.rand(1, 3, 9, 7).to(memory_format=torch.channels_last)
    assert torch.equal(max_pool(x), max_pool(x.clone().requires_grad_()).detach())


def test_a_flat_picture_is_no_number_less(network: AdaIN) -> None:
    flat = torch.full((1, 512, 8, 8), 3.0)
    flat[:, ::2] = 1.7
    style = torch.rand(1, 512, 8, 8, generator=torch.Generator().manual_seed(0))
    content, target = (adain.measure(x.bfloat16()) for x in (flat, style))
    changed = adain.transform(content, target, "covariance")(flat)
    assert bool(changed.isfinite().all())
