"""The documentation says what the code does."""

import importlib
import inspect
import pkgutil
import re
import shlex
import subprocess
import sys
from dataclasses import is_dataclass
from pathlib import Path

import pytest

import impasto
from impasto.cli import app
from small import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *ROOT.glob("[AC]*.md")]
MODULES = [m.name for m in pkgutil.walk_packages(impasto.__path__, "impasto.")]


INLINE = re.compile(
    r"`(impasto (?:stylize|mix|video|styles|weights|doctor|texture|rerun|info|study|evaluate|"
    r"classify|augment|batch)[^`\n]*)`"
)


def commands() -> list[str]:
    """Every `impasto ...` command line of the pages."""
    found = []
    for page in PAGES:
        text = page.read_text("utf-8")
        found += INLINE.findall(text)
        for block in re.findall(r"```sh\n(.*?)```", text, re.S):
            for line in block.splitlines():
                if match := re.search(r"(?:^|bin/)(impasto .*)", line):
                    found.append(match[1])
    return sorted(set(found))


@pytest.mark.parametrize("line", commands())
def test_every_command_in_the_docs_can_be_typed(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    unfinished = words in (
        ["weights", "get"],
        ["stylize"],
        ["video"],
        ["texture"],
        ["info"],
        ["mix"],
        ["rerun"],
        ["augment"],
        ["batch"],
    )
    if {"--help", "--help-all"} & set(words) or unfinished or words[-1].isupper():
        assert words[0] in app
        return
    app.parse_args(words, exit_on_error=False, print_error=False)


def test_the_readme_opens_with_the_two_commands() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    first, second = blocks[:2]
    assert len(first.splitlines()) == len(second.splitlines()) == 1
    assert "impasto stylize examples/astronaut.jpg great-wave" in first
    assert second.strip().endswith("pytest -n auto")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_are_there(page: Path) -> None:
    for target, heading in re.findall(r"\]\(([^)#]+)(#[^)]+)?\)", page.read_text("utf-8")):
        if target.startswith("http"):
            continue
        assert (page.parent / target).exists(), target
        if heading:
            assert heading in anchors((page.parent / target).read_text("utf-8")), target + heading


def anchors(text: str) -> set[str]:
    """The headings of a page as links name them: lower case, hyphens for spaces, no signs."""
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {"#" + re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("name", MODULES)
def test_every_public_thing_has_a_docstring(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, name
    for key, value in vars(module).items():
        if key.startswith("_") or getattr(value, "__module__", None) != name:
            continue
        if inspect.isfunction(value) or inspect.isclass(value):
            assert inspect.getdoc(value), f"{name}.{key}"
            if is_dataclass(value):
                assert not inspect.getdoc(value).startswith(f"{key}("), f"{name}.{key}"


def test_generated_pages_are_up_to_date() -> None:
    found = subprocess.run(
        [sys.executable, ROOT / "tools" / "make_docs.py", "--check"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
