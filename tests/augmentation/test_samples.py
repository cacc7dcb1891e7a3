"""Which of a sample's parts are pictures, and what becomes of all the others."""

import sys
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from types import MappingProxyType, ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from impasto.augmentation.transform import StyleTransfer
from impasto.errors import PictureError

Pair = namedtuple("Pair", ["image", "label"])

pytestmark = pytest.mark.usefixtures("cache")


def test_labels_and_all_else_pass_through(batch: Tensor, always: StyleTransfer) -> None:
    """Of two tensors that may be the picture it is the first."""
    picture, mask = batch[0], batch[1]
    painted = always(picture)
    assert not torch.equal(painted, picture)
    label = torch.tensor(3)
    found = always(picture, label)
    assert isinstance(found, tuple)
    assert torch.equal(found[0], painted)
    assert found[1] is label
    sample = {"label": label, "image": picture, "more": [mask, ("name", None, 0.5)]}
    made = always(sample)
    assert list(made) == list(sample)
    assert torch.equal(made["image"], painted)
    assert made["more"][0] is mask
    assert made["more"][1] == ("name", None, 0.5)
    assert sample["image"] is picture  # the sample itself is as it was
    pair = always(Pair(picture, 7))
    assert isinstance(pair, Pair)
    assert pair.label == 7


@pytest.fixture
def tv(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], type[Tensor]]:
    """Stand-ins for torchvision's own types: subclasses of Tensor with that name and home."""
    home = ModuleType("torchvision.tv_tensors._types")
    monkeypatch.setitem(sys.modules, home.__name__, home)
    return lambda name: type(name, (Tensor,), {"__module__": home.__name__})


def test_torchvisions_own_types_are_known_without_it(
    batch: Tensor, always: StyleTransfer, tv: Callable[[str], type[Tensor]]
) -> None:
    """Of `Mask`, `BoundingBoxes`, `Image` and plain tensors the image is painted, and of a type
    that one made of it; if there is none, the plain tensor is."""
    kind = tv("Image")
    image, mine = batch[0].as_subclass(kind), batch[2].as_subclass(type("Mine", (kind,), {}))
    mask = batch[3, :1].as_subclass(tv("Mask"))
    boxes = torch.zeros(2, 1, 4).as_subclass(tv("BoundingBoxes"))
    sample = (mask, boxes, batch[1], image, mine)
    found = always(*sample)
    assert all(found[n] is sample[n] for n in range(3))
    assert type(found[3]) is kind
    assert type(found[4]) is type(mine)
    assert torch.equal(found[3].as_subclass(Tensor), always(batch[0]))
    assert torch.equal(found[4].as_subclass(Tensor), always(batch[2]))
    found = always({"mask": mask, "boxes": boxes, "image": batch[0]})
    assert found["mask"] is mask
    assert found["boxes"] is boxes
    assert torch.equal(found["image"], always(batch[0]))
    with pytest.raises(PictureError, match=r"no picture in a sample of Mask \(1, 32, 32\)"):
        always(mask)


def test_the_frames_of_a_video_draw_once(
    batch: Tensor, always: StyleTransfer, tv: Callable[[str], type[Tensor]]
) -> None:
    kind = tv("Video")
    clips = batch.view(2, 3, 3, 32, 32)
    found, label = always(clips.as_subclass(kind), 1)
    assert (type(found), label) == (kind, 1)
    for clip, one in zip(clips, found.as_subclass(Tensor), strict=True):
        assert torch.equal(one, always.paint(clip, [always.draw(clip[0])] * 3))
    assert not torch.equal(found.as_subclass(Tensor), always(clips))


ONE_HOT = torch.nn.functional.one_hot(torch.arange(32 * 32).view(32, 32) % 3, 3).permute(2, 0, 1)


@pytest.mark.parametrize(
    "labels",
    [
        torch.arange(32 * 32).view(1, 32, 32).remainder(21).byte(),  # a label map
        torch.rand(1, 32, 32),  # a map of depths
        ONE_HOT.byte(),
        ONE_HOT.float(),
        torch.rand(3, 32, 32).softmax(0),  # soft labels of 3 classes
        torch.rand(3, 10).softmax(1),
        torch.zeros(3, dtype=torch.int64),
    ],
)
def test_labels_before_the_picture_are_handed_on(
    batch: Tensor, always: StyleTransfer, labels: Tensor
) -> None:
    """A departure from torchvision, which paints the first plain tensor whatever it is."""
    found = always(labels, batch[0], labels)
    assert found[0] is labels
    assert found[2] is labels
    assert torch.equal(found[1], always(batch[0]))


def test_label_maps_of_a_batch_are_handed_on(batch: Tensor, always: StyleTransfer) -> None:
    """Three of them have the shape of a picture, and one that of a gray one."""
    for count in (3, 1):
        labels = torch.zeros(count, 32, 32, dtype=torch.uint8)
        found, painted = always(labels, batch[:count])
        assert found is labels
        assert torch.equal(painted, always(batch[:count]))


def test_a_gray_picture_before_one_hot_labels_is_painted(
    batch: Tensor, always: StyleTransfer
) -> None:
    gray = batch[:1, :1]
    found, labels = always(gray, ONE_HOT.byte())
    assert torch.equal(found, always(gray))
    assert torch.equal(labels, ONE_HOT)
    assert not torch.equal(found, gray)


def test_a_pil_label_map_beside_a_picture_is_handed_on(
    batch: Tensor, always: StyleTransfer
) -> None:
    image = Image.fromarray(batch[1].permute(1, 2, 0).numpy())
    for labels in (image.convert("P"), image.convert("L"), image.convert("1")):
        found, painted = always(labels, image)
        assert found is labels
        assert np.array_equal(np.asarray(painted), always(batch[1]).permute(1, 2, 0).numpy())
    with pytest.raises(PictureError, match="mode is P: convert it to RGB first"):
        always(image.convert("P"), 3)


class Sample(dict[str, object]):
    """A dict that is made of something else than a dict."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)


class Parts(list[object]):
    """A list that is made of something else than a list."""

    def __init__(self, name: str, *parts: object) -> None:
        super().__init__(parts)
        self.name = name


def test_containers_stay_of_their_kind(batch: Tensor, always: StyleTransfer) -> None:
    picture, expected = batch[0], always(batch[0])
    counts = defaultdict(list, image=picture, label=3)
    found = always(counts)
    assert type(found) is defaultdict
    assert found["more"] == []
    assert torch.equal(found["image"], expected)
    assert counts["image"] is picture  # the sample itself is as it was
    sample = Sample("a")
    sample["image"] = picture
    parts = Parts("b", sample, {"boxes": [1, 2]})
    made = always(OrderedDict(label=1, parts=parts), Pair(1, 2))
    assert [type(part) for part in made] == [OrderedDict, Pair]
    assert type(made[0]["parts"]) is Parts
    assert made[0]["parts"].name == "b"
    assert made[0]["parts"][1] is parts[1]
    found = made[0]["parts"][0]
    assert type(found) is Sample
    assert found["name"] == "a"
    assert torch.equal(found["image"], expected)
    assert parts[0]["image"] is picture
    frozen = always(MappingProxyType({"image": picture}))
    assert type(frozen) is MappingProxyType
    assert torch.equal(frozen["image"], expected)
