"""A study: cells in rows and columns, each a picture of its own in a folder, with its recipe.

What is there already, painted the same way, is neither painted nor measured again: a study that
was stopped goes on where it was.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from impasto import fingerprint, images, machine
from impasto.errors import ImpastoError, PictureError
from impasto.images import Picture
from impasto.painting import start_run
from impasto.painting.run import Record
from impasto.scene import Scene
from impasto.settings import Settings

if TYPE_CHECKING:
    from impasto.evaluation.judge import Judge

NOTES = "notes"  # the folder for what is known of each picture

Numbers = dict[str, float]


@dataclass(frozen=True, eq=False)
class Cell:
    """One picture of a study."""

    row: int
    column: int
    name: str
    """Of its files, without their suffix."""
    content: Picture
    style: str
    settings: Settings
    after: int | None = None
    """The picture after so many steps; None: after all of them."""


@dataclass(frozen=True, eq=False)
class StudyPicture:
    """A cell with its picture, the judge's numbers, and the record of each of its steps."""

    cell: Cell
    picture: Picture
    numbers: Numbers
    history: list[Record]


Measure = Callable[[Sequence[StudyPicture]], list[Numbers]]
"""What a study measures besides the judge's numbers, for each of its pictures."""


@dataclass(frozen=True)
class Plot:
    """A diagram of a study: a line for each of its rows (or cells), or a point for each cell."""

    kind: str
    """`losses` over steps or seconds; `points` of two numbers; `lines` of a number over columns."""
    x: str
    y: str
    title: str


@dataclass(frozen=True, eq=False)
class Study:
    """What is painted, how it is labeled, and what one should see in it."""

    name: str
    title: str
    see: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[Cell, ...]
    plots: tuple[Plot, ...] = ()
    measure: Measure | None = None
    numbers: tuple[str, ...] = field(default=("lpips", "style", "score"))
    """Those under each picture; the table has all."""


def run(study: Study, folder: Path, judged: bool = True) -> Iterator[StudyPicture]:
    """Paint and measure every cell into a folder, run by run, and yield it.

    Cells of one run (the same but for `after`) are painted in one go. Raises ImpastoError for
    what cannot be painted.
    """
    judges: dict[tuple[int, str], Judge] = {}
    for _, group in groupby(study.cells, key=_run_of):
        cells = list(group)
        for cell, picture, history in _painted(cells, folder):
            numbers: Numbers = {}
            if judged:
                key = id(cell.content), cell.style
                numbers = _judged(cell, picture, folder, judges, key)
            yield StudyPicture(cell, picture, numbers, history)


def file_of(cell: Cell, folder: Path) -> Path:
    """Where a cell's picture lies."""
    return folder / f"{cell.name}.png"


def content_file(cell: Cell, folder: Path) -> Path:
    """Where a photo lies that a study made itself."""
    return folder / f"{cell.name}-photo.png"


def files_of(study: Study) -> set[str]:
    """The names of all that the cells of a study leave in its folder."""
    made = {content_file(cell, Path()).name for cell in study.cells if cell.content.origin is None}
    return {f"{cell.name}.png" for cell in study.cells} | made | {NOTES}


def _run_of(cell: Cell) -> tuple[Any, ...]:
    return id(cell.content), cell.style, cell.settings


def _painted(cells: Sequence[Cell], folder: Path) -> Iterator[tuple[Cell, Picture, list[Record]]]:
    """The cells of one run: read if they were painted the same way before, else painted."""
    scene = Scene(cells[0].content, cells[0].style, cells[0].settings)
    known = [_known(cell, scene, folder) for cell in cells]
    if all(found is not None for found in known):
        for cell, found in zip(cells, known, strict=True):
            assert found is not None
            yield cell, *found
        return
    painter, seconds = start_run(scene), []
    if cells[0].content.origin is None:  # made here: its commands need a file
        images.write_bytes(images.encode(cells[0].content), content_file(cells[0], folder))
    wanted = {cell.after: cell for cell in cells}
    for step in painter.paint():
        seconds.append(painter.seconds)
        number = step.step if step.step in wanted or step.step < step.steps else None
        if number not in wanted:
            continue
        cell = wanted[number]
        result = step.result()
        result.save(file_of(cell, folder))
        history = [r | {"seconds": s} for r, s in zip(result.history, seconds, strict=True)]
        note = {"picture": _digest(cell, folder), "history": history}
        images.write_bytes(json.dumps(note).encode(), _note(cell, folder))
        yield cell, images.read(file_of(cell, folder)), history


def _known(cell: Cell, scene: Scene, folder: Path) -> tuple[Picture, list[Record]] | None:
    """A cell's picture and history, if both are there and it was painted the same way."""
    if not file_of(cell, folder).exists() or not _note(cell, folder).exists():
        return None
    try:
        recipe = images.recipe_of(file_of(cell, folder))
        note = json.loads(_note(cell, folder).read_text("utf-8"))
    except (ImpastoError, ValueError, OSError):
        return None
    same = recipe.get("settings") == scene.recorded_settings()
    same = same and recipe.get("inputs") == scene.fingerprints
    same = same and cell.after in (None, recipe.get("steps_taken"))
    if not same or note.get("picture") != _digest(cell, folder):
        return None
    return images.read(file_of(cell, folder)), note["history"]


def _judged(
    cell: Cell, picture: Picture, folder: Path, judges: dict[Any, "Judge"], key: Any
) -> Numbers:
    """The judge's numbers, and seconds and losses; from the cell's note if it has them."""
    from impasto.evaluation.judge import NUMBERS, Judge

    note: dict[str, Any] = json.loads(_note(cell, folder).read_text("utf-8"))
    if "numbers" not in note:
        if key not in judges:
            judges[key] = Judge(cell.content, cell.style)
        verdict = judges[key].judge(picture)
        numbers = {name: getattr(verdict, name) for name in NUMBERS}
        last = note["history"][-1]
        note["numbers"] = numbers | {
            "steps": len(note["history"]),
            "seconds": last["seconds"],
            "loss": last["total"],
        }
        images.write_bytes(json.dumps(note).encode(), _note(cell, folder))
    found: Numbers = note["numbers"]
    return found


@machine.neutral()
def with_measures(study: Study, painted: Sequence[StudyPicture]) -> list[StudyPicture]:
    """The same with what the study itself measures."""
    if study.measure is None:
        return list(painted)
    more = study.measure(painted)
    return [
        StudyPicture(p.cell, p.picture, p.numbers | found, p.history)
        for p, found in zip(painted, more, strict=True)
    ]


def prepare(folder: Path, names: set[str], force: bool) -> None:
    """Make the folder. PictureError if there are files in it that no earlier run wrote, or a name
    would be too long."""
    for name in names:
        images.check_name(f"{Path(name).stem}.json")  # the longest: that of its note
    if folder.exists() and not folder.is_dir():
        raise PictureError(f"{folder} is a file: name a folder with -o")
    there = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
    others = [name for name in there if name not in names]
    if others and not force:
        raise PictureError(
            f"{folder} has other files in it ({others[0]}): name another with -o, or add to it "
            "with --force"
        )
    images.make_folder(folder / NOTES)


def stem(parts: Mapping[str, Any]) -> str:
    """A name for files, of what changes and its values."""
    words = [f"{name}={value}" if name else str(value) for name, value in parts.items()]
    return "-".join(words).replace("/", "_").replace(":", "_").replace(" ", "_")


def _note(cell: Cell, folder: Path) -> Path:
    return folder / NOTES / f"{cell.name}.json"


def _digest(cell: Cell, folder: Path) -> str:
    return fingerprint.of_file(file_of(cell, folder))[: fingerprint.DIGITS]
