"""`impasto info` and `rerun`: what a picture's recipe says, and the same picture again."""

import json as json_format
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from impasto.cli.options import given, options_of
from impasto.cli.outputs import Outputs
from impasto.errors import PictureError
from impasto.settings import FILE_OR, PRESETS, Settings, changed, from_recipe, settings_for

if TYPE_CHECKING:
    from impasto.scene import Region

MASKS = ("mask", "keep", "style mask")
"""What may be a word."""

RerunOptions: Any = options_of("RerunOptions", fields(Settings), lambda _: "as then")


def info(*pictures: Path, json: bool = False) -> None:
    """Show how a picture or a film was made.

    Parameters
    ----------
    pictures
        Pictures and films that impasto wrote.
    json
        Print the whole recipe as one JSON object for each picture.
    """
    from impasto import images, video

    for picture in pictures:
        film = picture.suffix.lower() in video.CONTAINERS
        recipe = video.recipe_of(picture) if film else images.recipe_of(picture)
        if json:
            print(json_format.dumps({"file": str(picture)} | recipe))
            continue
        settings = from_recipe(recipe.get("settings", {}))
        preset = settings["preset"]
        usual = settings_for(preset).as_dict()
        losses = ", ".join(f"{k} {v:.4g}" for k, v in recipe.get("losses", {}).items())
        rows = {
            "photo": recipe.get("content"),
            "painting": _joined(recipe.get("style")),
            "preset": preset,
            "changed": ", ".join(
                f"{name} {_joined(value)}"
                for name, value in settings.items()
                if usual.get(name) != value
            )
            or "nothing",
            "mixed": "; ".join(map(_mix_words, recipe.get("mixed", ()))),
            "steps": recipe.get("steps_taken"),
            "losses": losses,
            "network": f"{recipe.get('backbone')}, {recipe.get('features')}",
            "optimizer": _joined(recipe.get("optimizers")),
            "versions": f"impasto {recipe.get('impasto')}, torch {recipe.get('torch')}",
            "inputs": ", ".join(f"{k} {v}" for k, v in recipe.get("inputs", {}).items()),
        }
        print(picture)
        for name, value in rows.items():
            if name != "mixed" or value:
                print(f"  {name:9}  {value}")


def rerun(
    picture: Path,
    /,
    *,
    content: Path | None = None,
    style: Annotated[tuple[str, ...], Parameter(negative="", show_default=False)] = (),
    inputs: Annotated[tuple[Path, ...], Parameter(negative="", show_default=False)] = (),
    outputs: Annotated[Outputs, Parameter(name="*")] = Outputs(),  # noqa: B008 - frozen
    options: Annotated[RerunOptions | None, Parameter(name="*")] = None,
) -> int:
    """Paint a picture again from the recipe it carries: the same, larger, or with changes.

    The recipe knows its photo, paintings and masks by their names: they are looked for beside the
    picture and in the current folder. If not told otherwise the new picture lies beside it, as
    PICTURE-again.png.

    Parameters
    ----------
    picture
        A picture that impasto wrote.
    content
        The photo, if it is somewhere else or has another name.
    style
        The painting, likewise; once for each of several.
    inputs
        A folder to look in first; may be given several times.
    """
    from impasto import images
    from impasto.cli import outputs as output
    from impasto.cli.run import paint
    from impasto.painting import mixed_again, others_of, start_run
    from impasto.scene import Scene

    recipe = images.recipe_of(picture)
    for entry in ("settings", "sources"):
        if entry not in recipe:
            raise PictureError(
                f"{picture} does not say its {entry}, for which it had no room: paint it anew "
                "with `impasto stylize`"
            )
    there, sources = Whereabouts(picture, inputs), recipe["sources"]
    photo = content or there.found(sources["content"], "photo", "--content")
    regions = [_region(region, there, style) for region in sources["regions"]]
    mask, keep = (
        sources.get(name) and there.found(sources[name], name) for name in ("mask", "keep")
    )
    settings = there.settings(_again(recipe["settings"], given(options)), given(options))
    scene = Scene(photo, None, settings, mask, None, regions, keep)
    run = start_run(scene)
    now = run.recipe()["inputs"]
    then = recipe.get("inputs", now)
    others = {name for name, value in now.items() if value != then.get(name)}
    if others and not (content or style) and not outputs.quiet:
        print(f"not the same as then: {', '.join(sorted(others))}", file=sys.stderr)
    mixed_with = others_of(recipe, lambda name: there.found(name, "other picture"))
    default = picture.with_name(f"{picture.stem}-again.png")
    read = [str(picture), *(p.origin for p in scene.inputs.values() if p.origin)]
    checked = output.check(outputs, default, read)
    return paint(run, checked, lambda result: mixed_again(result, recipe, mixed_with))


def _again(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> Settings:
    """The settings of then with what is asked now. A preset that is asked for speaks for all that
    was not changed from the preset of then."""
    kept = recorded = from_recipe(recorded)
    if "preset" in asked and recorded["preset"] in PRESETS:
        usual = settings_for(recorded["preset"]).as_dict()
        kept = {name: value for name, value in recorded.items() if value != usual.get(name)}
    return settings_for(**(kept | dict(asked)))


def _mix_words(note: Mapping[str, Any]) -> str:
    return f"{note.get('amount')} of it, the rest {note.get('with', 'the photo')}"


def _joined(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{k}:{v}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


@dataclass(frozen=True)
class Whereabouts:
    """Where the inputs of a picture are now."""

    picture: Path
    folders: tuple[Path, ...]
    """Those to look in first."""

    def found(self, source: str | None, what: str, option: str | None = None) -> str:
        """An input: in the folders given, where it was, beside the picture, or in the current
        folder. PictureError if nowhere; `option` is what takes it instead."""
        from impasto.images.paintings import NAME, is_painting
        from impasto.segmentation import is_word
        from impasto.weights.trained import networks

        if source is None:
            remedy = f"give it with {option}" if option else "paint it anew"
            raise PictureError(f"{self.picture} does not say what its {what} was: {remedy}")
        if is_painting(source) or source in networks() or (what in MASKS and is_word(source)):
            return source
        was, name = Path(source), Path(source).name
        places = [folder / name for folder in self.folders]
        places += [was] if len(was.parts) > 1 else []  # as earlier versions wrote it
        for place in (*places, self.picture.parent / name, Path(name)):
            if place.exists():
                return _as_file(place)
        remedy = f"give it with {option}, or" if option else "give"
        if what == "painting" and NAME.fullmatch(name):
            remedy = f"add it with `impasto styles add {name} FILE`, {remedy}"
        raise PictureError(
            f"the {what} of {self.picture}, {name}, is neither beside it nor in the current "
            f"folder: {remedy} its folder with --inputs"
        )

    def settings(self, then: Settings, asked: Collection[str]) -> Settings:
        """The settings with the files among them where those are now, but for what is asked."""
        files = {
            name: self.found(getattr(then, name), name, f"--{name}")
            for name, words in FILE_OR.items()
            if name not in asked and getattr(then, name) not in words
        }
        return changed(then, **files)


def _as_file(place: Path) -> str:
    """A path that no command takes for the name of a painting or for a word."""
    return f"./{place}" if len(place.parts) == 1 else str(place)


def _region(region: Mapping[str, Any], there: Whereabouts, style: tuple[str, ...]) -> "Region":
    """A region of then, with its inputs where they are now; or with another style."""
    from impasto.scene import Region

    def found(name: str) -> str | None:
        return region[name] and there.found(region[name], name.replace("_", " "))

    styles = list(style) or [there.found(s, "painting", "--style") for s in region["style"]]
    return Region(styles, found("mask"), region["strength"], found("style_mask"), region["name"])
