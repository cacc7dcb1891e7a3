"""Masks by a word and from clicks: the guided filter by hand, regions, words, errors."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from PIL import Image

import impasto
from impasto import images, segmentation
from impasto.errors import PictureError, SettingError
from impasto.images import Picture
from impasto.segmentation import clicks, words
from impasto.segmentation.faces import Face
from impasto.segmentation.guided_filter import coefficients, guided
from small import EXAMPLES

ASTRONAUT = EXAMPLES / "astronaut.jpg"


def test_the_guided_filter_by_hand() -> None:
    """Three pixels, a radius of 1, a gray guide 0, 1, 1 and the mask 0, 1, 0.

    In the middle window the guide has the mean 2/3 and the variance 2/9, the mask the mean 1/3,
    and their product 1/3 - 2/9 = 1/9. The guide is the same in all channels, so (Sigma + e) a = k
    is (3 v + e) a = k in each: a = (1/9) / (2/3 + e). e is 1/3: a = 1/9, b = 1/3 - 3 (1/9)(2/3).
    """
    guide = torch.tensor([0.0, 1, 1]).view(1, 1, 1, 3).expand(1, 3, 1, 3)
    mask = torch.tensor([0.0, 1, 0]).view(1, 1, 1, 3)
    a, b = coefficients(guide, mask, 1, 1 / 3)
    torch.testing.assert_close(a[0, :, 0, 1], torch.full((3,), 1 / 9))
    assert float(b[0, 0, 0, 1]) == pytest.approx(1 / 3 - 2 / 9)


@given(some.floats(0, 1))
def test_a_flat_mask_stays_flat(value: float) -> None:
    photo = torch.rand(1, 3, 24, 20, generator=torch.Generator().manual_seed(0))
    mask = torch.full((1, 1, 24, 20), value)
    torch.testing.assert_close(guided(mask, photo), mask, atol=1e-4, rtol=0)


def test_an_edge_moves_to_where_the_photo_has_it() -> None:
    """The photo turns white at 32 of 64 px, the mask at 29: the filtered mask jumps at 32, too."""
    photo, mask = torch.zeros(1, 3, 32, 64), torch.zeros(1, 1, 32, 64)
    photo[..., 32:], mask[..., 29:] = 1, 1
    found = guided(mask, photo, radius=6 / 64)[0, 0, 16]
    jumps = found.diff()
    assert int(jumps.argmax()) == 31
    assert float(jumps[31]) > 5 * float(jumps[:31].abs().max())
    enlarged = guided(torch.ones(1, 1, 700, 30), torch.rand(1, 3, 700, 30))
    assert enlarged.shape == (1, 1, 700, 30)  # a and b are found on fewer px
    torch.testing.assert_close(enlarged, torch.ones(1, 1, 700, 30), atol=1e-3, rtol=0)


def test_a_region_hangs_together_over_gaps() -> None:
    """Places 0 to 9 and 14 to 19 of a row are alike: the gap of four is bridged, one of six not."""
    mask = torch.zeros(3, 40, dtype=torch.bool)
    mask[1, :10] = mask[1, 14:20] = mask[1, 26:] = True
    seeds = torch.zeros_like(mask)
    seeds[1, 3] = True
    assert clicks.GAP == 5
    assert clicks.connected(mask, seeds)[1].nonzero().flatten().tolist() == [
        *range(10), *range(14, 20)
    ]  # fmt: skip


def test_near_is_the_lowest_of_three_classes() -> None:
    values = torch.tensor([0.0, 0.01, 0.02, 0.5, 0.51, 0.99, 1.0, 1.0]).repeat(5, 1)
    assert 0.02 < clicks.near(values) < 0.5


def test_a_sky_takes_one_click() -> None:
    """The temple's: all of the sky, nothing of the temple or the trees."""
    photo = images.read(EXAMPLES / "china.jpg")
    mask = words.from_clicks(photo, [(320, 40)])[0, 0]
    assert float(mask[:60, 300:600].mean()) > 0.98
    assert float(mask[200:380, 120:280].mean()) < 0.02
    assert float(mask[330:, :].mean()) < 0.1


def test_clicks_are_in_px_of_the_photo_s_own_size() -> None:
    photo = images.read(ASTRONAUT)
    half = Picture(images.resize(photo.pixels, 256, 256), None, "small", shrunk_from=(512, 512))
    found = words.from_clicks(half, [(150, 380)])[0, 0]
    assert float(found[180:200, 65:85].mean()) > 0.9  # the suit, which is there at half the size
    with pytest.raises(SettingError, match=r"click 600,5 is outside the photo, which is 512x512"):
        words.from_clicks(half, [(600, 5)])
    with pytest.raises(SettingError, match="outside"):
        clicks.check([(-1, 0)], (10, 10))


def test_an_ellipse_leans_with_the_face() -> None:
    """Eyes to the left of the mouth: the face lies on its side, wide where it else was high."""
    points = [(50.0, 50.0), (70.0, 50.0), (60.0, 60.0), (52.0, 75.0), (68.0, 75.0)]
    upright = Face((40.0, 30.0, 80.0, 90.0), tuple(points), 1.0)
    mask = words.ellipses([upright], (120, 120))[0, 0]
    assert float(mask[60, 60]) == 1
    assert float(mask[60, 5]) == float(mask[5, 60]) == 0
    assert int((mask[:, 60] > 0.5).sum()) == pytest.approx(60 * 1.2, abs=1)
    assert int((mask[56] > 0.5).sum()) == pytest.approx(40 * 1.12, abs=1)
    lying = Face((30.0, 30.0, 90.0, 90.0), tuple((y, x) for x, y in points), 1.0)
    found = words.ellipses([lying], (120, 120))[0, 0]
    assert int((found[60] > 0.5).sum()) > int((found[:, 56] > 0.5).sum())
    assert float(words.ellipses([], (9, 9)).sum()) == 0


def test_words_mean_the_face_the_person_and_the_rest() -> None:
    photo = images.read(ASTRONAUT)
    face, person = (segmentation.mask_of(photo, word)[0, 0] for word in ("face", "person"))
    assert float(face[90:150, 200:250].min()) > 0.8
    assert float(face[250:].max()) < 0.05
    assert float(person[300:400, 150:250].min()) > 0.7
    assert float(person[20:120, 330:400].max()) < 0.3
    background = segmentation.mask_of(photo, "background")[0, 0]
    torch.testing.assert_close(background, 1 - person, rtol=0, atol=0)


def test_find_mask_gives_an_image_of_the_photo_s_size(tmp_path: Path) -> None:
    found = impasto.find_mask(ASTRONAUT, "face")
    assert isinstance(found, Image.Image)
    assert (found.mode, found.size) == ("L", (512, 512))
    expected = segmentation.mask_of(images.read(ASTRONAUT), "face")[0, 0] * 255
    assert np.abs(np.asarray(found) - expected.numpy()).max() <= 0.5
    clicked = np.asarray(impasto.find_mask(ASTRONAUT, clicks=[(150, 380)]))
    assert clicked[370:390, 140:160].mean() > 230


def test_what_cannot_be_found_is_said_with_what_to_do() -> None:
    china = images.read(EXAMPLES / "china.jpg")
    for word, what in (("face", "face"), ("person", "person"), ("background", "person")):
        with pytest.raises(PictureError, match=rf"no {what} is found in 'china.jpg'.*--click"):
            segmentation.mask_of(china, word)
    nothing = segmentation.found(china, "face", empty=True)
    assert (float(nothing.mask.max()), nothing.faces) == (0, 0)
    assert nothing.note == "no face is found in 'china.jpg'"
    assert float(segmentation.found(china, "background", empty=True).mask.min()) == 1
    with pytest.raises(SettingError, match="no mask is called 'sky': choose from face, person"):
        impasto.find_mask(ASTRONAUT, "sky")
    for wrong in ({}, {"word": "face", "clicks": [(1, 1)]}):
        with pytest.raises(SettingError, match="the one or the other"):
            impasto.find_mask(ASTRONAUT, **wrong)  # type: ignore[arg-type]


def test_a_person_without_a_face_is_doubted() -> None:
    """MediaPipe's network takes what is near the camera for a person, as a cat or a cup."""
    finding = segmentation.found(images.read(EXAMPLES / "chelsea.jpg"), "person")
    assert finding.note == (
        "no face is found in 'chelsea.jpg': look whether person is what you mean"
    )
    assert segmentation.found(images.read(ASTRONAUT), "person").note is None


def test_a_word_stands_before_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert segmentation.stands_before("face") is None
    Path("face").touch()
    said = segmentation.stands_before("face")
    assert said == "face is found in the photo; ./face means the file of that name"
    assert segmentation.is_word("face")
    assert not any(map(segmentation.is_word, (Path("face"), "./face", "Face", None, 7)))
    segmentation.check_word("./nothing.png")
    segmentation.check_word("face")
    with pytest.raises(PictureError, match=r"'persons', and no mask: did you mean 'person'\?"):
        segmentation.check_word("persons")
