"""The network: against an independent float64 forward pass, and layer by layer."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from impasto import weights
from impasto.errors import PictureError, SettingError
from impasto.networks import vgg
from impasto.networks.layer_names import layer_names, smallest_side
from impasto.weights.download import IMAGENET_DEVIATION
from small import EXAMPLES, REFERENCES

REFERENCE = json.loads((REFERENCES / "vgg19_astronaut256.json").read_text())


@pytest.fixture(scope="module")
def features(network: vgg.VGG) -> vgg.Features:
    with Image.open(EXAMPLES / "astronaut.jpg") as image:
        pixels = np.asarray(image.convert("RGB"))[:256, :256].copy()
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        return network(image, list(REFERENCE["layers"]))


@pytest.mark.parametrize("layer", list(REFERENCE["layers"]))
def test_every_layer_equals_the_float64_reference(features: vgg.Features, layer: str) -> None:
    """Within what fp16 storage of the weights costs: 3e-4 relative, measured 6e-5 and 2.5e-4."""
    expected = REFERENCE["layers"][layer]
    found = features[layer][0].double()
    assert list(found.shape) == expected["shape"]
    assert found.mean().item() == pytest.approx(expected["mean"], rel=1e-4)
    flat = found.flatten(1)
    gram = flat @ flat.T / flat.shape[1]
    assert gram.norm().item() == pytest.approx(expected["gram_frobenius"], rel=3e-4)
    assert gram[0, 1].item() == pytest.approx(expected["gram_0_1"], rel=3e-3, abs=1e-9)


def test_layer_names() -> None:
    names = layer_names()
    assert names[:5] == ("conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1")
    assert names[-3:] == ("conv5_4", "relu5_4", "pool5")
    assert len(names) == 16 + 16 + 5
    assert len(layer_names(weights.VGG16_CONVOLUTIONS)) == 13 + 13 + 5


def test_relu_and_pool_follow_their_convolution(network: vgg.VGG, astronaut: torch.Tensor) -> None:
    found = network(astronaut, ["conv2_1", "relu2_1", "relu2_2", "pool2"])
    torch.testing.assert_close(found["relu2_1"], F.relu(found["conv2_1"]))
    assert (found["conv2_1"] < 0).any()
    torch.testing.assert_close(found["pool2"], F.max_pool2d(found["relu2_2"], 2))


def test_nothing_is_computed_deeper_than_asked(
    network: vgg.VGG, astronaut: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    convolve = F.conv2d

    def counted(x: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        calls.append(x.shape)
        return convolve(x, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(F, "conv2d", counted)
    network(astronaut, ["relu1_1", "relu2_1"])
    assert len(calls) == 3  # conv1_1, conv1_2, conv2_1


def test_only_the_weights_needed_are_loaded() -> None:
    small = vgg.load("vgg19", ["relu2_1"])
    assert "conv2_2" not in small.kernels
    assert "relu2_1" in small.layers
    assert "relu2_2" not in small.layers


@pytest.mark.parametrize("padding", ["zero", "reflect", "replicate"])
def test_padding_at_the_border(padding: vgg.Padding, astronaut: torch.Tensor) -> None:
    """conv1_1 of a picture equals, on its inside, that of a picture padded by hand before."""
    net = vgg.load("vgg19", ["conv1_1"], padding=padding)
    found = net(astronaut, ["conv1_1"])["conv1_1"]
    shifted = astronaut - net.mean
    mode = "constant" if padding == "zero" else padding
    by_hand = F.pad(shifted, (1, 1, 1, 1), mode=mode)
    tensors = weights.load("vgg19", ("conv1_1",))
    expected = F.conv2d(by_hand, tensors["conv1_1.weight"].float(), tensors["conv1_1.bias"])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_average_pooling_rescaled_or_not(astronaut: torch.Tensor) -> None:
    plain = vgg.load("vgg19", ["pool1"], pooling="average")(astronaut, ["relu1_2", "pool1"])
    rescaled = vgg.load("vgg19", ["pool1"], pooling="average-rescaled")(astronaut, ["pool1"])
    torch.testing.assert_close(plain["pool1"], F.avg_pool2d(plain["relu1_2"], 2))
    torch.testing.assert_close(rescaled["pool1"], plain["pool1"] * vgg.AVERAGE_RESCALE)


def test_bfloat16_is_near_float32(network: vgg.VGG, astronaut: torch.Tensor) -> None:
    half = vgg.load("vgg19", padding="zero", dtype=torch.bfloat16)
    found = half(astronaut, ["relu4_1"])["relu4_1"]
    expected = network(astronaut, ["relu4_1"])["relu4_1"]
    assert found.dtype == torch.bfloat16
    error = (found.float() - expected).norm() / expected.norm()
    assert 1e-4 < error < 0.02


def test_exact_layers_have_plain_convolutions_up_to_them(
    network: vgg.VGG, astronaut: torch.Tensor
) -> None:
    """Back to the pooling, in bfloat16 on a CPU; it makes the maps nearer to float32's."""
    expected = network(astronaut, ["relu4_2"])["relu4_2"]

    def error(exact: tuple[str, ...]) -> float:
        net = vgg.load("vgg19", ["relu5_1"], "max", "zero", torch.bfloat16, exact=exact)
        plain = {name for name, kernel in net.kernels.items() if kernel.weight.dim() == 4}
        wide = {"conv3_2", "conv3_3", "conv3_4", "conv4_1", "conv4_2", "conv4_3", "conv4_4"}
        assert wide & plain == ({"conv4_1", "conv4_2"} if exact else set())
        assert all(net.kernels[name].back.dim() == 3 for name in wide)
        found = net(astronaut, ["relu4_2"])["relu4_2"].float()
        return float((found - expected).norm())

    assert error(("relu4_2",)) < 0.85 * error(())
    single = vgg.load("vgg19", ["pool3"], exact=["pool3"])
    assert single.kernels["conv3_4"].weight.dim() == 3  # float32 is exact either way


def test_bfloat16_sees_more_of_the_picture_than_bfloat16_holds(
    network: vgg.VGG, astronaut: torch.Tensor
) -> None:
    half = vgg.load("vgg19", ["relu1_1"], padding="zero", dtype=torch.bfloat16)
    found, exact = (net(astronaut, ["conv1_1"])["conv1_1"].float() for net in (half, network))
    assert (found - exact).norm() < 2.5e-3 * exact.norm()  # the roundings of bias and result alone
    image = astronaut.clone().requires_grad_()
    half(image, ["conv1_1"])["conv1_1"].sum().backward()
    assert image.grad is not None
    slope = image.grad[..., 2:-2, 2:-2]
    kernel = weights.load("vgg19", ("conv1_1",))["conv1_1.weight"].to(torch.bfloat16).float()
    expected = kernel.sum((0, 2, 3)).view(1, 3, 1, 1).expand_as(slope)
    torch.testing.assert_close(slope, expected, rtol=0.004, atol=1e-3)


def test_features_are_channels_last(network: vgg.VGG, astronaut: torch.Tensor) -> None:
    found = network(astronaut, ["relu3_1"])["relu3_1"]
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_only_the_picture_has_a_gradient(network: vgg.VGG, astronaut: torch.Tensor) -> None:
    assert not any(constant.requires_grad for constant in network.kernels["conv1_1"][:3])
    image = astronaut.clone().requires_grad_()
    network(image, ["relu1_1"])["relu1_1"].sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("layers", "padding", "least"),
    [
        (["relu1_1"], "zero", 1),
        (["pool1"], "zero", 2),
        (["relu4_2", "relu5_1"], "zero", 16),
        (["relu5_1"], "reflect", 32),
        (["pool5"], "replicate", 32),
    ],
)
def test_smallest_side(
    network: vgg.VGG, layers: list[str], padding: vgg.Padding, least: int
) -> None:
    assert smallest_side(layers, padding) == least
    net = vgg.load("vgg19", layers, padding=padding)
    net(torch.rand(1, 3, least, least), layers)
    if least > 1:
        with pytest.raises(PictureError, match=f"at least {least} px"):
            net(torch.rand(1, 3, least - 1, 64), layers)


@pytest.mark.parametrize("layer", ["relu6_1", "relu1_3", "20", "", "conv5"])
def test_unknown_layers_are_refused(layer: str) -> None:
    with pytest.raises(SettingError, match="has no layer"):
        vgg.load("vgg19", [layer])


def test_unknown_backbone_is_refused() -> None:
    with pytest.raises(SettingError, match="choose from"):
        vgg.load("adain-decoder")


def test_torchvision_weights_give_torchvisions_features() -> None:
    """The folded preprocessing against the network as torchvision writes it, random weights."""
    generator = torch.Generator().manual_seed(0)
    modules: list[nn.Module] = []
    channels = 3
    for block, count in enumerate((2, 2, 3, 3, 3)):
        for _ in range(count):
            modules += [nn.Conv2d(channels, 4 + block, 3, padding=1), nn.ReLU()]
            channels = 4 + block
        modules.append(nn.MaxPool2d(2))
    reference = nn.Sequential(*modules).double()
    for parameter in reference.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator).double() / 4
    state = {f"features.{k}": v for k, v in reference.state_dict().items()}
    net = vgg.VGG(
        weights.from_torchvision(state, weights.VGG16_CONVOLUTIONS), padding="zero",
        dtype=torch.float64,
    )  # fmt: skip
    image = torch.rand(1, 3, 40, 48, generator=generator).double()
    mean = torch.tensor(weights.IMAGENET_MEAN).view(3, 1, 1)
    deviation = torch.tensor(IMAGENET_DEVIATION).view(3, 1, 1)
    expected = reference((image - mean) / deviation)
    torch.testing.assert_close(net(image, ["pool5"])["pool5"], expected, rtol=1e-5, atol=1e-7)
    assert "relu3_4" not in net.layers
