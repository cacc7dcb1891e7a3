"""A job tells what happens, keeps what is painted where it is stopped, and goes on from there."""

import io
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from impasto import images
from impasto.errors import PictureError
from impasto.studio import jobs
from impasto.studio.jobs import Estimated, Failed, Job, Painted, Said, Shown

JobMaker = Callable[..., Job]


def after(calls: int) -> Callable[[], bool]:
    """No so many times, then yes."""
    count = itertools.count()
    return lambda: next(count) >= calls


def test_a_job_shows_each_step_and_ends_with_a_file(job: JobMaker) -> None:
    asked = job()
    *steps, last = jobs.paint(asked)
    assert [event.step for event in steps if isinstance(event, Shown)] == [1, 2, 3]
    assert isinstance(last, Painted)
    assert last.picture == asked.target
    assert not last.stopped
    assert last.checkpoint is None
    assert [record["step"] for record in last.history] == [1, 2, 3]
    with Image.open(asked.target) as picture:
        assert picture.size == (48, 32)
    assert images.recipe_of(asked.target)["style"] == ["great-wave"]


def test_work_grows_to_one_and_nothing_is_left_then(job: JobMaker) -> None:
    shown = [event for event in jobs.paint(job()) if isinstance(event, Shown)]
    works = [event.work for event in shown]
    assert works == sorted(works)
    assert works[-1] == 1
    assert shown[-1].left == 0
    assert all(event.left >= 0 for event in shown)


def test_pictures_on_the_way_are_small_jpeg_files(
    job: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "LIVE_SIDE", 24)
    pictures = [event.picture for event in jobs.paint(job()) if isinstance(event, Shown)]
    assert None not in (pictures[0], pictures[-1]), "the first, and the end of a scale"
    for data in pictures:
        if data is not None:
            with Image.open(io.BytesIO(data)) as picture:
                assert (picture.format, picture.size) == ("JPEG", (24, 16))


def test_pictures_come_a_few_times_a_second_at_most(
    job: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "LIVE_EVERY", 1e9)
    pictures = [event.picture for event in jobs.paint(job()) if isinstance(event, Shown)]
    assert [picture is not None for picture in pictures] == [False, False, True]


def test_who_stops_before_the_first_step_is_told(job: JobMaker) -> None:
    asked = job()
    assert list(jobs.paint(asked, lambda: True)) == [Failed("stopped before there was a picture")]
    assert not asked.target.exists()


def test_stopping_within_a_step_keeps_the_step_before(job: JobMaker, tmp_path: Path) -> None:
    calls = itertools.count()
    for event in jobs.paint(job("whole"), lambda: next(calls) < 0):
        if isinstance(event, Shown) and event.step == 2:
            break
    asked = job()
    events = list(jobs.paint(asked, after(next(calls) + 1)))
    last = events[-1]
    assert isinstance(last, Painted)
    assert last.stopped
    assert last.history[-1]["step"] == 2
    assert asked.target.exists()
    assert last.checkpoint == tmp_path / jobs.CHECKPOINT


def test_going_on_gives_what_an_uninterrupted_run_gives(job: JobMaker) -> None:
    whole = list(jobs.paint(job("whole")))[-1]
    calls = itertools.count()
    for event in jobs.paint(job("counted"), lambda: next(calls) < 0):
        if isinstance(event, Shown) and event.step == 2:
            break
    first = list(jobs.paint(job(), after(next(calls) + 1)))[-1]
    assert isinstance(whole, Painted)
    assert isinstance(first, Painted)
    assert first.stopped
    second = list(jobs.paint(replace(job("second"), resume=first.checkpoint)))[-1]
    assert isinstance(second, Painted)
    assert not second.stopped
    pixels = [np.asarray(Image.open(end.picture)) for end in (whole, second, first)]
    assert np.array_equal(pixels[0], pixels[1])
    assert not np.array_equal(pixels[0], pixels[2])


def test_an_estimate_paints_nothing(job: JobMaker) -> None:
    asked = job(only_estimate=True)
    (found,) = jobs.paint(asked)
    assert isinstance(found, Estimated)
    assert found.seconds > 0
    assert found.bytes > 1e6
    assert not asked.target.exists()


def test_an_instant_picture_takes_one_step(job: JobMaker) -> None:
    asked = replace(job(), changes={"preset": "instant", "size": 64}, quick=True)
    shown, last = jobs.paint(asked)
    assert isinstance(shown, Shown)
    assert shown.picture is None, "the file comes at once"
    assert isinstance(last, Painted)
    assert last.checkpoint is None


def test_a_time_lapse_lies_beside_the_picture(job: JobMaker) -> None:
    asked = job(timelapse=True)
    last = list(jobs.paint(asked))[-1]
    assert isinstance(last, Painted)
    assert last.film == asked.target.with_suffix(".gif")
    with Image.open(last.film) as film:
        assert film.format == "GIF"
    instant = replace(job("instant", timelapse=True), changes={"preset": "instant", "size": 64})
    last = list(jobs.paint(instant))[-1]
    assert isinstance(last, Painted)
    assert last.film is None, "one step makes no film"


def test_notes_come_before_the_steps(
    job: JobMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file with the name of a painting that ships is passed over, in so many words."""
    monkeypatch.chdir(tmp_path)
    Path("great-wave").touch()
    said, *_ = jobs.paint(job(changes={"steps": 1}))
    assert isinstance(said, Said)
    assert "./great-wave" in said.text


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"size": 8}, "size"), ({"strength": 2}, "strength"), ({"nonsense": 1}, "nonsense")],
)
def test_a_wrong_setting_is_one_line(job: JobMaker, changes: dict[str, int], words: str) -> None:
    (failed,) = jobs.paint(job(changes=changes))
    assert isinstance(failed, Failed)
    assert words in failed.text
    assert "\n" not in failed.text


def test_a_photo_that_is_gone_is_one_line(job: JobMaker, tmp_path: Path) -> None:
    (failed,) = jobs.paint(replace(job(), photo=tmp_path / "gone.png"))
    assert isinstance(failed, Failed)
    assert "gone.png" in failed.text


def test_a_folder_that_is_gone_is_one_line(job: JobMaker, tmp_path: Path) -> None:
    """The visitor left while the picture was painted."""
    last = list(jobs.paint(replace(job(), target=tmp_path / "gone" / "picture.png")))[-1]
    assert isinstance(last, Failed)
    assert not (tmp_path / "gone").exists()


def test_errors_are_one_line() -> None:
    assert jobs.one_line(PictureError("one\n  two")) == "one two"
    assert jobs.one_line(OSError()) == "OSError"
    assert "smaller size" in jobs.one_line(MemoryError("12 bytes"))
    assert "smaller size" in jobs.one_line(torch.OutOfMemoryError("12 bytes"))


def test_what_is_looked_at_is_no_larger_than_it_is() -> None:
    small = images.read(np.full((20, 30, 3), 128, np.uint8))
    with Image.open(io.BytesIO(jobs.live(small))) as picture:
        assert picture.size == (30, 20)
    large = images.read(np.full((1000, 2000, 3), 128, np.uint8))
    with Image.open(io.BytesIO(jobs.live(large))) as picture:
        assert picture.size == (768, 384)


def test_what_nobody_foresaw_ends_the_job_alone(
    job: JobMaker, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The painter's process goes on with the next job, and the host sees where it happened."""

    def broken(*_: object) -> None:
        raise RuntimeError("a wheel came off")

    monkeypatch.setattr(jobs, "start_run", broken)
    (failed,) = jobs.paint(job())
    assert failed == Failed("RuntimeError: a wheel came off (not foreseen)")
    assert "a wheel came off" in capfd.readouterr().err
