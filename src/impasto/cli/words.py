"""The words of a command line, before cyclopts reads them: what newcomers type, and mean."""

import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path

import cyclopts

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
