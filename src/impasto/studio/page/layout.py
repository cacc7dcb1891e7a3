"""What is on the page, and where: Gradio's components, without what they do."""

from types import SimpleNamespace
from typing import Any

import gradio as gr

from impasto.images import paintings
from impasto.studio import stage
from impasto.studio.page import controls

WHERE = {
    "everywhere": None,
    "the person": "person",
    "the background": "background",
    "the face": "face",
    "what I draw or click": "drawn",
}
"""Where to paint, as it is asked for, and the mask that it means."""
KEEP = {"nothing": None, "the face": "face", "the person": "person"}
DRAWING_SIDE = 768  # px, of the copy that a mask is drawn on: phones take no more


def as_it_is(image: Any) -> Any:
    """An image component that hands the file over as it is: no decoder sees it before ours."""
    image.preprocess = lambda payload: None if payload is None else payload.path
    return image


def header() -> str:
    """The top of the page."""
    return (
        '<header class="masthead"><h1>impasto</h1>'
        "<p>Your photo, repainted in the style of a painting. "
        "Everything happens on this machine.</p></header>"
    )


def stage_column() -> SimpleNamespace:
    """The large picture, what starts and stops, and what there is afterwards."""
    parts = SimpleNamespace()
    parts.stage = gr.HTML(stage.empty(), elem_id="stage", padding=False)
    with gr.Row(elem_id="actions"):
        parts.paint = gr.Button("Paint", variant="primary", elem_id="paint", min_width=120)
        parts.stop = gr.Button("Stop", visible=False, elem_id="stop", min_width=120)
        parts.go_on = gr.Button("Go on", visible=False, elem_id="go-on", min_width=120)
    with gr.Column(visible=False, elem_id="afterwards") as parts.afterwards:
        parts.amount = gr.Slider(
            0, 1, 1, step=0.01, label="Strength after painting", elem_id="amount",
            info="Between your photo and the picture, at once.",
        )  # fmt: skip
        with gr.Row():
            parts.download = gr.DownloadButton(
                "Download the picture", variant="primary", elem_id="download", min_width=160
            )
            parts.film = gr.DownloadButton("Download the time-lapse", visible=False, min_width=160)
        with gr.Accordion("How the loss fell", open=False):
            parts.loss = gr.HTML()
    with gr.Accordion("Pictures of this visit", open=True, visible=False) as parts.visit:
        parts.gallery = gr.Gallery(
            columns=4, fit_columns=False, height="auto", object_fit="cover", show_label=False,
            elem_id="visit", label="Pictures of this visit", buttons=["download", "fullscreen"],
        )  # fmt: skip
    return parts


def control_column(largest: int) -> SimpleNamespace:
    """Photo, paintings, and how to paint."""
    parts = SimpleNamespace(names=list(paintings.known()))
    parts.photo = as_it_is(
        gr.Image(
            type="filepath", image_mode=None, sources=["upload", "clipboard", "webcam"],
            label="1. Your photo", height=200, elem_id="photo", buttons=[],
        )
    )  # fmt: skip
    parts.more = gr.UploadButton(
        "Paint several photos", file_count="multiple", file_types=["image"], size="sm",
        elem_id="more",
    )  # fmt: skip
    parts.choice = gr.State([])
    parts.thumbs = gr.State([(str(paintings.thumbnail(n)), short_title(n)) for n in parts.names])
    parts.known = gr.State(list(parts.names))
    parts.paintings = gr.Gallery(
        [(str(paintings.thumbnail(n)), short_title(n)) for n in parts.names],
        label="2. The painting", columns=4, height="auto", object_fit="cover",
        allow_preview=False, elem_id="paintings", buttons=[],
    )  # fmt: skip
    with gr.Row():
        parts.own = gr.UploadButton(
            "A painting of your own", file_types=["image"], size="sm", elem_id="own", min_width=120
        )
        parts.all = gr.Button("See all styles", size="sm", elem_id="sheet-button", min_width=120)
    parts.sheet = gr.Gallery(
        visible=False, columns=3, fit_columns=False, height="auto", object_fit="contain",
        allow_preview=False, label="Your photo in every style: choose one", elem_id="sheet",
        buttons=[],
    )  # fmt: skip
    parts.basic = controls.basic(largest)
    parts.estimate = gr.Markdown("", elem_id="estimate")
    with gr.Accordion("Mix two paintings", open=False):
        parts.second = gr.Dropdown(
            [("none", ""), *((title(n), n) for n in parts.names)], value="", label="Second painting"
        )
        parts.share = gr.Slider(
            0.05, 0.95, 0.5, step=0.05, label="Share of the first", info="The rest is the second's."
        )
    with gr.Accordion("Where to paint", open=False):
        _masks(parts)
    with gr.Accordion("Every setting", open=False, elem_id="expert"):
        gr.Markdown("Empty means: as the quality says.")
        parts.timelapse = gr.Checkbox(label="Make a time-lapse, too", elem_id="timelapse")
        parts.expert = controls.expert()
    return parts


def _masks(parts: SimpleNamespace) -> None:
    """Where to paint, and with what there."""
    parts.where = gr.Radio(list(WHERE), value="everywhere", label="Paint", elem_id="where")
    parts.clicks = gr.State([])
    parts.hint = gr.Markdown(
        "Draw below, or click into your photo above: what looks alike there is meant. Another "
        "click adds to it.", visible=False,
    )  # fmt: skip
    parts.keep = gr.Radio(list(KEEP), value="nothing", label="Paint softly", elem_id="keep")
    parts.editor = gr.ImageEditor(
        type="filepath", image_mode="RGBA", sources=[], transforms=[], layers=False,
        label="Draw where to paint", visible=False, elem_id="editor", buttons=[],
        brush=gr.Brush(default_size=40, colors=["#ffffff"], color_mode="fixed"),
        canvas_size=(DRAWING_SIDE, DRAWING_SIDE), height=360,
    )  # fmt: skip
    gr.Markdown("Another painting for a part of the photo:")
    with gr.Row():
        parts.region_mask = gr.Dropdown(
            [("no part", ""), *((w, n) for w, n in WHERE.items() if n)], value="", label="Part",
            min_width=120,
        )  # fmt: skip
        parts.region_style = gr.Dropdown(
            [(title(n), n) for n in parts.names], value=parts.names[0], label="Its painting",
            min_width=120,
        )  # fmt: skip


def title(name: str) -> str:
    """A painting and its painter; its name, where no more is known."""
    about = paintings.about(name)
    return ", ".join(filter(None, (about.title or name, about.painter)))


def short_title(name: str) -> str:
    """A painting's title; its name, where no more is known."""
    return paintings.about(name).title or name
