"""Every variant of variants.md paints: its command is run as written, small and short."""

import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from impasto import images, weights
from small import ROOT

COMMANDS = re.findall(
    r"`(impasto stylize examples[^`]*)`", (ROOT / "docs/background/variants.md").read_text("utf-8")
)


@pytest.fixture
def untrained_torchvision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """torchvision's VGGs in the cache, their weights random: 500 MB need not be fetched."""
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path))
    for name in ("vgg19-torchvision", "vgg16-torchvision"):
        entry = weights.entry(name)
        generator = torch.Generator().manual_seed(0)
        tensors, channels = {"mean": torch.tensor(weights.IMAGENET_MEAN)}, 3
        for layer in weights.convolution_names(entry.convolutions):
            shape = (8, channels, 3, 3)
            tensors[f"{layer}.weight"] = torch.randn(shape, generator=generator) / 5
            tensors[f"{layer}.bias"] = torch.zeros(8)
            channels = 8
        weights.write(tensors, weights.path(name))
        monkeypatch.setitem(weights.CATALOGUE, name, replace(entry, url=None))
        monkeypatch.setattr(
            weights.WeightFile, "ships", property(lambda self: "tor" not in self.name)
        )


def test_there_are_variants() -> None:
    assert len(COMMANDS) >= 15
    assert len(set(COMMANDS)) == len(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[40:90])
def test_variant_paints(
    command: str,
    impasto: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    photo: Path,
    untrained_torchvision: None,
) -> None:
    words = shlex.split(command)[1:]
    words[1] = str(photo)
    if "--save-every" in words:
        words[words.index("--save-every") + 2] = str(tmp_path / "frames")
    if "--steps" in words:
        at = words.index("--steps")
        del words[at : at + 2]
    target = tmp_path / "out.png"
    status, _, err = impasto(
        *words, "--steps", 4, "--size", 64, "-o", target, "--precision", "float32"
    )
    assert status == 0, err
    painted = images.read(target)
    assert painted.size == ((96, 64) if "--original-size" in words else (64, 43))
    original = images.read(photo).resized(*painted.size)
    assert (painted.pixels - original.pixels).abs().mean() > 0.001
