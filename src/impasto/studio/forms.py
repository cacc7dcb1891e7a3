"""What the page's controls say, as a job; and a picture's recipe, as what they said."""

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from impasto.errors import PictureError, SettingError
from impasto.images import paintings
from impasto.scene import Region
from impasto.settings import FILE_OR, Settings, as_text, from_recipe, settings_for
from impasto.studio.jobs import Job
from impasto.studio.visits import Visit

QUICK: dict[str, Any] = {"preset": "instant"}
NOT_ASKED = ("Machine",)  # groups of settings that are the studio's, not a visitor's
ELSEWHERE = ("preset", "size", "strength", "style_weights", "style_scale", "keep_colors")
"""Settings with a control of their own on the page."""


@dataclass(frozen=True)
class Form:
    """What the controls say."""

    styles: tuple[str, ...] = ()
    """Names of paintings: built-in ones, the library's, or the visitor's own."""
    share: float = 0.5
    """Of the first painting, where there are two."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Settings by name; what is not there, the preset says."""
    mask: str | None = None
    """Where to paint: a word (person, background, face), or the name of a drawn mask."""
    keep: str | None = None
    """What to paint softly, likewise."""
    regions: tuple[tuple[str, str], ...] = ()
    """Masks and the paintings that go there."""
    timelapse: bool = False


def asked() -> list["Field[Any]"]:
    """The settings that the page asks for in its list of all."""
    return [
        item
        for item in fields(Settings)
        if item.metadata["group"] not in NOT_ASKED and item.name not in ELSEWHERE
    ]


def choices(item: "Field[Any]") -> list[str] | None:
    """The words that a setting may be, if it is one of words. Files are not among them: a visitor
    names no file of this machine."""
    if item.name in FILE_OR:
        return list(FILE_OR[item.name])
    if get_origin(item.type) is Literal:
        return list(get_args(item.type))
    return None


def shown(item: "Field[Any]", preset: str) -> str:
    """The value that a preset has for a setting, as one would type it."""
    return as_text(getattr(settings_for(preset), item.name), item.metadata["none"])


def job_of(form: Form, visit: Visit, quick: bool = False, side: int | None = None) -> Job:
    """The job that a form asks for; `quick`: as an instant picture of so many px.

    Raises ImpastoError where something is missing, or is not what it should be.
    """
    if visit.photo is None:
        raise PictureError("there is no photo yet: drop one, paste one or take one")
    if not form.styles:
        raise PictureError("there is no painting yet: choose one, or drop one of your own")
    changes = checked(form.changes)
    if len(form.styles) > 1:
        changes["style_weights"] = (form.share, 1 - form.share)
    if quick:
        some = ("style_weights", "style_scale", "keep_colors", "style_crop", "style_turn")
        changes = {k: v for k, v in changes.items() if k in some} | QUICK | {"size": side}
        changes["strength"] = min(1.0, 2 * float(form.changes.get("strength", 0.5)))
    target = visit.place(f"{_stem(visit.photo)}-{form.styles[0]}", ".png")
    return Job(
        visit.photo,
        tuple(source_of(name, visit) for name in form.styles),
        changes,
        target,
        mask_of(form.mask, visit),
        tuple(
            Region(source_of(style, visit), mask_of(mask, visit), name=mask)
            for mask, style in form.regions
        ),
        timelapse=form.timelapse and not quick,
        quick=quick,
    )


def checked(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that a visitor may ask for, checked. SettingError for others, and for files."""
    found = {name: value for name, value in changes.items() if value not in (None, "")}
    by_name = {item.name: item for item in fields(Settings)}
    for name, value in found.items():
        item = by_name.get(name)
        if item is None or item.metadata["group"] in NOT_ASKED:
            raise SettingError(f"{name} is no setting of this page: leave it out")
        words = choices(item)
        if words is not None and value not in words:
            raise SettingError(f"{name} is {value!r}: choose from {', '.join(words)}")
    settings_for(**found)
    return found


def source_of(name: str, visit: Visit) -> str:
    """A painting's file or name. PictureError for one that neither ships nor is the visitor's:
    no path of this machine is read."""
    if name in visit.paintings:
        return str(visit.paintings[name])
    if paintings.is_painting(name):
        return name
    raise PictureError(f"there is no painting {name!r}: choose one of those shown")


def mask_of(name: str | None, visit: Visit) -> Path | str | None:
    """A mask's file, or the word that finds it."""
    if not name:
        return None
    if name in visit.masks:
        return visit.masks[name]
    if name in WORDS:
        return name
    raise PictureError(f"there is no mask {name!r}: draw it anew")


WORDS = ("person", "background", "face")


def restored(recipe: Mapping[str, Any], visit: Visit) -> tuple[Form, list[str]]:
    """The form that a picture was painted with, and what of it is not here.

    Paths in a recipe are never followed: a name counts if it is that of a painting that ships or
    of something that the visitor handed in.
    """
    settings = from_recipe(recipe.get("settings") or {})
    preset = str(settings.get("preset", "best"))
    usual, missing = settings_for(preset).as_dict(), list[str]()
    changes: dict[str, Any] = {"preset": preset}
    names = {
        item.name: item
        for item in [*asked(), *(f for f in fields(Settings) if f.name in ELSEWHERE)]
    }
    for name, value in settings.items():
        if name in names and value != usual.get(name):
            try:
                changes |= checked({name: value})
            except SettingError as error:
                missing.append(str(error))
    styles = []
    for style in recipe.get("style") or ():
        name = Path(str(style)).stem if str(style) not in visit.paintings else str(style)
        if name in visit.paintings or paintings.is_painting(name):
            styles.append(name)
        else:
            missing.append(f"the painting {name}: drop it once more")
    weights = changes.pop("style_weights", None)
    share = weights[0] / sum(weights) if weights and len(weights) == 2 and sum(weights) else 0.5
    return Form(tuple(styles[:2]), share, changes), missing


def _stem(photo: Path) -> str:
    """A photo's name without the number that the visit gave it."""
    return photo.stem.rsplit("-", 1)[0]
