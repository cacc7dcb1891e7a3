"""The losses of a run as a figure."""

import io
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from impasto import images
from impasto.errors import SettingError
from impasto.painter import Record

SUFFIXES = (".png", ".pdf", ".svg", ".jpg")
COLOURS = {
    "content": "C0", "style": "C1", "structure": "C2", "tv": "C3", "detail": "C4", "total": "black"
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
    for name in (name for name in COLOURS if any(name in record for record in history)):
        values = [_value(record, name) for record in history]
        axes.semilogy(numbers, values, label=name, color=COLOURS[name],
                      linewidth=2 if name == "total" else 1.2)  # fmt: skip
    _show_what_matters(axes, history)
    top = axes.get_ylim()[1]
    axes.text(numbers[0], top, f" {history[0]['size']} px", va="bottom", fontsize=9)
    for before, after in pairwise(history):
        if after["size"] != before["size"]:
            axes.axvline(after["step"] - 0.5, color="grey", linewidth=0.8, linestyle=":")
            axes.text(after["step"], top, f"{after['size']} px", va="bottom", fontsize=9)
    axes.set(xlabel="step", ylabel="loss (weighted)")
    axes.set_title(title, pad=18)
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
    values = [record[name] for record in later for name in COLOURS if record.get(name, 0) > 0]
    if values:
        axes.set_ylim(bottom=min(values) / 2)


def write(figure: Any, path: Path) -> None:
    """Write a figure by its suffix, whole or not at all."""
    buffer = io.BytesIO()
    metadata = {"CreationDate": None} if path.suffix == ".pdf" else None
    figure.savefig(buffer, format=path.suffix.lower().removeprefix("."), dpi=150,
                   metadata=metadata)  # fmt: skip
    images.write_bytes(buffer.getvalue(), path)
