"""`impasto styles`: the paintings that are known by name, a library of one's own, and networks."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts
from cyclopts import Parameter

from impasto.cli.help import HELP_FLAGS
from impasto.errors import PictureError

if TYPE_CHECKING:
    from PIL import Image

app = cyclopts.App(
    name="styles",
    help="List the paintings that have names; add some of your own, and remove them.",
    help_flags=HELP_FLAGS,
)


@app.default
def styles(*, sheet: Path | None = None, force: bool = False, json: bool = False) -> None:
    """List the paintings that ship, your own, and the networks that paint in one pass.

    Parameters
    ----------
    sheet
        Write a labeled sheet of thumbnails to this file.
    force
        Overwrite the sheet if it exists.
    json
        Print one JSON object for each.
    """
    if sheet is not None:
        _write_sheet(sheet, force)
        print(f"wrote {sheet}", file=sys.stderr)
    _print_json() if json else _print_table()


app.command(styles, name="list")


@app.command
def add(
    name: str,
    file: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    title: str = "",
    painter: str = "",
    year: str = "",
    force: bool = False,
) -> None:
    """Keep a painting in your library, a copy of the file as it is, under a name of your choice.

    The name then stands for the painting in every command and in Python. The library is a folder
    in the user's data, or in $IMPASTO_DATA if that is set.

    Parameters
    ----------
    name
        What to call it: a-z, 0-9 and dashes.
    file
        The painting; - reads it from stdin.
    title
        What the work is called.
    painter
        Who painted it.
    year
        When.
    force
        Replace the painting of yours that has the name.
    """
    from impasto.cli.inputs import pictures
    from impasto.images import paintings

    (source,) = pictures([file])
    where = paintings.add(name, source, paintings.Painting(title, painter, year), force)
    print(f"added {name}: {where}", file=sys.stderr)


@app.command
def remove(*names: str) -> None:
    """Take paintings out of your library, and delete their copies there.

    Parameters
    ----------
    names
        Names of paintings that you added.
    """
    from impasto.errors import SettingError
    from impasto.images import paintings
    from impasto.networks import kept

    if not names:
        raise SettingError("there is nothing to remove: name a painting that you added")
    for name in names:
        paintings.remove(name)
        kept.remove(name)
        print(f"removed {name}", file=sys.stderr)


def _print_json() -> None:
    import json

    from impasto.images.paintings import PAINTINGS, known, path, thumbnail
    from impasto.weights.trained import network_path, networks

    for name, work in known().items():
        facts = {"file": str(path(name)), "thumbnail": str(thumbnail(name))}
        print(json.dumps({"name": name, **vars(work), **facts, "ships": name in PAINTINGS}))
    for name in networks():
        print(json.dumps({"name": name, "file": str(network_path(name)), "ships": True}))


def _print_table() -> None:
    from impasto.images.paintings import PAINTINGS, known
    from impasto.weights.trained import network_path, networks

    width = max(map(len, [*known(), *networks()]))
    for name, work in known().items():
        whose = "" if name in PAINTINGS else " (your own)" if str(work) else "your own"
        print(f"{name:{width}}  {work}{whose}")
    for name in networks():
        size = network_path(name).stat().st_size / 1e6
        print(f"{name:{width}}  a network that paints so in one pass, {size:.1f} MB")


def _write_sheet(target: Path, force: bool) -> None:
    from impasto import images

    kind = images.check_output(target)
    if target.exists() and not force:
        raise PictureError(f"{target} exists: name another, or overwrite with --force")
    data = images.encode(images.read(_sheet()), kind)
    images.write_bytes(data, target)


def _sheet() -> "Image.Image":
    """The paintings in rows of five, each above its name."""
    from PIL import Image, ImageDraw, ImageFont

    from impasto import images
    from impasto.images import paintings

    known = paintings.known()
    cell, height, caption, columns = 300, 220, 54, 5
    rows = -(-len(known) // columns)
    sheet = Image.new("RGB", (columns * cell, rows * (height + caption)), "white")
    draw = ImageDraw.Draw(sheet)
    font, small = ImageFont.load_default(18), ImageFont.load_default(13)
    for i, (name, work) in enumerate(known.items()):
        left, top = i % columns * cell, i // columns * (height + caption)
        painting = images.to_pil(paintings.read(name, images.Need(cell)))
        painting.thumbnail((cell - 20, height - 10))
        place = left + (cell - painting.width) // 2, top + height - painting.height
        sheet.paste(painting, place, painting if painting.mode == "RGBA" else None)
        middle, words = left + cell // 2, ", ".join(filter(None, (work.painter, work.year)))
        draw.text((middle, top + height + 4), _cut(name, 32), "black", font, anchor="ma")
        draw.text((middle, top + height + 25), _cut(words, 44), "gray", small, "ma")
    return sheet


def _cut(words: str, most: int) -> str:
    """The words, or as many of their letters as fit under a painting."""
    return words if len(words) <= most else words[: most - 1] + "…"
