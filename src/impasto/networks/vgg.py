"""VGG-19 (and VGG-16) as named layers: `conv1_1`, `relu1_1`, ... `pool5`.

Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition",
2015. Axes are b c h w. Pictures go in as RGB in [0, 1]; the network's own preprocessing happens
here and nowhere else.
"""

from collections.abc import Iterable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from impasto import weights
from impasto.errors import PictureError, SettingError
from impasto.layers.convolution import convolution, kernel, max_pool
from impasto.layers.strips import Padding
from impasto.machine import stopping
from impasto.machine.buffers import Buffers
from impasto.networks.layer_names import (
    BACKBONES,
    block_of,
    check_layers,
    halvings,
    layer_names,
    smallest_side,
)

Pooling = Literal["max", "average", "average-rescaled"]
Features = dict[str, Float[Tensor, "_ _ _ _"]]
"""Feature maps by layer, b c h w, each of its own size."""

FIRST = "conv1_1"  # the convolution that sees the picture itself
RESERVED_VALUES = 400  # a pixel: an evaluation's maps and gradients take 300 at a time
AVERAGE_RESCALE = 2.0
"""Average pooling lowers the activations that the next layer was trained on; this factor, the one
of crowsonkb's style-transfer-pytorch, brings them back. Gatys et al. pool without it."""


class VGG:
    """The convolutions of a VGG network; a call gives the features of the layers asked for.

    The weights are constants: only the picture has a gradient. `dtype` is that of the features;
    the picture may always be float32. On AVX-512 with bf16, `torch.bfloat16` is 2.5 to 2.8 times
    as fast and changes a Gram matrix by 0.3 to 0.5 %. The first convolution then sees the picture
    in parts (`layers.in_parts`): rounded to bfloat16, it would move in steps of up to 1/512, and
    the last steps of a long run are smaller than that. `exact` names layers whose maps are compared
    with others place by place, as content is: the convolutions before them, back to a pooling,
    multiply plainly. What they round arrives there whole; of earlier ones these average it.
    """

    def __init__(
        self,
        tensors: dict[str, Tensor],
        pooling: Pooling = "max",
        padding: Padding = "replicate",
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        exact: Iterable[str] = (),
    ) -> None:
        self.pooling, self.padding, self.dtype = pooling, padding, dtype
        # a copy: what is kept of the file keeps all of it in memory
        self.mean = tensors["mean"].to(device, torch.float32, copy=True).view(1, 3, 1, 1)
        self.buffers = Buffers()
        self.in_parts = torch.finfo(dtype).bits < 32
        plain = {name for layer in exact for name in _up_to(layer)} if self.in_parts else set()
        names = [name.removesuffix(".weight") for name in tensors if name.endswith(".weight")]
        self.kernels = {
            name: kernel(
                tensors[f"{name}.weight"].to(device),
                tensors[f"{name}.bias"].to(device),
                dtype,
                squares=1 if name in plain else 2,
                parts=self.in_parts and name == FIRST,
            )
            for name in names
        }
        self.layers = tuple(
            name
            for name in layer_names()
            if name.startswith("pool") or f"conv{name[4:]}" in self.kernels
        )

    def __call__(self, image: Float[Tensor, "b 3 h w"], layers: Iterable[str]) -> Features:
        """The features of `layers`, by name; nothing deeper than the deepest is computed.

        image: RGB in [0, 1] (values outside are carried through). Each feature map is b c h/2^k
        w/2^k, rounded down, after k poolings. Raises PictureError for a picture too small, Stopped
        between two layers where somebody asks for it (`machine.stopping`).
        """
        wanted = set(layers)
        height, width = image.shape[-2:]
        least = smallest_side(wanted, self.padding)
        if min(height, width) < least:
            times = halvings(wanted)
            raise PictureError(
                f"the picture is {width}x{height} px where it is painted, but "
                f"{max(wanted, key=block_of)} halves it {times} times: its short side must be at "
                f"least {least} px"
            )
        found: Features = {}
        if image.device.type == "cpu":
            values = len(image) * height * width * RESERVED_VALUES
            self.buffers.reserve(values * self.dtype.itemsize)
        x = image - self.mean.to(image)
        x = x if self.in_parts else x.to(self.dtype)
        x = x.contiguous(memory_format=torch.channels_last)
        deepest = max(self.layers.index(name) for name in wanted)
        pooled = False
        for name in self.layers[: deepest + 1]:
            stopping.check()
            if name.startswith("conv"):
                pooled = self._goes_into_pool(name, wanted)
                x = self._convolved(name, x, wanted, pooled)
            elif name.startswith("pool"):
                x = x if pooled else self._pooled(x)
            elif f"conv{name[4:]}" in wanted:  # otherwise the convolution rectified it
                x = F.relu(x)
            if name in wanted:
                found[name] = x
        return found

    def _convolved(self, name: str, x: Tensor, wanted: set[str], pooled: bool) -> Tensor:
        """A convolution, with its rectification unless the bare convolution is wanted."""
        rectify = name not in wanted
        return convolution(x, self.kernels[name], self.padding, rectify, pooled, self.buffers)

    def _goes_into_pool(self, name: str, wanted: set[str]) -> bool:
        """True where nobody but a pooling of the maximum wants what a convolution makes."""
        following = self.layers[self.layers.index(name) + 2]
        alone = name not in wanted and f"relu{name[4:]}" not in wanted
        return alone and following.startswith("pool") and self.pooling == "max"

    def _pooled(self, x: Tensor) -> Tensor:
        if self.pooling == "max":
            return max_pool(x, self.buffers)
        pooled = F.avg_pool2d(x, 2)
        return pooled * AVERAGE_RESCALE if self.pooling == "average-rescaled" else pooled


def load(
    backbone: str = "vgg19",
    layers: Iterable[str] | None = None,
    pooling: Pooling = "max",
    padding: Padding = "replicate",
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    exact: Iterable[str] = (),
) -> VGG:
    """A backbone with its weights, down to the deepest of `layers` (all of them if None).

    Raises SettingError for an unknown backbone or layer, WeightsError if its file is not there.
    """
    if backbone not in BACKBONES:
        raise SettingError(f"no backbone is called {backbone!r}: choose from {BACKBONES}")
    names = None
    if layers is not None:
        layers = tuple(layers)
        check_layers(layers, backbone)
        every = layer_names(weights.entry(backbone).convolutions)
        deepest = max(every.index(layer) for layer in layers)
        names = ("mean", *(name for name in every[: deepest + 1] if name.startswith("conv")))
    return VGG(weights.load(backbone, names), pooling, padding, dtype, device, exact)


def _up_to(layer: str) -> tuple[str, ...]:
    """The convolutions between the pooling before a layer and its maps."""
    names = layer_names()
    block = f"conv{block_of(layer)}_"
    return tuple(name for name in names[: names.index(layer) + 1] if name.startswith(block))
