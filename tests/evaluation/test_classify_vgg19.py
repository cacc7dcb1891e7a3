"""`impasto classify` with the whole VGG-19 of torchvision, whose file is fetched once."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from impasto import images, weights
from impasto.evaluation import classify
from impasto.evaluation.classify import Classifier
from impasto.weights.download import IMAGENET_DEVIATION
from small import EXAMPLES, Run, serving


def torchvision_vgg19(widths: tuple[int, ...], hidden: int) -> nn.ModuleDict:
    """A VGG-19 of torchvision's modules and names, with so many channels in each block."""
    features: list[nn.Module] = []
    channels = 3
    for count, width in zip(weights.VGG19_CONVOLUTIONS, widths, strict=True):
        for _ in range(count):
            features += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        features.append(nn.MaxPool2d(2))
    classifier = [
        nn.Linear(channels * 7 * 7, hidden), nn.ReLU(), nn.Dropout(),
        nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(),
        nn.Linear(hidden, 1000),
    ]  # fmt: skip
    parts = {"features": nn.Sequential(*features), "classifier": nn.Sequential(*classifier)}
    return nn.ModuleDict(parts).eval()


def randomized(network: nn.ModuleDict) -> nn.ModuleDict:
    """With weights so large that the picture makes a difference at the end (He et al. 2015)."""
    generator = torch.Generator().manual_seed(0)
    for name, value in network.named_parameters():
        spread = 0.1 if name.endswith("bias") else (2 / value[0].numel()) ** 0.5
        nn.init.normal_(value, 0, spread, generator=generator)
    return network


@pytest.fixture
def served(tmp_path: Path) -> Iterator[nn.ModuleDict]:
    """A narrow VGG-19 on a local server in place of torchvision's; the cache of this test."""
    network = randomized(torchvision_vgg19((4, 4, 8, 8, 8), hidden=16))
    with serving("vgg19-classifier", network.state_dict(), tmp_path / "cache"):
        yield network


def test_the_whole_vgg19_is_torchvisions(served: nn.ModuleDict) -> None:
    """The same probabilities as plain PyTorch modules give on torchvision's preprocessing."""
    weights.get("vgg19-classifier")
    stored = weights.load("vgg19-classifier")
    assert len(stored) == 1 + 2 * (16 + 3)
    assert stored["fc6.weight"].dtype == torch.float16
    assert stored["fc6.weight"].shape == (16, 8 * 7 * 7)
    picture = images.read(EXAMPLES / "chelsea.jpg")
    found = Classifier("vgg19").predict(picture).probabilities
    mean, deviation = (
        torch.tensor(values).view(1, 3, 1, 1)
        for values in (weights.IMAGENET_MEAN, IMAGENET_DEVIATION)
    )
    with torch.no_grad():
        x = served["features"]((classify.seen(picture) - mean) / deviation)
        expected = served["classifier"](x.flatten(1)).softmax(1)[0]
    assert float(expected.max() / expected.mean()) > 2  # the picture decides something
    torch.testing.assert_close(found, expected, rtol=0.02, atol=1e-6)  # fp16 weights


def test_vgg19_of_the_real_shapes() -> None:
    """Table 1, column E of Simonyan and Zisserman; torchvision states its number of weights."""
    with torch.device("meta"):  # shapes alone
        network = torchvision_vgg19((64, 128, 256, 512, 512), hidden=4096)
        stored = weights.from_torchvision(
            network.state_dict(), weights.VGG19_CONVOLUTIONS, classifier=True
        )
    shapes = {name: tuple(value.shape) for name, value in stored.items()}
    assert shapes["conv5_4.weight"] == (512, 512, 3, 3)
    assert shapes["fc6.weight"] == (4096, 25088)
    assert shapes["fc7.weight"] == (4096, 4096)
    assert shapes["fc8.weight"] == (1000, 4096)
    count = sum(value.numel() for value in stored.values()) - 3  # without the mean
    assert count == 143_667_240
    surplus = weights.entry("vgg19-classifier").download_bytes - 4 * count  # of the file, not ours
    assert 0 < surplus < 10_000


def test_vgg19_without_its_file_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, impasto: Run, photo: Path
) -> None:
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path))
    status, out, err = impasto("classify", photo, "--network", "vgg19")
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert "impasto weights get vgg19-classifier" in err
    assert f"put vgg19-dcbb9e9d.pth into {tmp_path}" in err
    assert "the network efficientnet-lite0 needs neither" in err


def test_the_command_line_with_vgg19(served: nn.ModuleDict, impasto: Run, photo: Path) -> None:
    weights.get("vgg19-classifier")
    status, out, _ = impasto("classify", photo, "--network", "vgg19", "--json")
    assert status == 0
    assert json.loads(out)["network"] == "vgg19"
