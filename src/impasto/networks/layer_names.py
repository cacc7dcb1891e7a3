"""The names of VGG's layers, `conv1_1`, `relu1_1`, ... `pool5`, and the arithmetic of them.

Which layers a network has, how far apart their positions lie in the picture, and how much of it
each position sees. Needs no torch.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from impasto import weights
from impasto.errors import SettingError

if TYPE_CHECKING:
    from impasto.layers.strips import Padding

BACKBONES = ("vgg19", "vgg19-torchvision", "vgg16-torchvision")
"""The networks that can paint, the one that ships first."""


def layer_names(convolutions: tuple[int, ...] = weights.VGG19_CONVOLUTIONS) -> tuple[str, ...]:
    """Every layer in the order of the forward pass: conv, relu, ... and pool for each block."""
    names: list[str] = []
    for block, count in enumerate(convolutions, 1):
        for i in range(1, count + 1):
            names += [f"conv{block}_{i}", f"relu{block}_{i}"]
        names.append(f"pool{block}")
    return tuple(names)


def block_of(layer: str) -> int:
    """The block (1 to 5) of a layer: 4 for `relu4_2` and for `pool4`."""
    return int(layer.removeprefix("conv").removeprefix("relu").removeprefix("pool")[0])


def check_layers(layers: Iterable[str], backbone: str = "vgg19") -> None:
    """SettingError if one of the layers is not a layer of the backbone."""
    known = layer_names(weights.entry(backbone).convolutions)
    for layer in layers:
        if layer not in known:
            raise SettingError(
                f"{backbone} has no layer {layer!r}: it has conv1_1, relu1_1, conv1_2, ... "
                f"{known[-2]} and pool1 ... pool5"
            )


def halvings(layers: Iterable[str]) -> int:
    """How often the picture is halved on the way to the deepest of these layers."""
    return max(block_of(layer) - (0 if layer.startswith("pool") else 1) for layer in layers)


def stride_of(layer: str) -> int:
    """How many picture pixels lie between two positions of a layer's feature map."""
    return int(2 ** halvings([layer]))


def channels_of(layer: str) -> int:
    """The channels of a layer's feature map: 64 in the first block, at most 512."""
    return min(64 << block_of(layer) - 1, 512)


def receptive_field(layer: str) -> int:
    """The side, in px, of the part of the picture that one position of a VGG-19 layer sees.

    156 for relu5_1. Each 3x3 convolution adds twice, each 2x2 pooling once the stride so far.
    """
    field, stride = 1, 1
    for name in layer_names():
        if name.startswith("conv"):
            field += 2 * stride
        elif name.startswith("pool"):
            field, stride = field + stride, 2 * stride
        if name == layer:
            break
    return field


def smallest_side(layers: Iterable[str], padding: "Padding" = "replicate") -> int:
    """The smallest side, in px, of a picture that these layers can be computed for.

    One pixel must be left at the deepest layer; two for reflection, which needs a neighbor.
    """
    return (2 if padding == "reflect" else 1) * int(2 ** halvings(layers))
