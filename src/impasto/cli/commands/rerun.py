"""`impasto info` and `rerun`: what a picture's recipe says, and the same picture again."""

import json as json_format
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from impasto.cli.options import given, options_of
from impasto.cli.outputs import Outputs
from impasto.errors import PictureError
from impasto.settings import PRESETS, Settings, from_recipe, settings_for

if TYPE_CHECKING:
    from impasto.scene import Region

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
            "steps": recipe.get("steps_taken"),
            "losses": losses,
            "seconds": recipe.get("seconds", "not recorded (a run with checkpoints)"),
            "network": f"{recipe.get('backbone')}, {recipe.get('features')}",
            "optimizer": _joined(recipe.get("optimizers")),
            "versions": f"impasto {recipe.get('impasto')}, torch {recipe.get('torch')}",
            "inputs": ", ".join(f"{k} {v}" for k, v in recipe.get("inputs", {}).items()),
        }
        print(picture)
        for name, value in rows.items():
            print(f"  {name:9}  {value}")


def rerun(
    picture: Path,
    /,
    *,
    content: Path | None = None,
    style: Annotated[tuple[str, ...], Parameter(negative="", show_default=False)] = (),
    outputs: Annotated[Outputs, Parameter(name="*")] = Outputs(),  # noqa: B008 - frozen
    options: Annotated[RerunOptions, Parameter(name="*")] = None,
) -> int:
    """Paint a picture again from the recipe it carries: the same, larger, or with changes.

    Photo and painting are looked for where they were, and beside the picture. If not told
    otherwise the new picture lies beside it, as PICTURE-again.png.

    Parameters
    ----------
    picture
        A picture that impasto wrote.
    content
        The photo, if it is somewhere else now.
    style
        The painting, if it is somewhere else now; once for each of several.
    """
    from impasto import images
    from impasto.cli import outputs as output
    from impasto.cli.run import paint
    from impasto.painting import start_run
    from impasto.scene import Scene

    recipe = images.recipe_of(picture)
    settings = _again(recipe["settings"], given(options))
    sources = recipe["sources"]
    photo = content or _found(sources["content"], picture, "photo", "--content")
    regions = [_region(region, picture) for region in sources["regions"]]
    if style:
        regions = [_with_style(region, style) for region in regions]
    mask = sources.get("mask") and _found(sources["mask"], picture, "mask", None)
    scene = Scene(photo, None, settings, mask, None, regions)
    run = start_run(scene)
    changed = {k for k, v in run.recipe()["inputs"].items() if v != recipe["inputs"].get(k)}
    if changed and not (content or style) and not outputs.quiet:
        print(f"not the same as then: {', '.join(sorted(changed))}", file=sys.stderr)
    default = picture.with_name(f"{picture.stem}-again.png")
    inputs = [str(picture), *(p.origin for p in scene.inputs.values() if p.origin)]
    return paint(run, output.check(outputs, default, inputs))


def _again(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> Settings:
    """The settings of then with what is asked now. A preset that is asked for speaks for all that
    was not changed from the preset of then."""
    kept = recorded = from_recipe(recorded)
    if "preset" in asked and recorded["preset"] in PRESETS:
        usual = settings_for(recorded["preset"]).as_dict()
        kept = {name: value for name, value in recorded.items() if value != usual.get(name)}
    return settings_for(**(kept | dict(asked)))


def _joined(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{k}:{v}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _found(source: str | None, picture: Path, what: str, option: str | None) -> str:
    """Where an input is now: where it was, or beside the picture. PictureError if nowhere."""
    from impasto.images.paintings import is_painting
    from impasto.weights.trained import networks

    remedy = f"say where with {option}" if option else "put it there"
    if source is None:
        raise PictureError(f"{picture} does not say where its {what} was: {remedy}")
    beside = picture.parent / Path(source).name
    if is_painting(source) or source in networks() or Path(source).exists():
        return source
    if beside.exists():
        return str(beside)
    raise PictureError(f"the {what} of {picture} was {source}, which is not there: {remedy}")


def _region(region: Mapping[str, Any], picture: Path) -> "Region":
    from impasto.scene import Region

    def found(name: str) -> str | None:
        return region[name] and _found(region[name], picture, name.replace("_", " "), None)

    styles = [_found(style, picture, "painting", "--style") for style in region["style"]]
    return Region(styles, found("mask"), region["strength"], found("style_mask"), region["name"])


def _with_style(region: "Region", style: tuple[str, ...]) -> "Region":
    from dataclasses import replace

    return replace(region, style=list(style))
