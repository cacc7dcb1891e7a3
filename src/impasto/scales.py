"""The scales of a run, coarse to fine, and the way from one to the next."""

import math

from jaxtyping import Float
from torch import Tensor

from impasto import images
from impasto.errors import PictureError
from impasto.images import resize
from impasto.settings import Settings

GRID = 16  # px; opposite edges meet only where every pooling halves evenly


def scale_sizes(
    size: tuple[int, int], settings: Settings, smallest_side: int
) -> list[tuple[int, int]]:
    """Width and height of each scale, the smallest first: from `coarsest` on, in even ratios.

    size: of the photo, whose proportions all scales have. Scales whose short side would be under
    `smallest_side` are left out; PictureError if the last one is among them.
    """
    last = fitted(size, settings.size, settings)
    if min(last) < smallest_side:
        needed = -(-smallest_side * max(size) // min(size))
        raise PictureError(
            f"a picture of {size[0]}x{size[1]} px is {last[0]}x{last[1]} px at size "
            f"{settings.size}, too small for the network: use --size {needed} or more"
        )
    if not 0 < settings.coarsest < settings.size:
        return [last]
    ratio = settings.size / settings.coarsest
    count = max(1, round(math.log(ratio) / math.log(settings.scale_ratio)))
    sides = [round(settings.coarsest * ratio ** (i / count)) for i in range(count)]
    smaller = [fitted(size, side, settings) for side in sides]
    return [scale for scale in smaller if min(scale) >= smallest_side] + [last]


def fitted(size: tuple[int, int], long_side: int, settings: Settings) -> tuple[int, int]:
    """The size with that long side, px; in multiples of 16 px where opposite edges meet."""
    width, height = images.fit(size, long_side)
    if not settings.seamless:
        return width, height
    return max(GRID, round(width / GRID) * GRID), max(GRID, round(height / GRID) * GRID)


def enlarged(
    image: Float[Tensor, "b c h w"], height: int, width: int, seamless: bool
) -> Float[Tensor, "b c height width"]:
    """The image at another size; if seamless, as if it were laid side by side with itself."""
    if not seamless:
        return resize(image, height, width)
    wide = resize(image.repeat(1, 1, 1, 3), image.shape[-2], 3 * width)[..., width : 2 * width]
    return resize(wide.repeat(1, 1, 3, 1), 3 * height, width)[..., height : 2 * height, :]


def carry_up(
    painted: Float[Tensor, "1 3 h w"],
    before: Float[Tensor, "1 3 h w"],
    after: Float[Tensor, "1 3 height width"],
    seamless: bool = False,
) -> Float[Tensor, "1 3 height width"]:
    """What was painted at one scale, taken to the next with the start picture's own detail there.

    x_fine = c_fine + up(x_coarse - c_coarse), where c is the picture the run started from
    (`before` at the coarse scale, `after` at the fine one): only the change is enlarged, so no
    edge of the photo is blurred. A departure from the usual enlargement of x itself.
    """
    height, width = after.shape[-2:]
    return after + enlarged(painted - before, height, width, seamless)
