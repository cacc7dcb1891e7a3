"""`impasto study`: the same photo under settings that change."""

import dataclasses
import sys
from dataclasses import fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter

from impasto.cli.options import GROUPS, limits, optional_kind
from impasto.errors import PictureError
from impasto.settings import Settings

app = cyclopts.App(name="study", help="Paint one photo under settings that change, side by side.")

Lists: Any = Parameter(name="*")(
    make_dataclass(
        "Lists",
        [
            (
                item.name,
                Annotated[
                    list[optional_kind(item)] | None,  # type: ignore[misc]
                    Parameter(
                        help=item.metadata["help"] + limits(item),
                        group=GROUPS[item.metadata["group"]],
                        consume_multiple=True,
                        negative="",
                    ),
                ],
                None,
            )
            for item in fields(Settings)
        ],
        frozen=True,
        namespace={"__module__": __name__, "__doc__": "One list of values for each setting."},
    )
)
"""A dataclass with an optional list for each setting."""


@app.command
def sheet(
    content: Path,
    /,
    *,
    styles: Annotated[list[str], Parameter(consume_multiple=True, negative="")],
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    force: Annotated[bool, Parameter(negative="")] = False,
    quiet: Annotated[bool, Parameter(alias="-q", negative="")] = False,
    options: Annotated[Lists, Parameter(name="*")] = None,
) -> None:
    """Paint a grid over one or two settings: a labelled contact sheet, and a folder of pictures.

    Any option of `impasto stylize` takes several values here, and up to two may, --styles among
    them: --styles great-wave poppies --strength 0.2 0.5 0.8. Small and fast, if not told
    otherwise: --preset draft --size 256. Stopped and started again, it goes on.

    Parameters
    ----------
    content
        The photo.
    styles
        The paintings.
    output
        The folder for the pictures and sheet.png; PHOTO-sheet beside the photo if not given.
    force
        Write into a folder that has other files in it.
    quiet
        Say nothing while painting.
    """
    from impasto import images, studies

    given = dataclasses.asdict(options) if options is not None else {}
    folder = output or content.with_name(f"{content.stem}-sheet")
    cells = studies.cells(styles, given, folder)
    rows, columns = studies.axes_of(styles, given)
    photo = images.read(content)
    _prepare(folder, {cell.path.name for cell in cells}, force)
    found = {}
    for number, cell in enumerate(cells, 1):
        if not quiet:
            print(f"{number}/{len(cells)}  {cell.path.name}", file=sys.stderr, flush=True)
        found[cell] = studies.painted(photo, cell)
    page = studies.contact_sheet(photo, found, rows, columns)
    images.write_bytes(images.encode(images.read(page)), folder / "sheet.png")
    if not quiet:
        print(f"wrote {folder / 'sheet.png'}", file=sys.stderr)


def _prepare(folder: Path, names: set[str], force: bool) -> None:
    """Make the folder. PictureError if there are files in it that no earlier run wrote."""
    if folder.exists() and not folder.is_dir():
        raise PictureError(f"{folder} is a file: name a folder with -o")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PictureError(f"cannot make the folder {folder} ({error.strerror})") from error
    others = [file.name for file in folder.iterdir() if file.name not in names | {"sheet.png"}]
    if others and not force:
        raise PictureError(
            f"{folder} has other files in it ({sorted(others)[0]}): name another with -o, or add "
            "to it with --force"
        )
