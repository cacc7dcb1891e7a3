"""The presets, and settings from a preset, from changes by name, or from a picture's recipe."""

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from impasto.errors import SettingError
from impasto.settings.fields import check_names
from impasto.settings.settings import Settings

PRESETS: dict[str, dict[str, Any]] = {
    "best": {},
    "draft": {
        "content_weight": 0.1,  # so few steps leave more of the photo
        "steps": (12, 4, 2),
        "detail_steps": (8, 5),
        "matching_steps": (6, 4, 7),
    },
    "instant": {"method": "instant", "strength": 1.0},
    "paper": {
        "content_weight": 1.0,
        "style_weight": 3e7,
        "style_loss": "gram",
        "loss_scale": "paper",
        "matching_weight": 0.0,
        "range_weight": 0.0,
        "padding": "zero",
        "steps": (500,),
        "start": "content",
        "coarsest": 0,
        "history": 100,
        "precondition": False,
    },
}
"""What each preset changes of the defaults above."""


def settings_for(preset: str = "best", **changes: Any) -> Settings:
    """The settings of a preset, with these changes; a change of None is no change.

    Raises SettingError for an unknown preset, an unknown name or a value out of range.
    """
    check_names("preset", (preset,), tuple(PRESETS))
    known = [item.name for item in fields(Settings)]
    for name in changes:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f": did you mean {near[0]!r}?" if near else f": choose from {', '.join(known)}"
            raise SettingError(f"there is no setting {name!r}{hint}")
    given = {name: value for name, value in changes.items() if value is not None}
    return Settings(**{"preset": preset} | PRESETS[preset] | given)


RENAMED_VALUES = {("method", "optimise"): "optimize"}
GONE = ("tangent_steps", "cuda_graphs", "block")
"""What recipes of earlier versions say otherwise: values that have another name now, and settings
that are gone or of no account."""
UNKNOWN_THEN = {"matching_weight": 0.0}
"""What pictures of earlier versions were painted with where their recipes say nothing of it."""


def from_recipe(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a recipe, of this version or an earlier one, as `settings_for` takes them.

    Presets that are gone count as `best`: all they changed is in the recipe.
    """
    known = {
        name: RENAMED_VALUES.get((name, value), value) if isinstance(value, str) else value
        for name, value in recorded.items()
        if name not in GONE
    }
    found = UNKNOWN_THEN | known
    return found | ({} if found.get("preset") in PRESETS else {"preset": "best"})
