"""Color spaces: sRGB, linear light, and OKLab, in which distances are seen as equally large."""

import torch
from jaxtyping import Float
from torch import Tensor

# Ottosson 2020, "A perceptual color space for image processing": linear sRGB to cone responses,
# and their cube roots to lightness and two opponent colors.
TO_CONES = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
TO_LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)


def linear(srgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Linear light in [0, 1] from sRGB in [0, 1] (IEC 61966-2-1)."""
    above = ((srgb.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(srgb <= 0.04045, srgb / 12.92, above)


def srgb(light: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """sRGB in [0, 1] from linear light; values outside are carried through."""
    above = 1.055 * light.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(light <= 0.0031308, light * 12.92, above)


def oklab(image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """OKLab from sRGB in [0, 1]: L in [0, 1], a and b within about 0.4 of zero."""
    cones = _times(TO_CONES, linear(image))
    return _times(TO_LAB, cones.sign() * cones.abs() ** (1 / 3))


def from_oklab(lab: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """sRGB from OKLab; colors that no screen has come out outside [0, 1]."""
    cones = _times(_inverse(TO_LAB), lab) ** 3
    return srgb(_times(_inverse(TO_CONES), cones))


def _times(matrix: tuple[tuple[float, ...], ...], image: Tensor) -> Tensor:
    return torch.einsum("dc,bchw->bdhw", image.new_tensor(matrix), image)


def _inverse(matrix: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    inverted = torch.linalg.inv(torch.tensor(matrix, dtype=torch.float64))
    return tuple(tuple(row) for row in inverted.tolist())
