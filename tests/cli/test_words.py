"""Words of the command line that say another thing than their user means."""

import io
import shutil
import sys
from pathlib import Path

import pytest

from impasto import images
from impasto.cli import app, words
from impasto.cli.inputs import pictures
from impasto.cli.words import STDIN, as_meant
from impasto.errors import PictureError, SettingError
from small import SMALL_WORDS, Run


def files(folder: Path, *names: str) -> list[str]:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return [str(folder / name) for name in names]


def test_a_folder_as_the_photo(impasto: Run, tmp_path: Path) -> None:
    files(tmp_path / "my photos", "a.jpg", "b.jpg", ".c.jpg")
    status, _, err = impasto("stylize", tmp_path / "my photos", "great-wave")
    assert status == 2
    assert "is a folder of 2 pictures, and one photo is painted at a time" in err
    assert f"impasto batch '{tmp_path}/my photos' --styles great-wave -o painted" in err
    (tmp_path / "empty").mkdir()
    with pytest.raises(PictureError, match="empty is a folder without pictures: name a photo"):
        words.check_photo(str(tmp_path / "empty"), [])


def test_the_shells_expansion_of_photos(tmp_path: Path) -> None:
    """photos/*.jpg great-wave: the first would be the photo, the others paintings."""
    photos = files(tmp_path, "a.jpg", "B.jpg", "c.jpg", "d.jpg")
    hint = words.each_photo(photos[0], [*photos[1:], "great-wave"])
    assert hint is not None
    assert f"one picture is painted, of {photos[0]}: the 3 files after it count as paint" in hint
    assert hint.endswith(f"impasto batch {tmp_path}/*.jpg --styles great-wave -o painted")
    alone = words.each_photo(photos[0], photos[1:])
    assert alone is not None
    assert "--styles PAINTING -o" in alone
    here = words.each_photo("a.png", ["b.png", "c.png", "x/y.jpg"])
    assert here is not None
    assert here.endswith("impasto batch *.png --styles x/y.jpg -o painted")


@pytest.mark.parametrize(
    "given",
    [
        ["photo.jpg", "great-wave", "poppies", "summertime"],
        ["photo.jpg", "style1.jpg", "style2.jpg"],
        ["photo.jpg", "a.jpg", "b.jpg", "great-wave"],  # not in order: chosen by hand
        ["photo.jpg", "great-wave", "q.jpg", "r.jpg"],
        ["photo.jpg", "paintings/a.jpg", "paintings/b.jpg", "paintings/c.jpg"],
        ["-", "a.jpg", "b.jpg", "c.jpg"],
    ],
)
def test_blending_is_left_alone(given: list[str]) -> None:
    assert words.each_photo(given[0], given[1:]) is None


def test_what_is_painted_with_what_is_said(
    impasto: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "poppies").mkdir()
    status, _, err = impasto(
        "stylize", photo, "poppies", "great-wave", "-o", "o.png", "--preset", "instant",
        "--size", 64,
    )  # fmt: skip
    assert status == 0
    assert "poppies is the painting that ships; ./poppies means the folder of that name" in err
    assert "in the style of 2 paintings: Poppies (Katsushika Hokusai) and The Great Wave" in err
    status, _, err = impasto("stylize", photo, "./poppies", "-o", "p.png", *SMALL_WORDS)
    assert status == 2
    assert "poppies is a folder without pictures" in err


def test_a_list_that_begins_below_zero_is_a_value() -> None:
    words = ["stylize", "a.jpg", "b", "--style-turn", "-90,0", "--strength", "-1"]
    assert as_meant(app, words) == [*words[:3], "--style-turn=-90,0", *words[5:]]
    words = ["study", "sheet", "a.jpg", "--styles", "b", "--style-turn", "-90,0", "45"]
    assert as_meant(app, words)[-2:] == ["--style-turn=-90,0", "45"]


def test_a_turn_below_zero_is_painted(impasto: Run, photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    words = ("--style-turn", "-90,0", "-o", target, *SMALL_WORDS, "-q")
    status, _, err = impasto("stylize", photo, "poppies", *words)
    assert status == 0, err
    assert images.recipe_of(target)["settings"]["style_turn"] == ["-90", "0"]


def test_a_dash_in_the_place_of_a_picture_is_stdin() -> None:
    for given, expected in (
        (["stylize", "-", "a"], ["stylize", STDIN, "a"]),
        (["stylize", "a", "-", "-o", "-"], ["stylize", "a", STDIN, "-o", "-"]),
        (["stylize", "a", "-q", "-"], ["stylize", "a", "-q", STDIN]),
        (["texture", "--force", "-"], ["texture", "--force", STDIN]),
    ):
        assert as_meant(app, given) == expected


def test_a_painting_from_stdin(
    impasto: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(photo.read_bytes()))
    monkeypatch.setattr(sys, "stdin", stdin)
    own = Path(shutil.copy(photo, tmp_path / "own.png"))
    status, _, err = impasto("stylize", own, "-", *SMALL_WORDS)
    assert status == 0, err
    assert images.recipe_of(tmp_path / "own-stdin.png")["style"] == ["stdin"]
    status, _, err = impasto("stylize", "-", "-", "-o", tmp_path / "b.png")
    assert (status, len(err.splitlines())) == (2, 1)
    assert "two pictures want stdin" in err


def test_stdin_is_read_once(monkeypatch: pytest.MonkeyPatch, photo: Path) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(photo.read_bytes())))
    name, picture = pictures(["poppies", STDIN])
    assert name == "poppies"
    assert picture == photo.read_bytes()
    with pytest.raises(SettingError, match="two pictures want stdin"):
        pictures([STDIN, "poppies", STDIN])
