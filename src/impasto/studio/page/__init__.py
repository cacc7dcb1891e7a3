"""The page: Gradio's components over a `Desk`, which decides what is painted, and how."""

import gradio as gr

from impasto.studio.desk import Desk
from impasto.studio.page import layout
from impasto.studio.page.events import Page
from impasto.studio.page.program import offer

__all__ = ["build"]


def build(desk: Desk) -> gr.Blocks:
    """The page of a desk."""
    blocks: gr.Blocks
    with gr.Blocks(title="impasto studio", analytics_enabled=False) as blocks:
        gr.HTML(layout.header(), padding=False)
        with gr.Row(elem_id="studio"):
            with gr.Column(scale=7, min_width=340, elem_id="stage-column"):
                shown = layout.stage_column()
            with gr.Column(scale=5, min_width=320, elem_id="controls"):
                asked = layout.control_column(desk.limits.size)
        page = Page(desk, shown, asked)
        page.connect(blocks)
        offer(desk)
    return blocks
