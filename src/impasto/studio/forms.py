"""What the page's controls say, as a job; and a picture's recipe, as what they said."""

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from impasto.errors import PictureError, SettingError
from impasto.images import paintings
from impasto.scene import Region
from impasto.segmentation import WORDS
from impasto.settings import FILE_OR, Settings, as_text, from_recipe, settings_for
from impasto.studio.jobs import Job
from impasto.studio.visits import Visit

QUICK: dict[str, Any] = {"preset": "instant"}
NOT_ASKED = ("Machine",)  # groups of settings that are the studio's, not a visitor's
MOST_MISSING = 5  # things that are said to be missing
LONGEST = 200  # characters of a setting, and of a name
DRAWN = "drawn"  # the name of the mask that a visitor draws or clicks
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


def job_of(
    form: Form,
    visit: Visit,
    quick: bool = False,
    side: int | None = None,
    photo: Path | None = None,
) -> Job:
    """The job that a form asks for; `quick`: as an instant picture of so many px. photo: in place
    of the visit's.

    Raises ImpastoError where something is missing, or is not what it should be.
    """
    photo = photo or visit.photo
    if photo is None:
        raise PictureError("there is no photo yet: drop one, paste one or take one")
    if not form.styles:
        raise PictureError("there is no painting yet: choose one, or drop one of your own")
    changes, asked_for = checked(form.changes)
    if len(form.styles) > 1:
        changes["style_weights"] = (form.share, 1 - form.share)
    if quick:
        some = ("style_weights", "style_scale", "keep_colors", "style_crop", "style_turn")
        changes = {k: v for k, v in changes.items() if k in some} | QUICK | {"size": side}
        changes["strength"] = min(1.0, 2 * asked_for.strength)
    target = visit.place(f"{_stem(photo)}-{form.styles[0]}", ".png")
    return Job(
        photo,
        tuple(source_of(name, visit) for name in form.styles),
        changes,
        target,
        mask_of(form.mask, visit),
        tuple(
            Region(source_of(style, visit), mask_of(mask, visit), name=mask)
            for mask, style in form.regions
        ),
        mask_of(form.keep, visit),
        timelapse=form.timelapse and not quick,
        quick=quick,
    )


def checked(changes: Mapping[str, Any]) -> tuple[dict[str, Any], Settings]:
    """Settings that a visitor may ask for, by name and as settings. SettingError for others, and
    for files."""
    found = {name: value for name, value in changes.items() if value not in (None, "")}
    by_name = {item.name: item for item in fields(Settings)}
    for name, value in found.items():
        item = by_name.get(name)
        if item is None or item.metadata["group"] in NOT_ASKED:
            raise SettingError(f"{name} is no setting of this page: leave it out")
        if len(str(value)) > LONGEST:
            raise SettingError(f"{name} has {len(str(value))} characters: {LONGEST} will do")
        words = choices(item)
        if words is not None and value not in words:
            raise SettingError(f"{name} is {value!r}: choose from {', '.join(words)}")
    try:
        return found, settings_for(**found)
    except (OverflowError, TypeError, ValueError):  # infinity for a whole number, say
        said = ", ".join(f"{name} {value!r}" for name, value in found.items())
        raise SettingError(f"{said} cannot be read: change one of these settings") from None


def source_of(name: str, visit: Visit) -> str:
    """A painting's file or name. PictureError for one that neither ships nor is the visitor's:
    no path of this machine is read."""
    if name in visit.paintings:
        return str(visit.paintings[name])
    if paintings.is_painting(name):
        return name
    raise PictureError(f"there is no painting {name[:LONGEST]!r}: choose one of those shown")


def mask_of(name: str | None, visit: Visit) -> Path | str | None:
    """A mask's file, or the word that finds it."""
    if not name:
        return None
    if name in visit.masks:
        return visit.masks[name]
    if name in WORDS:
        return name
    if name == DRAWN:
        raise PictureError("nothing is drawn yet: draw on your photo, or click into it")
    raise PictureError(f"there is no mask {name!r}: draw it anew")


def restored(recipe: Mapping[str, Any], visit: Visit) -> tuple[Form, list[str]]:
    """The form that a picture was painted with, and what of it is not here.

    Paths in a recipe are never followed: a name counts if it is that of a painting that ships or
    of something that the visitor handed in.
    """
    changes, missing = _changes_of(recipe.get("settings"))
    names, styles = recipe.get("style"), []
    for style in names if isinstance(names, list) else ():
        name = str(style) if str(style) in visit.paintings else Path(str(style)).stem
        if name in visit.paintings or paintings.is_painting(name):
            styles.append(name)
        else:
            missing.append(f"the painting {name[:LONGEST]}: drop it once more")
    weights = settings_for(**{"style_weights": changes.pop("style_weights", None)}).style_weights
    total: float = sum(weights)
    share = weights[0] / total if len(weights) == 2 and total > 0 else 0.5
    mask, keep = (_word(recipe, what, missing) for what in ("mask", "keep"))
    return Form(tuple(styles[:2]), share, changes, mask, keep), missing[:MOST_MISSING]


def _word(recipe: Mapping[str, Any], what: str, missing: list[str]) -> str | None:
    """The word that a recipe has for a mask; a mask that was drawn is missing."""
    sources = recipe.get("sources")
    found = sources.get(what) if isinstance(sources, Mapping) else None
    if found and found not in WORDS:
        missing.append(f"the {what} that was drawn: draw it once more")
    return found if found in WORDS else None


def _changes_of(recorded: object) -> tuple[dict[str, Any], list[str]]:
    """The settings of a recipe that are not the preset's, and what is wrong with others."""
    given = recorded if isinstance(recorded, Mapping) else {}
    settings = from_recipe({k: v for k, v in given.items() if k != "preset" or isinstance(v, str)})
    preset, missing = str(settings["preset"]), list[str]()
    usual, changes = settings_for(preset).as_dict(), dict[str, Any](preset=preset)
    for name in [*(item.name for item in asked()), *ELSEWHERE[1:]]:
        if name in settings and settings[name] != usual.get(name):
            try:
                changes |= checked({name: settings[name]})[0]
            except SettingError as error:
                missing.append(str(error))
    return changes, missing


def _stem(photo: Path) -> str:
    """A photo's name without the number that the visit gave it."""
    return photo.stem.rsplit("-", 1)[0]
