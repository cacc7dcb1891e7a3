"""Every command of the gallery runs, at a small size."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from small import ROOT

SMALL = {"--size": "48", "--coarsest": "0", "--steps": "1"}
commands = runpy.run_path(str(ROOT / "tools" / "make_gallery.py"))["commands"]


def shrunk(words: list[str]) -> list[str]:
    """The command with the size, preset and steps of a test."""
    if words[0] == "info":
        return words
    found, skip = [], False
    for word in words:
        if not skip and word not in (*SMALL, "--preset"):
            found.append(word)
        skip = word in (*SMALL, "--preset")
    return [*found, *(part for pair in SMALL.items() for part in pair)]


def test_every_command_paints(
    impasto: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    page = (ROOT / "docs" / "guide" / "gallery.md").read_text("utf-8")
    found = commands(page)
    assert len(found) > 20
    for words in found:
        status, out, err = impasto(*shrunk(words))
        assert status == 0, f"{words}: {err}"
        if words[0] == "info":
            assert "great-wave" in out
            continue
        target = tmp_path / words[words.index("-o") + 1]
        with Image.open(target / "sheet.png" if target.is_dir() else target) as image:
            assert min(image.size) >= 16
    assert (tmp_path / "out" / "film.gif").exists()
    assert (tmp_path / "out" / "loss.png").exists()
