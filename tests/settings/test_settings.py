"""Settings: one object, its presets, its ranges, its text forms."""

import json
from dataclasses import fields

import pytest

from impasto.errors import SettingError
from impasto.settings import PRESETS, Crop, Settings, changed, settings_for


def test_defaults_are_the_preset_best() -> None:
    assert settings_for() == Settings() == settings_for("best")


def test_paper_is_gatys_et_al() -> None:
    paper = settings_for("paper")
    assert paper.content_layers == (("relu4_2", 1.0),)
    assert paper.style_layers == tuple((f"relu{i}_1", 0.2) for i in range(1, 6))  # w_l = 1/5
    assert (paper.style_loss, paper.loss_scale, paper.padding) == (("gram",), "paper", "zero")
    assert (paper.optimizer, paper.coarsest) == ("lbfgs", 0)


def test_changes_come_after_the_preset_and_none_is_no_change() -> None:
    settings = settings_for("paper", steps=7, size=None)
    assert settings.steps == (7,)
    assert settings.size == 512
    assert settings.preset == "paper"
    assert changed(settings, size=99).steps == (7,)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_settings_survive_json(preset: str) -> None:
    settings = settings_for(preset, style_layers="relu1_1:0.2,relu2_1:3", steps="5,6")
    plain = json.loads(json.dumps(settings.as_dict()))
    assert settings_for(**plain) == settings


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("relu4_2", (("relu4_2", 1.0),)),
        ("relu1_1, relu2_1", (("relu1_1", 0.5), ("relu2_1", 0.5))),
        ("relu1_1:2,relu2_1:0.5", (("relu1_1", 2.0), ("relu2_1", 0.5))),
        (["relu1_1", "relu2_1"], (("relu1_1", 0.5), ("relu2_1", 0.5))),
        ({"relu3_1": 4}, (("relu3_1", 4.0),)),
        ((("relu3_1", 4.0),), (("relu3_1", 4.0),)),
    ],
)
def test_layers_may_be_given_in_many_forms(given: object, expected: object) -> None:
    assert settings_for(style_layers=given).style_layers == expected


@pytest.mark.parametrize("given", [7, "7", (7,), [7], "7,"[:1]])
def test_steps_may_be_given_in_many_forms(given: object) -> None:
    assert settings_for(steps=given).steps == (7,)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("size", 8, "at least 32"),
        ("size", 10**6, "at most 16384"),
        ("size", "big", "cannot be read"),
        ("size", 99.5, "cannot be read"),
        ("size", True, "cannot be read"),
        ("strength", 1.5, "at most 1"),
        ("strength", -0.1, "at least 0"),
        ("content_weight", -1, "at least 0"),
        ("style_weight", float("nan"), "finite"),
        ("tv_weight", float("inf"), "finite"),
        ("steps", 0, "at least 1"),
        ("steps", "5,,6", "cannot be read"),
        ("learning_rate", 0, "above 0"),
        ("style_layers", "relu1_1:-2", "0 or more"),
        ("style_layers", "relu1_1,relu1_1", "named twice"),
        ("style_layers", "", "cannot be read"),
        ("style_layers", "relu1_1:x", "cannot be read"),
        ("style_loss", "grum", "choose from gram"),
        ("optimizer", "lbgfs", "choose from lbfgs"),
        ("pooling", "mean", "choose from max"),
        ("preset", "fast", "choose from best"),
        ("history", 0, "at least 1"),
        ("seed", -1, "at least 0"),
        ("original_size", 1, "cannot be read"),
    ],
)
def test_values_out_of_range_are_refused_with_value_and_limit(
    name: str, value: object, words: str
) -> None:
    with pytest.raises(SettingError, match=words) as caught:
        settings_for(**{name: value})
    assert name in str(caught.value) or "relu1_1" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("none", [(), []], ids=str)
def test_a_painting_is_turned_in_some_way(none: object) -> None:
    with pytest.raises(SettingError, match="style_turn"):
        settings_for(style_turn=none)


def test_a_crop_may_be_four_numbers() -> None:
    half = Crop(0, 0, 0.5, 1)
    for given in ("0:0:0.5:1", (0, 0, 0.5, 1), [0, 0, 0.5, 1], half, [half], ["0:0:0.5:1"]):
        assert settings_for(style_crop=given).style_crop == (half,)
    assert settings_for(style_crop="none").style_crop == ()
    assert settings_for(style_weights="none").style_weights == ()


def test_unknown_settings_name_the_nearest() -> None:
    with pytest.raises(SettingError, match="did you mean 'style_weight'"):
        settings_for(style_wieght=3)
    with pytest.raises(SettingError, match="choose from"):
        settings_for(zzz=3)


def test_a_loss_needs_a_weight() -> None:
    with pytest.raises(SettingError, match="all 0"):
        settings_for(content_weight=0, style_weight=0, matching_weight=0)
    for name in ("content_weight", "style_weight", "matching_weight"):
        weights = {"content_weight": 0, "style_weight": 0, "matching_weight": 0} | {name: 1}
        assert getattr(settings_for(**weights), name) == 1


def test_every_setting_has_a_help_text() -> None:
    for item in fields(Settings):
        assert item.metadata["help"].endswith("."), item.name
