"""Words of the command line that say another thing than their user means."""

from pathlib import Path

import pytest

from impasto.cli import words
from impasto.errors import PictureError
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
    loop = f"for photo in '{tmp_path}/my photos'/*.jpg; do impasto stylize \"$photo\" great-wave"
    assert loop in err
    (tmp_path / "empty").mkdir()
    with pytest.raises(PictureError, match="empty is a folder without pictures: name a photo"):
        words.check_photo(str(tmp_path / "empty"), [])


def test_the_shells_expansion_of_photos(tmp_path: Path) -> None:
    """photos/*.jpg great-wave: the first would be the photo, the others paintings."""
    photos = files(tmp_path, "a.jpg", "B.jpg", "c.jpg", "d.jpg")
    hint = words.each_photo(photos[0], [*photos[1:], "great-wave"])
    assert hint is not None
    assert f"one picture is painted, of {photos[0]}: the 3 files after it count as paint" in hint
    loop = f'for photo in {tmp_path}/*.jpg; do impasto stylize "$photo" great-wave; done'
    assert hint.endswith(loop)
    alone = words.each_photo(photos[0], photos[1:])
    assert alone is not None
    assert "PAINTING; done" in alone
    here = words.each_photo("a.png", ["b.png", "c.png", "x/y.jpg"])
    assert here is not None
    assert here.endswith('for photo in *.png; do impasto stylize "$photo" x/y.jpg; done')


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
