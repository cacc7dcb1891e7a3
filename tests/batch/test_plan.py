"""What a batch is to paint: names, styles, masks, and what is refused before anything is."""

from pathlib import Path
from typing import Any

import pytest

import impasto
from impasto import Masks, Region
from impasto.batch.plan import Batch, plan_batch
from impasto.errors import ImpastoError, PictureError, SettingError
from impasto.settings import settings_for
from small import EXAMPLES

SETTINGS = settings_for(preset="instant", size=64)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    data = (EXAMPLES / "china.jpg").read_bytes()
    (folder / "a.jpg").write_bytes(data)
    (folder / "deep" / "b.jpg").write_bytes(data)
    return folder


def plan(folder: Path, *styles: str | Path, **words: Any) -> Batch:
    chosen = styles or ("great-wave",)
    settings = words.pop("settings", SETTINGS)
    return plan_batch([folder], chosen, folder.parent / "out", settings, **words)


def outputs(batch: Batch) -> list[str]:
    return sorted(item.output for item in batch.items)


def test_every_photo_is_painted_in_every_style(photos: Path) -> None:
    found = plan(photos, "great-wave", "poppies")
    assert outputs(found) == [
        "a-great-wave.png", "a-poppies.png", "deep/b-great-wave.png", "deep/b-poppies.png",
    ]  # fmt: skip
    assert [item.style for item in found.items] == ["great-wave"] * 2 + ["poppies"] * 2


def test_a_folder_of_paintings_is_each_of_them(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for name in ("one.jpg", "two.png"):
        (tmp_path / "mine" / name).write_bytes((EXAMPLES / "china.jpg").read_bytes())
    found = plan(photos, tmp_path / "mine")
    assert {item.style for item in found.items} == {
        str(tmp_path / "mine" / "one.jpg"), str(tmp_path / "mine" / "two.png"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("{style}/{stem}.jpg", ["deep/great-wave/b.jpg", "great-wave/a.jpg"]),
        ("{style}/{folder}/{stem}.jpg", ["great-wave/a.jpg", "great-wave/deep/b.jpg"]),
        ("{stem}.{suffix}.png", ["a.jpg.png", "deep/b.jpg.png"]),
    ],
)
def test_names_by_a_pattern(photos: Path, name: str, expected: list[str]) -> None:
    assert outputs(plan(photos, name=name)) == expected


def test_masks_by_pattern_and_by_word(photos: Path, tmp_path: Path) -> None:
    region = Region("poppies", "masks/{folder}/{stem}-sky.png", name="sky")
    masks = Masks("background", None, "m/{stem}.png", (region,))
    (first, *_) = (i for i in plan(photos, masks=masks).items if i.output.startswith("deep"))
    assert first.masks.mask == "background"
    assert first.masks.keep == str(Path("m/b.png").absolute())
    assert first.masks.regions[0].mask == str(Path("masks/deep/b-sky.png").absolute())
    assert first.masks.regions[0].style == "poppies"


def test_regions_may_have_all_paintings(photos: Path) -> None:
    masks = Masks(regions=(Region("poppies", "person"), Region("great-wave")))
    found = plan_batch([photos], [], photos.parent / "out", SETTINGS, masks=masks)
    assert outputs(found) == ["a-poppies-great-wave.png", "deep/b-poppies-great-wave.png"]


def test_a_recipe_changes_with_all_that_a_picture_depends_on(photos: Path, tmp_path: Path) -> None:
    mask = tmp_path / "mask.png"
    mask.write_bytes((EXAMPLES / "china.jpg").read_bytes())

    def recipe(**words: Any) -> str:
        batch = plan(photos, **words)
        (item,) = (item for item in batch.items if item.output == "a-great-wave.png")
        return batch.recipe(item, {})

    first = recipe()
    assert recipe() == first
    assert recipe(settings=impasto.settings_for(preset="instant", size=64, threads=1)) == first
    others = [
        recipe(settings=impasto.settings_for(preset="instant", size=65)),
        recipe(masks=Masks(mask=str(mask))),
        recipe(masks=Masks(keep=str(mask))),
        recipe(masks=Masks(mask="person")),
        recipe(masks=Masks(regions=(Region("poppies", "person"),))),
        recipe(bits=16),
        recipe(keep_gps=True),
    ]
    mask.write_bytes(b"other")
    others.append(recipe(masks=Masks(mask=str(mask))))
    (photos / "a.jpg").write_bytes((EXAMPLES / "astronaut.jpg").read_bytes())
    others.append(recipe())
    assert len({first, *others}) == 1 + len(others)


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ({"styles": ["grate-wave"]}, PictureError, "did you mean 'great-wave'"),
        ({"styles": []}, SettingError, "there is no painting"),
        ({"name": "{photo}.png"}, SettingError, r"there is no \{photo\}: use \{stem\}, \{suffix\}"),
        ({"name": "{stem}.svg"}, SettingError, "cannot write 'a.svg': end the name in .png"),
        ({"name": "../{stem}.png"}, SettingError, r"leaves the output folder: leave \.\. out"),
        ({"name": "same.png"}, PictureError, "would both be written|same.png"),
        ({"name": "{stem}.jpg", "bits": 16}, SettingError, "16 bit are written to PNG only"),
        ({"masks": Masks("{style}.png")}, SettingError, r"a mask is '\{style\}.png', but there is"),
        ({"masks": Masks("backgroundd")}, PictureError, "did you mean 'background'"),
        ({"output": ""}, PictureError, "the output folder is empty"),
        ({"output": __file__}, PictureError, "is a file: name a folder with -o"),
    ],
)
def test_what_cannot_be_is_refused(
    photos: Path, words: dict[str, Any], error: type[ImpastoError], message: str
) -> None:
    (photos / "deep" / "b.jpg").rename(photos / "b.jpg")
    given = {"styles": ["great-wave"], "output": photos.parent / "out", **words}
    styles, output = given.pop("styles"), given.pop("output")
    with pytest.raises(error, match=message):
        plan_batch([photos], styles, output, SETTINGS, **given)
