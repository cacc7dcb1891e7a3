"""The built-in paintings: works in the public domain that ship with impasto (see NOTICE)."""

import difflib
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.errors import PictureError
from impasto.images.files import exists, path_of

if TYPE_CHECKING:
    from impasto.images import Need, Picture, Source

SHORTEST = 4  # letters of a part of a name


@dataclass(frozen=True)
class Painting:
    """A work, its painter and its year."""

    title: str
    painter: str
    year: str


PAINTINGS = {
    "great-wave": Painting("The Great Wave off Kanagawa", "Katsushika Hokusai", "about 1831"),
    "poppies": Painting("Poppies", "Katsushika Hokusai", "about 1833"),
    "village-street-in-auvers": Painting("Village Street in Auvers", "Vincent van Gogh", "1890"),
    "summertime": Painting("Summertime", "Mary Cassatt", "1894"),
    "moulin-de-la-galette": Painting(
        "Bal du moulin de la Galette", "Pierre-Auguste Renoir", "1876"
    ),
    "composition-viii": Painting("Composition VIII", "Wassily Kandinsky", "1923"),
}


def is_painting(name: str) -> bool:
    """True for the name of a built-in painting."""
    return name in PAINTINGS


def stands_before(source: object) -> str | None:
    """What to tell who gives a built-in painting's name where a file has it, too."""
    if not isinstance(source, str) or not is_painting(source) or not Path(source).exists():
        return None
    kind = "folder" if Path(source).is_dir() else "file"
    return f"{source} is the painting that ships; ./{source} means the {kind} of that name"


def path(name: str) -> Path:
    """The file of a built-in painting."""
    return Path(str(files("impasto"))) / "data" / "paintings" / f"{name}.jpg"


def picture(source: "Source | Picture", need: "Need | None" = None) -> "Picture":
    """A picture from anything: a built-in painting's name, or what `images.read` takes.

    The name of a built-in painting means that one, whatever files there are: a file of that name
    is meant by a `Path`, or by ./NAME. need: what a picture is read for.
    """
    from impasto import images

    if isinstance(source, images.Picture):
        return source
    if isinstance(source, str):
        path = path_of(source)
        looks_like_a_file = path.suffix or len(path.parts) > 1
        if is_painting(source) or not (looks_like_a_file or exists(path)):
            return read(source)
    return images.read(source, need=need or images.Need())


def read(name: str) -> "Picture":
    """The built-in painting of that name, or the only one whose name it is a part of.

    PictureError, with the known names, if there is none.
    """
    from impasto import images

    part_of = [known for known in PAINTINGS if name.lower() in known]
    if not is_painting(name) and len(part_of) == 1 and len(name) >= SHORTEST:
        (name,) = part_of
    if not is_painting(name):
        near = difflib.get_close_matches(name.lower(), PAINTINGS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise PictureError(
            f"no file and no built-in painting is called {name!r}: {hint}"
            f"The paintings are {', '.join(PAINTINGS)}"
        )
    return replace(images.read(path(name), name), origin=name, exif=None)
