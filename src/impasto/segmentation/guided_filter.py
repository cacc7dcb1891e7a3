"""Soft edges that follow the photo: the guided filter.

He, Sun and Tang 2010, "Guided image filtering". In each window the mask becomes a linear function
of the photo's color, q = a . I + b, and of the windows that a pixel lies in the mean is taken:

    a = (Sigma + epsilon 1)^-1 (mean(I p) - mean(I) mean(p))        b = mean(p) - a . mean(I)

(eq. 14 and 15, for color guides). a and b are found on a small copy and enlarged (He and Sun 2015,
"Fast guided filter"): q has the edges of the photo at its full size all the same.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from impasto import images
from impasto.images import fit

LONGEST = 512  # px, long side of the copy that a and b are found on
RADIUS = 0.012  # of the long side: 6 px of 512
EPSILON = 1e-3  # a window whose colors vary less, (0.03 of 1)^2, is flat: nothing follows its noise


def guided(
    mask: Float[Tensor, "1 1 h w"],
    photo: Float[Tensor, "1 3 h w"],
    radius: float = RADIUS,
    epsilon: float = EPSILON,
) -> Float[Tensor, "1 1 h w"]:
    """The mask, 0 to 1, with edges where the photo has them.

    photo: RGB in [0, 1]. radius: half the side of a window, in parts of the photo's long side.
    """
    height, width = photo.shape[-2:]
    side = min(LONGEST, max(height, width))
    columns, rows = fit((width, height), side)
    small, p = images.resize(photo, rows, columns), images.resize(mask, rows, columns)
    a, b = coefficients(small, p, max(1, round(radius * side)), epsilon)
    a, b = (_box(values, max(1, round(radius * side))) for values in (a, b))
    enlarged = F.interpolate(
        torch.cat([a, b], 1), (height, width), mode="bilinear", align_corners=False
    )
    return ((enlarged[:, :3] * photo).sum(1, keepdim=True) + enlarged[:, 3:]).clamp(0, 1)


def coefficients(
    photo: Float[Tensor, "1 3 h w"],
    mask: Float[Tensor, "1 1 h w"],
    radius: int,
    epsilon: float,
) -> tuple[Float[Tensor, "1 3 h w"], Float[Tensor, "1 1 h w"]]:
    """a and b of the window around each pixel, 2 radius + 1 px a side; less at the borders."""
    mean, mean_mask = _box(photo, radius), _box(mask, radius)
    across = _box(photo * mask, radius) - mean * mean_mask
    products = _box((photo[:, :, None] * photo[:, None]).flatten(1, 2), radius)
    covariance = products.view(1, 3, 3, *mask.shape[-2:]) - mean[:, :, None] * mean[:, None]
    matrices = covariance[0].permute(2, 3, 0, 1) + epsilon * torch.eye(3)
    solved = torch.linalg.solve(matrices, across[0].permute(1, 2, 0)[..., None])
    a = solved[..., 0].permute(2, 0, 1)[None]
    return a, mean_mask - (a * mean).sum(1, keepdim=True)


def _box(values: Float[Tensor, "1 c h w"], radius: int) -> Float[Tensor, "1 c h w"]:
    """The mean over a window around each pixel; of what lies inside, at the borders."""
    side = 2 * radius + 1
    across = F.avg_pool2d(values, (1, side), 1, (0, radius), count_include_pad=False)
    return F.avg_pool2d(across, (side, 1), 1, (radius, 0), count_include_pad=False)
