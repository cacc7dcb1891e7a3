"""What the judge measures of pictures and feature maps: a function for each number."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from impasto import losses
from impasto.images import color
from impasto.losses import matching, moments
from impasto.losses.matching import Bank

DIRECTIONS, QUANTILES = 128, 512  # of sliced Wasserstein distances
GRID = 8  # px, the period of the pattern that checkerboards are looked for with: 2 and 4 divide it
PLACES = 16384  # of a layer, evenly spaced, that are compared with each other
BLOCK = 64  # px, over which such a pattern must hold still


def gram(a: Float[Tensor, "1 c h w"], b: Float[Tensor, "1 c y x"]) -> float:
    """|S - S*|^2 / |S*|^2."""
    return float(losses.style("gram", moments.measure(a), moments.measure(b), "relative"))


def sliced(a: Float[Tensor, "1 c h w"], b: Float[Tensor, "1 c y x"]) -> float:
    """The sliced 2-Wasserstein distance of feature vectors, in deviations of b's.

    sqrt(mean_d mean_q (Q_d,q(a) - Q_d,q(b))^2 / mean_d var_d(b)) over 128 fixed random
    directions d and 512 quantiles q (Rabin et al. 2012; for style: Heitz et al. 2021).
    """
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(DIRECTIONS, a.shape[1], generator=generator).to(a)
    directions = directions / directions.norm(dim=1, keepdim=True)
    x, y = (directions @ features.flatten(2)[0] for features in (a, b))
    difference = (_quantiles(x) - _quantiles(y)).square().mean()
    return math.sqrt(float(difference / y.var(1).mean().clamp_min(1e-12)))


def colors(a: Float[Tensor, "1 3 h w"], b: Float[Tensor, "1 3 y x"]) -> float:
    """The sliced 2-Wasserstein distance of two pictures' colors, in the units given."""
    angles = torch.randn(64, 3, generator=torch.Generator().manual_seed(0)).to(a)
    directions = angles / angles.norm(dim=1, keepdim=True)
    x, y = (_quantiles(directions @ image.flatten(2)[0]) for image in (a, b))
    return math.sqrt(float((x - y).square().mean()) * 3)


def nearest_stroke(a: Float[Tensor, "1 c h w"], b: Float[Tensor, "1 c y x"]) -> float:
    """The mean distance of a's vectors to the nearest of b's: 1 - cos, less the mean of b.

    Of larger maps 16384 evenly spaced places each are compared.
    """
    mine, its = (_thinned(features) for features in (a, b))
    vectors = its[0].flatten(1).T
    bank = Bank.of(vectors, vectors.mean(0), None, torch.float32)
    total = matching.distance(mine, matching.nearest(mine, bank), bank)
    return float(total) / mine[0, 0].numel()


def speckle(a: Float[Tensor, "1 3 h w"], b: Float[Tensor, "1 3 y x"]) -> float:
    """How much more fine color a has than b that does not go with light and dark; OKLab, its units.

    Fine: the picture less itself blurred over 17 px. In squares of 16 px the colors are fitted to
    the lightness, as those of a stroke or an outline are; e is the mean square of what is left. The
    root of the mean by which each quantile of a's e lies above that of b's: speckle is where a
    plain place has more colors than any place as plain in b.
    """
    left = []
    for lab in (a, b):
        fine = lab - F.avg_pool2d(F.pad(lab, (8, 8, 8, 8), mode="replicate"), 17, 1)
        side = min(2 * GRID, *lab.shape[-2:])
        light, chroma = fine[:, :1], fine[:, 1:]
        together = F.avg_pool2d(light * chroma, side).square()
        fitted = together / F.avg_pool2d(light.square(), side).clamp_min(1e-9)
        rest = (F.avg_pool2d(chroma.square(), side) - fitted).clamp_min(0).sum(1)
        left.append(_quantiles(rest.flatten(1)))
    return math.sqrt(float((left[0] - left[1]).clamp_min(0).mean()))


def self_similarity(a: Float[Tensor, "1 c h w"], b: Float[Tensor, "1 c h w"]) -> float:
    """`losses.self_similarity` of all positions."""
    return float(losses.self_similarity(a.flatten(2)[0].T, b.flatten(2)[0].T))


def cfsd(a: Float[Tensor, "1 c h w"], b: Float[Tensor, "1 c h w"]) -> float:
    """mean_i KL(softmax_j(b_i . b_j / C) || softmax_j(a_i . a_j / C)), b the photo's features."""
    logs = []
    for features in (a, b):
        vectors = features.flatten(2)[0].T
        logs.append((vectors @ vectors.T / vectors.shape[1]).log_softmax(1))
    return float(F.kl_div(logs[0], logs[1], reduction="batchmean", log_target=True))


def checkerboard(image: Float[Tensor, "1 3 h w"]) -> float:
    """The share of the energy of fine detail that repeats with a period of 8 px (so of 2 and 4).

    Detail: what a blur of 8 px takes from the luminance. In each block of 64 px it is averaged
    over all cells of 8x8; what is left is the repeating pattern, plus 1/64 of the rest by chance.
    """
    gray = color.oklab(image)[:, :1]
    detail = gray - F.avg_pool2d(F.pad(gray, (4, 3, 4, 3), mode="reflect"), GRID, 1)
    height, width = (max(BLOCK, side // BLOCK * BLOCK) for side in detail.shape[-2:])
    if detail.shape[-2] < BLOCK or detail.shape[-1] < BLOCK:
        return 0.0
    cells = detail[0, 0, :height, :width]
    shape = (height // BLOCK, BLOCK // GRID, GRID, width // BLOCK, BLOCK // GRID, GRID)
    cells = cells.reshape(shape)
    repeated = cells.mean((1, 4)).square().mean()
    chance = (GRID / BLOCK) ** 2
    share = float(repeated / cells.square().mean().clamp_min(1e-12))
    return max(0.0, (share - chance) / (1 - chance))


def halo(out: Float[Tensor, "1 3 h w"], photo: Float[Tensor, "1 3 h w"]) -> float:
    """The mean over the four sides of how differently the border of 2 % was recolored.

    |mean change of the border - mean change of the next 6 %|, in the units given.
    """
    change = out - photo
    width = max(2, round(0.02 * min(change.shape[-2:])))
    sides = []
    for image in (change, change.mT):
        for part in (image, image.flip(-2)):
            border = part[..., :width, :].mean((2, 3))
            inside = part[..., width : 4 * width, :].mean((2, 3))
            sides.append((border - inside).norm())
    return float(torch.stack(sides).mean())


def bare(image: Float[Tensor, "1 3 h w"], photo: Float[Tensor, "1 3 h w"]) -> float:
    """The share of patches that were left bare beside painted ones, where the photo is alike.

    Patches have a 16th of the long side, at least 16 px. Among those that the photo has flat
    (deviation under 0.02, OKLab), the bare ones have under a third of the deviation that three
    quarters of them stay below.
    """
    side = min(max(16, max(image.shape[-2:]) // 16), *image.shape[-2:])
    painted = _deviations(color.oklab(image), side)
    flat = _deviations(color.oklab(photo), side) < 0.02
    if not bool(flat.any()):
        return 0.0
    usual = painted[flat].quantile(0.75)
    return float((flat & (painted < usual / 3)).float().mean())


def _thinned(features: Float[Tensor, "1 c h w"]) -> Float[Tensor, "1 c y x"]:
    """Every k-th row and column, so that at most 16384 places are left."""
    step = math.ceil(math.sqrt(features[0, 0].numel() / PLACES))
    return features[:, :, ::step, ::step]


def _deviations(lab: Float[Tensor, "1 c h w"], side: int) -> Float[Tensor, "1 y x"]:
    """The deviation of each patch, over all channels."""
    mean = F.avg_pool2d(lab, side)
    return (F.avg_pool2d(lab.square(), side) - mean.square()).clamp_min(0).sum(1).sqrt()


def _quantiles(values: Float[Tensor, "d p"]) -> Float[Tensor, "d q"]:
    """Evenly spaced quantiles of each row."""
    ordered = values.sort(1).values
    at = (torch.arange(QUANTILES) + 0.5) / QUANTILES * ordered.shape[1] - 0.5
    low = at.floor().clamp(0, ordered.shape[1] - 1).long()
    high = (low + 1).clamp_max(ordered.shape[1] - 1)
    part = (at - low).clamp(0, 1).to(values)
    return ordered[:, low] * (1 - part) + ordered[:, high] * part
