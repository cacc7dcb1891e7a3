"""A sheet: the same photo under any one or two settings, small and fast, to choose from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from impasto import images
from impasto.errors import SettingError
from impasto.images import Picture
from impasto.settings import settings_for
from impasto.studies.study import Cell, Study, StudyPicture, stem

STYLE = "style"  # the name of the axis that is no setting
USUAL: dict[str, Any] = {"preset": "draft", "size": 256}  # small and fast
MOST_CELLS = 400
THUMB, GAP, TEXT = 256, 6, 15  # px of the contact sheet: pictures, between them, letters


@dataclass(frozen=True)
class Axis:
    """One thing that changes: its name and its values, as they were given."""

    name: str
    values: tuple[Any, ...]

    def labels(self) -> tuple[str, ...]:
        """The values in a few letters each."""
        if self.name == STYLE:
            return tuple(Path(str(value)).stem for value in self.values)
        return tuple(f"{self.name} {value}".strip() for value in self.values)


def axes_of(styles: Sequence[str], options: Mapping[str, Sequence[Any] | None]) -> list[Axis]:
    """What changes: styles and options that have more than one value, rows first.

    Raises SettingError if that is nothing, or more than two things.
    """
    if not styles:
        raise SettingError("there is no painting: name one or more with --styles")
    known = {STYLE: tuple(styles)} | {k: tuple(v) for k, v in options.items() if v}
    found = [Axis(name, values) for name, values in known.items() if len(values) > 1]
    if len(found) > 2:
        names = ", ".join(axis.name for axis in found)
        raise SettingError(f"{names} all have several values: vary one or two things at a time")
    if not found:
        raise SettingError(
            "nothing changes: give an option several values, such as --strength 0.2 0.5 0.8"
        )
    return found if len(found) == 2 else [Axis("", ("",)), *found]


def sheet(
    photo: Picture, styles: Sequence[str], options: Mapping[str, Sequence[Any] | None]
) -> Study:
    """The grid of all values of what changes. Raises SettingError for what cannot be painted."""
    rows, columns = axes_of(styles, options)
    if len(rows.values) * len(columns.values) > MOST_CELLS:
        raise SettingError(
            f"that is {len(rows.values) * len(columns.values)} pictures: {MOST_CELLS} at most"
        )
    fixed: dict[str, Any] = USUAL | {name: values[0] for name, values in options.items() if values}
    cells: list[Cell] = []
    for row, first in enumerate(rows.values):
        for column, second in enumerate(columns.values):
            changes: dict[str, Any] = {
                axis.name: value for axis, value in ((rows, first), (columns, second))
            }
            changes.pop("", None)
            style = str(changes.pop(STYLE, styles[0]))
            name = stem({"": Path(style).stem} | changes)
            if any(cell.name == name for cell in cells):  # two styles of one name
                name += f"-{row + 1}-{column + 1}"
            settings = settings_for(**fixed | changes)
            cells.append(Cell(row, column, name, photo, style, settings))
    return Study("sheet", "sheet", "", rows.labels(), columns.labels(), tuple(cells))


def contact_sheet(photo: Picture, study: Study, painted: Sequence[StudyPicture]) -> Image.Image:
    """The grid as one picture: labels above and to the left, the photo before the first row."""
    width, height = images.fit(photo.size, THUMB)
    font = ImageFont.load_default(TEXT)
    left = max(int(font.getlength(name)) for name in study.rows) + GAP
    left = left + GAP if any(study.rows) else GAP
    top = TEXT + 3 * GAP
    across, down = len(study.columns) + 1, len(study.rows)
    page = Image.new("RGB", (left + across * (width + GAP), top + down * (height + GAP)), "white")
    draw = ImageDraw.Draw(page)
    small = images.to_pil(Picture(photo.resized(width, height).pixels))
    page.paste(small, (left, top))
    draw.text((left, GAP), "photo", "black", font)
    for index, name in enumerate(study.columns, 1):
        draw.text((left + index * (width + GAP), GAP), name, "black", font)
    for index, name in enumerate(study.rows):
        draw.text((GAP, top + index * (height + GAP) + height // 2), name, "black", font)
    for found in painted:
        thumb = images.to_pil(Picture(found.picture.resized(width, height).pixels))
        column, row = found.cell.column + 1, found.cell.row
        page.paste(thumb, (left + column * (width + GAP), top + row * (height + GAP)))
    return page
