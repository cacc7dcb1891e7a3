"""Help in two lengths, and both forms of every switch."""

import dataclasses
from typing import Any

import pytest

from impasto.cli import app
from impasto.cli.words import as_meant, switches_of
from impasto.settings import Settings
from small import Run

LEAST = {  # the fewest words that each command takes
    "stylize": ["a.jpg", "b"], "video": ["a.mp4", "b"], "texture": ["b"], "rerun": ["a.png"],
    "info": ["a.png"], "evaluate": ["a.jpg", "b", "c.png"], "classify": ["a.jpg"],
    "augment": ["a", "-o", "b"], "batch": ["a", "-o", "b"],
    "train": ["b", "--photos", "a", "-o", "c.safetensors"],
    "export": ["a.safetensors"], "mix": ["a.jpg", "b.png"], "mask": ["a.jpg", "face"],
    "styles": [], "styles list": [], "styles add": ["b", "b.jpg"], "styles remove": ["b"],
    "studio": [], "doctor": [], "weights list": [],
    "weights verify": [], "weights get": ["vgg19"], "study sheet": ["a.jpg", "--styles", "b", "c"],
    **{
        f"study {name}": ["a.jpg"]
        for name in (
            "layers", "weights", "inits", "steps", "optimizers", "scale", "content", "strength",
            "reconstruct",
        )
    },
}  # fmt: skip


def commands() -> list[str]:
    """Every command that can be called, with that of its group."""
    found = []
    for name in app:
        if name.startswith("-"):
            continue
        inner = [sub for sub in app[name] if not sub.startswith("-")]
        found += [f"{name} {sub}" for sub in inner]
        found += [name] if not inner or app[name].default_command else []
    return found


def switches() -> list[tuple[str, str]]:
    return [
        (command, switch)
        for command in commands()
        for switch in sorted(set(switches_of(app, [*command.split(), *LEAST[command]]).values()))
    ]


def value_of(words: list[str], switch: str) -> Any:
    """What a switch is after these words were read."""
    _, bound, *_ = app.parse_args(words, exit_on_error=False, print_error=False)
    name = switch.removeprefix("--").replace("-", "_")
    for value in bound.arguments.values():
        if dataclasses.is_dataclass(value) and hasattr(value, name):
            return getattr(value, name)
    return bound.arguments[name]


@pytest.mark.parametrize("command", sorted(LEAST))
def test_every_command_is_read_where_pydantic_is_imported(command: str) -> None:
    """As by Gradio: cyclopts then has pydantic check what it read."""
    pytest.importorskip("pydantic")
    words = [*command.split(), *LEAST[command]]
    assert app.parse_args(words, exit_on_error=False, print_error=False)


def test_every_command_is_tried_here() -> None:
    assert set(commands()) == set(LEAST)
    assert len(switches()) > 40


@pytest.mark.parametrize(("command", "switch"), switches())
def test_every_switch_has_both_forms(command: str, switch: str) -> None:
    """--x, --no-x, and a word behind it: --x false is no painting called false."""
    words = [*command.split(), *LEAST[command]]
    negative = switch.replace("--", "--no-", 1)
    lists = command == "study sheet"  # there each option takes several values
    for spelled, value in (
        ([switch], True),
        ([negative], False),
        ([switch, "false"], False),
        ([switch, "on"], True),
        ([f"{switch}=off"], False),
    ):
        found = value_of(as_meant(app, [*words, *spelled]), switch)
        assert found in (value, [value]) if lists else found is value, spelled


def test_a_short_switch_takes_a_word_too() -> None:
    assert as_meant(app, ["stylize", "a.jpg", "b", "-q", "no"])[-1] == "--quiet=no"


def test_a_painting_may_be_called_like_a_truth() -> None:
    words = ["stylize", "a.jpg", "off", "--size", "64", "-o", "on.png"]
    assert as_meant(app, words) == words


def test_the_short_help_of_stylize_has_a_dozen_options(impasto: Run) -> None:
    status, out, _ = impasto("stylize", "--help")
    assert status == 0
    shown = [line.split()[1] for line in out.splitlines() if line.startswith("│ --")]
    assert 10 <= len(shown) <= 13
    basic = [item.name for item in dataclasses.fields(Settings) if item.metadata["basic"]]
    assert {f"--{name.replace('_', '-')}" for name in basic} <= set(shown)
    assert "--no-" not in out
    assert "impasto stylize --help-all" in out.splitlines()[-1]


def test_each_option_of_the_short_help_takes_two_lines(impasto: Run) -> None:
    """On a terminal of 80 columns."""
    _, out, _ = impasto("stylize", "--help")
    lengths, inside = [], False
    for line in out.splitlines():
        if line.startswith("│ --"):
            lengths.append(1)
            inside = True
        elif inside and line.startswith("│  "):
            lengths[-1] += 1
        else:
            inside = False
    assert max(lengths) <= 2


def test_the_whole_help_has_every_option_in_groups(impasto: Run) -> None:
    status, out, _ = impasto("stylize", "--help-all")
    assert status == 0
    assert "more options" not in out
    for group in ("Picture", "Style", "Masks and regions", "Output", "Method", "Machine"):
        assert f"─ {group} ─" in out
    for word in ("--resume", "--region", "--no-cuda-graphs", "--no-force", "--structure-weight"):
        assert word in out
    assert impasto("stylize", "--help")[1] != out  # the short one is short again
