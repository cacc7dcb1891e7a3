"""A picture in memory, and its size."""

import numbers
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from impasto.errors import PictureError, SettingError
from impasto.images import color


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture in memory: pixels in [0, 1] (sRGB), its alpha if it has one, and its name."""

    pixels: Float[Tensor, "1 3 h w"]
    alpha: Float[Tensor, "1 1 h w"] | None = None
    name: str = "picture"
    origin: str | None = None
    """The file it was read from, as it was named, or the painting by its name."""
    exif: bytes | None = None
    """What its file says of camera, time and author, as EXIF."""
    shrunk_from: tuple[int, int] | None = None
    """Width and height of the picture in its file, px, where it was read smaller."""
    fingerprint: str | None = None
    """Of the file of a large picture, which may be read smaller another time."""

    @property
    def own_size(self) -> tuple[int, int]:
        """Width and height that the picture has of its own, px, however small it was read."""
        return self.shrunk_from or self.size

    def __post_init__(self) -> None:
        """Take ordinary tensors, as runs need them, of what was made in inference mode.

        PictureError for what is no pixels, or an alpha of another size.
        """
        for name, channels in (("pixels", 3), ("alpha", 1)):
            values = getattr(self, name)
            if name == "alpha" and values is None:
                continue
            shape = (1, channels, *getattr(self.pixels, "shape", ())[-2:])
            if not isinstance(values, Tensor) or tuple(values.shape) != shape:
                raise PictureError(
                    f"a Picture's {name} must be a tensor 1 {channels} h w of floats in [0, 1]: to "
                    "make one of anything else call impasto.images.read"
                )
            if values.is_inference():
                with torch.inference_mode(False):
                    object.__setattr__(self, name, values.clone())

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, px."""
        return self.pixels.shape[-1], self.pixels.shape[-2]

    def resized(self, width: int, height: int) -> "Picture":
        """The picture at another size, transparent parts weighing nothing in the average."""
        if self.size == (width, height):
            return self
        if self.alpha is None:
            return Picture(resize(self.pixels, height, width).clamp(0, 1), None, self.name)
        alpha = resize(self.alpha, height, width).clamp(0, 1)
        weighted = resize(self.pixels * self.alpha, height, width)
        pixels = torch.where(alpha > 1e-3, weighted / alpha.clamp_min(1e-3), _visible_mean(self))
        return Picture(pixels.clamp(0, 1), alpha, self.name)

    def mixed(self, other: "Picture", amount: float) -> "Picture":
        """The mean of this picture and another, which weighs `amount`, 0 to 1, in linear light.

        It has the other's size, and what this one's file says. 0 and 1 are the two pictures
        themselves, bit for bit. Transparent places weigh as much as can be seen of them. Raises
        SettingError for another amount.
        """
        if not isinstance(amount, numbers.Real) or not 0 <= amount <= 1:
            raise SettingError(f"amount is {amount!r}: it must be 0 to 1")
        own, alpha, share = self.resized(*other.size), None, float(amount)
        weight: float | Tensor = share
        if own.alpha is not None or other.alpha is not None:
            whole = torch.ones_like(other.pixels[:, :1])
            first, second = (whole if a is None else a for a in (own.alpha, other.alpha))
            alpha = torch.lerp(first, second, share)
            weight = torch.where(alpha > 0, share * second / alpha, share)
        if 0 < share < 1:
            pixels = color.mixed(own.pixels, other.pixels, weight)
        else:
            pixels = other.pixels if share else own.pixels
            alpha = other.alpha if share else own.alpha
        return Picture(pixels, alpha, self.name, self.origin, self.exif or other.exif)


def fit(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """The width and height of `size` (width, height) scaled to that long side, at least 1 px."""
    scale = long_side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def resize(
    image: Float[Tensor, "b c h w"], height: int, width: int
) -> Float[Tensor, "b c height width"]:
    """The image at another size: bicubic, antialiased when it shrinks. Values may overshoot."""
    if image.shape[-2:] == (height, width):
        return image
    return F.interpolate(
        image, size=(height, width), mode="bicubic", align_corners=False, antialias=True
    )


def enlarged(
    image: Float[Tensor, "b c h w"], height: int, width: int, seamless: bool
) -> Float[Tensor, "b c height width"]:
    """The image at another size; if seamless, as if it were laid side by side with itself."""
    if not seamless:
        return resize(image, height, width)
    wide = resize(image.repeat(1, 1, 1, 3), image.shape[-2], 3 * width)[..., width : 2 * width]
    return resize(wide.repeat(1, 1, 3, 1), 3 * height, width)[..., height : 2 * height, :]


def _visible_mean(picture: Picture) -> Float[Tensor, "1 3 1 1"]:
    """The mean color of what is not transparent: what lies under the transparent parts."""
    assert picture.alpha is not None
    visible = picture.alpha.sum().clamp_min(1e-6)
    return (picture.pixels * picture.alpha).sum((2, 3), keepdim=True) / visible
