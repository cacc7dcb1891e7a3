"""Figures: the losses of a run, and what a network sees in pictures."""

import io
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from impasto import images
from impasto.errors import SettingError

SUFFIXES = (".png", ".pdf", ".svg", ".jpg")
MOST_ACROSS = 4  # pictures side by side
Record = Mapping[str, int | float]
"""A step of a run: its number, its size, its losses."""
Guesses = Sequence[tuple[str, float]]
"""Names and probabilities, the likeliest first."""
COLORS = {
    "content": "C0", "style": "C1", "structure": "C2", "tv": "C3", "detail": "C4",
    "range": "C5", "total": "black"
}  # fmt: skip


def check(path: Path) -> None:
    """SettingError for a suffix that figures have not, or where their library is missing."""
    if path.suffix.lower() not in SUFFIXES:
        raise SettingError(f"cannot plot to {path.name!r}: end its name in {', '.join(SUFFIXES)}")
    figures()


def figures() -> Any:
    """Matplotlib's Figure, which needs no window. SettingError where it is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SettingError("figures need a library more: pip install 'impasto[plot]'") from None
    return Figure


def losses(history: Sequence[Record], title: str) -> Any:
    """A figure of every loss term over the steps, on a logarithmic axis, scales marked."""
    figure = figures()(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    numbers = [record["step"] for record in history]
    for name in (name for name in COLORS if any(name in record for record in history)):
        values = [_value(record, name) for record in history]
        axes.semilogy(
            numbers, values, label=name, color=COLORS[name], linewidth=2 if name == "total" else 1.2
        )
    _show_what_matters(axes, history)
    top = axes.get_ylim()[1]
    axes.text(numbers[0], top, f" {history[0]['size']} px", va="bottom", fontsize=9)
    for before, after in pairwise(history):
        if after["size"] != before["size"]:
            axes.axvline(after["step"] - 0.5, color="gray", linewidth=0.8, linestyle=":")
            axes.text(after["step"], top, f"{after['size']} px", va="bottom", fontsize=9)
    axes.set(xlabel="step", ylabel="loss (weighted)")
    axes.set_title(title, pad=18, parse_math=False)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _value(record: Record, name: str) -> float:
    """A term for a logarithmic axis; a gap where the step has none. A step for detail has no total:
    its own is that of the shallow layers alone."""
    if name not in record or (name == "total" and "detail" in record):
        return math.nan
    return max(float(record[name]), 1e-12)


def _show_what_matters(axes: Any, history: Sequence[Record]) -> None:
    """End the axis below the lowest loss; a start from the photo has a content loss of zero."""
    later = history[1:] or history
    values = [record[name] for record in later for name in COLORS if record.get(name, 0) > 0]
    if values:
        axes.set_ylim(bottom=min(values) / 2)


def predictions(squares: Sequence[Any], found: Sequence[Guesses], titles: Sequence[str]) -> Any:
    """A figure of pictures, the photo first, each above bars of its likeliest classes.

    squares: PIL images. The photo's own class has another color, wherever it is.
    """
    top = len(found[0])
    columns = min(len(found), MOST_ACROSS)
    rows = -(-len(found) // columns)
    height = 2.6 + 0.24 * top  # inches
    figure = figures()(figsize=(2.6 * columns, height * rows), layout="constrained")
    heights = [2.6, 0.24 * top] * rows
    axes = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=heights)
    for place in axes.flat:
        place.set_axis_off()
    for index, (square, guesses, title) in enumerate(zip(squares, found, titles, strict=True)):
        row, column = divmod(index, columns)
        axes[2 * row, column].imshow(square)
        axes[2 * row, column].set_title(title, fontsize=8, parse_math=False)
        _bars(axes[2 * row + 1, column], guesses, found[0][0][0])
    return figure


def _bars(axes: Any, guesses: Guesses, label: str) -> None:
    """Horizontal bars from 0 to 1, the likeliest on top, names and numbers written over them."""
    places = range(len(guesses))
    colors = ["C1" if name == label else "C0" for name, _ in guesses]
    axes.barh(places, [value for _, value in guesses], color=colors, alpha=0.45)
    for place, (name, value) in zip(places, guesses, strict=True):
        axes.text(0.01, place, name, va="center", fontsize=8)
        axes.text(1, place, f"{100 * value:.1f} %", va="center", ha="right", fontsize=8)
    axes.set(xlim=(0, 1), ylim=(len(guesses) - 0.5, -0.5))


def write(figure: Any, path: Path) -> None:
    """Write a figure by its suffix, whole or not at all: the same figure as the same bytes."""
    import matplotlib

    buffer, kind = io.BytesIO(), path.suffix.lower().removeprefix(".")
    undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind)
    with matplotlib.rc_context({"svg.hashsalt": "impasto"}):
        figure.savefig(buffer, format=kind, dpi=150, metadata=undated)
    images.write_bytes(buffer.getvalue(), path)
