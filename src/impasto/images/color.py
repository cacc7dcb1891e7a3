"""Color spaces: sRGB, linear light, and OKLab, in which distances are seen as equally large."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from numpy.polynomial import Chebyshev, Polynomial
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
LINE_SRGB, LINE_LIGHT = 0.04045, 0.0031308  # below, sRGB is a line of slope 12.92 (IEC 61966-2-1)
DEGREE = 7  # of the polynomials: as near as float32 is
CHUNK = 2**16  # values that are mixed at a time: a core's cache holds them


def linear(srgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Linear light in [0, 1] from sRGB in [0, 1] (IEC 61966-2-1)."""
    above = ((srgb.clamp_min(LINE_SRGB) + 0.055) / 1.055) ** 2.4
    return torch.where(srgb <= LINE_SRGB, srgb / 12.92, above)


def srgb(light: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """sRGB in [0, 1] from linear light; values outside are carried through."""
    above = 1.055 * light.clamp_min(LINE_LIGHT) ** (1 / 2.4) - 0.055
    return torch.where(light <= LINE_LIGHT, light * 12.92, above)


def mixed(
    first: Float[Tensor, "1 3 h w"],
    second: Float[Tensor, "1 3 h w"],
    amount: float | Float[Tensor, "1 1 h w"],
) -> Float[Tensor, "1 3 h w"]:
    """The mean of two pictures in linear light, the second weighing `amount`, 0 to 1; all in sRGB.

    Within 1e-6 of `linear` and `srgb`, in a fifth of their time: powers are polynomials here.
    """
    made = first.new_empty(first.shape)
    values = [picture.reshape(-1) for picture in (first, second, made)]
    shares = amount.expand(first.shape).reshape(-1) if isinstance(amount, Tensor) else None
    room = first.new_empty(3, CHUNK)
    for start in range(0, made.numel(), CHUNK):
        chunk = slice(start, start + CHUNK)
        own, other, target = (flat[chunk] for flat in values)
        root, light, light_of_other = room[:, : len(own)]
        _to_light(own, root, light)
        _to_light(other, root, light_of_other)
        light.lerp_(light_of_other, float(amount) if shares is None else shares[chunk])
        _to_srgb(light, root, target)
    return made


def oklab(image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """OKLab from sRGB in [0, 1]: L in [0, 1], a and b within about 0.4 of zero."""
    cones = _times(TO_CONES, linear(image))
    return _times(TO_LAB, cones.sign() * cones.abs() ** (1 / 3))


def from_oklab(lab: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """sRGB from OKLab; colors that no screen has come out outside [0, 1]."""
    cones = _times(_inverse(TO_LAB), lab) ** 3
    return srgb(_times(_inverse(TO_CONES), cones))


def _to_light(srgb: Tensor, root: Tensor, light: Tensor) -> None:
    """`linear` into `light`: the line up to its end, plus a polynomial in sqrt(x + 0.055)."""
    torch.clamp_min(srgb, LINE_SRGB, out=root).add_(0.055).sqrt_()
    _polynomial(root, _of_light(), light)
    light.add_(torch.clamp_max(srgb, LINE_SRGB, out=root), alpha=1 / 12.92)


def _to_srgb(light: Tensor, root: Tensor, srgb: Tensor) -> None:
    """`srgb` into `srgb`, likewise with a polynomial in the fourth root; uses the light up."""
    torch.clamp_min(light, LINE_LIGHT, out=root).sqrt_().sqrt_()
    _polynomial(root, _of_srgb(), srgb)
    srgb.add_(light.clamp_max_(LINE_LIGHT), alpha=12.92)


@cache
def _of_light() -> list[float]:
    low, high = (LINE_SRGB + 0.055) ** 0.5, 1.055**0.5
    return _coefficients(lambda z: (z * z / 1.055) ** 2.4 - LINE_SRGB / 12.92, low, high)


@cache
def _of_srgb() -> list[float]:
    line = LINE_LIGHT * 12.92
    return _coefficients(lambda z: 1.055 * z ** (5 / 3) - 0.055 - line, LINE_LIGHT**0.25, 1.0)


def _coefficients(curve: Callable[[Any], Any], low: float, high: float) -> list[float]:
    """Those of the polynomial that meets a curve at the Chebyshev points between two numbers."""
    found = Chebyshev.interpolate(curve, DEGREE, domain=[low, high]).convert(kind=Polynomial)
    return [float(number) for number in found.coef]


def _polynomial(z: Tensor, coefficients: Sequence[float], value: Tensor) -> None:
    """The value at each z, by Horner's rule."""
    torch.mul(z, coefficients[-1], out=value)
    for number in coefficients[-2:0:-1]:
        value.add_(number).mul_(z)
    value.add_(coefficients[0])


def _times(matrix: tuple[tuple[float, ...], ...], image: Tensor) -> Tensor:
    return torch.einsum("dc,bchw->bdhw", image.new_tensor(matrix), image)


def _inverse(matrix: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    inverted = torch.linalg.inv(torch.tensor(matrix, dtype=torch.float64))
    return tuple(tuple(row) for row in inverted.tolist())
