"""What libraries and users hand over: taken where that is plainly meant, else one PictureError."""

import array
import io
import os
import pathlib
import tempfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import impasto
from impasto import images
from impasto.errors import ImpastoError, PictureError, SettingError
from impasto.images import Picture, masks, paintings
from impasto.images.folder import sources
from impasto.images.objects import several
from impasto.scene import Scene
from impasto.settings import settings_for

PIXELS = np.random.default_rng(1).integers(0, 256, (24, 40, 3), np.uint8)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("home") / "photo.png"
    Image.fromarray(PIXELS).save(path)
    return path


class Wrapped:
    """An array of another library."""

    def __init__(self, values: object) -> None:
        self.values = values

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        if isinstance(self.values, Exception):
            raise self.values
        return np.asarray(self.values)


def at_its_end(data: bytes) -> io.BytesIO:
    """A buffer as it is just after it was written."""
    buffer = io.BytesIO()
    buffer.write(data)
    return buffer


WAYS: dict[str, Any] = {
    "bytes": lambda path: path.read_bytes(),
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "BytesIO": lambda path: io.BytesIO(path.read_bytes()),
    "written BytesIO": lambda path: at_its_end(path.read_bytes()),
    "str": str,
    "array": lambda _: Wrapped(PIXELS),
    "memory of an array": lambda _: memoryview(PIXELS),
    "list": lambda _: PIXELS.tolist(),
    "tuple of arrays": lambda _: tuple(PIXELS),
    "editor": lambda _: {"background": None, "layers": [], "composite": PIXELS},
    "editor with files": lambda path: {"background": None, "layers": [], "composite": str(path)},
    "empty editor": lambda path: {"background": {"path": path}, "layers": [], "composite": None},
    "file of Gradio": lambda path: {"path": str(path), "url": None, "orig_name": "a.png"},
    "row of a data set": lambda path: OrderedDict(bytes=path.read_bytes(), path=None),
}


@pytest.mark.parametrize("way", list(WAYS))
def test_what_is_plainly_meant_is_taken(file: Path, way: str) -> None:
    found = images.read(WAYS[way](file))
    expected = torch.from_numpy(PIXELS).permute(2, 0, 1)[None].float() / 255
    torch.testing.assert_close(found.pixels, expected)


def test_open_files_are_read_from_their_beginning(file: Path) -> None:
    with file.open("rb") as opened:
        opened.read(100)
        found = images.read(opened)
    assert found.size == (40, 24)
    assert found.name == "photo.png"
    with tempfile.SpooledTemporaryFile() as spooled:
        spooled.write(file.read_bytes())
        assert images.read(spooled).size == (40, 24)


def closed_image(path: Path) -> Image.Image:
    image = Image.open(path)
    image.close()
    return image


def closed_file(path: Path) -> object:
    with path.open("rb") as opened:
        return opened


REFUSED: dict[str, tuple[Any, str]] = {
    "None": (lambda _: None, "None is no picture: give a file's name"),
    "int": (lambda _: 5, "an int is no picture"),
    "set": (lambda _: {1, 2}, "a set is no picture"),
    "generator": (lambda _: (n for n in range(3)), "a generator is no picture"),
    "no name": (lambda _: "", "the name of a picture is empty"),
    "folder": (lambda path: path.parent, "is a folder"),
    "URL": (lambda _: "https://example.org/a.jpg", "is a URL: download the picture first"),
    "data URL": (lambda _: "data:image/png;base64," + "A" * 5000, "is a URL"),
    "long name": (lambda _: "a" * 300 + ".jpg", "cannot read"),
    "zero byte": (lambda _: "a\0b.jpg", "cannot read"),
    "no list": (lambda _: [], "has the shape"),
    "names": (lambda _: ["a.jpg", "b.jpg"], "a list is no picture"),
    "ragged": (lambda _: [[1, 2], [3]], "a list is no picture"),
    "no dict": (lambda _: {}, "no picture in a dict"),
    "empty editor": (lambda _: {"background": None, "layers": [], "composite": None}, "composite"),
    "text file": (lambda _: io.StringIO("x"), "open it with 'rb'"),
    "closed image": (closed_image, "closed"),
    "closed file": (closed_file, "closed"),
    "closed buffer": (lambda _: (b := io.BytesIO(b"x")).close() or b, "closed"),
    "no bytes": (lambda _: b"", "is empty"),
    "text in bytes": (lambda _: b"photo.jpg", "no picture that can be read"),
    "broken library": (lambda _: Wrapped(RuntimeError("boom")), "a Wrapped is no picture .boom"),
    "class": (lambda _: np.ndarray, "no picture"),
    "numbers": (lambda _: array.array("B", [1, 2, 3]), "no picture|has the shape"),
    "bare image": (lambda _: Image.Image(), "image is damaged"),
}


@pytest.mark.parametrize("what", list(REFUSED))
def test_anything_else_is_one_line(file: Path, what: str) -> None:
    make, words = REFUSED[what]
    with pytest.raises(PictureError, match=words) as caught:
        images.read(make(file))
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 600


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | st.text()
    | st.complex_numbers() | st.builds(object) | st.builds(Wrapped, st.binary()),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner)
    | st.dictionaries(st.sampled_from(("composite", "path", "mask", "layers")), inner)
    | st.builds(Wrapped, inner),
    max_leaves=6,
)  # fmt: skip


@given(anything)
@settings(max_examples=200)
def test_anything_is_a_picture_or_an_impasto_error(source: object) -> None:
    for read in (images.read, paintings.picture, masks.read):
        with suppress(ImpastoError):
            assert isinstance(read(source), Picture | torch.Tensor)


@pytest.mark.parametrize(
    "data", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe1", b"II*\0\x08\0\0\0", b"GIF89a"]
)
@given(junk=st.binary(max_size=200))
@settings(max_examples=30)
def test_broken_files_are_pictures_or_picture_errors(data: bytes, junk: bytes) -> None:
    with suppress(PictureError):
        assert images.read(data + junk).pixels.isfinite().all()


def test_the_home_folder_is_known(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(file.parent))
    assert images.read("~/photo.png").origin == str(file)
    assert images.read(pathlib.PurePath("~/photo.png")).origin == str(file)
    assert paintings.picture("~/photo.png").origin == str(file)
    assert sources("~") == [file]
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # nobody's home
    with pytest.raises(PictureError, match=r"cannot read ~/photo\.png"):
        images.read("~/photo.png")


def test_what_is_missing_is_said(file: Path) -> None:
    small = settings_for(size=64)
    for content in ("", [], None):
        with pytest.raises(SettingError, match="there is no photo"):
            Scene(content, "poppies", small)
    for style in ("", [], (), ["poppies", ""]):
        with pytest.raises(SettingError, match="there is no painting"):
            Scene(file, style, small)
    with pytest.raises(PictureError, match="name of a picture is empty"):
        Scene(file, "poppies", small, mask="")
    with pytest.raises(PictureError, match="an int is no picture"):
        Scene(file, 7, small)
    with pytest.raises(SettingError, match="strength of region is nan"):
        Scene(file, "poppies", small, regions=[impasto.Region("poppies", file, float("nan"))])


@pytest.mark.parametrize(
    ("pixels", "alpha", "words"),
    [
        (torch.rand(3, 20, 20), None, "Picture's pixels"),
        (np.zeros((1, 3, 20, 20)), None, "Picture's pixels"),
        (torch.rand(1, 3, 20, 20), torch.rand(1, 1, 20, 21), "Picture's alpha"),
    ],
)
def test_a_picture_is_what_it_says(pixels: Any, alpha: Any, words: str) -> None:
    picture = object.__new__(Picture)  # for the test's own check of shapes comes first
    picture.__dict__.update(pixels=pixels, alpha=alpha)
    with pytest.raises(PictureError, match=words):
        picture.__post_init__()


def test_one_picture_or_several(file: Path) -> None:
    assert several(str(file)) == [str(file)]
    assert several([file, "poppies"]) == [file, "poppies"]
    assert several((PIXELS, PIXELS))[1] is PIXELS
    rows = PIXELS.tolist()
    assert several(rows) == [rows]
    assert several([]) == []
