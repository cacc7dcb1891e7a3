"""What visitors hand in is a picture within the limits, or is refused in one friendly line."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hostile import REFUSED, TAKEN, picture
from PIL import Image

from impasto.errors import PictureError
from impasto.studio import uploads
from impasto.studio.desk import Desk
from impasto.studio.uploads import Limits
from impasto.studio.visits import mark

Take = Callable[[Desk, Path], object]
WAYS: list[Take] = [
    lambda studio, file: studio.take_photo("anna", file),
    lambda studio, file: studio.take_painting("anna", file),
    lambda studio, file: studio.take_mask("anna", file, "drawn"),
]


def everything(folder: Path) -> set[Path]:
    return {file for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("take", WAYS, ids=["photo", "painting", "mask"])
@pytest.mark.parametrize("what", REFUSED)
def test_hostile_files_are_refused_and_leave_nothing(
    what: str, take: Take, studio: Desk, tmp_path: Path
) -> None:
    name, write, expected = REFUSED[what]
    file = tmp_path / name
    write(file)
    visit, before = studio.visits.of("anna"), everything(tmp_path)
    with pytest.raises(PictureError, match=expected) as refused:
        take(studio, file)
    text = str(refused.value)
    assert len(text) < 300
    assert text.isprintable(), "one line, and no control characters"
    assert str(tmp_path) not in text, "nobody is told where things are"
    assert everything(tmp_path) == before
    assert not visit.is_used
    assert visit.refused == {mark(file)}


@pytest.mark.parametrize("what", TAKEN)
def test_odd_pictures_are_taken_into_the_visitors_folder_alone(
    what: str, studio: Desk, tmp_path: Path
) -> None:
    name, write = TAKEN[what]
    file = tmp_path / name
    write(file)
    visit, before = studio.visits.of("anna"), everything(tmp_path)
    seen, _ = studio.take_photo("anna", file)
    studio.take_painting("anna", file)
    made = everything(tmp_path) - before
    assert made
    assert all(place.parent == visit.folder for place in made)
    assert all(place.name.isascii() and place.name.isprintable() for place in made)
    with Image.open(seen) as image:
        assert (image.format, image.size) == ("JPEG", (32, 24))


def test_what_did_not_arrive_is_said(studio: Desk, tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"gone\.png did not arrive: send it once more"):
        studio.take_photo("anna", tmp_path / "gone.png")


def test_the_limit_of_pixels_names_what_is_too_large(studio: Desk, tmp_path: Path) -> None:
    Image.new("L", (1200, 1000)).save(tmp_path / "large.png")
    with pytest.raises(PictureError, match=r"large\.png has 1200x1000 pixels, more than the 1 mi"):
        studio.take_photo("anna", tmp_path / "large.png")
    Image.new("L", (1000, 1000)).save(tmp_path / "large.png")
    studio.take_photo("anna", tmp_path / "large.png")


def test_the_limit_of_bytes_is_the_largest_that_is_taken(studio: Desk, tmp_path: Path) -> None:
    picture(tmp_path / "photo.png")
    visit, size = studio.visits.of("anna"), (tmp_path / "photo.png").stat().st_size
    uploads.taken(visit, tmp_path / "photo.png", Limits(upload=size))
    with pytest.raises(PictureError, match="make it smaller first"):
        uploads.taken(visit, tmp_path / "photo.png", Limits(upload=size - 1))


@pytest.mark.parametrize("suffix", sorted(uploads.RAW))
def test_files_of_cameras_get_a_word(suffix: str, studio: Desk, tmp_path: Path) -> None:
    (tmp_path / f"photo{suffix.upper()}").touch()
    with pytest.raises(PictureError, match="export it as JPEG or TIFF first"):
        studio.take_photo("anna", tmp_path / f"photo{suffix.upper()}")


def test_pictures_are_decoded_one_at_a_time(studio: Desk, tmp_path: Path) -> None:
    picture(tmp_path / "photo.png")
    taken = threading.Thread(target=studio.take_photo, args=("anna", tmp_path / "photo.png"))
    with uploads.ONE_AT_A_TIME:
        taken.start()
        taken.join(0.3)
        assert taken.is_alive()
    taken.join(60)
    assert studio.visits.of("anna").photo is not None


def test_a_proxy_is_upright_and_no_larger_than_it_need_be(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.fromarray(np.zeros((100, 300, 3), np.uint8)).save(tmp_path / "photo.jpg", exif=exif)
    for side, size in ((150, (50, 150)), (900, (100, 300))):
        with Image.open(uploads.proxy(tmp_path / "photo.jpg", tmp_path / "x.jpg", side)) as image:
            assert image.size == size
            assert not image.getexif(), "no place where it was taken, and no name"
