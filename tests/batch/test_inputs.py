"""The photos of a batch: folders with whatever lies in them."""

import os
from pathlib import Path

import pytest

from impasto.batch.inputs import Photo, Unread, photos_of
from impasto.errors import PictureError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("b.jpg", "a.PNG", "deep/c.webp", "deep/er/a.jpg", "notes.txt", ".hidden.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def names(*inputs: Path | str, leave_out: Path | str = "nowhere") -> list[str]:
    found = photos_of(inputs, str(leave_out))
    return [one.name if isinstance(one, Photo) else f"! {one.error}" for one in found]


def test_a_folder_is_all_that_lies_below(tree: Path) -> None:
    assert names(tree) == ["a.PNG", "b.jpg", "deep/c.webp", "deep/er/a.jpg"]
    (first, *_) = photos_of([tree], "nowhere")
    assert first.source == str(tree / "a.PNG")


def test_a_photo_is_painted_once(tree: Path) -> None:
    assert names(tree / "b.jpg", tree, tree / "b.jpg") == [
        "b.jpg", "a.PNG", "deep/c.webp", "deep/er/a.jpg",
    ]  # fmt: skip


def test_patterns_keep_the_folders_below_their_fixed_part(tree: Path) -> None:
    assert names(f"{tree}/*.jpg") == ["b.jpg"]
    assert names(f"{tree}/**/*.jpg") == ["b.jpg", "deep/er/a.jpg"]
    assert names(f"{tree}/d*/*/a.jpg") == ["deep/er/a.jpg"]


def test_a_file_with_the_signs_of_a_pattern_is_that_file(tree: Path) -> None:
    (tree / "[1].jpg").write_bytes(b"x")
    assert names(tree / "[1].jpg") == ["[1].jpg"]


def test_the_output_is_no_input(tree: Path) -> None:
    out = tree / "out"
    out.mkdir()
    (out / "b-great-wave.png").write_bytes(b"x")
    assert names(tree, leave_out=out) == [
        "a.PNG", "b.jpg", "deep/c.webp", "deep/er/a.jpg",
    ]  # fmt: skip


def test_links_in_circles_end(tree: Path) -> None:
    (tree / "deep" / "round").symlink_to(tree)
    (tree / "self").symlink_to(tree / "self")
    assert names(tree) == ["a.PNG", "b.jpg", "deep/c.webp", "deep/er/a.jpg"]


def test_what_is_no_file_is_told(tree: Path) -> None:
    (tree / "gone.jpg").symlink_to(tree / "nowhere.jpg")
    os.mkfifo(tree / "pipe.jpg")
    (tree / "folder.jpg").mkdir()
    found = names(tree)
    assert "! gone.jpg is a link that leads nowhere: name a picture" in found
    assert "! pipe.jpg is neither a file nor a folder: name a picture" in found
    assert len(found) == 6


def test_a_folder_that_cannot_be_read_is_told(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refusing(folder: str) -> object:
        if Path(folder).name == "deep":
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    *photos, last = photos_of([tree], "nowhere")
    assert [one.name for one in photos if isinstance(one, Photo)] == ["a.PNG", "b.jpg"]
    assert last == Unread(str(tree / "deep"), "cannot read the folder (Permission denied)")


def test_names_that_are_no_text(tree: Path) -> None:
    name = os.fsdecode(b"caf\xe9\x1b[31m.jpg")
    (tree / name).write_bytes(b"x")
    assert name in names(tree)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "the name of an input is empty"),
        ("{}/nothing", "there is no photo and no folder .*nothing: check the name"),
        ("{}/*.bmp", r".*\*\.bmp has no pictures: name photos, or folders"),
        ("{}/empty", "empty has no pictures"),
    ],
)
def test_what_is_not_there_is_refused(tree: Path, given: str, message: str) -> None:
    (tree / "empty").mkdir()
    with pytest.raises(PictureError, match=message):
        photos_of([given.format(tree)], "nowhere")


def test_the_fields_of_patterns(tree: Path) -> None:
    photo = Photo("/x/deep/er/a.jpg", "deep/er/a.jpg")
    assert photo.fields == {"stem": "a", "suffix": "jpg", "folder": "deep/er"}
    assert Photo("/x/a.jpg", "a.jpg").fields["folder"] == ""
