"""Faces and people: as independent implementations find them, and by hand."""

import json
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from impasto import images
from impasto.segmentation import faces, people
from impasto.segmentation.faces import MTCNN, Face, keep_apart
from small import EXAMPLES, REFERENCES


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    """What tools/reference_segmentation.py found in the astronaut."""
    found: dict[str, Any] = json.loads((REFERENCES / "segmentation.json").read_text("utf-8"))
    return found


@pytest.fixture(scope="module")
def whole() -> Tensor:
    return images.read(EXAMPLES / "astronaut.jpg").pixels


def test_the_face_is_where_facenet_pytorch_finds_it(
    reference: dict[str, Any], whole: Tensor
) -> None:
    """Half precision of the weights moves box and landmarks by less than a tenth of a pixel."""
    (face,) = faces.find(whole)
    (box,), (points,) = reference["faces"]["boxes"], reference["faces"]["landmarks"]
    assert face.box == pytest.approx(box[:4], abs=0.1)
    assert face.score == pytest.approx(box[4], abs=1e-3)
    torch.testing.assert_close(torch.tensor(face.landmarks), torch.tensor(points), atol=0.1, rtol=0)


def test_a_larger_photo_has_its_faces_at_its_own_pixels(whole: Tensor) -> None:
    """1600 px are looked at as 1024: the face is 1600 / 512 times as far from the corner."""
    large = F.interpolate(whole, (1600, 1600), mode="bicubic").clamp(0, 1)
    (face,) = faces.find(large)
    (own,) = faces.find(whole)
    assert face.box == pytest.approx([v * 1600 / 512 for v in own.box], abs=20)


def test_a_cat_has_no_face_of_ours_and_nor_has_a_tiny_picture() -> None:
    network = MTCNN()
    assert faces.find(images.read(EXAMPLES / "chelsea.jpg").pixels, network) == []
    assert faces.find(torch.zeros(1, 3, 16, 16), network) == []
    assert faces.find(torch.full((1, 3, 64, 64), 0.5), network) == []


def test_boxes_are_kept_apart_by_hand() -> None:
    """The first two share 5x10 of 15x10, a third: the surer stays if less is allowed. The third
    lies in the first: 5x5 of 100, but all of the smaller."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [0, 0, 5, 5], [40, 40, 50, 50]])
    scores = torch.tensor([0.9, 0.8, 0.7, 0.95])
    assert keep_apart(boxes, scores, 0.34).tolist() == [3, 0, 1, 2]
    assert keep_apart(boxes, scores, 0.33).tolist() == [3, 0, 2]
    assert keep_apart(boxes, scores, 0.2).tolist() == [3, 0]  # 25 of 100
    # sides are counted with both ends there: 6x11 of 11x11, and 6x6 of 6x6
    assert keep_apart(boxes, scores, 0.56, of_smaller=True).tolist() == [3, 0, 1]
    assert keep_apart(boxes[:0], scores[:0], 0.5).tolist() == []


def test_people_are_where_the_file_s_own_graph_finds_them(
    reference: dict[str, Any], whole: Tensor
) -> None:
    network = people.SelfieSegmentation()
    small = images.resize(whole, people.SIDE, people.SIDE).clamp(0, 1)
    found = F.avg_pool2d(network(small), reference["square"])[0, 0]
    torch.testing.assert_close(found, torch.tensor(reference["people"]), atol=2e-4, rtol=0)


def test_small_people_are_looked_for_around_their_faces(whole: Tensor) -> None:
    """The astronaut a tenth as large in a corner: more of her is found beside her face."""
    scene = torch.full((1, 3, 640, 640), 0.6)
    scene[..., 400:528, 60:188] = images.resize(whole, 128, 128).clamp(0, 1)
    left, top, right, bottom = (v / 4 for v in (180.8, 61.4, 268.4, 172.3))
    face = Face((60 + left, 400 + top, 60 + right, 400 + bottom), ((0.0, 0.0),) * 5, 1.0)
    network = people.SelfieSegmentation()
    alone = people.found_in(scene, (), network)
    beside = people.found_in(scene, [face], network)
    assert bool((beside >= alone).all())
    assert float(beside[..., 400:528, 60:188].mean()) > 0.3
    assert float(beside[..., :300, 300:].max()) < 0.5
