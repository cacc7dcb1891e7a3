"""`impasto styles`: the built-in paintings and networks."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.errors import PictureError

if TYPE_CHECKING:
    from PIL import Image


def styles(
    *,
    sheet: Path | None = None,
    force: bool = False,
    json: bool = False,
) -> None:
    """List the built-in paintings, and the networks that paint like one of them in one pass.

    Parameters
    ----------
    sheet
        Write a labeled sheet of thumbnails to this file.
    force
        Overwrite the sheet if it exists.
    json
        Print one JSON object for each.
    """
    from impasto.images.paintings import PAINTINGS, path
    from impasto.weights.trained import network_path, networks

    if sheet is not None:
        _write_sheet(sheet, force)
        print(f"wrote {sheet}", file=sys.stderr)
    if json:
        import json as json_format

        for name, work in PAINTINGS.items():
            print(json_format.dumps({"name": name, **vars(work), "file": str(path(name))}))
        for name in networks():
            print(json_format.dumps({"name": name, "file": str(network_path(name))}))
    else:
        width = max(map(len, [*PAINTINGS, *networks()]))
        for name, work in PAINTINGS.items():
            print(f"{name:{width}}  {work.title}, {work.painter}, {work.year}")
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
    """The paintings in rows of three, each above its name."""
    from PIL import Image, ImageDraw, ImageFont

    from impasto.images.paintings import PAINTINGS, path

    cell, height, caption, columns = 300, 220, 54, 3
    rows = -(-len(PAINTINGS) // columns)
    sheet = Image.new("RGB", (columns * cell, rows * (height + caption)), "white")
    draw = ImageDraw.Draw(sheet)
    font, small = ImageFont.load_default(18), ImageFont.load_default(13)
    for i, (name, work) in enumerate(PAINTINGS.items()):
        left, top = i % columns * cell, i // columns * (height + caption)
        with Image.open(path(name)) as painting:
            painting.thumbnail((cell - 20, height - 10))
            sheet.paste(
                painting, (left + (cell - painting.width) // 2, top + height - painting.height)
            )
        middle = left + cell // 2
        draw.text((middle, top + height + 4), name, "black", font, anchor="ma")
        draw.text((middle, top + height + 25), f"{work.painter}, {work.year}", "gray", small, "ma")
    return sheet
