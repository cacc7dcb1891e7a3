"""The recipe: its identities, its scales, and the stream of steps that all front ends consume."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import impasto
from impasto import evaluation, images
from impasto.errors import DivergedError, PictureError, SettingError
from impasto.images import paintings
from impasto.painting import OptimizedRun, scales
from impasto.scene import Scene
from impasto.settings import settings_for
from small import SMALL, painted


@pytest.fixture(scope="module")
def result(photo: Path) -> impasto.Result:
    return painted(photo)


def test_a_picture_is_painted(result: impasto.Result, photo: Path) -> None:
    assert result.picture.size == (64, 43)
    assert result.image.size == (64, 43)
    original = images.read(photo).resized(64, 43)
    assert (result.picture.pixels - original.pixels).abs().mean() > 0.02
    assert [entry["size"] for entry in result.history] == [32] * 4 + [64] * 5
    assert ["detail" in entry for entry in result.history] == [False] * 4 + [True] * 2 + [False] * 3
    assert result.history[-1]["total"] < result.history[6]["total"]
    assert result.seconds > 0


def test_the_same_seed_is_the_same_picture(result: impasto.Result, photo: Path) -> None:
    assert torch.equal(painted(photo).picture.pixels, result.picture.pixels)
    a, b = painted(photo, start="noise", seed=1), painted(photo, start="noise", seed=2)
    assert not torch.equal(a.picture.pixels, b.picture.pixels)
    assert torch.equal(painted(photo, start="noise", seed=1).picture.pixels, a.picture.pixels)


def test_strength_zero_is_the_photo(photo: Path) -> None:
    found = painted(photo, strength=0.0)
    original = images.read(photo).resized(64, 43)
    torch.testing.assert_close(found.picture.pixels, original.pixels, rtol=0, atol=1e-5)


def test_more_strength_is_further_from_the_photo(photo: Path) -> None:
    """In the features of relu4_2: the content term without its weight, 0.1 (2 (1 - strength))^2."""
    distances = []
    for strength in (0.1, 0.4, 0.8):
        history = painted(photo, strength=strength, steps=(8, 8)).history
        distances.append(history[-1]["content"] / (0.4 * (1 - strength) ** 2))
    assert distances == sorted(distances)
    assert distances[0] < distances[2] / 3


def test_all_kinds_of_input_paint_the_same(result: impasto.Result, photo: Path) -> None:
    with Image.open(photo) as image:
        image.load()
    array = np.asarray(image)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    for content in (str(photo), image, array, tensor, images.read(photo)):
        assert torch.equal(painted(content).picture.pixels, result.picture.pixels)
    wave = paintings.path("great-wave")
    assert torch.equal(painted(photo, wave).picture.pixels, result.picture.pixels)


def test_settings_objects_and_names_are_one_mechanism(photo: Path, result: impasto.Result) -> None:
    settings = settings_for(**SMALL)
    assert torch.equal(
        impasto.stylize(photo, "great-wave", settings).picture.pixels, result.picture.pixels
    )
    changed = impasto.stylize(photo, "great-wave", settings, size=48)
    assert changed.picture.size == (48, 32)
    assert changed.settings.steps == (4, 3)


def test_the_stream_of_steps(photo: Path) -> None:
    found = []
    for step in impasto.steps(photo, "great-wave", **SMALL):
        found.append((step.step, step.scale, step.size, step.work))
        assert step.steps == 9
        assert step.scales == 2
        detail = step.step in (5, 6)
        whole = {"content", "style", "matching", "range"}
        assert set(step.losses) == ({"detail"} if detail else whole) | {"total"}
        assert step.picture().size == (64, 43)
        assert step.picture(full_size=False).size == step.size
    assert [entry[0] for entry in found] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert [entry[1] for entry in found] == [1, 1, 1, 1, 2, 2, 2, 2, 2]
    assert found[0][2] == (32, 21)
    work = [entry[3] for entry in found]
    assert work == sorted(work)
    assert work[-1] == pytest.approx(1)
    # by hand: 4 steps of 32x21 against 3 of 64x43 and 2 for detail there
    fine = (3 + 2 * scales.DETAIL_COST) * 64 * 43
    assert work[3] == pytest.approx(4 * 32 * 21 / (4 * 32 * 21 + fine))


def test_a_picture_taken_on_the_way_does_not_change_later(photo: Path) -> None:
    stream = impasto.steps(photo, "great-wave", **SMALL)
    early = next(stream).picture(full_size=False)
    before = early.pixels.clone()
    list(stream)
    assert torch.equal(early.pixels, before)


def test_stopping_early_gives_the_picture_so_far(photo: Path) -> None:
    stream = impasto.steps(photo, "great-wave", **SMALL)
    last = [next(stream), next(stream)][-1]
    found = last.result()
    assert found.picture.size == (64, 43)
    assert found.recipe["steps_taken"] == 2


def test_bad_arguments_are_refused_before_anything_is_painted(photo: Path) -> None:
    with pytest.raises(SettingError):
        impasto.steps(photo, "great-wave", size=3)
    with pytest.raises(PictureError):
        impasto.steps(photo, "no-such-painting.jpg")
    with pytest.raises(SettingError, match="has no layer"):
        impasto.steps(photo, "great-wave", style_layers="relu9_1")
    with pytest.raises(SettingError, match="device"):
        impasto.steps(photo, "great-wave", device="abacus")


@pytest.mark.parametrize(
    ("size", "changes", "expected"),
    [
        ((600, 600), {}, [128, 256, 512]),
        ((600, 600), {"size": 1024}, [128, 256, 512, 1024]),
        ((600, 600), {"scale_ratio": 1.414}, [128, 181, 256, 362, 512]),
        ((600, 600), {"size": 700, "scale_ratio": 2}, [128, 299, 700]),
        ((600, 600), {"size": 128}, [128]),
        ((600, 600), {"size": 100}, [100]),
        ((600, 600), {"size": 140}, [128, 140]),
        ((600, 600), {"preset": "paper"}, [512]),
        ((2000, 200), {}, [256, 512]),  # 128x13 is too small for relu5_1
    ],
)
def test_scales(size: tuple[int, int], changes: dict[str, object], expected: list[int]) -> None:
    sizes = scales.scale_sizes(size, settings_for(**changes), 16)
    assert [max(scale) for scale in sizes] == expected


def test_a_strip_that_is_too_thin_is_refused_with_the_size_it_needs() -> None:
    with pytest.raises(PictureError, match="--size 4000"):
        scales.scale_sizes((5000, 20), settings_for(), 16)
    assert scales.scale_sizes((5000, 20), settings_for(size=4000), 16)[-1] == (4000, 16)


def test_carry_up_of_nothing_painted_is_the_fine_photo() -> None:
    fine = torch.rand(1, 3, 40, 60)
    coarse = images.resize(fine, 20, 30)
    torch.testing.assert_close(scales.carry_up(coarse, coarse, fine), fine)
    # a uniform change of the coarse picture is that same change of the fine one
    torch.testing.assert_close(scales.carry_up(coarse + 0.1, coarse, fine), fine + 0.1)


def test_steps_for_detail_bring_a_scale_forward(photo: Path) -> None:
    """Their loss is the style's in the shallow layers; the whole objective begins lower for it."""
    changes: dict[str, Any] = {
        "size": 128, "coarsest": 64, "steps": (10, 2), "matching_weight": 0,
    }  # fmt: skip
    without, with_them = (painted(photo, **changes, detail_steps=n).history for n in (0, 6))
    details = [entry for entry in with_them if "detail" in entry]
    assert len(details) == 6
    assert all(entry["detail"] == entry["total"] and "content" not in entry for entry in details)
    assert details[-1]["detail"] < 0.7 * details[0]["detail"]
    assert with_them[16]["total"] < 0.8 * without[10]["total"]


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({"detail_steps": (3, 5)}, [0, 3, 5, 5]),
        ({"detail_steps": 8, "strength": 0.25}, [0, 2, 2, 2]),
        ({"detail_steps": 6, "style_weight": 0}, [0, 0, 0, 0]),
        ({"detail_steps": 8, "style_weight": 1 / 9}, [0, 2, 2, 2]),  # as a strength of 1/4
        ({"detail_steps": 6, "content_weight": 1e9}, [0, 0, 0, 0]),
        ({"detail_steps": 6, "content_weight": 0}, [0, 6, 6, 6]),
        ({"detail_steps": 6, "loss_scale": "mean", "content_weight": 1e9}, [0, 6, 6, 6]),
        ({"detail_steps": 6, "style_layers": "relu4_1,relu5_1"}, [0, 0, 0, 0]),
        ({"detail_steps": 6, "coarsest": 0}, [0]),
    ],
)
def test_how_many_steps_are_for_detail(
    photo: Path, changes: dict[str, Any], counts: list[int]
) -> None:
    settings = settings_for(**SMALL | {"size": 96, "scale_ratio": 1.41} | changes)
    run = OptimizedRun(Scene(photo, "great-wave", settings))
    assert list(run.schedule.details) == counts
    assert list(run.schedule.counts) == [n + (3 if i else 4) for i, n in enumerate(counts)]


def test_the_phases_of_a_scale() -> None:
    """Each has an objective, and with it a memory of the optimizer, of its own."""
    settings = settings_for(steps=(4, 3), detail_steps=2, matching_steps=(2, 4))
    schedule = scales.schedule_of([(64, 64), (128, 128)], settings, reach=1.0)
    names = [[schedule.phase(i, n).name for n in range(schedule.counts[i])] for i in range(2)]
    assert names == [
        ["whole", "whole", "whole-matching", "whole-matching"],
        ["detail", "detail-matching", "whole-matching", "whole-matching", "whole-matching"],
    ]
    ages = [[schedule.age(i, n) for n in range(schedule.counts[i])] for i in range(2)]
    assert ages == [[0, 1, 0, 1], [0, 0, 0, 1, 2]]
    each, detail = scales.MATCHING_COST, scales.DETAIL_COST
    assert schedule.cost(0, 4) == pytest.approx(2 + 2 * each)
    assert schedule.cost(1, 3) == pytest.approx(detail + detail * each + each)
    without = scales.schedule_of([(64, 64)], settings_for(matching_weight=0), reach=1.0)
    assert without.matching == (0,)


def test_matching_brings_every_place_nearer_to_a_stroke(photo: Path) -> None:
    """By a network that was not optimized; and the last steps alone have the term."""
    changes: dict[str, Any] = {"size": 128, "coarsest": 64, "steps": (10, 10), "detail_steps": 4}
    plain, matched = (
        painted(photo, **changes, matching_weight=weight, matching_steps=8) for weight in (0, 1)
    )
    assert ["matching" in entry for entry in matched.history[-9:]] == [False, *[True] * 8]
    judge = evaluation.Judge(photo, "great-wave")
    far, near = (judge.judge(result.picture).nearest_stroke for result in (plain, matched))
    assert near < 0.97 * far


def test_matching_alone_paints(photo: Path) -> None:
    found = painted(photo, style_weight=0.0, content_weight=0.0)
    assert found.history[-1]["matching"] < 0.8 * found.history[0]["matching"]


def test_the_start_has_the_colors_of_the_painting(photo: Path) -> None:
    """Its mean and covariance, but for what no screen has; a quarter of the way at 0.25."""
    scene = Scene(photo, "great-wave", settings_for())
    faint = Scene(photo, "great-wave", settings_for(strength=0.25))
    plain, found = scene.at((64, 43)).photo, scene.at((64, 43)).recolored
    painting = paintings.read("great-wave").resized(64, 43).pixels
    torch.testing.assert_close(found.mean((2, 3)), painting.mean((2, 3)), rtol=0, atol=0.02)
    covariances = [torch.cov(image[0].flatten(1)) for image in (found, painting)]
    torch.testing.assert_close(*covariances, rtol=0, atol=0.015)
    inside = (found > 0) & (found < 1)
    between = faint.at((64, 43)).recolored[inside]
    wanted = (0.75 * plain + 0.25 * found)[inside]
    torch.testing.assert_close(between, wanted, rtol=0, atol=1e-5)


def test_the_start_has_each_regions_own_colors(photo: Path) -> None:
    left = np.zeros((64, 96), np.uint8)
    left[:, :48] = 255
    regions = [impasto.Region("poppies", images.read(left)), impasto.Region("summertime")]
    scene = Scene(photo, None, settings_for(), regions=regions)
    found = scene.at((96, 64)).recolored
    for name, half in (("poppies", found[..., :44]), ("summertime", found[..., 52:])):
        mean = paintings.read(name).resized(64, 64).pixels.mean((2, 3))
        torch.testing.assert_close(half.mean((2, 3)), mean, rtol=0, atol=0.06)


@pytest.mark.parametrize("start", ["content", "style", "noise", "file"])
def test_starts(start: str, photo: Path, tmp_path: Path) -> None:
    """At one scale and a tiny rate, the picture after one step is the start."""
    Image.new("RGB", (70, 50), (200, 30, 90)).save(tmp_path / "start.png")
    given = str(tmp_path / "start.png") if start == "file" else start
    step = next(
        impasto.steps(
            photo, "great-wave", size=64, coarsest=0, steps=1, start=given, learning_rate=1e-6,
            optimizer="adam", precision="float32",
        )
    )  # fmt: skip
    found = step.picture().pixels
    if start == "noise":
        assert 0.15 < found.std() < 0.25
        assert abs(found.mean() - 0.5) < 0.02
        return
    source = {"content": photo, "file": given, "style": paintings.path("great-wave")}[start]
    expected = images.read(source).resized(64, 43).pixels
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_original_size_brings_the_photos_pixels_back(photo: Path) -> None:
    assert painted(photo, size=48, original_size=True).picture.size == (96, 64)


def test_transparent_photos_stay_transparent(photo: Path) -> None:
    rgba = np.dstack([np.asarray(Image.open(photo)), np.full((64, 96), 255, np.uint8)])
    rgba[:32, :, 3] = 0
    found = painted(rgba).picture
    assert found.alpha is not None
    assert found.alpha[..., :20, :].max() == 0
    assert found.alpha[..., 24:, :].min() > 0.999


def test_the_painting_is_never_enlarged(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    style = images.read(np.random.default_rng(0).random((40, 40, 3), dtype=np.float32))
    (strokes,) = Scene(images.read(photo), style, settings_for(**SMALL)).parts[0].strokes
    assert strokes.at(64, 16)[0].shape[-2:] == (40, 40)
    assert strokes.at(32, 16)[0].shape[-2:] == (32, 32)


def test_divergence_leaves_the_steps_before_it(photo: Path) -> None:
    taken: list[impasto.Step] = []
    changes = SMALL | {"learning_rate": 1e9, "steps": 40, "range_weight": 0, "precondition": False}
    stream = impasto.steps(photo, "great-wave", **changes)
    with pytest.raises(DivergedError):
        taken.extend(stream)
    assert taken
    # every step led astray: the best picture is the start of the first scale
    width, height = taken[-1].size
    start = Scene(photo, "great-wave", settings_for(**changes)).at((width, height)).recolored
    assert torch.equal(taken[-1].picture(full_size=False).pixels, start.clamp(0, 1))


def test_saving_and_the_recipe(result: impasto.Result, tmp_path: Path) -> None:
    result.save(tmp_path / "a.png")
    result.save(tmp_path / "deep.png", bits=16)
    with Image.open(tmp_path / "a.png") as image:
        recipe = json.loads(image.info["impasto"])
    assert recipe["backbone"] == "vgg19"
    assert recipe["style"] == ["great-wave"]
    assert recipe["settings"]["size"] == 64
    again = settings_for(**recipe["settings"])
    assert again == result.settings
    deep = images.read(tmp_path / "deep.png")
    torch.testing.assert_close(deep.pixels, result.picture.pixels, rtol=0, atol=1e-5)
    with pytest.raises(SettingError):
        result.save(tmp_path / "a.xyz")


def test_notebooks_show_the_picture(result: impasto.Result) -> None:
    with Image.open(io.BytesIO(result._repr_png_())) as image:
        assert image.size == (64, 43)


def test_bfloat16_paints_nearly_the_same_loss(photo: Path) -> None:
    losses = {
        precision: painted(photo, precision=precision, steps=(6, 5)).history[-1]["total"]
        for precision in ("float32", "bfloat16")
    }
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.1)


def test_public_names_are_there() -> None:
    for name in impasto.__all__:
        assert getattr(impasto, name) is not None
    assert callable(impasto.stylize)
    with pytest.raises(AttributeError, match="nothing"):
        getattr(impasto, "nothing")  # noqa: B009
