"""Files written whole or not at all, wherever that is, and what does not fit into them."""

import io
import json
import os
import threading
from pathlib import Path

import pytest
import torch
from PIL import ExifTags, Image

from impasto import images
from impasto.errors import LeftOutWarning, PictureError
from impasto.images import Picture, files, writing

PICTURE = Picture(torch.linspace(0, 1, 3 * 32 * 32).view(1, 3, 32, 32))
unix = pytest.mark.skipif(os.name != "posix", reason="only Unix has these")


@pytest.mark.parametrize("length", [1, 240, 241, 255])
def test_a_name_of_any_length_is_written(tmp_path: Path, length: int) -> None:
    target = tmp_path / ("é" * (length // 2) + "x" * (length % 2))
    assert len(os.fsencode(target.name)) == length
    images.check_place(target)
    images.write_bytes(b"whole", target)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"whole"]


def test_places_where_nothing_can_be_written_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file.txt").touch()
    (tmp_path / "circle").symlink_to("circle")
    for name, words in (
        ("x" * 256, "File name too long"),
        ("file.txt/a.png", "there is no folder"),
        ("circle/a.png", "there is no folder"),
        ("none/a.png", "there is no folder"),
        (".", "is a folder"),
    ):
        with pytest.raises(PictureError, match=words):
            images.check_place(tmp_path / name)


def test_a_folder_that_may_not_be_entered_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir", forbidden)
    with pytest.raises(PictureError, match=r"a.png \(Permission denied\): name another"):
        images.check_place(tmp_path / "a.png")


def test_the_name_of_a_companion_fits_and_is_its_own(tmp_path: Path) -> None:
    assert images.companion(tmp_path / "a.mp4", ".unfinished") == tmp_path / "a.mp4.unfinished"
    long = [tmp_path / ("é" * 120 + f"{number}.mp4") for number in range(2)]
    made = [images.companion(path, ".unfinished") for path in long]
    assert made[0] != made[1]
    for path in made:
        path.mkdir()
        assert path.name.endswith(".unfinished")


def test_a_name_made_of_others_may_be_too_long() -> None:
    images.check_name("é" * 127 + "x")
    with pytest.raises(PictureError, match="256 bytes, but a name has 255 at most"):
        images.check_name("é" * 128)


@unix
def test_a_named_pipe_takes_a_picture(tmp_path: Path) -> None:
    """Read while it is written, and still a pipe afterwards."""
    pipe, got = tmp_path / "a.png", io.BytesIO()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.write(pipe.read_bytes()))
    reader.start()
    assert images.check_output(pipe) == "PNG"
    images.write_bytes(images.encode(PICTURE), pipe)
    reader.join()
    assert images.read(got.getvalue()).size == (32, 32)
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


@unix
def test_an_open_descriptor_takes_a_picture_behind_what_it_has(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb", buffering=0) as file:
        file.write(b"before")
        place = Path(f"/dev/fd/{file.fileno()}")
        assert images.check_output(place) == "PNG"
        images.write_bytes(b"picture", place)
        with images.written_whole(place) as part:
            part.write_bytes(b", film")
    assert (tmp_path / "log").read_bytes() == b"beforepicture, film"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has it")
def test_a_full_device_is_said() -> None:
    with pytest.raises(PictureError, match="No space left"):
        images.write_bytes(b"picture", Path("/dev/full"))


def exif(**texts: str) -> bytes:
    notes = Image.Exif()
    for name, text in texts.items():
        notes[ExifTags.Base[name]] = text
    return notes.tobytes()


def test_exif_that_a_jpeg_has_no_room_for_is_left_out(tmp_path: Path) -> None:
    notes = exif(Make="Kodak", ImageDescription="description " * 5300)
    recipe = json.dumps({"settings": "x" * 3000})  # each has room alone
    with pytest.warns(LeftOutWarning, match="no room for EXIF's ImageDescription"):
        data = images.encode(PICTURE, "JPEG", recipe=recipe, exif=notes)
    (tmp_path / "a.jpg").write_bytes(data)
    with Image.open(tmp_path / "a.jpg") as image:
        kept = image.getexif()
        image.load()
    assert kept[ExifTags.Base.Make] == "Kodak"
    assert ExifTags.Base.ImageDescription not in kept
    found = images.recipe_of(tmp_path / "a.jpg")
    assert found == {"settings": "x" * 3000, "left_out": ["EXIF's ImageDescription"]}


def test_a_recipe_that_a_jpeg_has_no_room_for_loses_its_longest_entry(tmp_path: Path) -> None:
    inputs = {f"rest painting {number}": "0123456789abcdef" for number in range(2000)}
    recipe = {"inputs": inputs, "style": ["a"] * 2000, "settings": {"size": 512}}
    with pytest.warns(LeftOutWarning, match="no room for the recipe's inputs: left out"):
        data = images.encode(PICTURE, "JPEG", recipe=json.dumps(recipe), exif=exif(Make="Kodak"))
    (tmp_path / "a.jpg").write_bytes(data)
    found = images.recipe_of(tmp_path / "a.jpg")
    assert found == {
        "style": ["a"] * 2000, "settings": {"size": 512}, "left_out": ["the recipe's inputs"],
    }  # fmt: skip
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.getexif()[ExifTags.Base.Make] == "Kodak"


def test_formats_with_room_keep_everything(tmp_path: Path) -> None:
    recipe = {"inputs": ["x" * 1000] * 100}
    for suffix, format in ((".png", "PNG"), (".webp", "WEBP"), (".tif", "TIFF")):
        target = tmp_path / f"a{suffix}"
        target.write_bytes(images.encode(PICTURE, format, recipe=json.dumps(recipe)))
        assert images.recipe_of(target) == recipe


def test_a_segment_is_filled_to_its_last_byte() -> None:
    """What Pillow takes is not left out."""
    empty = len(writing._Notes("JPEG", '{"a": ""}').encoded())
    room = "x" * (writing.LONGEST_EXIF - empty - 1)
    images.encode(PICTURE, "JPEG", recipe=json.dumps({"a": room}))  # LeftOutWarning is an error


@pytest.mark.parametrize("block", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"MM", b"x"])
def test_broken_exif_is_no_recipe(tmp_path: Path, block: bytes) -> None:
    """Where a PNG's EXIF is broken, `info` says that there is no recipe."""
    target = tmp_path / "a.png"
    Image.new("RGB", (32, 32)).save(target, exif=block)
    with pytest.raises(PictureError, match="does not say how it was made"):
        images.recipe_of(target)


def test_umask_is_as_it_was() -> None:
    before = os.umask(0o022)
    os.umask(before)
    files._umask()
    assert os.umask(before) == before
