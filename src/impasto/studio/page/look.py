"""How the page looks: its theme, and the style sheet beside this file."""

from pathlib import Path

import gradio as gr

CSS = Path(__file__).with_name("studio.css")
NAMES = """() => {
  const name = () => document.querySelectorAll("button.thumbnail-item").forEach((button) => {
    const caption = button.querySelector(".caption-label");
    if (caption) button.setAttribute("aria-label", caption.textContent.trim());
  });
  new MutationObserver(name).observe(document.body, { childList: true, subtree: true });
  name();
}"""
"""Screen readers say the painting: Gradio says `Thumbnail 3 of 10`."""
SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")  # nothing is fetched
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "monospace")
OCHRE = gr.themes.Color(
    "#fdf6ec", "#faead1", "#f4d3a1", "#ecb86c", "#e19d3f", "#c98324", "#a5661a", "#7f4d16",
    "#5f3a14", "#452b11", "#2c1b0a", name="ochre",
)  # fmt: skip


def theme() -> gr.themes.Base:
    """Ochre on canvas, and warm grays; system fonts."""
    return gr.themes.Base(
        primary_hue=OCHRE,
        secondary_hue=gr.themes.colors.stone,
        neutral_hue=gr.themes.colors.stone,
        font=list(SANS),
        font_mono=list(MONO),
        radius_size=gr.themes.sizes.radius_md,
    ).set(
        body_background_fill="#f7f4ef",
        body_background_fill_dark="#171412",
        block_background_fill="#fffdfa",
        block_background_fill_dark="#211d1a",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_500",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
        slider_color="*primary_600",
    )
