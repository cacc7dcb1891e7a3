"""People in a photo: MediaPipe's selfie segmentation (the general model of 2021, 256x256 px).

A MobileNetV3 of 107,000 weights (Howard et al. 2019, with its LR-ASPP head), and a decoder that
goes back to full size in three steps, each with the encoder's maps of that size weighed by channel.
It was made for people near the camera: `found_in` looks again at each face's surroundings, where
people are small.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from impasto import images, weights
from impasto.segmentation.faces import Face

SIDE = 256  # px that the network takes
BODY = (3.0, 1.5, 7.0)  # of a face's height: how far its person is looked for aside, up and down
SMALL_FACE = 0.2  # of the photo's height; who has a larger face fills the network's own view
BLOCKS = (  # number of the first convolution, of the depthwise one; stride; squeezed; hard swish
    (1, 0, 2, True, False),
    (5, 1, 2, False, False),
    (7, 2, 1, False, False),
    (9, 3, 2, True, True),
    (13, 4, 1, True, True),
    (17, 5, 1, True, True),
    (21, 6, 1, True, True),
    (25, 7, 1, True, True),
)
"""The encoder's inverted residuals, in order, behind the convolution 0."""
STEPS = ((31, 8), (35, 9), (39, 10))
"""The decoder's: number of the first convolution, and of the depthwise one."""


class SelfieSegmentation:
    """The network. Raises WeightsError where its file is missing or damaged."""

    def __init__(self) -> None:
        self.tensors = {name: t.float() for name, t in weights.load("selfie-segmentation").items()}

    @torch.no_grad()
    def __call__(self, photo: Float[Tensor, "1 3 256 256"]) -> Float[Tensor, "1 1 256 256"]:
        """How likely each pixel of RGB in [0, 1] shows a person, 0 to 1."""
        x = F.hardswish(self._convolved(0, photo, 2))
        maps = [x]
        for block in BLOCKS:
            x = self._block(x, *block)
            if block[0] in (1, 7):
                maps.append(x)
        scale = torch.sigmoid(self._convolved(30, x.mean((2, 3), keepdim=True)))
        x = F.relu(self._convolved(29, x)) * scale
        for (first, depthwise), skipped in zip(STEPS, reversed(maps), strict=True):
            x = self._step(x, skipped, first, depthwise)
        weight, bias = self.tensors["segment.weight"], self.tensors["segment.bias"]
        return torch.sigmoid(F.conv_transpose2d(x, weight, bias, stride=2))

    def _block(
        self, x: Tensor, first: int, depthwise: int, stride: int, squeezed: bool, swish: bool
    ) -> Tensor:
        """Wider, over neighbors, each channel weighed by a squeeze of all places, narrower."""
        act = F.hardswish if swish else F.relu
        y = act(self._depthwise(depthwise, act(self._convolved(first, x)), stride))
        last = first + 1
        if squeezed:
            y, last = y * self._weight_of(first + 1, y), first + 3
        y = self._convolved(last, y)
        return x + y if y.shape == x.shape else y

    def _step(self, x: Tensor, skipped: Tensor, first: int, depthwise: int) -> Tensor:
        """Twice as large, with the encoder's maps of that size."""
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = self._convolved(first, x)
        weighed = skipped * self._weight_of(first + 1, skipped + x)
        x = F.relu(self._convolved(first + 3, weighed + x))
        return x + F.relu(self._depthwise(depthwise, x, 1))

    def _weight_of(self, first: int, x: Tensor) -> Tensor:
        """What each channel is multiplied by, 0 to 1 (squeeze and excitation)."""
        mean = x.mean((2, 3), keepdim=True)
        return torch.sigmoid(self._convolved(first + 1, F.relu(self._convolved(first, mean))))

    def _convolved(self, number: int, x: Tensor, stride: int = 1) -> Tensor:
        weight, bias = (self.tensors[f"conv{number}.{part}"] for part in ("weight", "bias"))
        return F.conv2d(_padded(x, weight.shape[-1], stride), weight, bias, stride)

    def _depthwise(self, number: int, x: Tensor, stride: int) -> Tensor:
        weight, bias = (self.tensors[f"depthwise{number}.{part}"] for part in ("weight", "bias"))
        x = _padded(x, weight.shape[-1], stride)
        return F.conv2d(x, weight, bias, stride, groups=len(weight))


def found_in(
    photo: Float[Tensor, "1 3 h w"],
    faces: Sequence[Face] = (),
    network: SelfieSegmentation | None = None,
) -> Float[Tensor, "1 1 h w"]:
    """How likely each pixel shows a person, 0 to 1: as the whole photo tells, and the surroundings
    of each small face, whichever is more."""
    network = SelfieSegmentation() if network is None else network
    height, found = photo.shape[-2], _of(network, photo)
    for face in faces:
        left, top, right, bottom = face.box
        size = bottom - top
        if size > SMALL_FACE * height:
            continue
        middle, (aside, up, down) = (left + right) / 2, BODY
        rows = slice(max(0, round(top - up * size)), min(height, round(bottom + down * size)))
        columns = slice(max(0, round(middle - aside * size)), round(middle + aside * size))
        near = found[..., rows, columns]
        torch.maximum(near, _of(network, photo[..., rows, columns]), out=near)
    return found


def _of(network: SelfieSegmentation, photo: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "1 1 h w"]:
    """What the network says of a photo, at the photo's size."""
    height, width = photo.shape[-2:]
    found = network(images.resize(photo, SIDE, SIDE).clamp(0, 1))
    return images.resize(found, height, width).clamp(0, 1)


def _padded(x: Tensor, side: int, stride: int) -> Tensor:
    """The map with zeros around as TensorFlow's SAME padding has them: less before than after,
    where they are odd."""
    total = max(0, side - stride) if x.shape[-1] % stride == 0 else side - 1
    before = total // 2
    return F.pad(x, (before, total - before, before, total - before))
