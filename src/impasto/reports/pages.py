"""Pages that need no other file and no network: pictures, plots, style and script are in them."""

import base64
import io
from importlib.resources import files
from typing import Any

from impasto import images
from impasto.images import Picture

QUALITY = 88  # of JPEG
LARGEST = 1024  # px, long side of a picture in a page


def rendered(template: str, **values: Any) -> str:
    """A page from the template of that name, everything in it escaped."""
    from jinja2 import DictLoader, Environment, StrictUndefined

    folder = files("impasto.reports")
    sources = {name: (folder / name).read_text("utf-8") for name in ("base.html", template)}
    environment = Environment(
        loader=DictLoader(sources), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(template).render(**values)


def picture_uri(picture: Picture) -> str:
    """A picture as a data URI, at most 1024 px."""
    image = images.to_pil(Picture(picture.pixels))
    image.thumbnail((LARGEST, LARGEST))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def figure_uri(figure: Any) -> str:
    """A figure of matplotlib as a data URI of an SVG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
