"""A study written down: a labeled figure, a table of numbers, a page that needs nothing else."""

import csv
import io
import shlex
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from PIL import Image

from impasto import images
from impasto.images import Picture, paintings
from impasto.reports import pages, plots
from impasto.settings import Settings, as_text, settings_for
from impasto.studies.study import Cell, Plot, Study, StudyPicture, content_file

THUMB = 256  # px of the pictures in the figure
OUTPUTS = ("figure.png", "figure.pdf", "numbers.csv", "report.html")
UNIT = 1.9  # inches of a cell's width


def write(study: Study, painted: Sequence[StudyPicture], folder: Path, command: str) -> None:
    """Write figure.png, figure.pdf, numbers.csv and report.html into a folder.

    command: what was typed, for the page. Raises SettingError where matplotlib is not installed.
    """
    made = figure(study, painted)
    plots.write(made, folder / "figure.png")
    plots.write(made, folder / "figure.pdf")
    images.write_bytes(table(study, painted).encode(), folder / "numbers.csv")
    images.write_bytes(page(study, painted, command).encode(), folder / "report.html")


def figure(study: Study, painted: Sequence[StudyPicture]) -> Any:
    """The pictures in rows and columns with their labels, photo and painting before them (photos
    above, where each column has its own), and the study's plots below."""
    above = int(len({one.cell.content for one in painted if one.cell.row == 0}) > 1)
    before = 2 if len(study.rows) == 1 and not above else 1
    down, across = len(study.rows) + above, len(study.columns) + before
    first, diagrams = painted[0].cell, plots_of(study, painted)
    ratio = first.content.size[1] / first.content.size[0]
    height = UNIT * (down * (ratio + 0.22) + 0.5)
    below = 2.9 if diagrams else 0.0
    made = plots.figures()(figsize=(UNIT * (across + 0.15), height + below), layout="constrained")
    made.suptitle(study.title, fontsize=13, parse_math=False)
    parts = made.subfigures(2, 1, height_ratios=[height, below]) if diagrams else [made]
    grid = parts[0].subplots(down, across, squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    _inputs(grid, study, painted, above, before)
    for one in painted:
        _cell(grid[one.cell.row + above][one.cell.column + before], one, study, above)
    if diagrams:
        below_it = parts[1].subplots(1, len(diagrams), squeeze=False).flat
        for axes, diagram in zip(below_it, diagrams, strict=True):
            draw(axes, diagram, study, painted)
    return made


def plots_of(study: Study, painted: Sequence[StudyPicture]) -> list[Plot]:
    """The study's plots, but for those of numbers that could not be measured here."""
    known = set.intersection(*(set(one.numbers) for one in painted))
    return [plot for plot in study.plots if plot.kind == "losses" or plot.y in known]


def draw(axes: Any, diagram: Plot, study: Study, painted: Sequence[StudyPicture]) -> None:
    """A diagram of a study."""
    axes.set_title(diagram.title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    {"losses": _losses, "points": _points, "lines": _lines}[diagram.kind](
        axes, diagram, study, painted
    )


def table(study: Study, painted: Sequence[StudyPicture]) -> str:
    """Every number as comma-separated values, with the command that paints the picture."""
    names = list(dict.fromkeys(name for one in painted for name in one.numbers))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["row", "column", "photo", "painting", "picture", *names, "command"])
    for one in painted:
        cell = one.cell
        writer.writerow(
            [
                study.rows[cell.row], study.columns[cell.column], cell.content.name, cell.style,
                f"{cell.name}.png", *(one.numbers.get(name, "") for name in names),
                command_of(one),
            ]
        )  # fmt: skip
    return buffer.getvalue()


def command_of(one: StudyPicture) -> str:
    """The command that paints a cell's picture."""
    cell, settings = one.cell, one.cell.settings
    words = ["impasto", "stylize", _photo_of(cell), cell.style]
    words += options_of(settings)
    if cell.after is not None:  # of a run at one scale: so many steps and no more
        at = words.index("--steps") if "--steps" in words else len(words)
        words[at : at + 2] = ["--steps", str(cell.after)]
    return shlex.join([*words, "-o", f"{cell.name}.png"])


def _photo_of(cell: Cell) -> str:
    return cell.content.origin or content_file(cell, Path()).name


def options_of(settings: Settings) -> list[str]:
    """The settings as options of the command line: those that differ from their preset."""
    usual = settings_for(settings.preset)
    words: list[str] = []
    for item in fields(Settings):
        value = getattr(settings, item.name)
        if item.name == "preset" and value != "best":
            words += ["--preset", value]
        elif item.name != "preset" and value != getattr(usual, item.name):
            option = "--" + item.name.replace("_", "-")
            words += [option] if value is True else [option, as_text(value)]
    return words


def page(study: Study, painted: Sequence[StudyPicture], command: str) -> str:
    """A page with the pictures, a slider between photo and result, the plots and all commands; it
    needs no other file and no network."""
    names = list(dict.fromkeys(name for one in painted for name in one.numbers))
    photos = list(dict.fromkeys(one.cell.content for one in painted))
    cells = [
        {
            "row": study.rows[one.cell.row],
            "column": study.columns[one.cell.column],
            "place": (one.cell.row, one.cell.column),
            "picture": pages.picture_uri(one.picture),
            "photo": photos.index(one.cell.content),
            "numbers": {name: f"{one.numbers[name]:.4g}" for name in one.numbers},
            "command": command_of(one),
        }
        for one in painted
    ]
    return pages.rendered(
        "study.html", title=study.title, study=study, cells=cells, names=names, command=command,
        photos=[_named(photo.name, _like(photo, painted)) for photo in photos],
        painting=_named(painted[0].cell.style, paintings.picture(painted[0].cell.style)),
        plots=[
            {"title": diagram.title, "picture": _svg(diagram, study, painted)}
            for diagram in plots_of(study, painted)
        ],
        shown=[name for name in study.numbers if name in names],
    )  # fmt: skip


def _cell(axes: Any, one: StudyPicture, study: Study, above: int) -> None:
    """A picture with its labels and its numbers, two a line."""
    axes.imshow(_thumb(one.picture))
    shown = [f"{name} {one.numbers[name]:.3g}" for name in study.numbers if name in one.numbers]
    lines = ["  ".join(shown[at : at + 2]) for at in range(0, len(shown), 2)]
    axes.set_xlabel("\n".join(lines), fontsize=7, labelpad=2)
    if one.cell.row == 0 and not above:
        axes.set_title(study.columns[one.cell.column], fontsize=9, parse_math=False)
    if one.cell.column == 0:
        axes.set_ylabel(study.rows[one.cell.row], fontsize=9, parse_math=False)


def _inputs(
    grid: Any, study: Study, painted: Sequence[StudyPicture], above: int, before: int
) -> None:
    """The photos, each before its row or above its column, and the painting where there is room."""
    painting = paintings.picture(painted[0].cell.style)
    if above:
        shown = [(grid[1][0], "painting", painting)]
        for one in (one for one in painted if one.cell.row == 0):
            name = study.columns[one.cell.column]
            shown.append((grid[0][one.cell.column + before], name, one.cell.content))
    else:
        by_row = {one.cell.row: one.cell.content for one in reversed(painted)}
        new = [r for r in sorted(by_row) if r == 0 or by_row[r] is not by_row[0]]
        shown = [(grid[row][0], "photo", by_row[row]) for row in new]
        free = [grid[row][0] for row in sorted(by_row) if row not in new]
        free += [grid[0][1]] if before == 2 else []
        shown += [(axes, "painting", painting) for axes in free[:1]]
    for axes, name, picture in shown:
        axes.imshow(_thumb(picture))
        axes.set_title(name, fontsize=9, parse_math=False)


def _losses(axes: Any, diagram: Plot, study: Study, painted: Sequence[StudyPicture]) -> None:
    """A term's way down: a line for each run; with y `each`, one for each term of the longest."""
    lines: list[tuple[str, str, StudyPicture]]
    longest = max(painted, key=lambda one: len(one.history))
    if diagram.y == "each":
        terms = [name for name in ("content", "style", "total") if name in longest.history[-1]]
        lines = [(name, name, longest) for name in terms]
    else:
        lines = [(_name(one, study), diagram.y, one) for one in painted]
    for name, term, one in lines:
        records = [r for r in one.history if r.get(term, 0) > 0 and "detail" not in r]
        axes.loglog([r[diagram.x] for r in records], [r[term] for r in records], label=name)
    axes.set(xlabel=diagram.x, ylabel="loss (weighted)")
    axes.legend(frameon=False, fontsize=7, ncols=2)


def _points(axes: Any, diagram: Plot, study: Study, painted: Sequence[StudyPicture]) -> None:
    for one in painted:
        x, y = one.numbers[diagram.x], one.numbers[diagram.y]
        first = one.cell.column == 0 and study.rows[one.cell.row]
        axes.plot(x, y, "o", color=f"C{one.cell.row}", markersize=4,
                  label=study.rows[one.cell.row] if first else None)  # fmt: skip
        axes.annotate(study.columns[one.cell.column], (x, y), fontsize=7, xytext=(4, 2),
                      textcoords="offset points")  # fmt: skip
    axes.set(xlabel=diagram.x, ylabel=diagram.y)
    if any(study.rows):
        axes.legend(frameon=False, fontsize=7)


def _lines(axes: Any, diagram: Plot, study: Study, painted: Sequence[StudyPicture]) -> None:
    for row, name in enumerate(study.rows):
        ours = [one for one in painted if one.cell.row == row]
        columns = [one.cell.column for one in ours]
        axes.plot(columns, [one.numbers[diagram.y] for one in ours], "o-", markersize=3, label=name)
    axes.set_xticks(range(len(study.columns)), study.columns, fontsize=7)
    axes.set_ylabel(diagram.y)
    axes.legend(frameon=False, fontsize=7)


def _name(one: StudyPicture, study: Study) -> str:
    parts = (study.rows[one.cell.row], study.columns[one.cell.column])
    return ", ".join(part for part in parts if part)


def _thumb(picture: Picture) -> Image.Image:
    size = images.fit(picture.size, min(THUMB, max(picture.size)))
    return images.to_pil(Picture(picture.resized(*size).pixels))


def _like(photo: Picture, painted: Sequence[StudyPicture]) -> Picture:
    """The photo at the size of its largest result."""
    sizes = [one.picture.size for one in painted if one.cell.content is photo]
    return photo.resized(*max(sizes))


def _named(name: str, picture: Picture) -> dict[str, str]:
    return {"name": name, "picture": pages.picture_uri(picture)}


def _svg(diagram: Plot, study: Study, painted: Sequence[StudyPicture]) -> str:
    """A diagram as a data URI of an SVG."""
    made = plots.figures()(figsize=(5.5, 3.6), layout="constrained")
    draw(made.add_subplot(), diagram, study, painted)
    return pages.figure_uri(made)
