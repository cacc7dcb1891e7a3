"""Forms become jobs, recipes become forms; nobody reaches a file or a setting of the machine."""

import json
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hostile import RECIPE, SECRET

from impasto.errors import ImpastoError, PictureError, SettingError
from impasto.settings import PRESETS, Settings, settings_for
from impasto.studio import forms
from impasto.studio.forms import Form, checked, job_of, restored
from impasto.studio.visits import Visit

ODD = (
    [], {}, "x", "1e999", 10**400, float("nan"), float("inf"), -1, True, ["a"], [[1]], {"a": 1},
    "\0", SECRET, b"x", "relu1_1:nan", "9" * 5000, {"relu1_1": [1]}, f"{SECRET}:3", [None],
)  # fmt: skip


@pytest.fixture
def visit(tmp_path: Path, photo: Path) -> Visit:
    """A visitor with a photo, a painting and a mask."""
    (tmp_path / "visit").mkdir()
    made = Visit("anna", tmp_path / "visit", photo=tmp_path / "visit" / "holiday-1.jpg")
    made.paintings["mine-2"] = tmp_path / "visit" / "mine-2.png"
    made.masks["drawn"] = tmp_path / "visit" / "drawn-3.png"
    return made


def test_a_form_becomes_a_job(visit: Visit) -> None:
    form = Form(("great-wave", "mine-2"), 0.25, {"size": 96, "strength": 0.3}, "person")
    job = job_of(replace(form, regions=(("drawn", "poppies"),), timelapse=True), visit)
    assert (job.photo, job.styles) == (visit.photo, ("great-wave", str(visit.paintings["mine-2"])))
    assert job.changes == {"size": 96, "strength": 0.3, "style_weights": (0.25, 0.75)}
    assert job.mask == "person"
    assert [(r.style, r.mask, r.name) for r in job.regions] == [
        ("poppies", visit.masks["drawn"], "drawn")
    ]
    assert job.target.parent == visit.folder
    assert job.target.name == "holiday-great-wave-1.png"
    assert job.timelapse
    assert not job.quick


def test_an_instant_picture_keeps_what_it_can(visit: Visit) -> None:
    """Strength 0.3 of the optimization looks like 0.6 of the instant method; steps have no say."""
    form = Form(("great-wave",), changes={"size": 96, "strength": 0.3, "steps": 9, "seed": 3})
    job = job_of(replace(form, timelapse=True), visit, quick=True, side=64)
    assert job.changes == {"preset": "instant", "size": 64, "strength": 0.6}
    assert job.quick
    assert not job.timelapse
    most = job_of(Form(("great-wave",), changes={"strength": 0.9}), visit, quick=True, side=64)
    assert most.changes["strength"] == 1


def test_no_photo_and_no_painting_are_said(visit: Visit, photo: Path) -> None:
    with pytest.raises(PictureError, match="no painting yet"):
        job_of(Form(), visit)
    visit.photo = None
    with pytest.raises(PictureError, match="no photo yet"):
        job_of(Form(("great-wave",)), visit)
    assert job_of(Form(("great-wave",)), visit, photo=photo).photo == photo


@pytest.mark.parametrize("name", [SECRET, "../x.png", "", "GREAT-WAVE", "x" * 9000])
def test_no_path_is_a_painting(name: str, visit: Visit, photo: Path) -> None:
    for odd in (name, str(photo), str(visit.photo)):
        with pytest.raises(PictureError, match="choose one of those shown") as refused:
            job_of(Form((odd,)), visit)
        assert len(str(refused.value)) < 400


@pytest.mark.parametrize("name", [SECRET, "../x.png", "somebody", "drawn "])
def test_no_path_is_a_mask(name: str, visit: Visit) -> None:
    for form in (Form(("poppies",), mask=name), Form(("poppies",), regions=((name, "poppies"),))):
        with pytest.raises(PictureError, match="draw it anew"):
            job_of(form, visit)


def test_who_has_drawn_nothing_is_told_what_to_do(visit: Visit) -> None:
    visit.masks.clear()
    with pytest.raises(PictureError, match="nothing is drawn yet: draw on your photo, or click"):
        job_of(Form(("poppies",), mask="drawn"), visit)


@pytest.mark.parametrize("name", [item.name for item in fields(Settings)])
def test_odd_values_are_refused_in_one_line_or_are_settings(name: str) -> None:
    """Whatever comes out can be painted with as far as settings go, and names no file."""
    for value in ODD:
        with suppress(ImpastoError):
            found, settings = checked({name: value})
            assert settings == settings_for(**found)
            assert SECRET not in (settings.start, settings.palette)
            continue
        with pytest.raises(ImpastoError) as refused:
            checked({name: value})
        assert len(str(refused.value)) < 900
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("device", "cpu"), ("threads", 64), ("memory_limit", "1T"), ("precision", "float32")],
)
def test_the_machine_is_not_the_visitors(name: str, value: object) -> None:
    with pytest.raises(SettingError, match="no setting of this page"):
        checked({name: value})


def test_what_is_empty_is_the_presets() -> None:
    found, settings = checked({"preset": "draft", "size": None, "seed": ""})
    assert found == {"preset": "draft"}
    assert settings == settings_for("draft")


def test_settings_that_may_be_files_are_words_here() -> None:
    by_name = {item.name: item for item in fields(Settings)}
    assert forms.choices(by_name["start"]) == [
        "recolored", "content", "instant", "noise", "style",
    ]  # fmt: skip
    assert forms.choices(by_name["palette"]) == ["none", "style"]
    assert forms.choices(by_name["optimizer"]) is not None
    assert forms.choices(by_name["size"]) is None
    assert forms.shown(by_name["seed"], "best") == "0"


@pytest.mark.parametrize("preset", PRESETS)
def test_a_recipe_restores_what_was_asked_for_and_no_more(preset: str, visit: Visit) -> None:
    asked = {"preset": preset, "size": 96, "seed": 3, "style_weights": (0.25, 0.75)}
    recipe = {
        "settings": settings_for(**asked).as_dict(), "style": ["great-wave", "/a/b/mine-2.png"],
    }  # fmt: skip
    form, missing = restored(json.loads(json.dumps(recipe)), visit)
    assert not missing
    assert form.styles == ("great-wave", "mine-2")
    assert form.share == 0.25
    assert form.changes == {"preset": preset, "size": 96, "seed": 3}
    again, _ = checked(form.changes)
    assert settings_for(**again) == settings_for(preset, size=96, seed=3)


def test_a_recipe_reaches_no_file_and_no_setting_of_the_machine(visit: Visit) -> None:
    form, missing = restored(RECIPE, visit)
    assert form.styles == ("great-wave",)
    assert form.changes == {"preset": "best", "matching_weight": 0.0}, "as an earlier version's"
    assert form.mask is None
    assert not form.regions
    assert len(missing) == forms.MOST_MISSING
    assert all(len(line) < 900 and "\n" not in line for line in missing)
    job = job_of(form, visit)
    assert SECRET not in str(job)


@pytest.mark.parametrize(
    "recipe",
    [
        {}, {"settings": None}, {"settings": [1]}, {"settings": {"preset": []}}, {"style": 3},
        {"style": "great-wave"}, {"style": [None, [], {}]}, {"settings": {"style_weights": "x"}},
        {"settings": {"style_weights": [0, 0]}}, {"style": ["x" * 100_000]},
        {"settings": {"style_weights": [1e308, 1e308]}, "style": ["poppies"]},
    ],
)  # fmt: skip
def test_broken_recipes_are_as_good_as_none(recipe: dict[str, Any], visit: Visit) -> None:
    form, missing = restored(recipe, visit)
    assert form.changes["preset"] == "best"
    assert 0 <= form.share <= 1
    assert sum(map(len, missing)) < 2000
