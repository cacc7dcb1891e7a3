"""docs/background/method.md: each formula has its test, each name and number is the code's.

A test of test_method_best.py, test_method_losses.py or test_method_run.py whose docstring is a
formula of the page checks that formula; the page and these docstrings must agree to the letter, so
neither can change alone.
"""

import ast
import contextlib
import importlib
import io
import re
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

import impasto
from impasto import weights
from impasto.networks.layer_names import layer_names, receptive_field, stride_of
from impasto.settings import Settings
from small import ROOT

PAGE = (ROOT / "docs" / "background" / "method.md").read_text("utf-8")
PROSE = re.sub(r"```.*?```", "", PAGE, flags=re.S)
FORMULAS = [block.strip() for block in re.findall(r"```text\n(.*?)```", PAGE, re.S)]
CODE_LINES = re.findall(r"^Code: .*?(?=\n\n|\n```)", PAGE, re.S | re.M)


def test_the_page_and_these_tests_tell_the_same_formulas() -> None:
    checked = []
    for file in ("test_method_best.py", "test_method_losses.py", "test_method_run.py"):
        for part in ast.parse((Path(__file__).parent / file).read_text("utf-8")).body:
            if isinstance(part, ast.FunctionDef) and part.name.startswith("test_"):
                checked += [text for text in [ast.get_docstring(part)] if text]
    assert len(checked) > 25
    assert sorted(FORMULAS) == sorted(checked)


def test_every_formula_is_followed_by_its_code() -> None:
    assert len(FORMULAS) == len(re.findall(r"```text\n[^`]*```\nCode: ", PAGE))


def references() -> list[tuple[str, str]]:
    """Every name of the page's `Code:` lines and the file that the line says it is in."""
    found = []
    for line in CODE_LINES:
        names: list[str] = []
        for name, target in re.findall(r"`([\w.]+)`|\]\(\.\./\.\./([^)]+)\)", line):
            if name and "." in name:
                names.append(name)
            elif target:
                found += [(known, target) for known in names]
                names = []
        assert not names, f"no file follows {names}"
    return found


@pytest.mark.parametrize(("name", "file"), references())
def test_every_name_is_where_the_page_says(name: str, file: str) -> None:
    module, *path = name.split(".")
    assert Path(file).stem == module
    dotted = ".".join(Path(file).relative_to("src").with_suffix("").parts)
    here: Any = importlib.import_module(dotted)
    for part in path:
        here = getattr(here, part)
    text = (ROOT / file).read_text("utf-8")
    assert re.search(rf"^ *(?:def {path[-1]}\(|class {path[-1]}\b|{path[-1]}\b.*=)", text, re.M)


def test_names_outside_the_code_lines() -> None:
    assert len(references()) > 40
    known = {item.name for item in fields(Settings)}
    for names in re.findall(r"settings? ((?:`\w+`(?:, )?)+)", PROSE):
        for name in re.findall(r"`(\w+)`", names):
            assert name in known, name
    options = set(re.findall(r"`--([\w-]+)", PROSE))
    assert options <= {name.replace("_", "-") for name in known}
    for layer in re.findall(r"\b(?:relu|conv|pool)\d(?:_\d)?\b", PAGE):
        assert layer in layer_names()


def test_the_table_of_layers() -> None:
    rows = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \| (\d+) \| ([\d,]+) \|$", PAGE, re.M)
    tensors = weights.load("vgg19")
    assert [row[0] for row in rows] == [n for n in layer_names() if not n.startswith("relu")]
    channels, total, painting = 3, 0, 0
    for name, *numbers in rows:
        after, stride, field, count = (int(number.replace(",", "")) for number in numbers)
        assert (stride, field) == (stride_of(name), receptive_field(name))
        if name.startswith("conv"):
            assert tensors[f"{name}.weight"].shape == (after, channels, 3, 3)
            parts = (tensors[f"{name}.weight"], tensors[f"{name}.bias"])
            assert count == sum(part.numel() for part in parts) == 9 * channels * after + after
        assert (count == 0) == name.startswith("pool")
        channels, total = after, total + count
        painting = total if name == "conv5_1" else painting
    assert f"{painting:,}" in PROSE
    sizes = (channels * 7 * 7, 4096, 4096, 1000)
    assert str(sizes[0]) in PROSE
    dense = [a * b + b for a, b in pairwise(sizes)]
    for number, count in enumerate(dense, 1):
        assert re.search(rf"^\| dense {number}.* {count:,} \|$", PAGE, re.M)
    assert re.search(rf"^\| all .* {total + sum(dense):,} \|$", PAGE, re.M)
    assert total + sum(dense) == 143_667_240


def test_the_snippets_print_what_the_page_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    snippets = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    assert len(snippets) >= 7
    for number, snippet in enumerate(snippets, 1):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(snippet, f"snippet {number}", "exec"), names)
        promised = re.findall(r"^ *print\(.*\)  # (.*)$|^# (.*)$", snippet, re.M)
        assert [a or b for a, b in promised] == printed.getvalue().splitlines()
    # The last one paints as the program does.
    run = impasto.steps(
        "examples/china.jpg", "great-wave", preset="paper", size=96, steps=10, precision="float32",
    )  # fmt: skip
    totals = [step.losses["total"] for step in run]
    assert names["totals"][:6] == pytest.approx(totals[:6], rel=1e-2)
