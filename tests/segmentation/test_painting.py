"""Masks by words where pictures and films are painted: kept softly, recorded, carried along."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import impasto as api
from impasto import images, segmentation
from impasto.errors import PictureError, SettingError
from impasto.scene import Region, Scene
from impasto.segmentation import Finding
from impasto.settings import settings_for
from impasto.video import Clip, Film, flow
from small import EXAMPLES, SMALL, SMALL_WORDS, Run, elsewhere

ASTRONAUT = EXAMPLES / "astronaut.jpg"
HEAD = 100, 0, 340, 240  # px of the astronaut


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The astronaut's head, 160x160 px."""
    path = tmp_path_factory.mktemp("head") / "head.png"
    with Image.open(ASTRONAUT) as image:
        image.convert("RGB").crop(HEAD).resize((160, 160)).save(path)
    return path


def half(side: int = 160) -> np.ndarray:
    """A mask: white on the left."""
    mask = np.zeros((side, side), np.uint8)
    mask[:, : side // 2] = 255
    return mask


def scene_of(head: Path, **words: Any) -> Scene:
    settings = settings_for(**SMALL, **{k: words.pop(k) for k in ("keep_strength",) if k in words})
    return Scene(head, "great-wave", settings, **words)


def test_where_it_is_kept_a_part_of_what_is_painted_shows(head: Path) -> None:
    """On the left 0.2 of a strength of 0.5 shows, so 0.4 of white over the photo; right all."""
    scene = scene_of(head, keep=half())
    white, photo = torch.ones(1, 3, 160, 160), scene.photo.pixels
    made = scene.finish(white)
    torch.testing.assert_close(made[..., :80], torch.lerp(photo, white, 0.4)[..., :80])
    torch.testing.assert_close(made[..., 80:], white[..., 80:], rtol=0, atol=0)
    assert scene.at((160, 160)).areas == [None]  # it is painted as without
    assert scene.sources["keep"] is None


def test_kept_at_0_is_the_photo_and_at_its_own_strength_all_of_the_painting(head: Path) -> None:
    white = torch.ones(1, 3, 160, 160)
    alone = scene_of(head, keep=half(), keep_strength=0.0)
    torch.testing.assert_close(
        alone.finish(white)[..., :80], alone.photo.pixels[..., :80], rtol=0, atol=0
    )
    for strength in (0.5, 0.9):
        scene = scene_of(head, keep=half(), keep_strength=strength)
        assert scene.at((160, 160)).shown is None
        assert scene.finish(white) is white


def test_keep_goes_through_regions_and_stays_inside_the_mask(head: Path) -> None:
    """A region of strength 0.1 on the upper half, which is faint anyway; the rest has 0.5, of which
    0.4 shows on the left; nothing is painted from column 120 on."""
    upper, mask = half().T.copy(), np.full((160, 160), 255, np.uint8)
    mask[:, 120:] = 0
    regions = [Region("poppies", upper, strength=0.1)]
    shown = scene_of(head, keep=half(), mask=mask, regions=regions).at((160, 160)).shown
    assert shown is not None
    expected = torch.ones(160, 160)
    expected[80:, :80], expected[:, 120:] = 0.4, 0
    torch.testing.assert_close(shown[0, 0], expected)


def test_a_word_is_recorded_and_found_once(head: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, asked = segmentation.found, []
    monkeypatch.setattr(segmentation, "found", lambda *a: asked.append(a[1]) or found(*a))
    scene = scene_of(head, keep="face", mask="face", regions=[Region("poppies", "person")])
    assert asked == ["face", "person"]
    assert scene.sources["mask"] == scene.sources["keep"] == "face"
    assert [region["mask"] for region in scene.sources["regions"]] == ["person", None]
    assert scene.fingerprints["keep"] == scene.fingerprints["mask"]
    assert scene.notes == []


def test_a_file_of_that_name_is_meant_by_its_path(
    head: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(half()).save("face", "PNG")
    scene = scene_of(head, keep=Path("face"))
    assert scene.sources["keep"] == "./face"
    assert scene.words == {}
    noted = scene_of(head, keep="face")
    assert noted.notes == ["face is found in the photo; ./face means the file of that name"]
    with pytest.raises(PictureError, match="'faec', and no mask: did you mean 'face'"):
        scene_of(head, mask="faec")


def test_the_command_makes_a_mask(impasto: Run, head: Path, tmp_path: Path) -> None:
    photo = tmp_path / "me.png"
    photo.write_bytes(head.read_bytes())
    status, out, err = impasto("mask", photo, "face", "--json")
    facts = json.loads(out)
    assert status == 0
    assert facts["output"] == str(tmp_path / "me-face.png")
    assert (facts["width"], facts["height"], facts["faces"]) == (160, 160, 1)
    assert 0.1 < facts["share"] < 0.5
    assert "wrote" in err
    assert images.read(tmp_path / "me-face.png").size == (160, 160)
    status, _, err = impasto("mask", photo, "face")
    assert (status, "--force" in err) == (2, True)
    assert impasto("mask", photo, "face", "--force", "-q")[0::2] == (0, "")
    assert impasto("mask", photo, "--click", "80,8", "--click", "8,100")[0] == 0
    assert (tmp_path / "me-mask.png").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name face, person or background, or point with --click"),
        (("face", "--click", "1,1"), "the one or the other"),
        (("--click", "middle"), "--click is 'middle': write x,y in px"),
        (("--click", "5,900"), "outside the photo, which is 160x160 px"),
        (("face", "-o", "mask.xyz"), "xyz"),
        (("sky",), "sky"),
    ],
)
def test_what_the_command_refuses(
    words: tuple[str, ...], said: str, impasto: Run, head: Path,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    status, out, err = impasto("mask", head, *words)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert said in err
    assert list(tmp_path.iterdir()) == []


def test_no_face_is_said_and_nothing_written(impasto: Run, photo: Path, tmp_path: Path) -> None:
    for words in (("mask", photo, "face"), ("stylize", photo, "poppies", "--keep", "face")):
        status, _, err = impasto(*words, "-o", tmp_path / "out.png")
        assert status == 2
        assert "no face is found in 'photo.png': give a mask file, or make one with" in err
    assert list(tmp_path.iterdir()) == []


def test_a_picture_with_words_is_painted_again_bit_for_bit(
    impasto: Run, head: Path, tmp_path: Path
) -> None:
    """`rerun` finds the words of mask, keep and region in the recipe; `--resume` goes on."""
    photo = tmp_path / "head.png"
    photo.write_bytes(head.read_bytes())
    words = ("stylize", photo, "great-wave", *SMALL_WORDS, "--mask", "person", "--keep", "face",
             "--keep-strength", 0.1, "--region", "back=background:poppies")  # fmt: skip
    first, again, resumed = (tmp_path / f"{name}.png" for name in ("first", "again", "resumed"))
    kept = tmp_path / "run.ckpt"
    status, _, err = impasto(*words, "-o", first, "--checkpoint", kept, "--checkpoint-every", 0.001)
    assert status == 0, err
    assert impasto("rerun", first, "-o", again)[0] == 0
    status, _, err = impasto(*words, "-o", resumed, "--resume", kept)
    assert status == 0, err
    pixels = images.read(first).pixels
    for other in (again, resumed):
        torch.testing.assert_close(images.read(other).pixels, pixels, rtol=0, atol=0)
    recipe = images.recipe_of(first)
    assert (recipe["sources"]["keep"], recipe["settings"]["keep_strength"]) == ("face", 0.1)
    other = ["none" if word == "face" else word for word in words]
    other[other.index("none")] = "person"
    status, _, err = impasto(*other, "-o", tmp_path / "x.png", "--resume", kept)
    assert status == 2
    assert "made with other inputs" in err


def test_python_keeps_a_face(head: Path) -> None:
    """The kept face is nearer to the photo than without; elsewhere it hardly matters."""
    plain = api.stylize(head, "great-wave", size=64, preset="instant").picture.pixels
    kept = api.stylize(head, "great-wave", size=64, preset="instant", keep="face").picture.pixels
    photo = images.read(head)
    face = segmentation.mask_of(photo, "face")
    small, where = photo.resized(64, 64).pixels, images.resize(face, 64, 64) > 0.95
    assert bool(where.any())

    def apart(made: torch.Tensor) -> float:
        return float(((made - small).abs().mean(1, keepdim=True) * where).sum() / where.sum())

    assert apart(kept) < 0.7 * apart(plain)
    with pytest.raises(SettingError, match="keep_strength is 2"):
        api.stylize(head, "great-wave", keep="face", keep_strength=2)


def clip_of(head: Path, path: Path) -> Path:
    """The head, which moves to the right by 3 px a frame, six frames; then one of a cup."""
    with Image.open(head) as image, Image.open(EXAMPLES / "coffee.jpg") as cup:
        small = image.resize((96, 96))
        shown = [small.transform(small.size, Image.Transform.AFFINE, (1, 0, -3 * k, 0, 1, 0))
                 for k in range(6)]  # fmt: skip
        shown.append(cup.convert("RGB").resize((96, 96)))
    shown[0].save(path, save_all=True, append_images=shown[1:], duration=100)
    return path


def test_in_films_a_word_is_found_in_each_shot_and_moves(
    head: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mask is looked for in frame 0 (for the scene, and for the shot) and in frame 6, where a
    shot begins. A run that was stopped after five frames ends with the same film."""
    looked = []

    def found(photo: images.Picture, word: str, empty: bool = False) -> Finding:
        looked.append(word)
        lit = torch.zeros_like(photo.pixels[:, :1])
        lit[..., 20:50] = 1
        return Finding(lit, 1)

    monkeypatch.setattr(segmentation, "found", found)
    settings = settings_for("instant", size=96, precision="float32")

    def film() -> Film:
        clip = Clip(clip_of(head, tmp_path / "clip.gif"))
        return Film(clip, "great-wave", settings, keep="face", every=1)

    first = film()
    whole = [frame.pixels for frame in first.write(tmp_path / "film.mp4")]
    assert looked == ["face"] * 3
    assert [facts["begun"] for facts in first.history.values()] == [0] * 6 + [6]
    begun = film().write(tmp_path / "two.mp4")
    for _ in range(5):
        next(begun)
    begun.close()
    rest = [frame.pixels for frame in film().write(tmp_path / "two.mp4", resume=True)]
    assert len(rest) == 2
    for a, b in zip(rest, whole[5:], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    for frame in film().write(tmp_path / "three.mp4", spread=elsewhere):  # a task for each shot
        torch.testing.assert_close(frame.pixels, whole[frame.number - 1], rtol=0, atol=0)
    assert (tmp_path / "three.mp4").read_bytes() == (tmp_path / "film.mp4").read_bytes()


def test_a_mask_follows_the_flow(head: Path) -> None:
    """Carried over a motion of 5 px to the right, the mask lies there, and the parts with it."""
    scene = scene_of(head, keep="face", mask=half())
    before = scene.words["face"]
    backward = torch.zeros(1, 2, 160, 160)
    backward[:, 0] = -5
    moved = flow.Motion(backward, torch.ones(1, 1, 160, 160))
    after = moved.carried(before).clamp(0, 1)
    other = scene.with_words({"face": after})
    torch.testing.assert_close(after[..., 10:], before[..., 5:-5], atol=1e-5, rtol=0)
    assert other.mask is scene.mask
    assert other.keep is after
    shown = other.at((160, 160)).shown
    assert shown is not None
    left = (1 - 0.6 * after)[..., :80]
    torch.testing.assert_close(shown[..., :80], left, atol=1e-5, rtol=0)
    assert scene.keep is before


def test_a_shot_without_a_face_is_painted_whole(head: Path) -> None:
    scene = scene_of(head, keep="face")
    coffee = images.read(EXAMPLES / "coffee.jpg")
    photo = replace(coffee, pixels=images.resize(coffee.pixels, 160, 160).clamp(0, 1))
    ((word, mask),) = scene.words_in(photo).items()
    assert (word, float(mask.max())) == ("face", 0)
    white = torch.ones(1, 3, 64, 64)
    torch.testing.assert_close(scene.of(photo).with_words({word: mask}).finish(white), white)
