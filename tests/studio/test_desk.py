"""What the page does, without a page: photos, previews, pictures that grow, sheets, recipes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import RECIPE, SECRET, noted, picture
from PIL import Image

from impasto import images
from impasto.errors import ImpastoError, PictureError
from impasto.studio import desk
from impasto.studio.desk import Desk
from impasto.studio.forms import Form
from impasto.studio.jobs import Failed, Painted, Waiting

TINY: dict[str, Any] = {
    "size": 48, "coarsest": 0, "steps": 3, "detail_steps": 0, "matching_weight": 0,
    "style_layers": "relu1_1,relu2_1", "content_layers": "relu2_1",
}  # fmt: skip
FORM = Form(("great-wave",), changes=TINY)


@pytest.fixture
def anna(studio: Desk, photo: Path) -> str:
    """A visitor with a photo."""
    studio.take_photo("anna", photo)
    return "anna"


def test_a_photo_is_taken_and_shown_small(studio: Desk, photo: Path) -> None:
    seen, recipe = studio.take_photo("anna", photo)
    visit = studio.visits.of("anna")
    assert recipe is None
    assert visit.photos == [visit.photo]
    assert visit.photo is not None
    assert visit.photo.read_bytes() == photo.read_bytes(), "as it came: nothing is encoded anew"
    for shown in (seen, studio.seen("anna")):
        with Image.open(shown) as image:
            assert (image.format, image.size) == ("JPEG", (96, 64))


def test_there_is_an_end_to_photos_and_paintings(
    studio: Desk, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "MOST_PHOTOS", 1)
    studio.take_photo("anna", photo)
    studio.take_painting("anna", photo)
    with pytest.raises(PictureError, match="1 photos already: reload the page"):
        studio.take_photo("anna", photo)
    with pytest.raises(PictureError, match="1 paintings already: reload the page"):
        studio.take_painting("anna", photo)
    studio.take_photo("ben", photo)


def test_nobody_has_a_photo_at_first(studio: Desk) -> None:
    with pytest.raises(PictureError, match="no photo yet"):
        studio.seen("anna")
    assert studio.download("anna") is None


def test_a_picture_grows_and_is_kept(studio: Desk, anna: str) -> None:
    views = list(studio.paint(anna, FORM))
    assert "Getting ready" in views[0].html
    assert "In the queue: 1 picture is before yours" in views[1].html
    assert "step 3 of 3" in views[-2].html
    assert [view.busy for view in views] == [True] * (len(views) - 1) + [False]
    painted = views[-1].painted
    assert isinstance(painted, Painted)
    assert "Done, after" in views[-1].html
    assert "your photo in the style of The Great Wave" in views[-1].html
    visit = studio.visits.of(anna)
    assert visit.painted == [painted.picture]
    assert studio.download(anna) == painted.picture
    assert anna in studio.faces


def test_places_in_the_queue_are_words(studio: Desk, anna: str) -> None:
    visit = studio.visits.of(anna)
    views = studio._show(iter([Waiting(0), Waiting(1), Waiting(7)]), visit, "")
    words = ["You are next", "In the queue: 1 picture is before", "In the queue: 7 pictures are"]
    for view, expected in zip(views, words, strict=True):
        assert expected in view.html


def test_what_is_stopped_can_go_on(studio: Desk, anna: str) -> None:
    painted = None
    for view in studio.paint(anna, FORM):
        if "step 1 of 3" in view.html:
            studio.stop(anna)
        painted = view.painted
    assert painted is not None
    assert painted.stopped
    studio.atelier.stopped = False  # type: ignore[attr-defined]
    last = list(studio.paint(anna, FORM, go_on=True))[-1]
    assert studio.atelier.asked[-1].resume == painted.checkpoint  # type: ignore[attr-defined]
    assert last.painted is not None
    assert not last.painted.stopped


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (Form(), "no painting yet"),
        (Form((SECRET,)), "choose one of those shown"),
        (Form(("poppies",), changes={"size": 129}), "this studio paints up to 128 px"),
        (Form(("poppies",), changes={"size": "129"}), "cannot be read"),
        (Form(("poppies",), changes={"size": "x"}), "size"),
        (Form(("poppies",), changes={"preset": "x"}), "preset"),
        (Form(("poppies",), changes={"strength": "x"}), "strength"),
        (Form(("poppies",), mask=SECRET), "draw it anew"),
    ],
)
def test_what_cannot_be_painted_is_said_everywhere(
    form: Form, words: str, studio: Desk, anna: str, photo: Path
) -> None:
    (view,) = studio.paint(anna, form)
    assert words in view.html
    assert not view.busy
    assert words in studio.estimate(anna, form)
    with pytest.raises(ImpastoError, match=words):
        list(studio.paint_for_program(anna, photo, form))
    assert not studio.atelier.asked  # type: ignore[attr-defined]


def test_a_preview_is_an_instant_picture_that_leaves_no_file(studio: Desk, anna: str) -> None:
    before = set(studio.visits.of(anna).folder.iterdir())
    first, view = studio.preview(anna, FORM)
    assert "One moment: a sketch" in first.html
    assert "Instant sketch in" in view.html
    assert set(studio.visits.of(anna).folder.iterdir()) == before
    (job,) = studio.atelier.asked  # type: ignore[attr-defined]
    assert (job.quick, job.mask) == (True, None)


def test_no_preview_covers_the_picture_that_grows(studio: Desk, anna: str) -> None:
    studio.atelier.busy.add(anna)  # type: ignore[attr-defined]
    assert not list(studio.preview(anna, FORM))


def test_a_preview_says_what_is_wrong_but_not_that_another_took_its_place(
    studio: Desk, anna: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (view,) = studio.preview(anna, Form())
    assert "no painting yet" in view.html
    for text, shown in (("stopped before it began", []), ("no memory", ["no memory"])):
        monkeypatch.setattr(studio.atelier, "paint", lambda *_, text=text: iter([Failed(text)]))
        _, *views = studio.preview(anna, FORM)
        assert [words in view.html for view, words in zip(views, shown, strict=True)] == [
            True for _ in shown
        ]


@pytest.mark.parametrize(
    ("pace", "side"), [(0.01, 512), (0.23, 320), (0.25, 256), (100.0, 256), (0.0, 256)]
)
def test_previews_are_as_large_as_the_machine_is_fast(pace: float, side: int, studio: Desk) -> None:
    """At 0.24 s for 128 px, 320 px take 6.25 times that: the limit of 1.5 s."""
    studio.atelier.pace = pace
    assert studio.preview_side() == side


def test_an_estimate_is_words(studio: Desk, anna: str) -> None:
    words = studio.estimate(anna, FORM)
    assert words.startswith("about ")
    assert words.endswith(" GB of memory")


def test_a_sheet_has_a_picture_in_each_style(studio: Desk, anna: str) -> None:
    sheets = list(studio.sheet(anna, FORM, ["great-wave", "poppies"]))
    found = sheets[-1]
    assert [name for _, name in found] == ["great-wave", "poppies"]
    assert all(Path(file).parent == studio.visits.of(anna).folder for file, _ in found)
    with pytest.raises(PictureError, match="choose one of those shown"):
        list(studio.sheet(anna, FORM, [SECRET]))


def test_a_painting_of_ones_own(studio: Desk, anna: str, tmp_path: Path) -> None:
    picture(tmp_path / "mine.png")
    name, seen = studio.take_painting(anna, tmp_path / "mine.png")
    assert seen.exists()
    assert list(studio.paint(anna, replace(FORM, styles=(name,))))[-1].painted is not None
    (view,) = studio.paint("ben", replace(FORM, styles=(name,)))
    assert view.painted is None, "it is nobody else's"


def test_a_mask_takes_the_place_of_the_one_before(studio: Desk, anna: str, photo: Path) -> None:
    folder, count = studio.visits.of(anna).folder, 0
    for _ in range(3):
        assert studio.take_mask(anna, photo, "drawn") == "drawn"
        count = len(list(folder.glob("*.png")))
    assert count == 2, "the photo and the last mask"


def test_a_painted_picture_brings_its_settings_back(studio: Desk, anna: str, photo: Path) -> None:
    last = list(studio.paint(anna, FORM))[-1]
    assert last.painted is not None
    before = studio.visits.of(anna).photo
    seen, recipe = studio.take_photo(anna, last.painted.picture)
    assert recipe is not None
    assert seen.exists()
    assert studio.visits.of(anna).photo == before, "a painted picture is no photo"
    form, missing = studio.restore(anna, recipe)
    assert not missing
    assert form.styles == ("great-wave",)
    assert form.changes["size"] == 48
    other, missing = studio.restore("ben", recipe)
    assert other == form
    assert missing == ["the photo: drop it, too"]
    again = list(studio.paint(anna, form))[-1]
    assert again.painted is not None
    pixels = [np.asarray(Image.open(v.painted.picture)) for v in (last, again) if v.painted]
    assert np.array_equal(*pixels)


def test_a_recipe_with_paths_reads_nothing(studio: Desk, anna: str, tmp_path: Path) -> None:
    noted(json.dumps(RECIPE))(tmp_path / "recipe.png")
    _, recipe = studio.take_photo(anna, tmp_path / "recipe.png")
    assert recipe is not None
    form, missing = studio.restore(anna, recipe)
    assert form.styles == ("great-wave",)
    assert missing
    assert SECRET not in str(form)


def test_a_program_gets_a_file_and_leaves_no_photo(studio: Desk, photo: Path) -> None:
    first, *_, last = studio.paint_for_program("program", photo, FORM)
    assert first is None
    assert last is not None
    assert images.recipe_of(last)["style"] == ["great-wave"]
    assert list(studio.visits.of("program").folder.iterdir()) == [last]


def test_a_program_that_leaves_leaves_nothing(studio: Desk, photo: Path) -> None:
    painting = studio.paint_for_program("program", photo, FORM)
    next(painting)
    painting.close()  # type: ignore[attr-defined]
    assert not list(studio.visits.of("program").folder.iterdir())


def test_leaving_stops_all_work_and_forgets(studio: Desk, anna: str) -> None:
    visit = studio.visits.of(anna)
    assert list(studio.paint(anna, FORM))[-1].painted is not None
    studio.visits.leave(anna)
    forgotten = studio.atelier.forgotten  # type: ignore[attr-defined]
    assert forgotten == ["anna", "anna estimate", "anna sheet"]
    assert not visit.folder.exists()
    assert anna not in studio.faces


def test_a_picture_that_is_finished_after_its_visitor_left_is_not_kept(
    studio: Desk, anna: str
) -> None:
    views = studio.paint(anna, FORM)
    for view in views:
        if "step 3 of 3" in view.html:
            studio.visits.leave(anna)
    assert anna not in studio.faces
    assert not list(studio.visits.root.rglob("*.png"))
