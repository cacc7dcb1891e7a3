"""What a run leaves behind besides the picture: recipes, EXIF, films, figures, sheets."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

import impasto as library
from impasto import images
from impasto.cli.regions import regions
from impasto.errors import SettingError
from impasto.images import Picture
from impasto.scene import Region, Scene
from impasto.settings import settings_for
from impasto.video.timelapse import Timelapse, distance
from small import Run

FAST = ("--size", "48", "--coarsest", "0", "--steps", "2")


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory, photo: Path) -> Path:
    """A JPEG as a camera writes it: turned, with its name, the time, and where it was."""
    path = tmp_path_factory.mktemp("camera") / "shot.jpg"
    notes = Image.Exif()
    notes[ExifTags.Base.Make] = "Kodak"
    notes[ExifTags.Base.Orientation] = 6
    notes.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2020:02:03 04:05:06"
    notes.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    with Image.open(photo) as image:
        image.save(path, exif=notes)
    return path


def notes_of(path: Path) -> tuple[Image.Exif, dict[int, object], dict[int, object]]:
    with Image.open(path) as image:
        notes = image.getexif()
        camera = dict(notes.get_ifd(ExifTags.IFD.Exif))
        return notes, camera, dict(notes.get_ifd(ExifTags.IFD.GPSInfo))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("gps", [False, True])
def test_exif_is_kept_and_the_place_only_if_asked(
    impasto: Run, camera: Path, tmp_path: Path, suffix: str, gps: bool
) -> None:
    target = tmp_path / f"out{suffix}"
    words = ["--keep-gps"] if gps else []
    status, _, err = impasto("stylize", camera, "great-wave", "-o", target, *FAST, *words)
    assert status == 0, err
    notes, taken, place = notes_of(target)
    assert notes[ExifTags.Base.Make] == "Kodak"
    assert notes.get(ExifTags.Base.Orientation, 1) == 1
    assert taken[ExifTags.Base.DateTimeOriginal] == "2020:02:03 04:05:06"
    assert (place.get(ExifTags.GPS.GPSLatitudeRef) == "N") is gps
    with Image.open(target) as image:
        assert image.height > image.width  # upright, as the camera meant it


def test_deep_png_keeps_exif_too(camera: Path, tmp_path: Path) -> None:
    picture = images.read(camera)
    data = images.encode(picture, bits=16, recipe="{}", exif=picture.exif)
    (tmp_path / "deep.png").write_bytes(data)
    notes, taken, place = notes_of(tmp_path / "deep.png")
    assert notes[ExifTags.Base.Make] == "Kodak"
    assert taken
    assert not place


def test_broken_exif_is_left_out() -> None:
    picture = Picture(torch.rand(1, 3, 20, 20))
    data = images.encode(picture, "JPEG", recipe='{"a": 1}', exif=b"Exif\0\0garbage")
    assert images.read(data).size == (20, 20)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_every_format_says_how_it_was_made(
    impasto: Run, photo: Path, tmp_path: Path, suffix: str
) -> None:
    target = tmp_path / f"out{suffix}"
    assert impasto("stylize", photo, "great-wave", "-o", target, *FAST, "-q")[0] == 0
    recipe = images.recipe_of(target)
    assert recipe["settings"]["size"] == 48
    assert recipe["losses"]["total"] > 0
    assert set(recipe["inputs"]) >= {"content"}
    status, out, _ = impasto("info", target)
    assert status == 0
    assert "great-wave" in out
    assert "size 48" in out
    status, out, _ = impasto("info", target, "--json")
    assert json.loads(out)["settings"] == recipe["settings"]


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_the_same_run_is_the_same_file(
    impasto: Run, photo: Path, tmp_path: Path, suffix: str
) -> None:
    first, second = (tmp_path / f"{name}{suffix}" for name in ("first", "second"))
    for target in (first, second):
        words = ["-o", target, "--preset", "instant", "--size", "48"]
        status, out, _ = impasto("stylize", photo, "great-wave", *words, "--json")
        assert status == 0
        assert json.loads(out)["seconds"] > 0
        assert "seconds" not in images.recipe_of(target)
    assert first.read_bytes() == second.read_bytes()


def test_a_recipe_names_files_and_not_where_they_lie(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = tmp_path / "private"
    folder = private / "great-wave"  # called as a built-in painting is
    folder.mkdir(parents=True)
    own = {name: private / f"{name}.png" for name in ("me", "mask", "sky", "strokes", "start")}
    for path in (*own.values(), folder / "a.png"):
        with Image.open(photo) as image:
            image.save(path)
    monkeypatch.chdir(private)
    scene = Scene(
        own["me"], "./great-wave", settings_for(size=48, start=str(own["start"]), palette="wave"),
        own["mask"], None, [Region("wave", own["sky"], name="sky", style_mask=own["strokes"])],
    )  # fmt: skip
    recipe = scene.recipe()
    assert "private" not in json.dumps(recipe)
    assert recipe["settings"]["start"] == "start.png"
    assert recipe["settings"]["palette"] == "great-wave"
    assert recipe["sources"] == {
        "content": "me.png",
        "mask": "mask.png",
        "regions": [
            {"name": "sky", "style": ["great-wave"], "mask": "sky.png", "strength": None,
             "style_mask": "strokes.png"},
            {"name": "rest", "style": ["./great-wave"], "mask": None, "strength": None,
             "style_mask": None},
        ],
    }  # fmt: skip


def test_a_picture_without_a_recipe_is_refused(impasto: Run, photo: Path, tmp_path: Path) -> None:
    status, _, err = impasto("info", photo)
    assert status == 2
    assert "does not say how it was made" in err
    status, _, err = impasto("rerun", tmp_path / "none.png")
    assert status == 2
    assert "cannot read" in err


def test_rerun_paints_the_same_again_and_larger(
    impasto: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.png").write_bytes(photo.read_bytes())
    mask = tmp_path / "mask.png"
    Image.new("L", (96, 64), 255).save(mask)
    words = ["stylize", "photo.png", "great-wave", "poppies", "--style-weights", "0.7,0.3"]
    words += ["--mask", "mask.png", "-o", "first.png", *FAST]
    assert impasto(*words)[0] == 0
    assert impasto("rerun", "first.png")[0] == 0
    first, again = (images.read(tmp_path / f"{n}.png") for n in ("first", "first-again"))
    assert torch.equal(first.pixels, again.pixels)
    assert impasto("rerun", "first.png", "--preset", "paper", "--steps", "1", "-o", "p.png")[0] == 0
    now, then = (images.recipe_of(tmp_path / name)["settings"] for name in ("p.png", "first.png"))
    assert (now["loss_scale"], now["padding"]) == ("paper", "zero")
    assert now["style_weights"] == then["style_weights"]
    assert impasto("rerun", "first.png", "--size", "64", "-o", "large.png")[0] == 0
    assert images.read(tmp_path / "large.png").size == (64, 43)
    moved = tmp_path / "moved"
    moved.mkdir()
    (tmp_path / "photo.png").rename(moved / "photo.png")
    status, _, err = impasto("rerun", "first.png", "--force")
    assert status == 2
    assert "the photo of first.png, photo.png, is neither beside it nor in the current" in err
    assert "--content" in err
    assert impasto("rerun", "first.png", "--content", moved / "photo.png", "--force")[0] == 0


def test_rerun_finds_its_inputs_in_the_folders_given(
    impasto: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Photo, painting, mask and start lie in two folders, and the picture in a third."""
    one, two, third = (tmp_path / name for name in ("one", "two", "third"))
    for folder in (one, two, third):
        folder.mkdir()
    for path in (one / "photo.png", one / "mask.png", two / "start.png", two / "poppies.png"):
        with Image.open(photo) as image:
            image.rotate(len(path.stem)).save(path)
    words = ["stylize", one / "photo.png", two / "poppies.png", "--mask", one / "mask.png"]
    first, again = third / "first.png", third / "first-again.png"
    assert impasto(*words, "--start", two / "start.png", "-o", first, *FAST)[0] == 0
    monkeypatch.chdir(third)
    for given, missing in (([], "photo.png"), (["--inputs", one], "poppies.png")):
        status, _, err = impasto("rerun", first, *given)
        assert (status, err.count("\n")) == (2, 1)
        assert missing in err
        assert "--inputs" in err
    status, _, err = impasto("rerun", first, "--inputs", one, "--inputs", two)
    assert status == 0, err
    assert "not the same" not in err
    assert images.read(again).pixels.equal(images.read(first).pixels)


def test_texture_needs_no_photo(
    impasto: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, err = impasto("texture", "great-wave", *FAST)
    assert status == 0, err
    assert images.read(tmp_path / "great-wave-texture.png").size == (48, 48)
    assert impasto("texture")[0] == 2


# Regions in words


def test_regions_read_names_masks_styles_and_strengths() -> None:
    found, main = regions(
        ["sky=C:\\masks\\sky.png:great-wave", "face=a.png:b.jpg:0.2", "rest:poppies"],
        ["face=part.png"],
    )
    assert [(r.name, r.mask, r.style, r.strength, r.style_mask) for r in found] == [
        ("sky", "C:\\masks\\sky.png", "great-wave", None, None),
        ("face", "a.png", "b.jpg", 0.2, "part.png"),
        ("rest", None, "poppies", None, None),
    ]
    assert main is None
    assert regions([], ["m.png"]) == ([], "m.png")


@pytest.mark.parametrize(
    "text", ["sky", "sky=m.png", "sky:style", "rest=m.png:style", "sky=m.png:a:b", "=m.png:a", ""]
)
def test_regions_that_do_not_read_are_refused(text: str) -> None:
    with pytest.raises(SettingError, match="NAME=MASK:STYLE"):
        regions([text], [])


def test_region_names_are_checked() -> None:
    with pytest.raises(SettingError, match="twice"):
        regions(["a=m.png:s", "a=n.png:t"], [])
    with pytest.raises(SettingError, match="'b'"):
        regions(["a=m.png:s"], ["b=m.png"])


def test_regions_from_the_command_line(impasto: Run, photo: Path, tmp_path: Path) -> None:
    mask = np.zeros((64, 96), np.uint8)
    mask[:, :48] = 255
    Image.fromarray(mask).save(tmp_path / "left.png")
    target = tmp_path / "out.png"
    words = ["--region", f"left={tmp_path / 'left.png'}:great-wave:0.9", "--region", "rest:poppies"]
    status, out, err = impasto("stylize", photo, *words, "-o", target, *FAST, "--json")
    assert status == 0, err
    recipe = json.loads(out)
    assert recipe["style"] == ["great-wave", "poppies"]
    assert [region["strength"] for region in recipe["sources"]["regions"]] == [0.9, None]


# Films


def pictures(changes: list[float]) -> list[Picture]:
    """Gray pictures, each lighter than the last by so much."""
    values = np.cumsum([0.1, *changes])
    return [Picture(torch.full((1, 3, 30, 40), float(v))) for v in values]


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_a_film_moves_at_constant_visual_speed(tmp_path: Path, suffix: str) -> None:
    """One step of a large change and nine small ones: half of the way is half of the film."""
    film = Timelapse(tmp_path / f"film{suffix}")
    for picture in pictures([0.36] + [0.04] * 9):
        film.add(picture)
    frames = [frame.mean() for frame in film.frames()]
    still = frames.count(frames[0])
    growing = frames[still - 1 :]
    growing = growing[: len(growing) - growing.count(frames[-1]) + 1]
    steps = np.diff(growing)
    assert steps.max() < 3 * steps.mean()  # OKLab is not linear in gray, but nearly
    film.write()
    if suffix == ".gif":
        with Image.open(tmp_path / "film.gif") as image:
            assert image.size == (40, 30)
            assert getattr(image, "n_frames", 0) > 50
    else:
        import av

        with av.open(str(tmp_path / "film.mp4")) as container:
            assert container.streams.video[0].frames == len(frames)


def test_a_long_film_keeps_its_memory_small(tmp_path: Path) -> None:
    film = Timelapse(tmp_path / "film.gif")
    for picture in pictures([0.0004] * 1500):
        film.add(picture)
    assert len(film.kept) <= 600


def test_distance_of_black_and_white_is_a_hundred() -> None:
    from impasto.images import color

    black, white = (color.oklab(torch.full((1, 3, 4, 4), v)) for v in (0.0, 1.0))
    assert distance(black, white) == pytest.approx(100, abs=0.1)


def test_film_and_figure_from_the_command_line(impasto: Run, photo: Path, tmp_path: Path) -> None:
    film, figure = tmp_path / "film.gif", tmp_path / "loss.png"
    words = ["stylize", photo, "great-wave", "-o", tmp_path / "out.png", "--size", "48"]
    words += ["--coarsest", "24", "--steps", "3,3", "--timelapse", film, "--plot", figure]
    status, _, err = impasto(*words)
    assert status == 0, err
    with Image.open(film) as image:
        assert image.size == (48, 32)
    with Image.open(figure) as image:
        assert image.width > 800
    (tmp_path / "out.png").unlink()
    status, _, err = impasto(*words)
    assert status == 2
    assert "film.gif exists" in err
    words[words.index(film)] = tmp_path / "film.avi"
    status, _, err = impasto(*words)
    assert status == 2
    assert ".mp4" in err
    assert not (tmp_path / "out.png").exists()


# Sheets


def test_a_sheet_over_two_settings(impasto: Run, photo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sheet"
    words = ["study", "sheet", photo, "--styles", "great-wave", "poppies", "--strength", "0.2"]
    words += ["0.8", "--size", "32", "--coarsest", "0", "--steps", "2", "-o", folder]
    status, _, err = impasto(*words)
    assert status == 0, err
    names = sorted(file.name for file in folder.iterdir())
    assert names == [
        "great-wave-strength=0.2.png", "great-wave-strength=0.8.png",
        "manifest.jsonl", "poppies-strength=0.2.png", "poppies-strength=0.8.png", "sheet.png",
    ]  # fmt: skip
    assert images.recipe_of(folder / names[1])["settings"]["strength"] == 0.8
    with Image.open(folder / "sheet.png") as page:
        assert page.width > 3 * 256
    times = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    (folder / names[0]).unlink()
    assert impasto(*words, "-q")[0] == 0
    again = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert {name for name in times if times[name] != again[name]} == {
        names[0], "manifest.jsonl", "sheet.png",
    }  # fmt: skip


def test_two_styles_of_one_name_are_two_pictures(photo: Path) -> None:
    from impasto.studies import sheet

    found = sheet(images.read(photo), ["a/wave.jpg", "b/wave.jpg"], {"size": [32]})
    assert len({cell.name for cell in found.cells}) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--styles", "poppies"], "nothing changes"),
        (["--styles", "a", "b", "--strength", "0", "1", "--size", "32", "64"], "one or two"),
        (["--styles", "poppies", "--strength", "0.2", "3"], "strength is 3"),
    ],
)
def test_bad_sheets_are_refused(
    impasto: Run, photo: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    status, _, err = impasto("study", "sheet", photo, *words, "-o", tmp_path / "out")
    assert status == 2
    assert message in err
    assert not (tmp_path / "out").exists()


def test_public_api_takes_regions() -> None:
    assert library.Region("poppies").strength is None


# In the terminal


def test_preview_shows_the_picture_after_each_scale(
    impasto: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    from impasto.cli import progress

    shown: list[tuple[int, int]] = []

    def show(image: Image.Image) -> str:
        shown.append(image.size)
        return "a picture"

    monkeypatch.setattr(progress, "terminal_image", lambda: show)
    monkeypatch.setattr(Console, "is_terminal", property(lambda self: True))
    words = ["--size", "48", "--coarsest", "24", "--scale-ratio", "2", "--steps", "2", "--preview"]
    status, _, err = impasto("stylize", photo, "great-wave", "-o", tmp_path / "out.png", *words)
    assert status == 0, err
    assert shown == [(24, 16), (48, 32)]
    assert "a picture" in err


@pytest.mark.parametrize(
    ("words", "library", "extra"),
    [
        (("--timelapse", "film.mp4"), "av", "impasto[video]"),
        (("--plot", "loss.png"), "matplotlib.figure", "impasto[plot]"),
    ],
)
def test_a_missing_library_is_named_before_painting(
    impasto: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, str], library: str, extra: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, library, None)
    status, _, err = impasto("stylize", photo, "great-wave", "-o", "out.png", *words, *FAST)
    assert status == 2
    assert extra in err
    assert list(tmp_path.iterdir()) == []
