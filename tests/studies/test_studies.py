"""Studies: what is painted, measured and written down, and that nothing is painted twice."""

import csv
import dataclasses
import io
import json
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import impasto as library
from browser import page_at
from impasto import fingerprint, images, studies
from impasto.errors import SettingError
from impasto.evaluation import judge
from impasto.reports.manifest import NAME
from impasto.settings import settings_for
from impasto.studies import figures, measures, report
from small import ROOT, Run

TINY: dict[str, Any] = {"size": 64, "coarsest": 0, "precision": "float32"}


def pictures(*arrays: np.ndarray) -> list[images.Picture]:
    return [images.read(array) for array in arrays]


def busy_and_quiet() -> list[images.Picture]:
    noise = np.random.default_rng(0).random((48, 64, 3), dtype=np.float32)
    return pictures(noise, np.full((48, 64, 3), 0.5, np.float32))


@pytest.mark.parametrize("name", studies.STUDIES)
def test_every_study_is_a_grid_of_different_pictures(name: str) -> None:
    photos = busy_and_quiet() if name in ("content", "strength") else busy_and_quiet()[:1]
    study = studies.STUDIES[name](photos, "poppies", {"size": 64})
    assert study.name == name
    assert len({cell.name for cell in study.cells}) == len(study.cells)
    places = {(cell.row, cell.column) for cell in study.cells}
    assert len(places) == len(study.cells) == len(study.rows) * len(study.columns)
    assert max(places) == (len(study.rows) - 1, len(study.columns) - 1)
    wanted = {(cell.content, cell.settings, cell.after) for cell in study.cells}
    assert len(wanted) == len(study.cells)
    assert study.see
    assert study.plots


def test_options_change_what_a_study_does_not() -> None:
    (photo, _) = busy_and_quiet()
    study = figures.weights([photo], "poppies", {"size": 40, "strength": 0.7}, (1.0, 2.0), (3.0,))
    assert [cell.settings.content_weight for cell in study.cells] == [1, 2]
    assert {cell.settings.size for cell in study.cells} == {40}
    assert {cell.settings.style_weight for cell in study.cells} == {3}


def test_studies_of_one_photo_refuse_two() -> None:
    with pytest.raises(SettingError, match="one photo, not 2"):
        figures.layers(busy_and_quiet(), "poppies", {})
    with pytest.raises(SettingError, match="tilings are 0, 2"):
        figures.content(busy_and_quiet(), "poppies", {}, (0, 2))
    with pytest.raises(SettingError, match="at least 1"):
        figures.steps(busy_and_quiet()[:1], "poppies", {}, (0, 5))


@pytest.fixture(scope="module")
def written(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """The command line of a study of steps, and the folder it filled."""
    from impasto.cli import main

    folder = tmp_path_factory.mktemp("steps")
    words = ["study", "steps", str(photo), "--style", "poppies", "--marks", "1", "3", "5"]
    words += ["--size", "64", "--precision", "float32", "-o", str(folder), "-q"]
    assert main(words) == 0
    return words, folder


def test_a_study_writes_figure_numbers_and_page(written: tuple[list[str], Path]) -> None:
    _, folder = written
    names = {file.name for file in folder.iterdir()}
    assert names == {*studies.OUTPUTS, NAME, "steps=1.png", "steps=3.png", "steps=5.png"}
    with Image.open(folder / "figure.png") as figure:
        assert figure.width > 600
    assert (folder / "figure.pdf").read_bytes().startswith(b"%PDF")
    rows = list(csv.DictReader(io.StringIO((folder / "numbers.csv").read_text("utf-8"))))
    assert [row["column"] for row in rows] == ["1 step", "3 steps", "5 steps"]
    assert [int(row["steps"]) for row in rows] == [1, 3, 5]
    assert float(rows[0]["loss"]) > float(rows[2]["loss"]) > 0
    assert 0 < float(rows[0]["lpips"]) < 1
    command = "--size 64 --precision float32 --marks 1 3 5 -o"
    assert command in (folder / "report.html").read_text("utf-8")


def test_the_manifest_has_a_row_for_each_picture(written: tuple[list[str], Path]) -> None:
    _, folder = written
    lines = [json.loads(line) for line in (folder / NAME).read_text("utf-8").splitlines()]
    assert lines[0] == {"of": "study"}
    assert [row["output"] for row in lines[1:]] == ["steps=1.png", "steps=3.png", "steps=5.png"]
    numbers = list(csv.DictReader(io.StringIO((folder / "numbers.csv").read_text("utf-8"))))
    for row, number in zip(lines[1:], numbers, strict=True):
        assert row["sha256"] == fingerprint.of_file(folder / row["output"])
        assert row["history"][-1]["seconds"] == row["seconds"] == float(number["seconds"])
        assert row["numbers"]["lpips"] == float(number["lpips"])
    assert len({row["recipe"] for row in lines[1:]}) == 3


def test_a_picture_on_the_way_is_that_of_a_run_so_long(
    written: tuple[list[str], Path], photo: Path
) -> None:
    _, folder = written
    alone = library.stylize(
        photo, "poppies", **TINY, steps=3, start="content", content_weight=0.1, matching_weight=0
    ).picture
    found = images.read(folder / "steps=3.png")
    torch.testing.assert_close(found.pixels, alone.pixels, rtol=0, atol=1 / 255)


def test_what_exists_is_neither_painted_nor_measured_again(
    written: tuple[list[str], Path], impasto: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, folder = written
    made = [folder / name for name in ("steps=1.png", "steps=5.png")]
    times = [file.stat().st_mtime_ns for file in made]
    known = (folder / NAME).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(judge, "Judge", None)
        assert impasto(*words)[0] == 0
    assert [file.stat().st_mtime_ns for file in made] == times
    assert (folder / NAME).read_bytes() == known
    Image.new("RGB", (64, 43)).save(made[0])  # another picture under its name is no result
    assert impasto(*words)[0] == 0
    assert made[0].stat().st_mtime_ns != times[0]
    assert images.recipe_of(made[0])["steps_taken"] == 1


def test_a_study_goes_on_where_it_was_stopped(photo: Path, tmp_path: Path) -> None:
    """Stopped after one of three pictures, and killed while the row of another was written."""
    study = figures.optimizers([images.read(photo)], "poppies", {**TINY, "steps": 2})
    study = dataclasses.replace(study, cells=study.cells[:3])
    studies.prepare(tmp_path, studies.files_of(study), force=False)
    stopped = studies.run(study, tmp_path, judged=False)
    first = next(stopped)
    stopped.close()
    with (tmp_path / NAME).open("a") as manifest:
        manifest.write('{"output": "optimizer=adam.png", "sha')
    time = (tmp_path / "optimizer=lbfgs.png").stat().st_mtime_ns
    found = list(studies.run(study, tmp_path, judged=False))
    assert found[0].history == first.history
    assert (tmp_path / "optimizer=lbfgs.png").stat().st_mtime_ns == time
    assert len((tmp_path / NAME).read_text("utf-8").splitlines()) == 1 + 3


def test_commands_paint_the_cells_again(photo: Path) -> None:
    """Parsed again, each command of the table asks for the cell's own settings."""
    from impasto.cli import app
    from impasto.cli.options import settings_from

    read = images.read(photo)
    for make, name in ((figures.layers, "layers"), (figures.reconstruct, "reconstruct")):
        for cell in make([read], "poppies", {"size": 64}).cells:
            one = studies.StudyPicture(cell, read, {}, [])
            words = shlex.split(report.command_of(one))
            _, bound, _ = app.parse_args(words[1:], exit_on_error=False, print_error=False)
            assert settings_from(bound.arguments["options"]) == cell.settings, name
            assert words[2] == str(photo)


def test_the_command_of_a_step_names_it(photo: Path) -> None:
    study = figures.steps([images.read(photo)], "poppies", {}, (2, 7))
    commands = [report.command_of(studies.StudyPicture(c, c.content, {}, [])) for c in study.cells]
    assert ["--steps 2 " in commands[0], "--steps 7 " in commands[1]] == [True, True]
    assert [command.count("--steps") for command in commands] == [1, 1]


def test_options_of_settings_are_those_that_differ() -> None:
    settings = settings_for("draft", size=300, seamless=True, style_weights=(1.0, 2.0))
    words = report.options_of(settings)
    assert words == [
        "--preset", "draft", "--size", "300", "--style-weights", "1.0,2.0", "--seamless",
    ]  # fmt: skip
    assert report.options_of(settings_for()) == []
    assert len(fields(settings)) > 30


def test_busyness_by_hand() -> None:
    """A ramp in lightness of 1/255 a pixel: 100/255; noise is far busier; flat is 0."""
    noise, flat = busy_and_quiet()
    assert measures.busyness(flat) == pytest.approx(0, abs=1e-4)
    lightness = torch.arange(256).float() / 255
    gray = lightness**3  # OKLab's lightness is the cube root of linear light
    srgb = torch.where(gray <= 0.0031308, 12.92 * gray, 1.055 * gray ** (1 / 2.4) - 0.055)
    ramp = images.Picture(srgb.expand(1, 3, 128, 256).contiguous())
    assert measures.busyness(ramp) == pytest.approx(100 / 255, rel=0.02)
    assert measures.busyness(noise) > 5


def test_structure_is_one_for_the_photo_and_minus_one_for_its_negative() -> None:
    lab = torch.rand(1, 1, 60, 80, generator=torch.Generator().manual_seed(0))
    photo = images.Picture((0.3 + 0.4 * lab).expand(1, 3, 60, 80).contiguous())
    negative = images.Picture(1 - photo.pixels)
    assert measures.structure(photo, photo) == pytest.approx(1, abs=1e-5)
    assert measures.structure(negative, photo) < -0.8
    other = torch.rand(1, 3, 60, 80, generator=torch.Generator().manual_seed(1))
    assert abs(measures.structure(images.Picture(other), photo)) < 0.1


def test_distance_to_first(photo: Path) -> None:
    a = images.read(photo)
    b = images.Picture(a.pixels.flip(-1))
    study = figures.inits([a], "poppies", {})
    painted = [
        studies.StudyPicture(cell, picture, {}, [])
        for cell, picture in zip(study.cells, (a, b), strict=False)
    ]
    first, second = measures.distance_to_first(painted)
    assert first["lpips_to_first"] == pytest.approx(0, abs=1e-6)
    assert second["lpips_to_first"] > 0.05


def test_a_mosaic_is_busier_and_has_the_same_colors() -> None:
    photo = images.read(ROOT / "examples" / "coffee.jpg")
    once, twice, often = (cell.content for cell in figures.content([photo], "poppies", {}).cells)
    assert once is photo
    assert measures.busyness(once) < measures.busyness(twice) < measures.busyness(often)
    torch.testing.assert_close(
        often.pixels.mean((2, 3)), once.pixels.mean((2, 3)), rtol=0, atol=0.01
    )


def test_folders_with_other_files_are_left_alone(impasto: Run, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    status, _, err = impasto("study", "steps", photo, "--marks", "1", "-o", tmp_path)
    assert status == 2
    assert "letter.txt" in err
    assert [file.name for file in tmp_path.iterdir()] == ["letter.txt"]


def test_no_photo_is_said_so(impasto: Run) -> None:
    status, _, err = impasto("study", "content")
    assert status == 2
    assert "there is no photo" in err


# The page, in a browser


@pytest.fixture(scope="module")
def page(
    written: tuple[list[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """The report in Chromium, with everything that it said and asked for."""
    with page_at(
        (written[1] / "report.html").as_uri(), tmp_path_factory.mktemp("profile")
    ) as opened:
        yield opened


def test_the_page_is_quiet_and_asks_for_nothing(page: Any) -> None:
    assert page.said == []
    others = [url for url in page.asked if not url.startswith(("data:", "blob:"))]
    assert others == [page.url]
    broken = "[...document.images].filter(i => !i.naturalWidth).length"
    assert page.evaluate(broken) == 0


def test_the_slider_moves_the_border(page: Any) -> None:
    bar, slider = page.locator(".compare .bar"), page.locator("#slider")
    wide = page.locator(".compare").bounding_box()
    before = bar.bounding_box()["x"]
    page.mouse.click(wide["x"] + 0.9 * wide["width"], wide["y"] + 0.5 * wide["height"])
    assert float(slider.input_value()) == pytest.approx(90, abs=4)
    assert bar.bounding_box()["x"] - before > 0.3 * wide["width"]
    slider.focus()
    page.keyboard.press("Home")
    assert bar.bounding_box()["x"] == pytest.approx(wide["x"], abs=2)


def test_a_click_chooses_the_picture(page: Any) -> None:
    buttons = page.locator(".grid button")
    assert buttons.count() == 3
    shown = page.locator("#after")
    last = shown.get_attribute("src")
    buttons.nth(0).click()
    assert shown.get_attribute("src") == buttons.nth(0).locator("img").get_attribute("src") != last
    assert "1 step" in page.locator("#caption").inner_text()
    assert buttons.nth(0).get_attribute("aria-pressed") == "true"
    assert page.said == []
