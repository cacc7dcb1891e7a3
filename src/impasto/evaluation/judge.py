"""The judge: how near a result is to its photo and to its painting, and what is wrong with it.

Pictures are compared at the result's own size, at most 1024 px: the photo is scaled to it, the
painting to its long side (never enlarged). Smaller is nearer everywhere; 0 is the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from impasto import images, losses, machine
from impasto.evaluation import measures
from impasto.images import Picture, Source, color, paintings
from impasto.images.objects import several
from impasto.networks import vgg
from impasto.networks.lpips import LAYERS as ALEXNET_LAYERS
from impasto.networks.lpips import LPIPS, Network

LARGEST = 1024  # px, long side at which pictures are judged
STRUCTURE_SIDE = 256  # px, for the measures that compare all positions with each other
STROKE_LAYERS = ("relu2", "relu3")  # of AlexNet or VGG-16: a stroke is larger than relu1 sees
VGG_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


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
    """The style distance: sliced Wasserstein on AlexNet, a network that was not optimized."""
    nearest_stroke: float
    """How far each place is from the nearest stroke of the painting: 1 - cos of centered features,
    mean of relu2 and relu3 of the network of `lpips`. The distance that Kolkin et al. 2022 (NNST)
    minimize, on other layers of VGG-16."""
    speckle: float
    """How much fine color there is beyond the painting's: colored grain in plain places, OKLab
    times 100 (`measures.speckle`)."""
    style_gram: float
    """Relative Gram distance on AlexNet, mean over five layers."""
    vgg_wasserstein: float
    """Sliced Wasserstein on VGG-19, which the optimizer saw; mean over relu1_1 ... relu5_1."""
    vgg_gram: float
    """Relative Gram distance on VGG-19; mean over relu1_1 ... relu5_1."""
    color: float
    """Sliced Wasserstein distance of the colors to the painting's, OKLab times 100."""
    cast: float
    """Distance of the mean color to the painting's, OKLab times 100."""
    score: float
    """(1 + lpips)(1 + style), in the form of ArtFID (Wright and Ommer 2022) with other parts."""
    checkerboard: float
    """The share of fine detail that repeats every 2, 4 or 8 px: a grid, a screen-door. Chance is
    taken off, so that a photo has about 0; a chessboard has 1."""
    halo: float
    """How far the border's mean change differs from that next to it, OKLab times 100."""
    bare: float
    """The share of patches left bare beside painted ones where the photo is flat: a sky of which a
    corner has no strokes."""
    layers: dict[str, dict[str, float]] = field(default_factory=dict)
    """The style distances layer by layer, for AlexNet and for VGG-19: by measure (`style`,
    `style_gram`, `vgg_wasserstein`, `vgg_gram`), then by layer."""


NUMBERS = tuple(item.name for item in fields(Verdict) if item.type is float)
"""The names of a verdict's single numbers."""


class Judge:
    """The networks, and what stays the same for many results of one photo and painting."""

    @machine.neutral()
    def __init__(
        self, content: Source | Picture, style: Source | Picture, lpips: Network = "alexnet"
    ) -> None:
        """lpips: the network of the number of that name; `vgg16` needs its weights fetched once."""
        need = images.Need(LARGEST)
        self.content, self.style = (paintings.picture(one, need) for one in (content, style))
        self.alexnet = LPIPS()
        self.lpips = self.alexnet if lpips == "alexnet" else LPIPS(lpips)
        self.network = vgg.load("vgg19", [*VGG_LAYERS, "relu4_2"], padding="replicate")

    @machine.neutral()
    @torch.no_grad()
    def judge(self, result: Source | Picture) -> Verdict:
        """The verdict on a result. Raises PictureError for what is no picture, or too small."""
        picture = paintings.picture(result, images.Need(LARGEST))
        width, height = images.fit(picture.size, min(LARGEST, max(picture.size)))
        out = picture.resized(width, height).pixels
        photo = self.content.resized(width, height).pixels
        side = min(max(width, height), max(self.style.size))
        painting = self.style.resized(*images.fit(self.style.size, side)).pixels

        mine, its, strokes = (self.lpips.features(image) for image in (out, photo, painting))
        lpips = float(self.lpips.distance(mine, its))
        near = [measures.nearest_stroke(mine[n], strokes[n]) for n in STROKE_LAYERS]
        seen, aimed = mine, strokes
        if self.lpips is not self.alexnet:
            seen, aimed = (self.alexnet.features(image) for image in (out, painting))
        deep, target = (self.network(x, [*VGG_LAYERS, "relu4_2"]) for x in (out, painting))
        photo_deep = self.network(photo, ["relu4_2"])
        layers = {
            "style": {n: measures.sliced(seen[n], aimed[n]) for n in ALEXNET_LAYERS},
            "style_gram": {n: measures.gram(seen[n], aimed[n]) for n in ALEXNET_LAYERS},
            "vgg_wasserstein": {n: measures.sliced(deep[n], target[n]) for n in VGG_LAYERS},
            "vgg_gram": {n: measures.gram(deep[n], target[n]) for n in VGG_LAYERS},
        }
        means = {name: sum(of.values()) / len(of) for name, of in layers.items()}
        labs = [color.oklab(image) * 100 for image in (out, photo, painting)]
        return Verdict(
            name=picture.name,
            lpips=lpips,
            content=float(losses.content(deep["relu4_2"], photo_deep["relu4_2"], "relative")),
            color=measures.colors(labs[0], labs[2]),
            cast=float((labs[0].mean((2, 3)) - labs[2].mean((2, 3))).norm()),
            nearest_stroke=sum(near) / len(near),
            speckle=measures.speckle(labs[0], labs[2]),
            score=(1 + lpips) * (1 + means["style"]),
            checkerboard=measures.checkerboard(out),
            halo=measures.halo(labs[0], labs[1]),
            bare=measures.bare(out, photo),
            layers=layers,
            **means,
            **self._structure(out, photo),
        )

    def _structure(self, out: Tensor, photo: Tensor) -> dict[str, float]:
        """The measures that compare all positions with each other, at 256 px."""
        size = images.fit((out.shape[-1], out.shape[-2]), STRUCTURE_SIDE)
        small = [images.resize(image, size[1], size[0]).clamp(0, 1) for image in (out, photo)]
        a, b = (self.network(image, ["relu3_1", "relu4_1"]) for image in small)
        return {
            "self_similarity": measures.self_similarity(a["relu4_1"], b["relu4_1"]),
            "cfsd": measures.cfsd(a["relu3_1"], b["relu3_1"]),
        }


def evaluate(
    content: Source | Picture,
    style: Source | Picture,
    results: Source | Picture | Sequence[Source | Picture],
    lpips: Network = "alexnet",
) -> list[Verdict]:
    """A verdict on each result, or on the one. Raises PictureError for what cannot be judged."""
    judge = Judge(content, style, lpips)
    return [judge.judge(result) for result in several(results)]
