"""Write the parts of the docs that are made from the code, or check that they are up to date.

python tools/make_docs.py          write docs/reference/settings.md and cli.md
python tools/make_docs.py --check  exit 1 if one of them is not what the code says
"""

import argparse
import contextlib
import io
import os
import sys
from dataclasses import fields
from pathlib import Path

os.environ |= {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}  # before rich looks

from impasto.cli import main as impasto
from impasto.cli.options import shown, text_for
from impasto.settings import Settings

DOCS = Path(__file__).parents[1] / "docs" / "reference"
COMMANDS = [
    words.split()
    for words in (
        "", "stylize", "mix", "video", "texture", "mask", "rerun", "info", "evaluate", "classify",
        "augment", "study", "study layers", "study weights", "study inits", "study steps",
        "study optimizers",
        "study scale", "study content", "study strength", "study reconstruct", "study sheet",
        "train", "export", "studio", "styles", "styles add", "styles remove", "weights",
        "weights list", "weights verify", "weights get", "doctor",
    )
]  # fmt: skip
NOTE = "<!-- Made by tools/make_docs.py from the code: change it there. -->\n\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, compare only")
    check: bool = parser.parse_args().check
    stale = [
        name
        for name, text in (("settings.md", settings_page()), ("cli.md", cli_page()))
        if not settle(DOCS / name, NOTE + text, check)
    ]
    if stale:
        print(f"not up to date: {', '.join(stale)}; run tools/make_docs.py", file=sys.stderr)
    return 1 if stale else 0


def settle(page: Path, text: str, check: bool) -> bool:
    """Write the page, or say whether it already holds this text."""
    if check:
        return page.is_file() and page.read_text("utf-8") == text
    page.write_text(text, "utf-8")
    return True


def settings_page() -> str:
    """docs/reference/settings.md: a table of every setting for each group."""
    lines = [
        "# Settings",
        "",
        "Every setting, as an option of `impasto stylize` and as a keyword of "
        "`impasto.stylize(...)` (there with `_` for `-`). A preset changes the defaults; what is "
        "given beside it comes after it.",
    ]
    group = ""
    for item in fields(Settings):
        if item.metadata["group"] != group:
            group = item.metadata["group"]
            lines += ["", f"## {group}", "", "| Option | Default | What it does |", "|---|---|---|"]
        option = "--" + item.name.replace("_", "-")
        lines.append(f"| `{option}` | {shown(item)} | {text_for(item)} |")
    return "\n".join(lines) + "\n"


def cli_page() -> str:
    """docs/reference/cli.md: what `--help-all` prints for each command."""
    parts = ["# The command line\n"]
    for words in COMMANDS:
        parts.append(
            f"## impasto {' '.join(words)}".rstrip() + f"\n\n```text\n{help_of(words)}```\n"
        )
    return "\n".join(parts)


def help_of(words: list[str]) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        impasto([*words, "--help-all"])
    lines = [line.rstrip() for line in printed.getvalue().splitlines()]
    if words[:1] in (["texture"], ["rerun"]) or (words[:1] == ["study"] and words[1:]):
        last = next(i for i, line in enumerate(lines) if line.startswith("╭─ Picture"))
        lines = [*lines[:last], "... and the options of impasto stylize, for every picture."]
    return "".join(line + "\n" for line in lines)


if __name__ == "__main__":
    raise SystemExit(main())
