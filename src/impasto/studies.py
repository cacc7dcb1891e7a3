"""Studies: the same photo under one or two settings that change, side by side.

A study is a grid of cells. Each is a picture of its own in a folder, with its recipe; what is there
already, painted the same way, is not painted again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from impasto import images, paint
from impasto.errors import PictureError, SettingError
from impasto.images import Picture
from impasto.painter import Painter
from impasto.scene import Scene
from impasto.settings import Settings, settings_for

STYLE = "style"  # the name of the axis that is no setting
USUAL: dict[str, Any] = {"preset": "draft", "size": 256}  # small and fast
MOST_CELLS = 400
THUMB, GAP, TEXT = 256, 6, 15  # px of the contact sheet: pictures, between them, letters


@dataclass(frozen=True)
class Axis:
    """One thing that changes: its name and its values, as they were given."""

    name: str
    values: tuple[Any, ...]

    def labels(self) -> list[str]:
        """The values in a few letters each."""
        if self.name == STYLE:
            return [Path(str(value)).stem for value in self.values]
        return [f"{self.name} {value}" for value in self.values]


@dataclass(frozen=True)
class Cell:
    """One picture of the grid."""

    row: int
    column: int
    style: str
    settings: Settings
    path: Path


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
        raise SettingError("nothing changes: give an option several values, such as --strength "
                           "0.2 0.5 0.8")  # fmt: skip
    return found if len(found) == 2 else [Axis("", ("",)), *found]


def cells(
    styles: Sequence[str], options: Mapping[str, Sequence[Any] | None], folder: Path
) -> list[Cell]:
    """The pictures of a grid, row by row. Raises SettingError for what cannot be painted."""
    rows, columns = axes_of(styles, options)
    if len(rows.values) * len(columns.values) > MOST_CELLS:
        raise SettingError(
            f"that is {len(rows.values) * len(columns.values)} pictures: {MOST_CELLS} at most"
        )
    fixed: dict[str, Any] = USUAL | {name: values[0] for name, values in options.items() if values}
    found: list[Cell] = []
    for row, first in enumerate(rows.values):
        for column, second in enumerate(columns.values):
            changes: dict[str, Any] = {
                axis.name: value for axis, value in ((rows, first), (columns, second))
            }
            changes.pop("", None)
            style = str(changes.pop(STYLE, styles[0]))
            settings = settings_for(**fixed | changes)
            words = [Path(style).stem, *(f"{name}={value}" for name, value in changes.items())]
            name = "-".join(words).replace("/", "_").replace(":", "_")
            if any(cell.path.stem == name for cell in found):  # two styles of one name
                name += f"-{row + 1}-{column + 1}"
            found.append(Cell(row, column, style, settings, folder / f"{name}.png"))
    return found


def painted(photo: Picture, cell: Cell) -> Picture:
    """A cell's picture: read if it was painted the same way before, else painted and written."""
    scene = Scene(photo, cell.style, cell.settings)
    if cell.path.exists():
        try:
            recipe = images.recipe_of(cell.path)
        except PictureError:
            recipe = {}
        same = recipe.get("settings") == cell.settings.as_dict()
        if same and recipe.get("inputs") == scene.fingerprints:
            return images.read(cell.path)
    *_, last = Painter(scene).paint()
    result = paint.result(last)
    result.save(cell.path)
    return result.picture


def contact_sheet(
    photo: Picture, painted: Mapping[Cell, Picture], rows: Axis, columns: Axis
) -> Image.Image:
    """The grid as one picture: labels above and to the left, the photo in the corner if there is
    room."""
    width, height = images.fit(photo.size, THUMB)
    font = ImageFont.load_default(TEXT)
    names = rows.labels() if rows.name else [""]
    left = max(int(font.getlength(name)) for name in names) + 2 * GAP if rows.name else GAP
    top = TEXT + 3 * GAP
    across, down = len(columns.values) + 1, len(rows.values)
    page = Image.new("RGB", (left + across * (width + GAP), top + down * (height + GAP)), "white")
    draw = ImageDraw.Draw(page)
    small = images.to_pil(Picture(photo.resized(width, height).pixels))
    page.paste(small, (left, top))
    draw.text((left, GAP), "photo", "black", font)
    for index, name in enumerate(columns.labels(), 1):
        draw.text((left + index * (width + GAP), GAP), name, "black", font)
    for index, name in enumerate(names):
        draw.text((GAP, top + index * (height + GAP) + height // 2), name, "black", font)
    for cell, picture in painted.items():
        thumb = images.to_pil(Picture(picture.resized(width, height).pixels))
        place = (left + (cell.column + 1) * (width + GAP), top + cell.row * (height + GAP))
        page.paste(thumb, place)
    return page
