"""LPIPS: how different two pictures look, as people judged it.

Zhang, Isola, Efros, Shechtman and Wang, "The unreasonable effectiveness of deep features as a
perceptual metric", 2018; version 0.1 of its weights, on AlexNet (which ships) or VGG-16.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from impasto import weights
from impasto.errors import PictureError

Network = Literal["alexnet", "vgg16"]

LAYERS = ("relu1", "relu2", "relu3", "relu4", "relu5")
SMALLEST_SIDE = 31  # px: below, AlexNet's second pooling has nothing left
EPSILON = 1e-10  # added to the length of a feature vector, as published


class LPIPS:
    """A network's five feature maps, and the distance that LPIPS makes of them.

    Raises WeightsError for VGG-16 where it was not fetched (`impasto weights get lpips-vgg16`).
    """

    def __init__(self, network: Network = "alexnet") -> None:
        self.network = network
        self.tensors = {k: v.float() for k, v in weights.load(f"lpips-{network}").items()}

    def features(self, image: Float[Tensor, "b 3 h w"]) -> dict[str, Tensor]:
        """The features of the five layers, `relu1` ... `relu5`, for RGB in [0, 1].

        For VGG-16 they are relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3. Raises PictureError for
        a picture with a side under 31 px.
        """
        if min(image.shape[-2:]) < SMALLEST_SIDE:
            height, width = image.shape[-2:]
            raise PictureError(
                f"a picture of {width}x{height} px is too small to be judged: use at least "
                f"{SMALLEST_SIDE} px a side"
            )
        x = image - self.tensors["mean"].view(1, 3, 1, 1)
        return self._alexnet(x) if self.network == "alexnet" else self._vgg16(x)

    def _alexnet(self, x: Tensor) -> dict[str, Tensor]:
        found = {}
        for i, (stride, padding) in enumerate(((4, 2), (1, 2), (1, 1), (1, 1), (1, 1)), 1):
            x = found[f"relu{i}"] = self._convolved(i, x, stride, padding)
            if i < 3:
                x = F.max_pool2d(x, 3, 2)
        return found

    def _vgg16(self, x: Tensor) -> dict[str, Tensor]:
        found, number = {}, 0
        for block, count in enumerate(weights.VGG16_CONVOLUTIONS, 1):
            x = F.max_pool2d(x, 2) if block > 1 else x
            for _ in range(count):
                number += 1
                x = self._convolved(number, x, 1, 1)
            found[f"relu{block}"] = x
        return found

    def _convolved(self, number: int, x: Tensor, stride: int, padding: int) -> Tensor:
        weight, bias = self.tensors[f"conv{number}.weight"], self.tensors[f"conv{number}.bias"]
        return F.relu(F.conv2d(x, weight, bias, stride, padding))

    def distance(self, a: dict[str, Tensor], b: dict[str, Tensor]) -> Float[Tensor, "b"]:
        """sum over layers of the mean over positions of sum_c w_c (a_c / |a| - b_c / |b|)^2."""
        parts = []
        for i, layer in enumerate(LAYERS, 1):
            difference = (_unit(a[layer]) - _unit(b[layer])).square()
            head = self.tensors[f"head{i}"].view(1, -1, 1, 1)
            parts.append((difference * head).sum(1).mean((1, 2)))
        return torch.stack(parts).sum(0)


def _unit(features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Feature vectors of length one."""
    return features / (features.square().sum(1, keepdim=True).sqrt() + EPSILON)
