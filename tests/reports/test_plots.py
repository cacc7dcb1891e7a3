"""Figures: what their axes, bars and labels show."""

from pathlib import Path

import pytest
from PIL import Image

from impasto.reports import plots


def test_the_figure_marks_the_scales() -> None:
    history = [
        {"step": i + 1, "size": 64 if i < 3 else 128, "content": 1.0, "style": 2.0 / (i + 1),
         "total": 1 + 2.0 / (i + 1)}
        for i in range(6)
    ]  # fmt: skip
    (axes,) = plots.losses(history, "a title").axes
    assert [text.get_text().strip() for text in axes.texts] == ["64 px", "128 px"]
    assert {line.get_label() for line in axes.lines} >= {"content", "style", "total"}
    total = next(line for line in axes.lines if line.get_label() == "total")
    assert list(total.get_ydata()) == [record["total"] for record in history]


def test_predictions_have_bars_below_their_pictures() -> None:
    """The photo's own class has a color of its own, wherever it is among a picture's guesses."""
    square = Image.new("RGB", (8, 8), "red")
    photo, result = [("cat", 0.7), ("dog", 0.2)], [("fox", 0.6), ("cat", 0.3)]
    figure = plots.predictions([square, square], [photo, result], ["a photo", "painted"])
    pictures, bars = figure.axes[:2], figure.axes[2:4]
    assert [axes.get_title() for axes in pictures] == ["a photo", "painted"]
    widths = [[patch.get_width() for patch in axes.patches] for axes in bars]
    assert widths == [[0.7, 0.2], [0.6, 0.3]]
    colors = [[patch.get_facecolor()[:3] for patch in axes.patches] for axes in bars]
    assert colors[0][0] == colors[1][1] != colors[1][0]
    assert colors[0][1] == colors[1][0]


@pytest.mark.parametrize("suffix", plots.SUFFIXES)
def test_the_same_figure_is_the_same_file(tmp_path: Path, suffix: str) -> None:
    first, second = (tmp_path / f"{name}{suffix}" for name in ("first", "second"))
    for path in (first, second):
        plots.write(plots.losses([{"step": 1, "size": 8, "total": 1.0}], "a title"), path)
    assert first.read_bytes() == second.read_bytes()
