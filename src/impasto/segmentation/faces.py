"""Faces in a photo, each with its box and five landmarks: MTCNN.

Zhang, Zhang, Li and Qiao 2016, "Joint face detection and alignment using multitask cascaded
convolutional networks", with the weights and the arithmetic of facenet-pytorch 2.6.0: P-Net looks
at every place of a pyramid of small copies, R-Net and O-Net look again at what it proposes.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from impasto import images, weights
from impasto.images import fit

LONGEST = 1024  # px, long side of the photo in which faces are looked for
SMALLEST = 20  # px there, side of the smallest face, as the authors have it
CELL, STRIDE = 12, 2  # px that P-Net sees at each place, and between two places
SHRINK = 0.709  # from one copy of the pyramid to the next: about half the area
THRESHOLDS = (0.6, 0.7, 0.7)
"""How sure each of the three networks must be, 0 to 1."""
AT_ONCE = 256  # candidates in one pass of a network: P-Net may propose thousands
OVERLAPS = (0.5, 0.7, 0.7)
"""How much two candidates may overlap: in one copy, in all, and after each later network."""

Boxes = Float[Tensor, "n 4"]
"""Left, top, right, bottom, px."""


@dataclass(frozen=True)
class Face:
    """A face that was found, in px of the photo."""

    box: tuple[float, float, float, float]
    """Left, top, right, bottom."""
    landmarks: tuple[tuple[float, float], ...]
    """x, y of the eye on the left in the picture, the one on the right, the tip of the nose, and
    the corners of the mouth, left and right."""
    score: float
    """How sure the last network is, 0 to 1."""


class MTCNN:
    """The three networks. Raises WeightsError where their file is missing or damaged."""

    def __init__(self) -> None:
        self.tensors = {name: t.float() for name, t in weights.load("mtcnn").items()}

    def proposals(self, x: Float[Tensor, "1 3 h w"]) -> tuple[Tensor, Tensor]:
        """P-Net: a score for each place, h' w', and corrections of its box, 4 h' w'."""
        x = F.max_pool2d(self._convolved("pnet", 1, x), 2, 2, ceil_mode=True)
        x = self._convolved("pnet", 3, self._convolved("pnet", 2, x))
        scores = F.conv2d(x, *self._layer("pnet.conv4_1")).softmax(1)
        return scores[0, 1], F.conv2d(x, *self._layer("pnet.conv4_2"))[0]

    def refined(self, x: Float[Tensor, "n 3 24 24"]) -> tuple[Tensor, Tensor]:
        """R-Net: a score for each candidate, n, and corrections of its box, n 4."""
        for number in (1, 2):
            x = F.max_pool2d(self._convolved("rnet", number, x), 3, 2, ceil_mode=True)
        x = self._dense("rnet", 4, self._convolved("rnet", 3, x))
        scores = F.linear(x, *self._layer("rnet.dense5_1")).softmax(1)
        return scores[:, 1], F.linear(x, *self._layer("rnet.dense5_2"))

    def settled(self, x: Float[Tensor, "n 3 48 48"]) -> tuple[Tensor, Tensor, Tensor]:
        """O-Net: scores, n, corrections, n 4, and landmarks in parts of the box, n 10: five x,
        then five y."""
        for number, side in ((1, 3), (2, 3), (3, 2)):
            x = F.max_pool2d(self._convolved("onet", number, x), side, 2, ceil_mode=True)
        x = self._dense("onet", 5, self._convolved("onet", 4, x))
        heads = [F.linear(x, *self._layer(f"onet.dense6_{head}")) for head in (1, 2, 3)]
        return heads[0].softmax(1)[:, 1], heads[1], heads[2]

    def _layer(self, name: str) -> tuple[Tensor, Tensor]:
        return self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]

    def _convolved(self, net: str, number: int, x: Tensor) -> Tensor:
        x = F.conv2d(x, *self._layer(f"{net}.conv{number}"))
        return F.prelu(x, self.tensors[f"{net}.prelu{number}.weight"])

    def _dense(self, net: str, number: int, x: Tensor) -> Tensor:
        x = F.linear(x.flatten(1), *self._layer(f"{net}.dense{number}"))
        return F.prelu(x, self.tensors[f"{net}.prelu{number}.weight"])


@torch.no_grad()
def find(photo: Float[Tensor, "1 3 h w"], network: MTCNN | None = None) -> list[Face]:
    """The faces in a photo, RGB in [0, 1], the surest first; none where there is none.

    Faces of less than about 2 % of the photo's long side are too small to be found.
    """
    network = MTCNN() if network is None else network
    height, width = photo.shape[-2:]
    scale = min(1.0, LONGEST / max(height, width))
    size = fit((width, height), max(1, round(scale * max(height, width))))
    small = images.resize(photo, size[1], size[0]).clamp(0, 1) * 255
    boxes = _proposed(network, small)
    if len(boxes):
        boxes = _refined(network, small, boxes)
    if not len(boxes):
        return []
    boxes, points, scores = _settled(network, small, boxes)
    factor = boxes.new_tensor([width / size[0], height / size[1]])
    corners, places = (boxes.view(-1, 2, 2) * factor).flatten(1), points * factor
    return [
        Face((box[0], box[1], box[2], box[3]), tuple((x, y) for x, y in five), score)
        for box, five, score in zip(corners.tolist(), places.tolist(), scores.tolist(), strict=True)
    ]


def _proposed(network: MTCNN, photo: Float[Tensor, "1 3 h w"]) -> Boxes:
    """Square boxes that P-Net proposes, over all copies of the photo (values 0 to 255)."""
    height, width = photo.shape[-2:]
    scale, found = CELL / SMALLEST, [photo.new_zeros(0, 9)]
    while min(height, width) * scale >= CELL:
        size = int(height * scale + 1), int(width * scale + 1)
        scores, moves = network.proposals(_centered(F.interpolate(photo, size, mode="area")))
        rows, columns = torch.nonzero(scores >= THRESHOLDS[0], as_tuple=True)
        places = torch.stack([columns, rows], 1) * STRIDE
        boxes = torch.cat([(places + 1) / scale, (places + CELL) / scale], 1).floor()
        sure = scores[rows, columns][:, None]
        kept = keep_apart(boxes, sure[:, 0], OVERLAPS[0])
        found.append(torch.cat([boxes, sure, moves[:, rows, columns].T], 1)[kept])
        scale *= SHRINK
    every = torch.cat(found)
    every = every[keep_apart(every[:, :4], every[:, 4], OVERLAPS[1])]
    boxes, sides = every[:, :4], every[:, 2:4] - every[:, :2]
    return _squared(boxes + every[:, 5:] * sides.repeat(1, 2))


def _refined(network: MTCNN, photo: Float[Tensor, "1 3 h w"], boxes: Boxes) -> Float[Tensor, "m 4"]:
    """The square boxes that R-Net is sure of, each of them once."""
    found = [network.refined(part) for part in _candidates(photo, boxes, 24)]
    scores, moves = (torch.cat(parts) for parts in zip(*found, strict=True))
    sure = scores > THRESHOLDS[1]
    boxes, scores, moves = boxes[sure], scores[sure], moves[sure]
    kept = keep_apart(boxes, scores, OVERLAPS[1])
    return _squared(_moved(boxes[kept], moves[kept]))


def _settled(
    network: MTCNN, photo: Float[Tensor, "1 3 h w"], boxes: Boxes
) -> tuple[Float[Tensor, "m 4"], Float[Tensor, "m 5 2"], Float[Tensor, " m"]]:
    """The boxes that O-Net is sure of, each of them once, with landmarks and scores."""
    found = [network.settled(part) for part in _candidates(photo, boxes, 48)]
    scores, moves, marks = (torch.cat(parts) for parts in zip(*found, strict=True))
    sure = scores > THRESHOLDS[2]
    boxes, scores, moves, marks = boxes[sure], scores[sure], moves[sure], marks[sure]
    sides = boxes[:, None, 2:] - boxes[:, None, :2] + 1
    points = marks.view(-1, 2, 5).transpose(1, 2) * sides + boxes[:, None, :2] - 1
    boxes = _moved(boxes, moves)
    kept = keep_apart(boxes, scores, OVERLAPS[2], of_smaller=True)
    return boxes[kept], points[kept], scores[kept]


def keep_apart(
    boxes: Boxes, scores: Float[Tensor, " n"], overlap: float, of_smaller: bool = False
) -> Int[Tensor, " k"]:
    """The numbers of the surest boxes, the surest first, of which no two overlap by more (non-
    maximum suppression): a share of their union, or of the smaller one. Equally sure: the first.
    """
    order, kept = torch.argsort(scores, descending=True, stable=True), []
    extra = 1.0 if of_smaller else 0.0  # as the authors' NMS for the last network counts sides
    areas = (boxes[:, 2:] - boxes[:, :2] + extra).prod(1)
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        low = torch.maximum(boxes[best, :2], boxes[order, :2])
        high = torch.minimum(boxes[best, 2:], boxes[order, 2:])
        common = (high - low + extra).clamp_min(0).prod(1)
        joint = areas[best] + areas[order] - common
        of = torch.minimum(areas[best], areas[order]) if of_smaller else joint
        order = order[common <= overlap * of]
    return torch.stack(kept) if kept else order


def _candidates(photo: Float[Tensor, "1 3 h w"], boxes: Boxes, side: int) -> list[Tensor]:
    """What the boxes show, each shrunk or enlarged to a square of that side, in batches; what lies
    outside the photo is cut off, and the rest stretched."""
    height, width = photo.shape[-2:]
    whole = boxes.trunc().long()
    low = whole[:, :2].clamp_min(1) - 1  # MATLAB counts from 1
    low = torch.minimum(low, torch.tensor([width - 1, height - 1]))
    high = torch.minimum(whole[:, 2:], torch.tensor([width, height]))
    high = torch.maximum(high, low + 1)
    squares = [
        F.interpolate(photo[..., top:bottom, left:right], (side, side), mode="area")
        for (left, top), (right, bottom) in zip(low.tolist(), high.tolist(), strict=True)
    ]
    return [_centered(part) for part in torch.split(torch.cat(squares), AT_ONCE)]


def _centered(values: Tensor) -> Tensor:
    """Values of 0 to 255 as the networks take them, -1 to 1."""
    return (values - 127.5) / 128


def _moved(boxes: Boxes, moves: Float[Tensor, "n 4"]) -> Boxes:
    """The boxes with corrections, which are in parts of their sides."""
    return boxes + moves * (boxes[:, 2:] - boxes[:, :2] + 1).repeat(1, 2)


def _squared(boxes: Boxes) -> Boxes:
    """Squares of the longer side around the boxes' middles."""
    sides = boxes[:, 2:] - boxes[:, :2]
    low = boxes[:, :2] + sides / 2 - sides.amax(1, keepdim=True) / 2
    return torch.cat([low, low + sides.amax(1, keepdim=True)], 1)
