"""What studies measure besides the judge's numbers."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from impasto import images
from impasto.errors import WeightsError
from impasto.images import Picture, color
from impasto.studies.study import Numbers, StudyPicture

SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))
SIDE = 256  # px, long side at which structure is measured: what the eye takes in at once
WINDOW = 11  # px, over which structure is compared, as in SSIM
FAINT = 0.03**2 / 2  # SSIM's constant C3 for values in [0, 1]: noise is no structure


def busyness(photo: Picture) -> float:
    """How busy a photo is: the mean slope of its lightness, at 256 px, in OKLab x 100 a pixel.

    The mean of the Sobel gradient's length; the spatial information of ITU-T P.910 is its standard
    deviation, which a single strong outline makes large.
    """
    return float(_slopes(_lightness(photo)).mean()) * 100


def structure(result: Picture, photo: Picture) -> float:
    """How much of the photo's structure a result keeps: 1 all, 0 none, -1 the negative.

    The structure term of SSIM (Wang et al. 2004, eq. 10), the local correlation of lightness over
    11 px, weighted by the photo's own local deviation: where nothing was, nothing can be kept.
    """
    a, b = _lightness(result), _lightness(photo)
    mean_a, mean_b = _local(a), _local(b)
    variance_a = (_local(a * a) - mean_a**2).clamp_min(0)
    variance_b = (_local(b * b) - mean_b**2).clamp_min(0)
    covariance = _local(a * b) - mean_a * mean_b
    deviation = variance_b.sqrt()
    kept = (covariance + FAINT) / (variance_a.sqrt() * deviation + FAINT)
    return float((kept * deviation).sum() / deviation.sum().clamp_min(1e-9))


def structure_kept(painted: Sequence[StudyPicture]) -> list[Numbers]:
    """How busy each photo is, and how much of its structure its picture keeps."""
    return [
        {
            "busyness": busyness(one.cell.content),
            "structure": structure(one.picture, one.cell.content),
        }
        for one in painted
    ]


def recognized(painted: Sequence[StudyPicture]) -> list[Numbers]:
    """Whether EfficientNet-Lite0 still sees in each picture what it saw in the photo, 1 or 0, and
    how surely (`classify.agreement`); nothing where impasto[classify] is not installed."""
    from impasto.evaluation.classify import Classifier, agreement

    try:
        classifier = Classifier()
    except WeightsError:
        return [{} for _ in painted]
    photos = {one.cell.content: classifier.predict(one.cell.content) for one in painted}
    found = [
        agreement(photos[one.cell.content], classifier.predict(one.picture)) for one in painted
    ]
    return [{"recognized": float(a.same), "own_label": a.after} for a in found]


def distance_to_first(painted: Sequence[StudyPicture]) -> list[Numbers]:
    """LPIPS of each picture to the first one."""
    from impasto.networks.lpips import LPIPS

    lpips = LPIPS()
    with torch.no_grad():
        features = [lpips.features(one.picture.pixels) for one in painted]
        return [{"lpips_to_first": float(lpips.distance(found, features[0]))} for found in features]


def _lightness(picture: Picture) -> Float[Tensor, "1 1 h w"]:
    size = images.fit(picture.size, SIDE)
    return color.oklab(picture.resized(*size).pixels)[:, :1]


def _slopes(lightness: Tensor) -> Tensor:
    kernel = torch.tensor(SOBEL) / 8  # of a ramp of one a pixel: 1
    kernels = torch.stack([kernel, kernel.T])[:, None]
    padded = F.pad(lightness, (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded, kernels).square().sum(1).sqrt()


def _local(values: Tensor) -> Tensor:
    """The mean over a window."""
    return F.avg_pool2d(values, WINDOW, 1)
