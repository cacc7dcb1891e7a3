"""The page's controls, made from the settings: no default, range or help stands twice."""

from dataclasses import Field, fields
from typing import Any

import gradio as gr

from impasto.settings import PRESETS, Settings, settings_for
from impasto.studio import forms

FIELDS = {item.name: item for item in fields(Settings)}
SIZES = (256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)  # px, that one can slide to
KEEP = {
    "none": "the painting's",
    "luminance": "the photo's, exactly",
    "match": "the photo's, matched",
}
"""What --keep-colors says, in the words of somebody who looks."""


def help_of(name: str) -> str:
    """The sentence that a setting's help has."""
    return str(FIELDS[name].metadata["help"])


def basic(largest: int) -> dict[str, Any]:
    """The controls of the dozen settings that most people need, by the settings' names."""
    usual = settings_for()
    sizes = [size for size in SIZES if size <= largest] or [largest]
    return {
        "preset": gr.Radio(
            [name for name in PRESETS if name != "paper"] + ["paper"],
            value="draft",
            label="Quality",
            info=help_of("preset"),
        ),
        "size": gr.Dropdown(
            sizes,
            value=min(usual.size, sizes[-1]),
            label="Size, px",
            info=help_of("size"),
        ),
        "strength": gr.Slider(
            0,
            1,
            usual.strength,
            step=0.05,
            label="Strength before painting",
            info=help_of("strength"),
        ),
        "style_scale": gr.Slider(
            0.25,
            3,
            usual.style_scale[0],
            step=0.05,
            label="Stroke size",
            info=help_of("style_scale"),
        ),
        "keep_colors": gr.Radio(
            [(words, name) for name, words in KEEP.items()], value="none", label="Colors"
        ),
    }


def expert(preset: str = "best") -> dict[str, Any]:
    """A control for each other setting that a visitor may change; empty means the preset's."""
    return {item.name: _control(item, preset) for item in forms.asked()}


def _control(item: "Field[Any]", preset: str) -> Any:
    words = forms.choices(item)
    label, info = item.name.replace("_", " "), item.metadata["help"]
    if words is not None:
        return gr.Dropdown(["", *words], value="", label=label, info=info)
    if item.type is bool:
        return gr.Dropdown(["", "yes", "no"], value="", label=label, info=info)
    return gr.Textbox(
        value="", label=label, info=info, placeholder=forms.shown(item, preset), max_lines=1
    )


def value_of(name: str, said: Any) -> Any:
    """What a control says, as `settings_for` takes it; None for nothing."""
    if said in (None, ""):
        return None
    kind = FIELDS[name].type
    if kind is bool:
        return said in (True, "yes")
    text = str(said).strip()
    if kind in (int, float, float | None) and not isinstance(said, int | float):
        try:
            return int(text) if kind is int else float(text)
        except ValueError:
            return text  # the settings say what is wrong with it
    return said


def usual(name: str, preset: str) -> Any:
    """What a control of a basic setting shows where nothing else was asked for."""
    value = getattr(settings_for(preset), name)
    return value[0] if isinstance(value, tuple) and value else value


def text_of(name: str, value: Any) -> str:
    """What a control of another setting shows for a value; nothing for None."""
    if value is None:
        return ""
    if FIELDS[name].type is bool:
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ",".join(f"{key}:{weight:g}" for key, weight in value.items())
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value)
