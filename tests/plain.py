"""Pictures, features and the shipped network in plain lines, for the formulas of the method."""

import torch
from torch import Tensor
from torch.nn import functional as F

from impasto import weights

STYLE = tuple((f"relu{i}_1", 0.2) for i in range(1, 6))
CONTENT = (("relu4_2", 1.0),)
BLOCKS = (2, 2, 4, 4, 4)


def features(seed: int, c: int = 4, h: int = 5, w: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, c, h, w, generator=generator, dtype=torch.float64)


def picture(seed: int, height: int = 64, width: int = 80) -> Tensor:
    """A smooth picture with a little noise: without it rows at the border would be equal, and
    rounding, which differs with the number of threads, would decide which of them a pooling takes.
    """
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 6, 6, generator=generator)
    noise = torch.rand(1, 3, height, width, generator=generator)
    smooth = F.interpolate(coarse, size=(height, width), mode="bilinear")
    return (0.95 * smooth + 0.05 * noise).clamp(0, 1)


def plain_vgg(image: Tensor) -> dict[str, Tensor]:
    """The rectified layers of the shipped VGG-19, by PyTorch's own functions, zeros beyond."""
    tensors = weights.load("vgg19")
    x, found = image - tensors["mean"].view(1, 3, 1, 1), {}
    for block, count in enumerate(BLOCKS, 1):
        for i in range(1, count + 1):
            kernel, bias = (tensors[f"conv{block}_{i}.{part}"] for part in ("weight", "bias"))
            x = found[f"relu{block}_{i}"] = F.relu(F.conv2d(x, kernel.float(), bias, padding=1))
        x = F.max_pool2d(x, 2)
    return found


def flat_moments(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """m, S and sd of a feature map 1 n h w, as the page writes them."""
    f = maps[0].flatten(1)
    mean, second = f.mean(1), f @ f.T / f.shape[1]
    return mean, second, (second.diagonal() - mean**2 + 1e-5).sqrt()
