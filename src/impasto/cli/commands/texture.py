"""`impasto texture`: a seamless pattern of a painting's brushwork, without a photo."""

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from impasto.cli.options import given, options_of, shown, text_of
from impasto.cli.outputs import Outputs
from impasto.settings import Settings

TEXTURE: dict[str, Any] = {"content_weight": 0.0, "start": "noise", "seamless": True}
"""What `impasto texture` changes of the usual settings."""

TextureOptions: Any = options_of(
    "TextureOptions",
    fields(Settings),
    lambda item: text_of(item, TEXTURE[item.name]) if item.name in TEXTURE else shown(item),
)


def texture(
    *styles: str,
    outputs: Annotated[Outputs, Parameter(name="*")] = Outputs(),  # noqa: B008 - frozen
    options: Annotated[TextureOptions | None, Parameter(name="*")] = None,
) -> int:
    """Paint a seamless texture of a painting's brushwork: style alone, from noise.

    If not told otherwise it lies in this folder, as STYLE-texture.png.

    Parameters
    ----------
    styles
        The paintings, as for `impasto stylize`.
    """
    import torch

    from impasto.cli import outputs as output
    from impasto.cli.inputs import pictures
    from impasto.cli.run import paint
    from impasto.errors import SettingError
    from impasto.images import Picture
    from impasto.painting import start_run
    from impasto.scene import Scene
    from impasto.settings import settings_for

    if not styles:
        raise SettingError("there is no painting: name one or more")
    settings = settings_for(**(TEXTURE | given(options)))
    if settings.method == "instant":
        raise SettingError("a texture grows from noise, and instant mode needs a photo: try draft")
    blank = Picture(torch.full((1, 3, settings.size, settings.size), 0.5), None, "noise")
    default = Path(f"{'-'.join(Path(style).stem for style in styles[:3])}-texture.png")
    checked = output.check(outputs, default, list(styles))
    return paint(start_run(Scene(blank, pictures(styles), settings)), checked)
