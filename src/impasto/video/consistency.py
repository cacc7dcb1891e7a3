"""Frames that belong together: what of the painted film a new frame goes on from.

A shot ends at a cut. Within it, an optimized frame starts from the frame before, carried along the
flow, and is held to it, and to those 2 and 4 frames before it (Ruder, Dosovitskiy and Brox 2016,
"Artistic style transfer for videos", sections 4.1 to 4.4). A frame painted in one pass is blended
with the one before, after painting; and it is painted on a grid that follows the camera, as
networks with a stride paint another pattern wherever something moves by no multiple of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from impasto.losses.pixels import TemporalTarget
from impasto.video import flow
from impasto.video.flow import Motion

LONG_TERM = (1, 2, 4)  # frames back that an optimized frame is held to; Ruder et al. take 1, 2, 4
SOFT = 5  # px over which a blend fades in at the edge of what is reliable
NOISE = 0.1  # a change of the film itself beside its motion, at which a blend fades
SAME = 0.1  # mean change of a pixel's channels up to which it is the same thing
LEAST_SHOWN = 0.4  # of the frame that the one before must have shown, or there was a cut
LEAST_CHANGE = 0.15  # of the colors' histogram at a cut
BINS = 8  # a channel, of that histogram


@dataclass(frozen=True, eq=False)
class Seen:
    """A frame of the shot, as it was filmed and as it was painted."""

    photo: Float[Tensor, "1 3 h w"]
    painted: Float[Tensor, "1 3 h w"]


def is_cut(
    before: Float[Tensor, "1 3 h w"], photo: Float[Tensor, "1 3 h w"], moved: Motion
) -> bool:
    """Whether a new shot begins: most of the frame was not shown before, as far as the flow can
    tell, and its colors are others. A pan has the first alone, a fade the second, a flash both."""
    if _histogram_change(before, photo) <= LEAST_CHANGE:
        return False
    same = (photo - moved.carried(before)).abs().mean(1, keepdim=True) < SAME
    return float((moved.reliable * same).mean()) < LEAST_SHOWN


def shots_in(photos: Iterable[Float[Tensor, "1 3 h w"]]) -> list[tuple[int, int]]:
    """The shots of a film's frames, as their first frame and the one after their last, from 0."""
    begins, count = [], 0
    before: Tensor | None = None
    for number, photo in enumerate(photos):
        if before is None or _begins_shot(before, photo):
            begins.append(number)
        before, count = photo, number + 1
    return list(pairwise([*begins, count]))


def blended(
    before: Seen,
    photo: Float[Tensor, "1 3 h w"],
    painted: Float[Tensor, "1 3 h w"],
    moved: Motion,
    amount: float,
) -> Float[Tensor, "1 3 h w"]:
    """A painted frame blended with the one before, carried along the flow.

    o_t = p_t + k (W o_(t-1) - p_t),   k = amount m exp(-|x_t - W x_(t-1)|^2 / 0.1^2)

    with the photos x, the mean square over channels, and the reliable places m, their edges
    softened. With an amount < 1 errors do not add up: of what was painted n frames ago, at most
    amount^n is left.
    """
    changed = (photo - moved.carried(before.photo)).square().mean(1, keepdim=True)
    pad = SOFT // 2
    soft = F.pad(moved.reliable, (pad, pad, pad, pad), mode="replicate")
    weight = amount * moved.reliable * F.avg_pool2d(soft, SOFT, 1) * (-changed / NOISE**2).exp()
    return painted + weight * (moved.carried(before.painted) - painted)


def target_for(
    past: Sequence[Seen], photo: Float[Tensor, "1 3 h w"], moved: Motion, weight: float
) -> TemporalTarget:
    """What a frame shall look like: at each place the newest frame of the past that shows it
    reliably, 1, 2 or 4 frames back (Ruder et al. 2016, eq. 6 and 7). `moved` is the motion since
    the last frame.

    Their weights c_long are disjoint, so that all of it is one picture and one mask.
    """
    image, mask = torch.zeros_like(photo), torch.zeros_like(photo[:, :1])
    for back in LONG_TERM:
        if back > len(past):
            break
        seen = past[-back]
        motion = moved if back == 1 else flow.motion(seen.photo, photo)
        new = motion.reliable * (1 - mask)
        image, mask = image + new * motion.carried(seen.painted), mask + new
    return TemporalTarget(image, mask, weight)


def camera_after(place: tuple[float, float], moved: Motion | None) -> tuple[float, float]:
    """How far the camera has moved since the shot began, px to the right and down: the median
    motions, added up; 0, 0 where it begins."""
    if moved is None:
        return 0.0, 0.0
    x, y = moved.backward[0].flatten(1).median(1).values.tolist()
    return place[0] + x, place[1] + y


def _begins_shot(before: Tensor, photo: Tensor) -> bool:
    """Whether there is a cut; the flow is looked for only where the colors leave it open."""
    if _histogram_change(before, photo) <= LEAST_CHANGE:
        return False
    return is_cut(before, photo, flow.motion(before, photo))


def _histogram_change(a: Tensor, b: Tensor) -> float:
    """How much of two frames' colors differs, 0 to 1: half the distance of their histograms."""
    counts = []
    for frame in (a, b):
        level = (frame[0, :, ::2, ::2] * BINS).long().clamp_(0, BINS - 1).flatten(1)
        index = (level[0] * BINS + level[1]) * BINS + level[2]
        counts.append(torch.bincount(index, minlength=BINS**3) / index.numel())
    return float((counts[0] - counts[1]).abs().sum()) / 2
