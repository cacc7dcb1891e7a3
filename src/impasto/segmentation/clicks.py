"""A region that grows from clicked points, by what VGG-19 sees there and by color.

Each place of the photo (a square of 4 px at 384 px) has features of three depths, each of length
one, and its color in OKLab. How far a place is from a click is the mean of 1 - cos over the depths,
plus the color's distance; of several clicks the nearest counts. Otsu's thresholds (1979) part near
from middling and far, and of the near places those count that hang together with a click.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from impasto import images
from impasto.errors import SettingError
from impasto.images import fit
from impasto.images.color import oklab
from impasto.networks import tiles, vgg
from impasto.networks.tiled import features_of

LAYERS = ("relu1_2", "relu2_2", "relu3_2")
LONGEST = 384  # px, long side of what VGG-19 sees
SHORTEST = 32  # px, short side: 8 places
STRIDE = 4  # px of a place, as far as positions of relu3_2 lie apart
COLOR = 2.0  # of a distance in OKLab beside 1 - cos: 0.2 in color, blue to white, counts 0.4
GAP = 5  # places, a twentieth of the photo: a tower or a branch does not part a sky
BINS = 128  # of the histogram that the threshold is found on

Click = tuple[int | float, int | float]
"""x, y of a point, px from the left and the top of the photo."""


def grown(photo: Float[Tensor, "1 3 h w"], clicks: Sequence[Click]) -> Float[Tensor, "1 1 h w"]:
    """The region around the clicks, 1 inside and 0 outside, with edges of some px.

    Raises SettingError for a click outside the photo.
    """
    height, width = photo.shape[-2:]
    check(clicks, (width, height))
    far = distances(photo, clicks)
    rows, columns = far.shape
    seeds = torch.zeros(rows, columns, dtype=torch.bool)
    for x, y in clicks:
        seeds[int(y * rows / height), int(x * columns / width)] = True
    region = connected((far <= near(far)) | seeds, seeds)
    return images.resize(region[None, None].float(), height, width).clamp(0, 1)


def check(clicks: Sequence[Click], size: tuple[int, int]) -> None:
    """SettingError for a click outside a photo of that width and height, px."""
    for x, y in clicks:
        if not (0 <= x < size[0] and 0 <= y < size[1]):
            raise SettingError(
                f"the click {x:g},{y:g} is outside the photo, which is {size[0]}x{size[1]} px: "
                "count from the upper left corner"
            )


@torch.no_grad()
def distances(
    photo: Float[Tensor, "1 3 h w"], clicks: Sequence[Click]
) -> Float[Tensor, "rows columns"]:
    """How far each place is from the nearest click."""
    height, width = photo.shape[-2:]
    side = max(LONGEST, round(SHORTEST * max(height, width) / min(height, width)))
    columns, rows = (max(SHORTEST, s // STRIDE * STRIDE) for s in fit((width, height), side))
    small = images.resize(photo, rows, columns).clamp(0, 1)
    network = vgg.load("vgg19", LAYERS, padding="reflect")
    pieces = tiles.cut(rows, columns, LONGEST, LAYERS)
    found = features_of(network, small, LAYERS, pieces)
    size = rows // STRIDE, columns // STRIDE
    color = images.resize(oklab(small), *size)
    maps = [F.interpolate(F.normalize(m.float(), dim=1), size, mode="bilinear", align_corners=False)
            for m in found.values()]  # fmt: skip
    maps = [F.normalize(m, dim=1)[0] for m in maps]
    far = []
    for x, y in clicks:
        row, column = int(y * size[0] / height), int(x * size[1] / width)
        around = slice(max(0, row - 1), row + 2), slice(max(0, column - 1), column + 2)
        seen = [F.normalize(m[:, *around].mean((1, 2)), dim=0) for m in maps]
        apart = [1 - torch.einsum("c,chw->hw", one, m) for one, m in zip(seen, maps, strict=True)]
        tint = (color[0] - color[0][:, *around].mean((1, 2))[:, None, None]).norm(dim=0)
        far.append(torch.stack(apart).mean(0) + COLOR * tint)
    return torch.stack(far).amin(0)


def near(values: Float[Tensor, "h w"]) -> float:
    """The threshold below which values are near: the lower of the two that part values into three
    classes whose means are as far apart as can be, the largest sum of n_k m_k^2 (Otsu 1979)."""
    low, high = float(values.min()), float(values.max())
    counts = torch.histc(values, BINS, low, high).double()
    middles = (torch.arange(BINS) + 0.5) / BINS
    none = torch.zeros(1, dtype=torch.float64)
    numbers = torch.cat([none, counts.cumsum(0)])
    sums = torch.cat([none, (counts * middles).cumsum(0)])
    n, m = numbers[None] - numbers[:, None], sums[None] - sums[:, None]
    share = m.square() / n.clamp_min(1)  # of the class from one edge of a bin to another
    both = share[0, :, None] + share + share[:, -1][None]
    first = int(both.triu(1)[1:-1].amax(1).argmax()) + 1
    return low + first * (high - low) / BINS


def connected(mask: Bool[Tensor, "h w"], seeds: Bool[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    """The places of a mask that hang together with a seed, over gaps of less than GAP places."""
    region = seeds & mask
    while True:
        around = F.max_pool2d(region[None, None].float(), 2 * GAP + 1, 1, GAP)[0, 0] > 0
        grown = around & mask
        if torch.equal(grown, region):
            return region
        region = grown
