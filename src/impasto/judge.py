"""The judge: how near a result is to its photo and to its painting, and what is wrong with it.

Pictures are compared at the result's own size, at most 1024 px: the photo is scaled to it, the
painting to its long side (never enlarged). Smaller is nearer everywhere; 0 is the same.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from impasto import colour, images, losses, moments, paintings, vgg
from impasto.images import Picture, Source
from impasto.lpips import LAYERS as ALEXNET_LAYERS
from impasto.lpips import LPIPS, Network

LARGEST = 1024  # px, long side at which pictures are judged
STRUCTURE_SIDE = 256  # px, for the measures that compare all positions with each other
VGG_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
DIRECTIONS, QUANTILES = 128, 512  # of sliced Wasserstein distances
GRID = 8  # px, the period of the pattern that checkerboards are looked for with: 2 and 4 divide it
BLOCK = 64  # px, over which such a pattern must hold still


@dataclass(frozen=True)
class Verdict:
    """The numbers of one result."""

    name: str
    lpips: float
    """LPIPS to the photo (Zhang et al. 2018), with AlexNet unless another was asked for."""
    self_similarity: float
    """How much the distances between the result's own parts differ from the photo's: STROTSS's
    content loss (Kolkin et al. 2019, eq. 6) on relu4_1, times the number of positions."""
    content: float
    """|F - P|^2 / |P|^2 at relu4_2 of VGG-19."""
    cfsd: float
    """Content feature structural distance (Chung et al. 2024): the mean divergence of patch
    similarities on relu3_1, of the network with mean activations of one (theirs has others)."""
    style: float
    """The style distance: sliced Wasserstein on AlexNet, a network that was not optimised."""
    style_gram: float
    """Relative Gram distance on AlexNet, mean over five layers."""
    vgg_wasserstein: float
    """Sliced Wasserstein on VGG-19, which the optimiser saw; mean over relu1_1 ... relu5_1."""
    vgg_gram: float
    """Relative Gram distance on VGG-19; mean over relu1_1 ... relu5_1."""
    colour: float
    """Sliced Wasserstein distance of the colours to the painting's, OKLab times 100."""
    cast: float
    """Distance of the mean colour to the painting's, OKLab times 100."""
    score: float
    """(1 + lpips)(1 + style), in the form of ArtFID (Wright and Ommer 2022) with other parts."""
    checkerboard: float
    """The share of fine detail that repeats every 2, 4 or 8 px: a grid, a screen-door. Chance is
    taken off, so that a photo has about 0; a chessboard has 1."""
    halo: float
    """How far the border's mean change differs from that next to it, OKLab times 100."""
    grey: float
    """The share of flat grey patches beyond those that photo and painting have."""
    layers: dict[str, dict[str, float]] = field(default_factory=dict)
    """The style distances layer by layer, for AlexNet and for VGG-19: by measure (`style`,
    `style_gram`, `vgg_wasserstein`, `vgg_gram`), then by layer."""


NUMBERS = tuple(item.name for item in fields(Verdict) if item.type is float)
"""The names of a verdict's single numbers."""


class Judge:
    """The networks, and what stays the same for many results of one photo and painting."""

    def __init__(
        self, content: Source | Picture, style: Source | Picture, lpips: Network = "alexnet"
    ) -> None:
        """lpips: the network of the number of that name; `vgg16` needs its weights fetched once."""
        self.content, self.style = paintings.picture(content), paintings.picture(style)
        self.alexnet = LPIPS()
        self.lpips = self.alexnet if lpips == "alexnet" else LPIPS(lpips)
        self.network = vgg.load("vgg19", [*VGG_LAYERS, "relu4_2"], padding="replicate")

    @torch.no_grad()
    def judge(self, result: Source | Picture) -> Verdict:
        """The verdict on a result. Raises PictureError for what is no picture, or too small."""
        picture = paintings.picture(result)
        width, height = images.fit(picture.size, min(LARGEST, max(picture.size)))
        out = picture.resized(width, height).pixels
        photo = self.content.resized(width, height).pixels
        side = min(max(width, height), max(self.style.size))
        painting = self.style.resized(*images.fit(self.style.size, side)).pixels

        seen, aimed = (self.alexnet.features(image) for image in (out, painting))
        lpips = self._lpips(out, photo)
        deep, target = (self.network(x, [*VGG_LAYERS, "relu4_2"]) for x in (out, painting))
        photo_deep = self.network(photo, ["relu4_2"])
        layers = {
            "style": {n: sliced(seen[n], aimed[n]) for n in ALEXNET_LAYERS},
            "style_gram": {n: gram(seen[n], aimed[n]) for n in ALEXNET_LAYERS},
            "vgg_wasserstein": {n: sliced(deep[n], target[n]) for n in VGG_LAYERS},
            "vgg_gram": {n: gram(deep[n], target[n]) for n in VGG_LAYERS},
        }
        means = {name: sum(of.values()) / len(of) for name, of in layers.items()}
        labs = [colour.oklab(image) * 100 for image in (out, photo, painting)]
        return Verdict(
            name=picture.name,
            lpips=lpips,
            content=float(losses.content(deep["relu4_2"], photo_deep["relu4_2"], "relative")),
            colour=colours(labs[0], labs[2]),
            cast=float((labs[0].mean((2, 3)) - labs[2].mean((2, 3))).norm()),
            score=(1 + lpips) * (1 + means["style"]),
            checkerboard=checkerboard(out),
            halo=halo(labs[0], labs[1]),
            grey=max(0.0, flat_grey(out) - max(flat_grey(photo), flat_grey(painting))),
            layers=layers,
            **means,
            **self._structure(out, photo),
        )

    def _lpips(self, out: Tensor, photo: Tensor) -> float:
        """LPIPS between the result and the photo."""
        a, b = (self.lpips.features(image) for image in (out, photo))
        return float(self.lpips.distance(a, b))

    def _structure(self, out: Tensor, photo: Tensor) -> dict[str, float]:
        """The measures that compare all positions with each other, at 256 px."""
        size = images.fit((out.shape[-1], out.shape[-2]), STRUCTURE_SIDE)
        small = [images.resize(image, size[1], size[0]).clamp(0, 1) for image in (out, photo)]
        a, b = (self.network(image, ["relu3_1", "relu4_1"]) for image in small)
        return {
            "self_similarity": self_similarity(a["relu4_1"], b["relu4_1"]),
            "cfsd": cfsd(a["relu3_1"], b["relu3_1"]),
        }


def evaluate(
    content: Source | Picture,
    style: Source | Picture,
    results: Sequence[Source | Picture],
    lpips: Network = "alexnet",
) -> list[Verdict]:
    """A verdict on each result. Raises PictureError for what is no picture, or too small."""
    judge = Judge(content, style, lpips)
    return [judge.judge(result) for result in results]


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


def colours(a: Float[Tensor, "1 3 h w"], b: Float[Tensor, "1 3 y x"]) -> float:
    """The sliced 2-Wasserstein distance of two pictures' colours, in the units given."""
    angles = torch.randn(64, 3, generator=torch.Generator().manual_seed(0)).to(a)
    directions = angles / angles.norm(dim=1, keepdim=True)
    x, y = (_quantiles(directions @ image.flatten(2)[0]) for image in (a, b))
    return math.sqrt(float((x - y).square().mean()) * 3)


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
    grey = colour.oklab(image)[:, :1]
    detail = grey - F.avg_pool2d(F.pad(grey, (4, 3, 4, 3), mode="reflect"), GRID, 1)
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
    """The mean over the four sides of how differently the border of 2 % was recoloured.

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


def flat_grey(image: Float[Tensor, "1 3 h w"]) -> float:
    """The share of 8x8 patches that are grey (chroma under 0.02) and flat (deviation under 0.01),
    neither near black nor near white."""
    lab = colour.oklab(image)
    mean = F.avg_pool2d(lab, 8)
    deviation = (F.avg_pool2d(lab[:, :1].square(), 8) - mean[:, :1].square()).clamp_min(0).sqrt()
    chroma = mean[:, 1:].norm(dim=1, keepdim=True)
    middle = (mean[:, :1] > 0.25) & (mean[:, :1] < 0.9)
    return float(((deviation < 0.01) & (chroma < 0.02) & middle).float().mean())


def _quantiles(values: Float[Tensor, "d p"]) -> Float[Tensor, "d q"]:
    """Evenly spaced quantiles of each row."""
    ordered = values.sort(1).values
    at = (torch.arange(QUANTILES) + 0.5) / QUANTILES * ordered.shape[1] - 0.5
    low = at.floor().clamp(0, ordered.shape[1] - 1).long()
    high = (low + 1).clamp_max(ordered.shape[1] - 1)
    part = (at - low).clamp(0, 1).to(values)
    return ordered[:, low] * (1 - part) + ordered[:, high] * part
