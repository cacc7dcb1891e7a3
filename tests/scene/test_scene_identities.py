"""What an artist asks for: the identities that every control keeps."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import impasto
from impasto import images, scene
from impasto.errors import ImpastoError, PictureError, SettingError
from impasto.images import color, paintings
from impasto.networks import vgg
from impasto.objective import Styles
from impasto.scene import strokes
from impasto.settings import settings_for

SMALL: dict[str, Any] = {
    "size": 64, "coarsest": 32, "scale_ratio": 2.0, "steps": (3, 3), "detail_steps": 2,
    "precision": "float32",
}  # fmt: skip


def painted(photo: object, style: object = "great-wave", **options: Any) -> torch.Tensor:
    return impasto.stylize(photo, style, **SMALL | options).picture.pixels  # type: ignore[arg-type]


def nearly_the_same(a: torch.Tensor, b: torch.Tensor) -> None:
    """But for roundings: they grow from step to step, and choose where two strokes are as near."""
    assert (a - b).abs().mean() < 1e-3
    assert (a - b).abs().max() < 5e-2


def gray(values: np.ndarray) -> np.ndarray:
    return np.repeat(values.astype(np.float32)[:, :, None], 3, 2)


def left_half(height: int = 64, width: int = 96) -> np.ndarray:
    mask = np.zeros((height, width))
    mask[:, : width // 2] = 1
    return gray(mask)


def corner(side: int) -> np.ndarray:
    """A mask of so many pixels a side, in a corner, for the painting of poppies."""
    mask = np.zeros((449, 655))
    mask[:side, :side] = 1
    return gray(mask)


def soft(height: int = 64, width: int = 96) -> np.ndarray:
    return gray(np.tile(np.linspace(0, 1, width), (height, 1)))


# Pictures of little


@pytest.mark.parametrize("way", ["none", "luminance", "match", "transfer"])
def test_gray_pictures_stay_gray(photo: Path, way: str) -> None:
    """No cast, to the last bit: with gray paintings, and where the photo's colors are kept."""
    pixels = images.read(photo).pixels
    gray = paintings.read("poppies").resized(96, 66).pixels[0].mean(0)
    options: dict[str, Any] = {"size": 64, "keep_colors": way}
    kept = settings_for(**options)
    style = gray if way == "none" else "poppies"
    found = scene.Scene(pixels[0].mean(0), style, kept).finish(
        pixels
    )  # what has a color is painted
    assert (found.amax(1) - found.amin(1)).max() == 0
    lightness = color.oklab(pixels)[:, :1]
    torch.testing.assert_close(color.oklab(found)[:, :1], lightness, rtol=0, atol=2e-3)
    colored = scene.Scene(photo, gray, kept).finish(pixels)
    assert (colored.amax(1) - colored.amin(1)).mean() > 0.02


def test_a_transparent_photo_is_refused() -> None:
    with pytest.raises(PictureError, match="photo 'array' is fully transparent"):
        painted(np.zeros((32, 32, 4)))


def test_a_speck_of_a_mask_is_painted(photo: Path) -> None:
    """4x4 px of 96x64, a quarter of a percent; and a single one does no harm."""
    before = images.read(photo).resized(64, 43).pixels
    for side in (4, 1):
        mask = np.zeros((64, 96), bool)
        mask[32 : 32 + side, 48 : 48 + side] = True
        change = (painted(photo, mask=mask, **SHALLOW) - before).abs().amax(1)[0]
        assert change.isfinite().all()
        assert change[:15].max() == 0
        assert (change > 0.02).sum() in (range(2, 30) if side == 4 else range(4))


# Several styles


def test_weights_one_and_zero_are_the_first_style(photo: Path) -> None:
    both = painted(photo, ["great-wave", "poppies"], style_weights=(1, 0))
    assert torch.equal(both, painted(photo, "great-wave"))


def test_the_same_style_twice_is_that_style(photo: Path) -> None:
    """By its moments; of the strokes, each takes half a bank by chance."""
    moments = {"steps": 1, "matching_weight": 0}
    twice = painted(photo, ["poppies", "poppies"], **moments)
    torch.testing.assert_close(twice, painted(photo, "poppies", **moments), rtol=0, atol=1e-4)


def test_a_blend_is_the_mean_of_its_styles(photo: Path) -> None:
    settings = settings_for(**SMALL)
    network = vgg.load("vgg19", ["relu5_1"])

    def moments(*styles: str) -> torch.Tensor:
        found = scene.Scene(photo, list(styles), settings)
        return Styles(network, settings, 16).of(found.parts[0], 64, None).moments["relu3_1"].second

    mean = (moments("great-wave") + moments("poppies")) / 2
    torch.testing.assert_close(moments("great-wave", "poppies"), mean)


def test_a_folder_is_one_style(photo: Path, tmp_path: Path) -> None:
    for name, shift in (("a", 0), ("b", 40)):
        with Image.open(photo) as image:
            pixels = np.roll(np.asarray(image), shift, 1)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    both = painted(photo, [tmp_path / "a.png", tmp_path / "b.png"], steps=1, size=96)
    assert torch.equal(painted(photo, tmp_path, steps=1, size=96), both)
    (tmp_path / "empty").mkdir()
    with pytest.raises(PictureError, match="without pictures"):
        painted(photo, tmp_path / "empty")


@pytest.mark.parametrize(
    "options",
    [{"style_weights": (1, 2, 3)}, {"style_scale": (1, 2, 3)}, {"style_crop": "0:0:1:1,0:0:1:1"}],
)
def test_a_value_for_each_style_or_one_for_all(photo: Path, options: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=r"values for 1 styles|values for 2 styles"):
        painted(photo, ["poppies", "great-wave"] if "3" in str(options) else ["poppies"], **options)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("style_crop", "0:0:1"), ("style_crop", "0.5:0:0.4:1"), ("style_turn", "left"),
        ("style_scale", "0"), ("style_weights", "-1"), ("color_amount", 2),
    ],
)  # fmt: skip
def test_bad_values_are_refused(option: str, value: object) -> None:
    with pytest.raises(SettingError, match=option):
        settings_for(**{option: value})


# The painting: scale, crop, turn


def strokes_of(style: object, **changes: Any) -> list[strokes.Strokes]:
    found = scene.Scene(np.full((64, 64, 3), 0.5), style, settings_for(**SMALL | changes))  # type: ignore[arg-type]
    return list(found.parts[0].strokes)


def test_scale_is_the_size_of_the_painting() -> None:
    style = np.random.default_rng(0).random((200, 100, 3))
    assert strokes_of(style, style_scale=1.0)[0].at(64, 16)[0].shape[-2:] == (64, 32)
    assert strokes_of(style, style_scale=0.5)[0].at(64, 16)[0].shape[-2:] == (32, 16)
    assert strokes_of(style, style_scale=2.0)[0].at(64, 16)[0].shape[-2:] == (128, 64)


def test_a_crop_is_that_part() -> None:
    style = np.zeros((80, 100, 3))
    style[:, 50:] = 1
    (strokes,) = strokes_of(style, style_crop="0.5:0:1:0.5")
    assert strokes.picture.size == (50, 40)
    assert bool((strokes.picture.pixels == 1).all())
    with pytest.raises(SettingError, match="leaves 1x80 px"):
        strokes_of(style, style_crop="0:0:0.01:1")


def test_turns() -> None:
    style = np.zeros((40, 60, 3))
    style[:10, :10, 0] = 1  # red in the upper left corner
    turned = {turn: strokes_of(style, style_turn=turn)[0].picture for turn in ("90", "flip", "30")}
    assert turned["90"].size == (40, 60)
    assert turned["90"].pixels[0, 0, -5, 5] == 1  # lower left: a quarter counter-clockwise
    assert turned["flip"].pixels[0, 0, 5, -5] == 1
    tilted = turned["30"]
    assert tilted.alpha is not None
    assert tilted.alpha[0, 0, 0, 0] == 0
    area = float(tilted.alpha.sum())
    assert area == pytest.approx(40 * 60, rel=0.02)
    red = (tilted.pixels[0, 0] * tilted.alpha[0, 0] > 0.5).nonzero().float().mean(0)
    middle = torch.tensor(tilted.alpha.shape[-2:]) / 2
    # (-25, -15) from the center, x and y, turned by 30 degrees counter-clockwise
    wanted = (25 * 0.5 - 15 * 0.866, -25 * 0.866 - 15 * 0.5)
    torch.testing.assert_close(red - middle, torch.tensor(wanted), atol=1.0, rtol=0)


def test_several_turns_are_mixed() -> None:
    strokes = strokes_of(np.random.default_rng(0).random((64, 64, 3)), style_turn="0,90,180,270")
    assert [s.share for s in strokes] == [0.25] * 4


# Masks and regions


def test_a_mask_of_ones_is_no_mask(photo: Path) -> None:
    whole = painted(photo, mask=gray(np.ones((64, 96))))
    nearly_the_same(whole, painted(photo))


def test_black_stays_the_photo(photo: Path) -> None:
    found = painted(photo, mask=left_half())
    original = images.read(photo).resized(64, 43).pixels
    torch.testing.assert_close(found[..., 36:], original[..., 36:], rtol=0, atol=1e-6)
    assert (found[..., :28] - original[..., :28]).abs().mean() > 0.02


def test_two_half_masks_with_one_style_are_one(photo: Path) -> None:
    half = left_half()
    two = painted(
        photo, None,
        regions=[
            impasto.Region("great-wave", half), impasto.Region("great-wave", 1 - half),
        ],
    )  # fmt: skip
    one = painted(photo, mask=np.ones_like(half))
    nearly_the_same(two, one)


def speckled(channel: int) -> np.ndarray:
    """Random specks of one color: a style that one shallow layer can tell."""
    style = np.zeros((64, 64, 3))
    style[..., channel] = np.random.default_rng(0).random((64, 64))
    return style


SHALLOW = {"style_layers": "relu1_1", "content_weight": 0, "steps": (20, 20)}


def test_regions_take_their_own_style(photo: Path) -> None:
    red, blue = speckled(0), speckled(2)
    found = painted(photo, blue, regions=[impasto.Region(red, left_half())], **SHALLOW)
    left, right = found[..., :28].mean((0, 2, 3)), found[..., 36:].mean((0, 2, 3))
    assert left[0] > left[2] + 0.2
    assert right[2] > right[0] + 0.2


def test_a_region_of_no_strength_stays_the_photo(photo: Path) -> None:
    region = impasto.Region("poppies", left_half(), strength=0.0)
    found = painted(photo, "great-wave", regions=[region], steps=6)
    change = (found - images.read(photo).resized(64, 43).pixels).abs().mean((0, 1, 2))
    assert change[:16].mean() < 0.4 * change[48:].mean()  # 64 px: deep layers see all of it


def test_strength_zero_is_the_photo(photo: Path) -> None:
    found = painted(photo, strength=0.0, mask=soft())
    original = images.read(photo).resized(64, 43).pixels
    torch.testing.assert_close(found, original, rtol=0, atol=1e-6)


def test_areas_add_up_to_one(photo: Path) -> None:
    regions = [impasto.Region("poppies", soft()), impasto.Region("great-wave", left_half())]
    found = scene.Scene(photo, "composition-viii", settings_for(**SMALL), None, None, regions)
    areas = [area for area in found.at((60, 40)).areas if area is not None]
    assert len(areas) == 3
    torch.testing.assert_close(torch.stack(areas).sum(0), torch.ones(1, 1, 40, 60))


def test_a_style_mask_takes_the_strokes_from_there(photo: Path) -> None:
    style = np.concatenate([speckled(0)[:, :48], speckled(2)[:, :48]], 1)
    found = painted(photo, style, style_mask=left_half(), **SHALLOW)
    mean = found.mean((0, 2, 3))
    assert mean[0] > mean[2] + 0.2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mask": gray(np.zeros((64, 96)))}, "is black"),
        ({"mask": gray(np.ones((64, 64)))}, "same proportions"),
        ({"regions": [impasto.Region("poppies")]}, "twice"),
        ({"regions": [impasto.Region("poppies", left_half(), 1.5)]}, "strength"),
        ({"mask": "no-such-mask.png"}, "cannot read"),
        ({"style": np.zeros((32, 32, 4))}, "nothing of the painting"),
        ({"style": "poppies", "style_mask": corner(12)}, "only 0.0"),
    ],
)
def test_bad_masks_and_regions_are_refused(
    photo: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ImpastoError, match=words):
        painted(photo, **options)


def test_nothing_to_paint_with_is_refused(photo: Path) -> None:
    with pytest.raises(SettingError, match="no painting"):
        painted(photo, None)
    with pytest.raises(SettingError, match="no painting of its own"):
        painted(photo, None, style_mask=left_half(), regions=[impasto.Region("poppies", soft())])


# Colors


def chroma(pixels: torch.Tensor) -> torch.Tensor:
    return 100 * color.oklab(pixels)[:, 1:]


def test_luminance_keeps_the_chroma(photo: Path) -> None:
    found = painted(photo, keep_colors="luminance", steps=10)
    original = images.read(photo).resized(64, 43).pixels
    assert (chroma(found) - chroma(original)).abs().max() < 1
    lightness = color.oklab(found)[:, :1] - color.oklab(original)[:, :1]
    assert lightness.abs().mean() > 0.01


@pytest.mark.parametrize("way", ["match", "transfer"])
def test_the_photo_colors_come_through(photo: Path, way: str) -> None:
    original = images.read(photo).resized(64, 43).pixels
    far, near = (
        (painted(photo, "composition-viii", keep_colors=keep, steps=10).mean((2, 3))
         - original.mean((2, 3))).norm()
        for keep in ("none", way)
    )  # fmt: skip
    assert near < far


def test_no_amount_is_no_change(photo: Path) -> None:
    plain = painted(photo, steps=1)
    for options in ({"keep_colors": "match"}, {"keep_colors": "transfer"}, {"palette": "style"}):
        found = painted(photo, steps=1, color_amount=0, **options)
        torch.testing.assert_close(found, plain, rtol=0, atol=1e-4)


def test_a_palette_of_its_own(photo: Path, tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), (200, 40, 40)).save(tmp_path / "red.png")
    found = painted(photo, "great-wave", palette=str(tmp_path / "red.png"))
    mean = found.mean((0, 2, 3))
    assert mean[0] > mean[2] + 0.3
    with pytest.raises(SettingError, match="contradict"):
        painted(photo, palette="style", keep_colors="match")


# Transparency and edges


def transparent(photo: Path, under: tuple[int, int, int]) -> Image.Image:
    with Image.open(photo) as image:
        rgba = image.convert("RGBA")
    hole = Image.new("RGBA", (48, 64), (*under, 0))
    rgba.paste(hole, (0, 0))
    return rgba


def test_transparent_parts_weigh_nothing(photo: Path) -> None:
    """Whatever color lies under them, the rest is painted the same."""
    black, white = (
        impasto.stylize(transparent(photo, under), "great-wave", **SMALL).picture
        for under in ((0, 0, 0), (255, 255, 255))
    )
    assert black.alpha is not None
    assert white.alpha is not None
    assert black.alpha[..., :20].max() == 0
    assert black.alpha[..., 36:].min() > 0.99
    difference = (black.pixels - white.pixels).abs() * black.alpha
    assert difference.max() < 1e-3


def test_a_seamless_texture_has_no_seam() -> None:
    """The step across the border is like those inside; without the option it is the largest."""

    def across(seamless: bool) -> tuple[float, float]:
        noise = np.full((64, 64, 3), 0.5)
        found = painted(
            noise, "great-wave", content_weight=0, start="noise", seamless=seamless, steps=16
        )
        lab = color.oklab(found)
        inside = (lab[..., 1:] - lab[..., :-1]).abs().mean((0, 1, 2))
        return float((lab[..., 0] - lab[..., -1]).abs().mean()), float(inside.max())

    border, largest = across(True)
    assert border < largest
    border, largest = across(False)
    assert border > 1.1 * largest


def test_seamless_pictures_are_the_same_in_tiles() -> None:
    """The painting's sides, too, are multiples of 16 px then: poolings of odd maps drop a row."""
    photo = images.read(np.random.default_rng(0).random((96, 128, 3), dtype=np.float32))
    painting = np.random.default_rng(1).random((90, 131, 3), dtype=np.float32)
    changes = {"size": 128, "coarsest": 0, "steps": 1, "seamless": True, "start": "content"}
    whole, tiled = (painted(photo, painting, **changes, tile=tile) for tile in (0, 64))
    assert (whole - tiled).abs().mean() < 1e-6


def test_seamless_sides_are_multiples_of_the_grid(photo: Path) -> None:
    found = painted(photo, seamless=True, steps=1)
    assert found.shape[-2:] == (48, 64)


# Faces


def test_self_similarity_holds_the_photo_together(photo: Path) -> None:
    from impasto.evaluation.judge import Judge

    judge = Judge(photo, "composition-viii")
    plain, held = (
        judge.judge(painted(photo, "composition-viii", steps=10, structure_weight=w))
        for w in (0.0, 1.0)
    )
    assert held.self_similarity < plain.self_similarity
