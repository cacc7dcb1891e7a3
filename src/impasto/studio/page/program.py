"""What programs call: `client.predict(..., api_name="/stylize")`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from impasto.errors import ImpastoError
from impasto.studio.desk import Desk
from impasto.studio.forms import Form
from impasto.studio.page.events import key_of

SAYS = (
    "Paint a photo in the style of a painting by its name, and return the picture's file, a PNG "
    "with its recipe. preset: best, draft, instant or paper; size: long side, px; strength: 0 to "
    "1. What cannot be painted is an error that says why."
)


def offer(desk: Desk) -> None:
    """Add the one function of the page that programs may call."""
    photo = gr.File(visible=False, label="photo")
    style = gr.Textbox("great-wave", visible=False, label="style")
    preset = gr.Textbox("draft", visible=False, label="preset")
    size = gr.Number(512, precision=0, visible=False, label="size")
    strength = gr.Number(0.5, visible=False, label="strength")
    picture = gr.File(visible=False, label="picture")
    gr.Button(visible=False).click(
        _Stylize(desk).call, [photo, style, preset, size, strength], [picture],
        api_name="stylize", api_description=SAYS, concurrency_limit=None,
    )  # fmt: skip


class _Stylize:
    """The function, of one desk."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def call(
        self,
        photo: str | None,
        style: str,
        preset: str,
        size: int,
        strength: float,
        request: gr.Request,
    ) -> Iterator[Any]:
        """Nothing while it is painted, then the file. A generator, since Gradio ends one where the
        client is gone."""
        if photo is None:
            raise gr.Error("there is no photo: hand in a file")
        changes = {"preset": preset, "size": size, "strength": strength}
        try:
            form = Form((style,), changes=changes)
            for picture in self.desk.paint_for_program(key_of(request), Path(photo), form):
                yield None if picture is None else str(picture)
        except ImpastoError as error:
            raise gr.Error(str(error), print_exception=False) from None
