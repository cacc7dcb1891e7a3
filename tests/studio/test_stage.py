"""What the page shows is well-formed, says what it should, and no visitor's words become markup."""

import base64
import io
from xml.etree import ElementTree

import numpy as np
import pytest

from impasto import images
from impasto.studio import stage
from impasto.studio.jobs import Shown, live

NASTY = "<script>alert('x')</script>\" onerror=\"alert(1)"


@pytest.fixture(scope="module")
def jpeg() -> bytes:
    """A JPEG file of 40x30 px."""
    return live(images.read(np.full((30, 40, 3), 128, np.uint8)))


def parsed(html: str) -> ElementTree.Element:
    """The HTML as a tree; single tags closed as XML wants it."""
    for tag in ("img", "input"):
        parts = html.split(f"<{tag} ")
        html = parts[0] + "".join(f"<{tag} " + part.replace(">", "/>", 1) for part in parts[1:])
    return ElementTree.parse(io.StringIO(html)).getroot()


def test_a_picture_is_within_the_page(jpeg: bytes) -> None:
    tree = parsed(stage.picture(jpeg, "a wave", "Done", final=True))
    image = tree.find(".//img")
    assert image is not None
    assert image.attrib["alt"] == "a wave"
    kind, data = image.attrib["src"].split(",")
    assert kind == "data:image/jpeg;base64"
    assert base64.b64decode(data) == jpeg
    assert "--w:40;--h:30" in tree.attrib["style"]
    line = tree.find("p")
    assert line is not None
    assert (line.text, line.attrib) == ("Done", {"role": "status"})


def test_a_picture_on_its_way_has_a_bar_and_is_silent(jpeg: bytes) -> None:
    tree = parsed(stage.picture(jpeg, "a wave", "Step 1", work=0.25))
    bar, line = tree.find("progress"), tree.find("p")
    assert bar is not None
    assert line is not None
    assert (float(bar.attrib["value"]), bar.text) == (0.25, "25%")
    assert "role" not in line.attrib


def test_the_photo_lies_over_the_picture_with_a_slider(jpeg: bytes) -> None:
    tree = parsed(stage.picture(jpeg, "a wave", before=jpeg))
    slider = tree.find("input")
    assert len(tree.findall(".//img")) == 2
    assert slider is not None
    assert slider.attrib["type"] == "range"
    assert slider.attrib["aria-label"]


def test_words_are_no_markup(jpeg: bytes) -> None:
    shown = parsed(stage.picture(jpeg, NASTY, NASTY))
    image, line = shown.find(".//img"), shown.find("p")
    assert image is not None
    assert line is not None
    assert image.attrib["alt"] == line.text == NASTY
    assert set(image.attrib) == {"src", "alt", "decoding"}
    told = parsed(stage.message(NASTY, wrong=True)).find("p")
    assert told is not None
    assert (told.text, told.attrib["role"]) == (NASTY, "alert")


def test_messages_are_spoken() -> None:
    line = parsed(stage.message("Wait")).find("p")
    assert line is not None
    assert line.attrib["role"] == "status"
    assert parsed(stage.empty()).attrib["class"] == "stage empty"


def test_where_a_run_is() -> None:
    shown = Shown(5, 20, (512, 384), 2, 3, 0.4, 65.0, 1.5, None)
    assert stage.progress_words(shown) == (
        "Scale 2 of 3, 512 x 384 px, step 5 of 20, about 65 s left"
    )
    done = Shown(20, 20, (512, 384), 3, 3, 1.0, 0.0, 1.5, None)
    assert stage.progress_words(done) == "Scale 3 of 3, 512 x 384 px, step 20 of 20"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "1 s"), (0.4, "1 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h")],
)
def test_durations(seconds: float, words: str) -> None:
    assert stage.duration(float(seconds)) == words


def test_the_loss_falls_from_the_upper_left_to_the_lower_right() -> None:
    """1000, 100, 10, 1: on a logarithmic axis of 144 px, each 48 px below the one before."""
    history = [
        {"step": n + 1, "total": 10.0 ** (3 - n), "size": (64, 48) if n < 2 else (128, 96)}
        for n in range(4)
    ]
    tree = parsed(stage.loss_plot(history))
    lines = [line.attrib["points"] for line in tree.iter("polyline")]
    assert lines == ["8.0,8.0 216.0,56.0", "424.0,104.0 632.0,152.0"]
    assert "from 1e+03 to 1 in 4 steps" in ElementTree.tostring(tree, "unicode")


def test_a_loss_that_stays_is_a_level_line() -> None:
    history = [{"step": n, "total": 2.0, "size": (64, 48)} for n in (1, 2)]
    (line,) = parsed(stage.loss_plot(history)).iter("polyline")
    assert line.attrib["points"] == "8.0,8.0 632.0,8.0"


@pytest.mark.parametrize("history", [[], [{"step": 1, "total": None, "size": (64, 48)}]])
def test_one_step_has_no_plot(history: list[dict[str, object]]) -> None:
    assert "one step" in stage.loss_plot(history)
