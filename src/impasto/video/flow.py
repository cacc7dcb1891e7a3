"""Motion between two frames of a film: optical flow, what it cannot tell, and what flickers.

The flow w from one frame to another says where each of its pixels lies in the other one:

    frame(p) = other(p + w(p))

It is found with OpenCV's DIS (Kroeger et al. 2016, "Fast optical flow using dense inverse
search"), both ways, so that places that only one of the frames shows can be told (Ruder,
Dosovitskiy and Brox 2016, "Artistic style transfer for videos").
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from impasto import images
from impasto.errors import SettingError

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
LONGEST = 320  # px, long side of the frames that the flow of a film is found on
SMALLEST = 16  # px; smaller frames are enlarged, as DIS compares patches of 8 px
ALL_BUT = 0.99  # of an enlarged mask: all around it is reliable

Flow = Float[Tensor, "1 2 h w"]
"""How far to the right and down, px, each pixel lies in the other frame."""
Mask = Float[Tensor, "1 1 h w"]
"""1 where something holds, 0 elsewhere."""


@dataclass(frozen=True, eq=False)
class Motion:
    """How an earlier frame and this one belong together, both of one size."""

    backward: Flow
    """From this frame to the earlier one."""
    reliable: Mask
    """1 where the earlier frame shows what this one does, and the flow can be trusted."""

    def carried(self, earlier: Float[Tensor, "1 c h w"]) -> Float[Tensor, "1 c h w"]:
        """A picture of the earlier frame, moved to where its things are in this one."""
        return warp(earlier, self.backward)


def between(frame: Float[Tensor, "1 3 h w"], other: Float[Tensor, "1 3 h w"]) -> Flow:
    """The flow from one frame to another: DIS with its preset `medium`, on the frames' luma.

    SettingError where OpenCV is not installed.
    """
    library, search = _search()
    before = library.getNumThreads()
    library.setNumThreads(torch.get_num_threads())
    try:
        found = search.calc(_luma(frame), _luma(other), None)
    finally:
        library.setNumThreads(before)
    return torch.from_numpy(found).permute(2, 0, 1)[None].contiguous()


def motion(
    earlier: Float[Tensor, "1 3 h w"], frame: Float[Tensor, "1 3 h w"], longest: int = LONGEST
) -> Motion:
    """How two frames belong together, found at a long side of at most `longest` px, and enlarged:
    at 320 px the flow of a film of 640 px is 0.1 px worse, in a third of the time."""
    height, width = frame.shape[-2:]
    scale = max(min(1.0, longest / max(height, width)), SMALLEST / min(height, width))
    if scale == 1:
        backward, forward = between(frame, earlier), between(earlier, frame)
        return Motion(backward, reliable(backward, forward))
    size = round(height * scale), round(width * scale)
    small, before = images.resize(frame, *size), images.resize(earlier, *size)
    backward, forward = between(small, before), between(before, small)
    ratio = torch.tensor([width / size[1], height / size[0]]).view(1, 2, 1, 1)
    enlarge = partial(F.interpolate, size=(height, width), mode="bilinear", align_corners=False)
    trusted = enlarge(reliable(backward, forward)) > ALL_BUT
    return Motion(enlarge(backward) * ratio, trusted.float())


def warp(image: Float[Tensor, "1 c h w"], flow: Flow, mode: str = "bicubic") -> Tensor:
    """The image sampled at p + flow(p): moved against the flow. Its border is repeated outside."""
    height, width = flow.shape[-2:]
    x = torch.arange(width, dtype=flow.dtype) + flow[:, 0]
    y = torch.arange(height, dtype=flow.dtype)[:, None] + flow[:, 1]
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)
    return F.grid_sample(image, grid, mode, padding_mode="border", align_corners=False)


def reliable(backward: Flow, forward: Flow) -> Mask:
    """Where the flow to the earlier frame can be trusted: neither disoccluded, nor on the edge of
    something that moves, nor from outside the earlier frame (Ruder et al. 2016, section 4.2)."""
    good = ~disoccluded(backward, forward) & ~on_boundary(backward)
    height, width = backward.shape[-2:]
    x = torch.arange(width) + backward[:, :1]
    y = torch.arange(height)[:, None] + backward[:, 1:]
    inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    return (good & inside).float()


def disoccluded(backward: Flow, forward: Flow) -> Tensor:
    """Where this frame shows what the earlier one did not: there and back is not back again.

        |w + w'|^2 >= 0.01 (|w|^2 + |w'|^2) + 0.5

    with w' the flow backward and w the flow forward at the place it leads to: w(p + w'(p)).
    """
    there = warp(forward, backward, "bilinear")
    apart = (there + backward).square().sum(1, keepdim=True)
    lengths = there.square().sum(1, keepdim=True) + backward.square().sum(1, keepdim=True)
    return apart >= 0.01 * lengths + 0.5


def on_boundary(backward: Flow) -> Tensor:
    """Where the flow w' = (u, v) changes from one pixel to the next, which it does unreliably:

    |grad u|^2 + |grad v|^2 > 0.01 |w'|^2 + 0.002
    """
    down, right = torch.gradient(backward, dim=(2, 3))
    slope = (down.square() + right.square()).sum(1, keepdim=True)
    return slope > 0.01 * backward.square().sum(1, keepdim=True) + 0.002


def flicker(
    frames: Iterable[Float[Tensor, "1 3 h w"]], painted: Iterable[Float[Tensor, "1 3 h w"]]
) -> float:
    """How much painted frames change where the film itself does not: the mean over all pairs of
    neighbors of `warping_error`. The flow is that of the film's own frames, at full size."""
    found = [
        warping_error(motion(a, b, max(a.shape)), before, after)
        for (a, before), (b, after) in pairwise(zip(frames, painted, strict=True))
    ]
    return float(np.mean(found)) if found else 0.0


def warping_error(
    moved: Motion, before: Float[Tensor, "1 3 h w"], after: Float[Tensor, "1 3 h w"]
) -> float:
    """The mean square difference of a painted frame and the one before, carried along the flow:

        E = sum_p M(p) |after(p) - before(p + w'(p))|^2 / (3 sum_p M(p))

    over the places M that can be trusted, bilinearly sampled; 0 where there are none. Lai et al.
    2018, "Learning blind video temporal consistency", eq. 9, here a mean over the channels, too.
    """
    change = (after - warp(before, moved.backward, "bilinear")).square() * moved.reliable
    return float(change.sum() / (3 * moved.reliable.sum()).clamp_min(1))


def _luma(frame: Tensor) -> NDArray[np.uint8]:
    """A frame's luma, 0 to 255."""
    gray = (frame[0] * torch.tensor(LUMA).view(3, 1, 1)).sum(0)
    values = (gray * 255).round_().clamp_(0, 255)
    return np.ascontiguousarray(values.to(torch.uint8).numpy())


@cache
def _search() -> tuple[Any, Any]:
    """OpenCV, and its DIS with buffers, kept from frame to frame."""
    try:
        import cv2
    except ImportError:
        raise SettingError(
            "films need a library more, for the flow between frames: pip install 'impasto[video]'"
        ) from None
    return cv2, cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
