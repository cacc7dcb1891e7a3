"""The words of a command line, before cyclopts reads them: what newcomers type, and mean."""

import difflib
import io
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import cyclopts

from impasto.errors import PictureError

NEGATIVE = re.compile(r"-[\d.][^,\s]*(,[^,\s]*)+")  # a list of numbers that begins below zero
STDIN = "/dev/stdin"
TRUTHS = {"true": "yes", "yes": "yes", "on": "yes", "false": "no", "no": "no", "off": "no"}
FIRST = """impasto repaints a photo in the style of a painting. Try one of these:

  impasto stylize photo.jpg great-wave    the photo in the style of a painting that ships
  impasto stylize photo.jpg painting.jpg  ... of a painting of your own
  impasto styles                          the paintings that ship
  impasto --help                          every command

"""
EXAMPLE = "impasto stylize photo.jpg great-wave"


def print_any_name() -> None:
    """Let stdout show names that its encoding has no letters for, as on Windows, with escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def as_meant(app: cyclopts.App, words: Sequence[str]) -> list[str]:
    """The words as cyclopts reads them so as they are meant.

    `--force false` is `--force=no`: the word behind a switch is no painting. Only true, false, yes,
    no, on and off are taken so. `--style-turn -90,0` is `--style-turn=-90,0`, and `-` in the place
    of a picture is /dev/stdin.
    """
    found: list[str] = []
    switches: dict[str, str] = {}
    for word in words:
        before, value = found[-1] if found else "", TRUTHS.get(word.lower())
        option = before if before.startswith("-") and before != "--" and "=" not in before else ""
        if not switches and (word == "-" or (option and value)):
            switches = switches_of(app, words)
        name, equals, given = word.partition("=")
        if value and option in switches:
            found[-1] = f"{switches[option]}={value}"
        elif option.startswith("--") and NEGATIVE.fullmatch(word):
            found[-1] = f"{option}={word}"
        elif word == "-" and (not option or option in switches):
            found.append(STDIN)
        elif word.startswith("--") and equals and given.lower() in ("on", "off"):
            found.append(f"{name}={TRUTHS[given.lower()]}")
        else:
            found.append(word)
    return found


def switches_of(app: cyclopts.App, words: Sequence[str]) -> dict[str, str]:
    """Every switch of the command that these words call: its names, and its long one for each."""
    _, apps, _ = app.parse_commands(list(words))
    found: dict[str, str] = {}
    for argument in apps[-1].assemble_argument_collection():
        if argument.hint in (bool, bool | None):
            names = [name for name in argument.names if name not in argument.negatives]
            long = next(name for name in names if name.startswith("--"))
            found |= dict.fromkeys(names, long)
    return found


def advice(app: cyclopts.App, words: Sequence[str], error: cyclopts.CycloptsError) -> str:
    """What to type instead of words that cannot be read, in one line."""
    command = words[0] if words else ""
    if command not in app and not command.startswith("-"):
        near = difflib.get_close_matches(command, [name for name in app if name[0] != "-"], n=1)
        if near:
            return f"there is no command {command!r}: did you mean `impasto {near[0]}`?"
        if Path(command).suffix or os.path.exists(command):  # noqa: PTH110 - no error, whatever it is
            return f"{command!r} is no command: type `impasto stylize {' '.join(words)}`"
        return f"there is no command {command!r}: try `{EXAMPLE}`. See `impasto --help`."
    see = f"See `impasto {command} --help`." if command in app else "See `impasto --help`."
    if isinstance(error, cyclopts.UnusedCliTokensError):
        return f"there is nothing to do with {' '.join(error.unused_tokens or ())!r}. {see}"
    if isinstance(error, cyclopts.MissingArgumentError) and list(words) == ["stylize"]:
        return f"name a photo and a painting: try `{EXAMPLE}`. {see}"
    return f"{' '.join(str(error).split())} {see}"


def check_photo(content: str, styles: Sequence[str]) -> None:
    """PictureError for a folder as the photo, with what paints each picture in it."""
    from impasto.images.files import is_folder
    from impasto.images.folder import pictures_in

    if not is_folder(Path(content)):
        return
    pictures = pictures_in(Path(content))
    if not pictures:
        raise PictureError(f"{content} is a folder without pictures: name a photo")
    count = f"{len(pictures)} pictures" if len(pictures) > 1 else "1 picture"
    raise PictureError(
        f"{content} is a folder of {count}, and one photo is painted at a time: name one, or paint "
        f"all: {_batch(shlex.quote(content), styles)}"
    )


def each_photo(content: str, styles: Sequence[str]) -> str | None:
    """What to type if each of several photos was meant, as by photos/*.jpg; None where that is
    unlikely.

    The shell puts all names in place of *.jpg, in order: the first is the photo then, and the
    others are paintings.
    """
    first, given = Path(content), [content, *styles]
    alike = [
        name
        for name in given
        if Path(name).parent == first.parent and Path(name).suffix == first.suffix
    ]
    in_order = alike in (sorted(alike), sorted(alike, key=str.casefold))
    others = given[len(alike) :]
    if not first.suffix or not in_order or given[: len(alike)] != alike:
        return None
    if len(alike) < (3 if others else 4):
        return None
    beside = "" if first.parent == Path() else f"{shlex.quote(str(first.parent))}/"
    pattern = f"{beside}*{first.suffix}"
    return (
        f"one picture is painted, of {content}: the {len(alike) - 1} files after it count as "
        f"paintings. To paint each photo: {_batch(pattern, others)}"
    )


def _batch(photos: str, styles: Sequence[str]) -> str:
    """The command that paints several photos, named as a shell takes them."""
    return f"impasto batch {photos} --styles {shlex.join(styles) or 'PAINTING'} -o painted"
