"""A study: cells in rows and columns, each a picture of its own in a folder, with its recipe.

The folder's manifest has a row for each picture. What is there already, painted the same way, is
neither painted nor measured again: a study that was stopped goes on where it was.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from impasto import fingerprint, images, machine
from impasto.errors import PictureError
from impasto.images import Picture
from impasto.painting import start_run
from impasto.painting.run import Record
from impasto.reports.manifest import NAME, Manifest
from impasto.scene import Scene
from impasto.settings import Settings

if TYPE_CHECKING:
    from impasto.evaluation.judge import Judge

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
    journal = _Journal(folder)
    judges: dict[tuple[int, str], Judge] = {}
    for _, group in groupby(study.cells, key=_run_of):
        cells = list(group)
        for cell, picture, history in _painted(cells, journal):
            numbers: Numbers = {}
            if judged:
                key = id(cell.content), cell.style
                numbers = _judged(cell, picture, journal, judges, key)
            yield StudyPicture(cell, picture, numbers, history)
    journal.begin()


def file_of(cell: Cell, folder: Path) -> Path:
    """Where a cell's picture lies."""
    return folder / f"{cell.name}.png"


def content_file(cell: Cell, folder: Path) -> Path:
    """Where a photo lies that a study made itself."""
    return folder / f"{cell.name}-photo.png"


def files_of(study: Study) -> set[str]:
    """The names of all that the cells of a study leave in its folder."""
    made = {content_file(cell, Path()).name for cell in study.cells if cell.content.origin is None}
    return {f"{cell.name}.png" for cell in study.cells} | made | {NAME}


class _Journal:
    """What is known of each picture in a study's folder, and its manifest, which is begun anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = Manifest(folder / NAME, {"of": "study"})
        self.rows = {row["output"]: row for row in self.manifest.rows()}
        self.begin()

    def begin(self) -> None:
        """Write a row for each picture, its newest."""
        self.manifest.begin(self.rows.values())

    def add(self, cell: Cell, **known: Any) -> None:
        """Note more of a cell's picture."""
        name = file_of(cell, self.folder).name
        self.rows[name] = self.rows.get(name, {}) | {"output": name} | known
        self.manifest.add([self.rows[name]])

    def of(self, cell: Cell) -> dict[str, Any]:
        """What is known of a cell's picture; nothing of one that was never painted."""
        return self.rows.get(file_of(cell, self.folder).name, {})


def _run_of(cell: Cell) -> tuple[Any, ...]:
    return id(cell.content), cell.style, cell.settings


def _painted(
    cells: Sequence[Cell], journal: _Journal
) -> Iterator[tuple[Cell, Picture, list[Record]]]:
    """The cells of one run: read if they were painted the same way before, else painted."""
    scene = Scene(cells[0].content, cells[0].style, cells[0].settings)
    if all(_is_there(cell, scene, journal) for cell in cells):
        for cell in cells:
            yield cell, images.read(file_of(cell, journal.folder)), journal.of(cell)["history"]
        return
    painter, seconds = start_run(scene), []
    if cells[0].content.origin is None:  # made here: its commands need a file
        data = images.encode(cells[0].content)
        images.write_bytes(data, content_file(cells[0], journal.folder))
    wanted = {cell.after: cell for cell in cells}
    for step in painter.paint():
        seconds.append(painter.seconds)
        number = step.step if step.step in wanted or step.step < step.steps else None
        if number not in wanted:
            continue
        cell, result = wanted[number], step.result()
        file = file_of(cell, journal.folder)
        result.save(file)
        history = [r | {"seconds": s} for r, s in zip(result.history, seconds, strict=True)]
        journal.add(
            cell, sha256=fingerprint.of_file(file), recipe=_recipe(cell, scene),
            seconds=seconds[-1], history=history, numbers=None,
        )  # fmt: skip
        yield cell, images.read(file), history


def _recipe(cell: Cell, scene: Scene) -> str:
    """A hash of all that a cell's picture depends on."""
    made = scene.recorded_settings(), scene.fingerprints, cell.after
    return fingerprint.short(json.dumps(made, sort_keys=True))


def _is_there(cell: Cell, scene: Scene, journal: _Journal) -> bool:
    """Whether a cell's picture is as it was written, and was painted the same way."""
    file, row = file_of(cell, journal.folder), journal.of(cell)
    if not file.is_file() or row.get("recipe") != _recipe(cell, scene):
        return False
    return bool(row.get("sha256") == fingerprint.of_file(file))


def _judged(
    cell: Cell, picture: Picture, journal: _Journal, judges: dict[Any, "Judge"], key: Any
) -> Numbers:
    """The judge's numbers, and seconds and losses; from the manifest if that has them."""
    from impasto.evaluation.judge import NUMBERS, Judge

    found: Numbers | None = journal.of(cell)["numbers"]
    if found is None:
        if key not in judges:
            judges[key] = Judge(cell.content, cell.style)
        verdict, history = judges[key].judge(picture), journal.of(cell)["history"]
        found = {name: getattr(verdict, name) for name in NUMBERS}
        last = history[-1]
        found |= {"steps": len(history), "seconds": last["seconds"], "loss": last["total"]}
        journal.add(cell, numbers=found)
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
        images.check_name(name)
    if folder.exists() and not folder.is_dir():
        raise PictureError(f"{folder} is a file: name a folder with -o")
    there = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
    others = [name for name in there if name not in names]
    if others and not force:
        raise PictureError(
            f"{folder} has other files in it ({others[0]}): name another with -o, or add to it "
            "with --force"
        )
    images.make_folder(folder)


def stem(parts: Mapping[str, Any]) -> str:
    """A name for files, of what changes and its values."""
    words = [f"{name}={value}" if name else str(value) for name, value in parts.items()]
    return "-".join(words).replace("/", "_").replace(":", "_").replace(" ", "_")
