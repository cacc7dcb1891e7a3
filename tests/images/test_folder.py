"""Folders of pictures, and names that are both a painting's and a file's."""

import os
from pathlib import Path

import pytest
from PIL import Image

from impasto.errors import PictureError
from impasto.images import folder, paintings
from impasto.images.folder import pictures_in


def picture(path: Path, color: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32), color).save(path, "JPEG")
    return path


def names(place: Path, deep: bool = True) -> list[str]:
    return [path.as_posix() for path in pictures_in(place, deep)]


def test_what_systems_leave_in_folders_is_passed_over(tmp_path: Path) -> None:
    for name in ("one.jpg", "two.JFIF", "three.jpe", "four.Jpeg", "five.heif", "six.HEIC"):
        picture(tmp_path / name)
    for name in ("._one.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", ".hidden.png"):
        (tmp_path / name).write_bytes(b"\0\5\26\7")
    (tmp_path / "frames.png").mkdir()
    expected = ["five.heif", "four.Jpeg", "one.jpg", "six.HEIC", "three.jpe", "two.JFIF"]
    assert names(tmp_path, deep=False) == names(tmp_path) == expected
    picture(tmp_path / "frames.png" / "a.jpg")
    picture(tmp_path / ".thumbnails" / "a.jpg")
    assert names(tmp_path, deep=False) == expected
    assert names(tmp_path) == sorted([*expected, "frames.png/a.jpg"])


@pytest.mark.parametrize("target", ["..", "../..", "."])
def test_links_in_circles(tmp_path: Path, target: str) -> None:
    """Every picture once; nothing of what lies around the folder."""
    data = tmp_path / "data"
    for name in ("cat/a.jpg", "cat/b.jpg", "dog/a.jpg"):
        picture(data / name)
    picture(tmp_path / "outside.jpg")
    (data / "cat" / "loop").symlink_to(target, target_is_directory=True)
    assert names(data) == ["cat/a.jpg", "cat/b.jpg", "dog/a.jpg"]


def test_links_to_other_folders_are_followed_once(tmp_path: Path) -> None:
    """A folder that is there by itself keeps its own name; one elsewhere has that of its link."""
    data, other = tmp_path / "data", tmp_path / "other"
    for path in (data / "z/a.jpg", other / "b.jpg", other / "deep" / "c.jpg"):
        picture(path)
    for link, target in (("a", data / "z"), ("b", other), ("c", other), ("d", other / "deep")):
        (data / link).symlink_to(target, target_is_directory=True)
    (other / "back").symlink_to(data, target_is_directory=True)
    assert names(data) == ["b/b.jpg", "b/deep/c.jpg", "z/a.jpg"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="may enter anywhere")
def test_a_folder_that_one_may_not_enter(tmp_path: Path) -> None:
    tmp_path.chmod(0)
    with pytest.raises(PictureError, match=r"cannot read the folder .*Permission denied"):
        pictures_in(tmp_path)
    tmp_path.chmod(0o700)


def test_a_folder_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"cannot read the folder .*gone .*No such file"):
        pictures_in(tmp_path / "gone", deep=True)


def test_a_built_in_painting_stands_before_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bare name is the painting's; a path, and a Path, is the file's."""
    monkeypatch.chdir(tmp_path)
    known = paintings.read("poppies")
    picture(Path("poppies"))
    assert paintings.picture("poppies").pixels.equal(known.pixels)
    assert paintings.picture("./poppies").size == (32, 32)
    assert paintings.picture(Path("poppies")).size == (32, 32)
    assert "./poppies means the file" in (paintings.stands_before("poppies") or "")
    assert paintings.stands_before("./poppies") is None
    assert paintings.stands_before("summertime") is None
    picture(Path("wave"))  # a part of a name is no name: the file is meant
    assert paintings.picture("wave").size == (32, 32)


def test_a_built_in_painting_stands_before_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inside = picture(tmp_path / "poppies" / "a.jpg")
    assert folder.sources("poppies") == ["poppies"]
    assert folder.sources("./poppies") == [Path("poppies") / "a.jpg"]
    assert folder.sources(Path("poppies")) == [Path("poppies") / "a.jpg"]
    assert folder.sources(str(tmp_path / "poppies")) == [inside]
    assert "./poppies means the folder" in (paintings.stands_before("poppies") or "")
