"""The stage: the large picture, what is said below it, and how the loss fell, as HTML."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from PIL import Image

from impasto.reports.words import duration
from impasto.studio.jobs import Shown

PLOT = (640, 160)  # px, width and height of the plot of the loss
MARGIN = 8  # px around it
CUT = "this.closest('.stage').style.setProperty('--cut', this.value + '%')"


def empty() -> str:
    """Before there is a photo."""
    return (
        '<div class="stage empty"><p class="large">Your picture will grow here</p>'
        "<p>Drop a photo, choose a painting.</p></div>"
    )


def picture(
    jpeg: bytes,
    alt: str,
    status: str = "",
    *,
    work: float | None = None,
    before: bytes | None = None,
    final: bool = False,
) -> str:
    """A picture with a line below it. work: the part that is done, 0 to 1, for a bar. before: the
    photo, which a slider lays over the picture. final: the line is spoken by screen readers."""
    bar = "" if work is None else f'<progress value="{work:.3f}" max="1">{work:.0%}</progress>'
    role = ' role="status"' if final else ""
    width, height = _size(jpeg)
    image = f'<img src="{data_url(jpeg)}" alt="{escape(alt)}" decoding="sync">'
    compare = ""
    if before is not None:
        image += f'<img class="before" src="{data_url(before)}" alt="the photo" decoding="sync">'
        compare = (
            '<input type="range" min="0" max="100" value="0" step="1" '
            f'aria-label="How much of the photo to show beside the picture" oninput="{CUT}">'
        )
    return (
        f'<div class="stage" style="--cut:0%;--w:{width};--h:{height}">'
        f'<div class="frame">{image}</div>'
        f"{compare}{bar}<p{role}>{escape(status)}</p></div>"
    )


def message(text: str, wrong: bool = False) -> str:
    """A line in place of a picture."""
    kind, role = ("wrong", "alert") if wrong else ("", "status")
    return f'<div class="stage empty {kind}"><p role="{role}">{escape(text)}</p></div>'


def progress_words(shown: Shown) -> str:
    """Where a run is."""
    width, height = shown.size
    words = f"Scale {shown.scale} of {shown.scales}, {width} x {height} px"
    words += f", step {shown.step} of {shown.steps}"
    return f"{words}, about {duration(shown.left)} left" if shown.work < 1 else words


def loss_plot(history: Sequence[Mapping[str, Any]]) -> str:
    """How the loss fell, step by step, as an SVG: logarithmic, a line for each scale."""
    values = [(int(r["step"]), float(r["total"]), r["size"]) for r in history if r.get("total")]
    if len(values) < 2:
        return '<p class="quiet">An instant picture takes one step: no loss falls.</p>'
    logs = [math.log10(max(value, 1e-12)) for _, value, _ in values]
    low, high = min(logs), max(logs)
    width, height = PLOT[0] - 2 * MARGIN, PLOT[1] - 2 * MARGIN
    steps = max(step for step, *_ in values)
    lines: dict[Any, list[str]] = {}
    for (step, _, size), log in zip(values, logs, strict=True):
        x = MARGIN + width * (step - 1) / max(1, steps - 1)
        y = MARGIN + height * (high - log) / max(1e-9, high - low)
        lines.setdefault(size, []).append(f"{x:.1f},{y:.1f}")
    drawn = "".join(f'<polyline points="{" ".join(points)}"/>' for points in lines.values())
    first, last = values[0][1], values[-1][1]
    label = f"The loss fell from {first:.3g} to {last:.3g} in {steps} steps"
    return (
        f'<figure class="loss"><svg viewBox="0 0 {PLOT[0]} {PLOT[1]}" role="img" '
        f'aria-label="{label}">{drawn}</svg><figcaption>{label}, each scale with a line of its '
        "own (logarithmic)</figcaption></figure>"
    )


def _size(jpeg: bytes) -> tuple[int, int]:
    """Width and height, px."""
    with Image.open(io.BytesIO(jpeg)) as image:
        return image.size


def data_url(jpeg: bytes) -> str:
    """A picture inside the page: no other visitor can ask for it."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
