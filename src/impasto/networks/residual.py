"""The network of one's own style: a photo to a painted picture in one pass.

Johnson, Alahi and Fei-Fei, "Perceptual losses for real-time style transfer and super-resolution",
2016 (supplement, table 1): a convolution of 9x9, two that halve, residual blocks of 3x3 (without a
rectification after the sum: Gross and Wilber 2016), two that double, one of 9x9. Normalized picture
by picture (Ulyanov, Vedaldi and Lempitsky 2016, "Instance normalization"); doubled by repeating
pixels before a plain convolution, which leaves no checkerboard (Odena, Dumoulin and Olah 2016);
padded by reflection.

A file of a network is safetensors: convolutions as `NAME.weight` in fp16, what follows the
normalization as `NAME.scale` and `NAME.shift` in float32, and its recipe as JSON in the metadata.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as encoded
from torch import Tensor
from torch.nn import functional as F

from impasto import fingerprint
from impasto.errors import WeightsError
from impasto.images import write_bytes
from impasto.weights.trained import network_path

FORMAT = 1  # of the file; another number is another version of impasto
KEY = "impasto-network"  # the entry of a file's metadata that holds the recipe
EPSILON = 1e-5  # added to the variance, as in PyTorch's instance normalization
REACH = 0.6  # of the output around 0.5: black and white lie where the tanh still has a slope
SMALLEST_SIDE = 16  # px: a quarter of it is left in the middle, and the first reflection takes 4


@dataclass(frozen=True)
class Shape:
    """How large a network is: channels after the first convolution (twice and four times as many
    after the next two), and residual blocks. The paper's has 32 and 5; 16 and 5 fit into 0.86 MB.
    """

    width: int = 16
    blocks: int = 5

    @property
    def layers(self) -> dict[str, tuple[int, int, int]]:
        """By name, in the order of the pass: channels in, channels out, side of the kernel."""
        w = self.width
        sizes = {"stem": (3, w, 9), "down1": (w, 2 * w, 3), "down2": (2 * w, 4 * w, 3)}
        for number in range(1, self.blocks + 1):
            sizes |= {f"block{number}.{half}": (4 * w, 4 * w, 3) for half in ("first", "second")}
        return sizes | {"up1": (4 * w, 2 * w, 3), "up2": (2 * w, w, 3), "out": (w, 3, 9)}


@dataclass(frozen=True, eq=False)
class Residual:
    """A network with its weights; a call paints.

    `tensors` are float32 and may be trained; `dtype` is that of the features. Without a gradient
    a picture needs 260 bytes a pixel in bfloat16, 530 in float32 (width 16, 4096x3072 px): the
    normalization is by the statistics of the whole picture, which is therefore painted in one
    piece.
    """

    shape: Shape
    tensors: dict[str, Tensor]
    recipe: dict[str, Any] = field(default_factory=dict)
    """How it was trained, as JSON holds it."""
    dtype: torch.dtype = torch.float32

    def __call__(self, image: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "1 3 h w"]:
        """The picture painted: RGB in [0, 1] to RGB in [-0.1, 1.1], to be clamped.

        Any size from 16 px a side; float32 whatever the features are.
        """
        x = (image - 0.5).to(self.dtype, memory_format=torch.channels_last)
        large = x = self._layer("stem", x)
        middle = x = self._layer("down1", x, stride=2)
        x = self._layer("down2", x, stride=2)
        for number in range(1, self.shape.blocks + 1):
            change = self._layer(f"block{number}.first", x)
            x = self._layer(f"block{number}.second", change, rectify=False).add_(x)
        x = self._layer("up1", doubled(x, middle))
        x = self._layer("up2", doubled(x, large))
        x = self._convolved("out", x).float() + self.tensors["out.bias"].view(1, 3, 1, 1)
        return 0.5 + REACH * torch.tanh(x)

    def _layer(self, name: str, x: Tensor, stride: int = 1, rectify: bool = True) -> Tensor:
        """A convolution, its result normalized over the picture, its positive part."""
        x = self._convolved(name, x, stride)
        scale, shift = self.tensors[f"{name}.scale"], self.tensors[f"{name}.shift"]
        # For a single picture the statistics of a batch are those of the instance.
        x = F.batch_norm(x, None, None, scale, shift, training=True, eps=EPSILON)
        return F.relu_(x) if rectify else x

    def _convolved(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = self.tensors[f"{name}.weight"]
        beyond = weight.shape[-1] // 2
        x = F.pad(x, (beyond, beyond, beyond, beyond), mode="reflect")
        weight = weight.to(self.dtype, memory_format=torch.channels_last)
        return F.conv2d(x, weight, stride=stride)


def doubled(x: Float[Tensor, "1 c y x"], like: Float[Tensor, "1 _ h w"]) -> Tensor:
    """The maps at twice the size, each value repeated, cropped to that of others."""
    height, width = like.shape[-2:]
    return F.interpolate(x, scale_factor=2.0)[..., :height, :width]


def fresh(shape: Shape, seed: int = 0) -> Residual:
    """A network to be trained, with random weights.

    Convolutions as He et al. 2015 for rectified layers; the sums of the residual blocks begin
    with what comes in alone.
    """
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    for name, (into, out, side) in shape.layers.items():
        spread = (2 / (into * side**2)) ** 0.5
        tensors[f"{name}.weight"] = spread * torch.randn(out, into, side, side, generator=generator)
        if name == "out":
            tensors["out.weight"] *= 0.1
            tensors["out.bias"] = torch.zeros(out)
        else:
            gain = 0.0 if name.endswith("second") else 1.0
            tensors[f"{name}.scale"] = torch.full((out,), gain)
            tensors[f"{name}.shift"] = torch.zeros(out)
    return Residual(shape, tensors)


def fingerprint_of(network: Residual) -> str:
    """The fingerprint of a network's weights."""
    named = sorted(network.tensors.items())
    return fingerprint.short(*(part for pair in named for part in pair))


def save(network: Residual, path: Path) -> None:
    """Write a network with its recipe, whole or not at all. PictureError if the disk refuses."""
    facts = {"format": FORMAT, "width": network.shape.width, "blocks": network.shape.blocks}
    stored = {
        name: value.detach().cpu().to(torch.float16 if name.endswith(".weight") else torch.float32)
        for name, value in network.tensors.items()
    }
    plain = {name: value.contiguous() for name, value in stored.items()}
    write_bytes(encoded(plain, {KEY: json.dumps(facts | {"recipe": network.recipe})}), path)


def load(
    path: Path | str, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> Residual:
    """The network in a file, or the built-in one of that name. WeightsError for a file that is
    none, or is damaged."""
    path = network_path(path)
    try:
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata() or {}
            tensors = {key: stored.get_tensor(key).to(device).float() for key in stored.keys()}
    except FileNotFoundError:
        raise WeightsError(f"there is no network {path}: check the name") from None
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is no network that can be read ({error})") from error
    if KEY not in metadata:
        raise WeightsError(
            f"{path} holds other weights than those of a style: `impasto train` makes such a file"
        )
    shape, recipe = _described(path, metadata[KEY])
    _check(path, shape, tensors)
    return Residual(shape, tensors, recipe, dtype)


def _described(path: Path | str, text: str) -> tuple[Shape, dict[str, Any]]:
    """What a file's metadata says of its network."""
    try:
        facts = json.loads(text)
        if facts["format"] != FORMAT:
            raise WeightsError(
                f"{path} has format {facts['format']}, this impasto reads {FORMAT}: use the "
                "version that wrote it"
            )
        return Shape(int(facts["width"]), int(facts["blocks"])), dict(facts["recipe"])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} is damaged ({error!r}): train or copy it again") from error


def _check(path: Path | str, shape: Shape, tensors: Mapping[str, Tensor]) -> None:
    """WeightsError unless the tensors are those of a network of that shape, all of them finite."""
    expected = {name: value.shape for name, value in fresh(shape).tensors.items()}
    wrong = sorted(
        name
        for name in expected.keys() | tensors.keys()
        if name not in tensors
        or tensors[name].shape != expected.get(name)
        or not bool(tensors[name].isfinite().all())
    )
    if wrong:
        raise WeightsError(f"{path} is damaged ({', '.join(wrong[:3])}): train or copy it again")
