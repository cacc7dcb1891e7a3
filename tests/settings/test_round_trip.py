"""Every setting goes from text to value, to JSON and back, and stays what it is."""

import json
from dataclasses import Field, fields
from typing import Any

import pytest

from impasto.settings import (
    PRESETS,
    Crop,
    Settings,
    Turn,
    as_text,
    changed,
    from_recipe,
    settings_for,
)

GIB = 1024**3
TEXTS: list[tuple[str, str, Any]] = [
    ("style_crop", "0:0:0.5:1", (Crop(0, 0, 0.5, 1),)),
    ("style_crop", "0:0:0.5:1,0.1:0.2:0.9:1", (Crop(0, 0, 0.5, 1), Crop(0.1, 0.2, 0.9, 1))),
    ("style_turn", "-30", (Turn(False, -30),)),
    (
        "style_turn",
        "0,90,flip,flip90.5",
        (Turn(False, 0), Turn(False, 90), Turn(True, 0), Turn(True, 90.5)),
    ),
    ("memory_limit", "3G", 3 * GIB),
    ("memory_limit", "1500M", 1500 * 1024**2),
    ("memory_limit", "auto", None),
    ("style_layers", "relu1_1:0.2,relu2_1:0.8", (("relu1_1", 0.2), ("relu2_1", 0.8))),
    ("style_layers", "relu1_1,relu2_1", (("relu1_1", 0.5), ("relu2_1", 0.5))),
    ("content_layers", "relu3_1:1,relu4_2:2", (("relu3_1", 1.0), ("relu4_2", 2.0))),
    ("structure_layers", "relu4_1", (("relu4_1", 1.0),)),
    ("style_weights", "0.7,0.3", (0.7, 0.3)),
    ("style_scale", "0.5,2", (0.5, 2.0)),
    ("style_loss", "wasserstein,gram", ("wasserstein", "gram")),
    ("steps", "7", (7,)),
    ("detail_steps", "8,0", (8, 0)),
    ("learning_rate", "0.05", 0.05),
    ("strength", "0.25", 0.25),
    ("palette", "style", "style"),
    ("start", "photo, with a comma.png", "photo, with a comma.png"),
]
"""A setting, a text of it, its value."""


def through_json(settings: Settings) -> Settings:
    """What a recipe gives back."""
    return settings_for(**json.loads(json.dumps(settings.as_dict())))


def known_values(item: "Field[Any]") -> list[Any]:
    """The default of a setting, and what presets make of it."""
    return list(dict.fromkeys(getattr(settings_for(preset), item.name) for preset in PRESETS))


def typed(item: "Field[Any]", text: str) -> Any:
    """A text as a command line hands it on: whole numbers and switches are read there."""
    if item.type is bool:
        return {"yes": True, "no": False}[text]
    return int(text) if item.type is int else text


@pytest.mark.parametrize(("name", "text", "value"), TEXTS)
def test_texts_are_values_that_survive_json_and_have_a_text(
    name: str, text: str, value: Any
) -> None:
    (item,) = (item for item in fields(Settings) if item.name == name)
    those = settings_for(**{name: text})
    assert getattr(those, name) == value
    assert through_json(those) == those
    assert settings_for(**{name: as_text(value, item.metadata["none"])}) == those
    assert settings_for(**{name: value}) == those  # what is a value already stays it


@pytest.mark.parametrize("item", fields(Settings), ids=lambda item: item.name)
def test_defaults_and_presets_survive_json_and_have_a_text(item: "Field[Any]") -> None:
    for value in known_values(item):
        those = settings_for(**{item.name: value})
        assert getattr(those, item.name) == value
        assert through_json(those) == those
        if value in ((), None) and item.metadata["parse"] is None:
            continue  # nothing is given: there is no text of that
        text = as_text(value, item.metadata["none"])
        assert settings_for(**{item.name: typed(item, text)}) == those


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_survive_json_whole(preset: str) -> None:
    changes = {name: text for name, text, _ in TEXTS}
    for those in (settings_for(preset), settings_for(preset, **changes)):
        assert through_json(those) == those
        assert those.as_dict() == through_json(those).as_dict()


def test_json_keeps_every_digit_of_numbers() -> None:
    those = settings_for(
        strength=1 / 3, style_scale=(1 / 3, 2 / 3), style_layers={"relu1_1": 1 / 3}, seed=2**60
    )
    assert through_json(those) == those


@pytest.mark.parametrize(
    "changes", [{"style_crop": "0:0:0.3333333333:1"}, {"style_turn": "45.1234567"}], ids=str
)
def test_json_keeps_every_digit_of_crops_and_turns(changes: dict[str, str]) -> None:
    those = settings_for(**changes)
    assert through_json(those) == those


def test_recipes_of_earlier_versions_are_translated() -> None:
    """Other spellings, settings that are gone, presets that are gone."""
    recorded = settings_for("draft", style_turn="0,flip90", memory_limit="3G").as_dict() | {
        "method": "optimise",
        "tangent_steps": 15,
        "block": 32,
        "memory_limit": "auto",
        "style_turn": ["0"],
    }
    before = dict(recorded)
    found = from_recipe(recorded)
    assert recorded == before
    assert found["method"] == "optimize"
    assert not {"tangent_steps", "block"} & set(found)
    assert settings_for(**found) == settings_for("draft")
    quick = settings_for(**from_recipe(recorded | {"preset": "quick"}))
    assert quick == changed(settings_for("draft"), preset="best")
    del recorded["matching_weight"]  # as before there was any
    assert settings_for(**from_recipe(recorded)) == settings_for("draft", matching_weight=0.0)


@pytest.mark.parametrize("preset", PRESETS)
def test_recipes_of_this_version_are_what_they_were(preset: str) -> None:
    """But for `cuda_graphs`, which is of no account to the picture."""
    those = settings_for(preset, **{name: text for name, text, _ in TEXTS})
    assert settings_for(**from_recipe(those.as_dict())) == those
    assert settings_for(**from_recipe(settings_for(cuda_graphs=True).as_dict())) == settings_for()
