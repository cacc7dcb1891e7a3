"""Paintings that are known by name: those that ship, and the user's own."""

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from impasto import images
from impasto.errors import PictureError, SettingError
from impasto.images import Need, paintings
from impasto.images.paintings import PAINTINGS, Painting


def file(path: Path, color: str = "navy", size: tuple[int, int] = (40, 30)) -> Path:
    Image.new("RGB", size, color).save(path)
    return path


@pytest.mark.parametrize("name", PAINTINGS)
def test_ten_paintings_ship_each_with_its_thumbnail(name: str) -> None:
    """The thumbnail is the painting: made anew, it has the same size and nearly the same pixels."""
    assert len(PAINTINGS) == 10
    work = paintings.about(name)
    assert all((work.title, work.painter, work.year))
    assert work.painter in (notice := Path(__file__).parents[2] / "NOTICE").read_text("utf-8")
    assert f"{name}.jpg" in notice.read_text("utf-8")
    assert paintings.thumbnail(name).stat().st_size < 12_000
    small, whole = images.read(paintings.thumbnail(name)), paintings.read(name)
    assert max(small.size) == 160
    again = whole.resized(*small.size)
    assert (small.pixels - again.pixels).abs().mean() < 0.05  # JPEG halves the colors


def test_a_painting_of_ones_own_is_found_by_name(library: Path, tmp_path: Path) -> None:
    assert paintings.own() == {}
    given = file(tmp_path / "Mine.JPG", "teal")
    about = Painting("Sea", "Me", "2026")
    where = paintings.add("my-sea", given, about)
    assert where == library / "my-sea.jpg"
    assert where.read_bytes() == given.read_bytes()
    given.unlink()  # the copy is whole
    assert paintings.own() == {"my-sea": about}
    assert list(paintings.known()) == [*PAINTINGS, "my-sea"]
    assert paintings.is_painting("my-sea")
    found = paintings.picture("my-sea")
    assert (found.name, found.origin, found.size) == ("my-sea", "my-sea", (40, 30))
    assert paintings.picture("y-se").origin == "my-sea"  # a part of the name
    assert images.read(paintings.thumbnail("my-sea")).size == (160, 120)
    with pytest.raises(PictureError, match="did you mean 'my-sea'"):
        paintings.read("my-seaa")
    paintings.remove("my-sea")
    assert not paintings.is_painting("my-sea")
    assert [f for f in library.rglob("*") if f.is_file()] == []


def test_a_large_painting_of_ones_own_is_read_smaller(library: Path, tmp_path: Path) -> None:
    """2400x2000 px are over four megapixels: with 400 px needed a third of each side is read."""
    paintings.add("large", file(tmp_path / "a.png", size=(2400, 2000)), Painting())
    assert paintings.picture("large", Need(400)).size == (800, 667)


def test_its_name_stands_before_files_and_folders(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paintings.add("mine", file(tmp_path / "a.png"), Painting())
    file(tmp_path / "b.png", size=(20, 20)).rename("mine")
    assert paintings.picture("mine").size == (40, 30)
    assert paintings.picture("./mine").size == (20, 20)
    words = paintings.stands_before("mine") or ""
    assert words == "mine is a painting of your own library; ./mine means the file of that name"


def test_a_name_is_taken_once_but_by_force(library: Path, tmp_path: Path) -> None:
    paintings.add("mine", file(tmp_path / "a.png"), Painting(painter="A"))
    other = file(tmp_path / "b.bmp", size=(20, 20))
    with pytest.raises(SettingError, match=r"has a painting called mine already: .*--force"):
        paintings.add("mine", other, Painting())
    paintings.add("mine", other, Painting(painter="B"), force=True)
    assert paintings.picture("mine").size == (20, 20)
    assert paintings.about("mine") == Painting(painter="B")
    assert sorted(f.name for f in library.iterdir()) == ["mine.bmp", "mine.json", "thumbnails"]
    with pytest.raises(SettingError, match="poppies is the painting that ships"):
        paintings.add("poppies", other, Painting(), force=True)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("My Sea!", "try 'my-sea'"),
        ("../up", "try 'up'"),
        ("a/b", "try 'a-b'"),
        ("a.json", "try 'a-json'"),
        ("a" * 61, f"try '{'a' * 60}'"),
        ("-", "single dashes$"),
        ("", "single dashes$"),
        ("a--b", "try 'a-b'"),
    ],
)
def test_what_is_no_name_is_refused(library: Path, tmp_path: Path, name: str, hint: str) -> None:
    with pytest.raises(SettingError, match=hint):
        paintings.add(name, file(tmp_path / "a.png"), Painting())
    assert not library.exists()
    assert not paintings.is_painting(name)


def test_what_is_no_picture_is_not_kept(library: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    for source, why in (
        (tmp_path / "a.png", "no picture that can be read"),
        (tmp_path / "gone.png", "cannot read"),
        (tmp_path, "is a folder"),
        (b"", "is empty"),
        ("https://x.org/a.png", "is a URL"),
    ):
        with pytest.raises(PictureError, match=why):
            paintings.add("mine", source, Painting())
    assert not library.exists()


def test_bytes_are_kept_as_they_are(library: Path, tmp_path: Path) -> None:
    data = file(tmp_path / "a.png").read_bytes()
    assert paintings.add("mine", data, Painting()).read_bytes() == data
    assert paintings.picture("mine").size == (40, 30)


def test_a_copy_is_never_called_as_its_note(library: Path, tmp_path: Path) -> None:
    odd = file(tmp_path / "a.png").rename(tmp_path / "a.json")
    assert paintings.add("mine", odd, Painting()).name == "mine.picture"
    assert paintings.picture("mine").size == (40, 30)


def test_only_ones_own_are_removed(library: Path) -> None:
    with pytest.raises(SettingError, match="great-wave ships with impasto"):
        paintings.remove("great-wave")
    with pytest.raises(SettingError, match="no painting of your own is called 'x': the library is"):
        paintings.remove("x")


@pytest.mark.parametrize(
    "note", ["", "[]", '{"file": "gone.jpg"}', '{"file": "../../a.png"}', "{}"]
)
def test_a_damaged_note_is_no_painting(library: Path, tmp_path: Path, note: str) -> None:
    file(tmp_path / "a.png")
    library.mkdir(parents=True)
    (library / "mine.json").write_text(note)
    assert paintings.own() == {}
    assert not paintings.is_painting("mine")
    assert paintings.about("mine") == Painting()
    paintings.add("mine", tmp_path / "a.png", Painting("T"))  # and does not stand in the way
    assert json.loads((library / "mine.json").read_text("utf-8"))["title"] == "T"


def test_without_a_home_there_is_no_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def homeless(*_: object, **__: object) -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("IMPASTO_DATA")
    monkeypatch.setattr("platformdirs.user_data_path", homeless)
    assert paintings.own() == {}
    assert paintings.is_painting("poppies")
    assert not paintings.is_painting("mine")
    with pytest.raises(PictureError, match="set IMPASTO_DATA"):
        paintings.add("mine", file(tmp_path / "a.png"), Painting())


def test_the_library_is_in_the_users_data_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("IMPASTO_DATA")
    monkeypatch.setattr("platformdirs.user_data_path", lambda *_, **__: tmp_path / "share")
    assert paintings.library() == tmp_path / "share" / "paintings"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="may write anywhere")
def test_a_library_that_cannot_be_written(library: Path, tmp_path: Path) -> None:
    paintings.add("mine", file(tmp_path / "a.png"), Painting())
    library.chmod(0o500)
    with pytest.raises(PictureError, match="cannot write"):
        paintings.add("other", tmp_path / "a.png", Painting())
    with pytest.raises(PictureError, match="cannot remove mine"):
        paintings.remove("mine")
    library.chmod(0o700)
