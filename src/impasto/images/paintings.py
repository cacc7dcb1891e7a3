"""The paintings that are known by name: those that ship (see NOTICE), and the user's own.

The works that ship are in the public domain. The user's library is a folder: for each painting the
file as it was given, NAME.json with title, painter and year, and a thumbnail.
"""

import difflib
import io
import json
import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.errors import PictureError, SettingError
from impasto.images.files import exists, make_folder, path_of, reason, write_bytes

if TYPE_CHECKING:
    from impasto.images import Need, Picture, Source

SHORTEST = 4  # letters of a part of a name
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
SUFFIX = re.compile(r"\.(?!json)[a-z0-9]{1,8}")  # that a copy keeps; its note is .json
LONGEST = 60  # letters of a name
THUMBNAIL = 160  # px, the long side


@dataclass(frozen=True)
class Painting:
    """A work, its painter and its year; of the user's own what is known of them."""

    title: str = ""
    painter: str = ""
    year: str = ""

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.title, self.painter, self.year)))


PAINTINGS = {
    "great-wave": Painting("The Great Wave off Kanagawa", "Katsushika Hokusai", "about 1831"),
    "poppies": Painting("Poppies", "Katsushika Hokusai", "about 1833"),
    "village-street-in-auvers": Painting("Village Street in Auvers", "Vincent van Gogh", "1890"),
    "summertime": Painting("Summertime", "Mary Cassatt", "1894"),
    "moulin-de-la-galette": Painting(
        "Bal du moulin de la Galette", "Pierre-Auguste Renoir", "1876"
    ),
    "composition-viii": Painting("Composition VIII", "Wassily Kandinsky", "1923"),
    "ejiri-in-suruga": Painting("Ejiri in Suruga Province", "Katsushika Hokusai", "about 1832"),
    "ryogoku-bridge": Painting(
        "Viewing Sunset over the Ryogoku Bridge", "Katsushika Hokusai", "about 1830"
    ),
    "inokashira-snow": Painting(
        "The Benzaiten Shrine at Inokashira in Snow", "Utagawa Hiroshige", "about 1843"
    ),
    "harvesters": Painting("The Harvesters", "Pieter Bruegel the Elder", "1565"),
}
"""The works that ship."""


def library() -> Path:
    """The folder of the user's own paintings, in $IMPASTO_DATA or the user's data folder.

    PictureError for a user without a home.
    """
    if chosen := os.environ.get("IMPASTO_DATA"):
        return Path(chosen) / "paintings"
    from platformdirs import user_data_path

    with suppress(RuntimeError):
        found = user_data_path("impasto", appauthor=False)
        if found.is_absolute():  # not ~/.local/share, as older platformdirs have it
            return found / "paintings"
    raise PictureError(
        "there is no home folder for paintings of your own: set IMPASTO_DATA to a folder"
    )


def own() -> dict[str, Painting]:
    """The user's own paintings, by name."""
    with suppress(PictureError, OSError):
        found = sorted(file.stem for file in library().glob("*.json") if _own(file.stem))
        return {name: about(name) for name in found}
    return {}


def known() -> dict[str, Painting]:
    """Every painting that has a name: those that ship, then the user's own."""
    return PAINTINGS | own()


def about(name: str) -> Painting:
    """What is known of a painting by its name: of one of the user's own what stands in its note,
    nothing where that is damaged."""
    if name in PAINTINGS:
        return PAINTINGS[name]
    words: dict[str, str] = {}
    with suppress(PictureError, OSError, ValueError, AttributeError):
        note = json.loads((library() / f"{name}.json").read_text("utf-8"))
        words = {key: str(note[key]) for key in asdict(Painting()) if note.get(key)}
    return Painting(**words)


def is_painting(name: str) -> bool:
    """True for the name of a painting that ships, or of one of the user's own."""
    return name in PAINTINGS or _own(name) is not None


def stands_before(source: object) -> str | None:
    """What to tell who gives a painting's name where a file has it, too."""
    if not isinstance(source, str) or not is_painting(source) or not Path(source).exists():
        return None
    kind = "folder" if Path(source).is_dir() else "file"
    whose = "the painting that ships" if source in PAINTINGS else "a painting of your own library"
    return f"{source} is {whose}; ./{source} means the {kind} of that name"


def path(name: str) -> Path:
    """The file of a painting by its name."""
    return _own(name) or _shipped("paintings", name)


def thumbnail(name: str) -> Path:
    """The file of a painting's thumbnail, a JPEG of 160 px."""
    return library() / "thumbnails" / f"{name}.jpg" if _own(name) else _shipped("thumbnails", name)


def thumbnail_of(picture: "Picture") -> bytes:
    """A picture as a JPEG of 160 px, transparent parts on white."""
    from PIL import Image

    from impasto import images

    small = images.to_pil(picture.resized(*images.fit(picture.size, THUMBNAIL))).convert("RGBA")
    white = Image.new("RGBA", small.size, "white")
    buffer = io.BytesIO()
    Image.alpha_composite(white, small).convert("RGB").save(buffer, "JPEG", quality=82)
    return buffer.getvalue()


def add(
    name: str, source: str | os.PathLike[str] | bytes, about: Painting, force: bool = False
) -> Path:
    """Keep a painting in the library under a name: the file's bytes as they are. Where it is now.

    source: a file, or its bytes. Raises SettingError for a name that cannot be one, or is taken
    (unless `force`, for one of the user's own); PictureError for what is no picture.
    """
    from impasto import images

    _check_name(name, force)
    picture = images.read(source, need=images.Need(THUMBNAIL))
    data, suffix = source, ""
    if not isinstance(data, bytes):
        file = path_of(data)
        data, suffix = file.read_bytes(), file.suffix.lower()
    before, folder = _own(name), library()
    target = folder / (name + (suffix if SUFFIX.fullmatch(suffix) else ".picture"))
    make_folder(folder / "thumbnails")
    write_bytes(thumbnail_of(picture), folder / "thumbnails" / f"{name}.jpg")
    write_bytes(data, target)
    note = json.dumps(asdict(about) | {"file": target.name}, indent=1)
    write_bytes(note.encode(), folder / f"{name}.json")  # last: it makes the name known
    if before is not None and before != target:
        before.unlink(missing_ok=True)
    return target


def remove(name: str) -> None:
    """Take one of the user's own paintings out of the library, and delete its copy there.

    Raises SettingError for a name that is not there, PictureError where the disk refuses.
    """
    file = _own(name)
    if name in PAINTINGS:
        raise SettingError(f"{name} ships with impasto: only paintings that you added go away")
    if file is None:
        yours = ", ".join(own()) or "empty"
        raise SettingError(f"no painting of your own is called {name!r}: the library is {yours}")
    folder = library()
    try:
        (folder / f"{name}.json").unlink()
        file.unlink(missing_ok=True)
        (folder / "thumbnails" / f"{name}.jpg").unlink(missing_ok=True)
    except OSError as error:
        raise PictureError(
            f"cannot remove {name} from {folder} ({reason(error)}): check its permissions"
        ) from error


def picture(source: "Source | Picture", need: "Need | None" = None) -> "Picture":
    """A picture from anything: a painting's name, or what `images.read` takes.

    The name of a painting means that one, whatever files there are: a file of that name is meant by
    a `Path`, or by ./NAME. need: what a picture is read for.
    """
    from impasto import images

    if isinstance(source, images.Picture):
        return source
    if isinstance(source, str):
        path = path_of(source)
        looks_like_a_file = path.suffix or len(path.parts) > 1
        if is_painting(source) or not (looks_like_a_file or exists(path)):
            return read(source, need)
    return images.read(source, need=need or images.Need())


def read(name: str, need: "Need | None" = None) -> "Picture":
    """The painting of that name, or the only one whose name it is a part of.

    PictureError, with the known names, if there is none.
    """
    from impasto import images

    names = list(known())
    part_of = [known for known in names if name.lower() in known]
    if not is_painting(name) and len(part_of) == 1 and len(name) >= SHORTEST:
        (name,) = part_of
    if not is_painting(name):
        near = difflib.get_close_matches(name.lower(), names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise PictureError(
            f"no file and no painting is called {name!r}: {hint}The paintings are "
            f"{', '.join(names)}"
        )
    found = images.read(path(name), name, need or images.Need())
    return replace(found, origin=name, exif=None)


def _shipped(folder: str, name: str) -> Path:
    return Path(str(files("impasto"))) / "data" / folder / f"{name}.jpg"


def _own(name: str) -> Path | None:
    """The file of one of the user's own paintings, None for a name that is none of theirs."""
    if not NAME.fullmatch(name) or name in PAINTINGS:
        return None
    with suppress(PictureError, OSError, ValueError, KeyError, TypeError):
        folder = library()
        note = json.loads((folder / f"{name}.json").read_text("utf-8"))
        file = folder / Path(note["file"]).name
        return file if file.is_file() else None
    return None


def _check_name(name: str, force: bool) -> None:
    """SettingError for what is no name, or is one already."""
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        plain = "-".join(re.findall(r"[a-z0-9]+", name.lower()))[:LONGEST].strip("-")
        instead = f": try {plain!r}" if plain else ""
        raise SettingError(
            f"a painting cannot be called {name!r}: use up to {LONGEST} of a-z, 0-9 and single "
            f"dashes{instead}"
        )
    if name in PAINTINGS:
        raise SettingError(f"{name} is the painting that ships: choose another name")
    if _own(name) is not None and not force:
        raise SettingError(
            f"the library has a painting called {name} already: choose another name, or replace "
            "it with --force"
        )
