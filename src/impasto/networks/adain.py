"""Instant mode: a photo takes a painting's statistics in one pass, and a decoder paints them.

Huang and Belongie 2017, "Arbitrary style transfer in real-time with adaptive instance
normalization": the photo's features at relu4_1 are given the mean and deviation of the
painting's, T(F) = sd* (F - m) / sd + m* (eq. 8), and a network trained to invert VGG-19 turns them
into a picture. Mean and deviation are moments, so styles blend, masks weigh and tiles add up as
everywhere here. `covariance` matches the whole covariance in place of the deviations.

Encoder and decoder pad by reflection, as they were trained.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from impasto import losses, weights
from impasto.layers.convolution import constants, convolved, pad
from impasto.layers.strips import Padding
from impasto.losses import moments
from impasto.losses.moments import Moments
from impasto.machine import stopping
from impasto.machine.buffers import Buffers
from impasto.networks import tiles, vgg
from impasto.networks.tiled import features_of
from impasto.networks.tiles import Box
from impasto.networks.vgg import VGG

Transform = Literal["adain", "covariance"]
Change = Callable[[Tensor, Box], Tensor]
"""Features of a part of the picture, and where it lies on their grid, to changed features."""

LAYER = "relu4_1"
STRIDE = 8  # px between two positions of relu4_1
STRIP = 128  # rows of features that are measured at a time
RIDGE = 1e-2  # of the mean variance, added to a covariance before it is inverted

# The decoder mirrors the encoder: each convolution with what comes before it and after it.
UPSAMPLED = ("conv3_4", "conv2_2", "conv1_2")  # behind a doubling of the map
LAST = "conv1_1"  # to RGB, not rectified
DECODER = (
    "conv4_1", "conv3_4", "conv3_3", "conv3_2", "conv3_1", "conv2_2", "conv2_1", "conv1_2", LAST,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Affine:
    """T(F) = A (F - m) + m*, position by position; A is a matrix, or a gain for each channel."""

    gain: Float[Tensor, "b c"] | Float[Tensor, "b c c"]
    before: Float[Tensor, "b c"]
    after: Float[Tensor, "b c"]

    def __call__(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features with the new statistics, in their own precision."""
        if self.gain.dim() == 2:
            offset = self.after - self.gain * self.before
            return torch.addcmul(
                _column(offset).to(features), features, _column(self.gain).to(features)
            )
        offset = self.after - (self.gain @ self.before.unsqueeze(-1)).squeeze(-1)
        kernel = self.gain.to(features)
        b, c, height, width = features.shape
        vectors = features.permute(0, 2, 3, 1).reshape(b, height * width, c)
        moved = vectors @ kernel.mT + offset.to(features).unsqueeze(1)
        return moved.view(b, height, width, c).permute(0, 3, 1, 2)


def transform(content: Moments, style: Moments, way: Transform = "adain") -> Affine:
    """What gives features with the content's moments those of the style.

    `adain`: the deviation of each channel (Huang and Belongie 2017, eq. 8). `covariance`: the whole
    covariance C*, by the map A = C^(-1/2) (C^(1/2) C* C^(1/2))^(1/2) C^(-1/2) that moves features
    least (Lu et al. 2019, "A closed-form solution to universal style transfer"; Li et al. 2017
    take C*^(1/2) C^(-1/2)). One style may serve a whole batch of contents.
    """
    if way == "adain":
        gain = style.deviation / content.deviation
        return Affine(gain, content.mean, style.mean.expand_as(content.mean))
    values, axes = losses.eigen(_ridged(content.covariance))
    values = values.clamp_min(moments.VARIANCE_FLOOR)  # a flat picture's are noise, of either sign
    root, inverse = (axes * values.pow(power).unsqueeze(-2) @ axes.mT for power in (0.5, -0.5))
    between = losses.matrix_sqrt(root @ _ridged(style.covariance) @ root)
    return Affine(inverse @ between @ inverse, content.mean, style.mean.expand_as(content.mean))


def measure(
    features: Float[Tensor, "b c h w"], weight: Float[Tensor, "b 1 h w"] | None = None
) -> Moments:
    """The moments of features, as precise as `transform` needs them, summed some rows at a time.

    In float32 for features in bfloat16 (products rounded to bfloat16, see `moments.measure`, would
    leave covariances no inverse), in float64 for those in float32.
    """
    exact = features.dtype == torch.float32 and features.device.type != "mps"
    wide = torch.float64 if exact else torch.float32
    found: Moments | None = None
    for top in range(0, features.shape[2], STRIP):
        rows = slice(top, top + STRIP)
        part = None if weight is None else weight[:, :, rows].float()
        its = moments.measure(features[:, :, rows].float(), part, wide)
        found = its if found is None else found + its
    assert found is not None
    return found


def words(dtype: torch.dtype, padding: Padding) -> str:
    """What the features of a picture depend on, beside its pixels: as `kept.tensors` wants it."""
    return f"{LAYER} {weights.recorded('vgg19')} {dtype} {padding}"


class AdaIN:
    """The encoder, VGG-19 down to relu4_1, and the decoder back to RGB.

    Feature maps are b 512 y x with y = h / 8 and x = w / 8, rounded up: sides are filled up to
    multiples of 8 px by repeating the border. `tile` is the side of tiles, px: the result is the
    same, as each has margins as wide as the receptive fields. Nothing here has a gradient.
    """

    def __init__(self, encoder: VGG, tensors: dict[str, Tensor]) -> None:
        self.encoder, self.dtype, self.padding = encoder, encoder.dtype, encoder.padding
        self.kernels: dict[str, tuple[Tensor, Tensor]] = {}
        for name in DECODER:
            stopping.check()
            weight, bias = (tensors[f"{name}.{part}"] for part in ("weight", "bias"))
            if name in UPSAMPLED:
                weight = _phases(weight.float())
            device = encoder.mean.device
            self.kernels[name] = (
                constants(weight.to(device), self.dtype),
                bias.to(device, self.dtype),
            )

    @torch.no_grad()
    def encode(
        self, image: Float[Tensor, "b 3 h w"], tile: int | None = None
    ) -> Float[Tensor, "b 512 y x"]:
        """The features of a picture in [0, 1]."""
        filled = filled_up(image)
        if tile is None or tile >= max(filled.shape[-2:]):
            return self.encoder(filled, [LAYER])[LAYER]
        return features_of(self.encoder, filled, [LAYER], self._tiles(filled.shape, tile))[LAYER]

    @torch.no_grad()
    def decode(
        self,
        features: Float[Tensor, "b 512 y x"],
        tile: int | None = None,
        change: Change | None = None,
    ) -> Float[Tensor, "b 3 height width"]:
        """The picture that has such features, 8 y by 8 x px, float32; values may leave [0, 1].

        `change` is done to the features on the way, tile by tile.
        """
        height, width = (STRIDE * side for side in features.shape[-2:])
        shape = torch.Size((features.shape[0], 3, height, width))
        if tile is None or tile >= max(height, width):
            whole = Box(0, features.shape[-2], 0, features.shape[-1])
            return self._decoded(features if change is None else change(features, whole)).float()
        found = torch.empty(shape, device=features.device)
        for piece in self._tiles(shape, tile):
            box = piece.outer.shrunk(STRIDE)
            part = box.taken_from(features)
            made = self._decoded(part if change is None else change(part, box))
            piece.inner.crop(found).copy_(piece.inner.within(piece.outer).crop(made))
        return found

    def _tiles(self, shape: torch.Size, tile: int) -> Iterable[tiles.Tile]:
        """Tiles whose margin covers encoder and decoder: each looks 30 px beyond a position."""
        return tiles.cut(shape[-2], shape[-1], tile, [LAYER], self.padding == "circular")

    def _decoded(self, x: Tensor) -> Tensor:
        buffers = self.encoder.buffers
        for name in DECODER:
            stopping.check()
            weight, bias = self.kernels[name]
            if name in UPSAMPLED:
                x = _upsampled(x, weight, bias, self.padding, buffers)
            else:
                around = pad(x, self.padding, buffers)
                x = convolved(around, weight, bias, rectify=name != LAST, buffers=buffers)
        return x


def load(
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    padding: Padding = "reflect",
) -> AdaIN:
    """Encoder and decoder with their weights; `circular` padding for pictures whose edges meet."""
    encoder = vgg.load("vgg19", [LAYER], padding=padding, dtype=dtype, device=device)
    return AdaIN(encoder, weights.load("adain-decoder"))


def filled_up(image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c height width"]:
    """The image with its last row and column repeated until both sides are multiples of 8 px."""
    bottom, right = (-side % STRIDE for side in image.shape[-2:])
    return F.pad(image, (0, right, 0, bottom), mode="replicate") if bottom or right else image


def _phases(weight: Float[Tensor, "d c 3 3"]) -> Float[Tensor, "d4 c 2 2"]:
    """A convolution behind a doubling by repetition, as four of the map before it.

    Of each 3x3 window of the doubled map two rows and two columns are the same: at even positions
    the last two, at odd ones the first two. Four 2x2 kernels of summed weights, one for each
    position of a pixel in its block, give the same result for 4/9 of the work.
    """
    first, middle, last = weight.unbind(2)
    rows = (torch.stack([first, middle + last], 2), torch.stack([first + middle, last], 2))
    found = []
    for row in rows:
        left, center, right = row.unbind(3)
        found += [
            torch.stack([left, center + right], 3),
            torch.stack([left + center, right], 3),
        ]
    return torch.cat(found)


def _upsampled(
    x: Float[Tensor, "b c h w"], weight: Tensor, bias: Tensor, padding: Padding, buffers: Buffers
) -> Float[Tensor, "b d h2 w2"]:
    """The map doubled by repetition, padded and convolved, by `_phases`, and rectified.

    The doubled map's reflected border is the map's own last row repeated.
    """
    height, width = x.shape[-2:]
    around = pad(x, "circular" if padding == "circular" else "replicate", buffers)
    phases = F.conv2d(around, weight, bias.repeat(4)).relu_().chunk(4, 1)
    b, c = phases[0].shape[:2]
    found = buffers.take(x, b, height, 2, width, 2, c)
    for number, phase in enumerate(phases):
        row, column = divmod(number, 2)
        inside = phase[:, :, row : row + height, column : column + width]
        found[:, :, row, :, column] = inside.permute(0, 2, 3, 1)
    return found.view(b, 2 * height, 2 * width, c).permute(0, 3, 1, 2)


def _ridged(covariance: Float[Tensor, "b c c"]) -> Float[Tensor, "b c c"]:
    """A covariance that can be inverted: fewer positions than channels leave it singular."""
    mean = covariance.diagonal(dim1=-2, dim2=-1).mean(-1)
    ridge = (RIDGE * mean + moments.VARIANCE_FLOOR)[:, None, None]
    return covariance + ridge * torch.eye(covariance.shape[-1]).to(covariance)


def _column(values: Float[Tensor, "b c"]) -> Float[Tensor, "b c 1 1"]:
    return values[:, :, None, None]
