"""Many results: lists, baselines, differences pair by pair."""

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from impasto import images
from impasto.errors import PictureError
from impasto.evaluation import comparison
from impasto.evaluation.comparison import Entry, Judged
from impasto.evaluation.judge import Verdict
from small import Run


def verdict(**numbers: float) -> Verdict:
    return Verdict(name="x", **dict.fromkeys(comparison.NUMBERS, 0.0) | numbers)


def found(method: str, painting: str, style: float) -> Judged:
    picture = images.read(np.zeros((40, 40, 3), np.float32))
    entry = Entry("photo.jpg", painting, method, f"{method}.png")
    return Judged(entry, picture, verdict(style=style))


def test_differences_by_hand() -> None:
    """b is 0.1, 0.3 and 0.2 above a, whatever the paintings make of both: 0.2 +- 0.1 / sqrt 3."""
    results = [
        found("a", "one", 1.0), found("b", "one", 1.1), found("a", "two", 5.0),
        found("b", "two", 5.3), found("a", "three", 2.0), found("b", "three", 2.2),
        found("b", "four", 9.0),
    ]  # fmt: skip
    (only,) = comparison.differences(results, "style")
    assert (only.method, only.pairs) == ("b", 3)
    assert only.mean == pytest.approx(0.2)
    assert only.error == pytest.approx(0.1 / math.sqrt(3))


def test_one_pair_has_no_error() -> None:
    (only,) = comparison.differences([found("a", "x", 1.0), found("b", "x", 2.0)], "style")
    assert math.isnan(only.error)


@pytest.fixture
def listed(photo: Path, tmp_path: Path) -> Path:
    """A list of two methods on two paintings, its files beside it."""
    with Image.open(photo) as image:
        image.save(tmp_path / "a.png")
        image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(tmp_path / "b.png")
    lines = ["photo,painting,method,result"]
    for painting in ("poppies", "great-wave"):
        lines += [f"a.png,{painting},same,a.png", f"a.png,{painting},flipped,b.png"]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    return tmp_path / "list.csv"


def test_the_photo_is_judged_once_for_each_pair(listed: Path) -> None:
    results = list(comparison.judged(comparison.read_list(listed)))
    assert [one.entry.method for one in results] == ["photo", "same", "flipped"] * 2
    photo, same, flipped = results[:3]
    assert photo.verdict.lpips == pytest.approx(0, abs=1e-6)
    assert same.verdict.style == pytest.approx(photo.verdict.style)
    assert flipped.verdict.lpips > 0.05


def test_the_command_with_a_list(impasto: Run, listed: Path, tmp_path: Path) -> None:
    table, page = tmp_path / "out.csv", tmp_path / "out.html"
    status, out, _ = impasto("evaluate", "--list", listed, "--csv", table, "--html", page)
    assert status == 0
    lines = out.splitlines()
    assert lines[1].split()[:2] == ["photo", "2"]
    assert lines[-1].split()[:2] == ["flipped", "2"]
    assert lines[-1].count("±") == len(comparison.MAIN)
    rows = list(csv.DictReader(io.StringIO(table.read_text("utf-8"))))
    assert len(rows) == 6
    assert {row["method"] for row in rows} == {"photo", "same", "flipped"}
    assert float(rows[2]["lpips"]) > 0.05
    text = page.read_text("utf-8")
    assert text.count("<img") == 2 + 6
    assert "http" not in text.replace("http-equiv", "")
    status, out, _ = impasto("evaluate", "--list", listed, "--json")
    assert [json.loads(line)["method"] for line in out.splitlines()] == ["same", "flipped"] * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("photo,painting,result\na,b,c\n", "no column 'method'"),
        ("photo,painting,method,result\n", "names no result"),
        ("photo,painting,method,result\na.png,poppies,,b.png\n", "line 2"),
        ("photo,painting,method,result\na.png,poppies,photo,b.png\n", "baseline's name"),
    ],
)
def test_bad_lists_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(PictureError, match=message):
        comparison.read_list(tmp_path / "list.csv")
    with pytest.raises(PictureError, match="cannot read the list"):
        comparison.read_list(tmp_path / "none.csv")


def test_results_are_not_named_twice(impasto: Run, listed: Path) -> None:
    status, _, err = impasto("evaluate", "photo.jpg", "poppies", "x.png", "--list", listed)
    assert status == 2
    assert "named twice" in err
