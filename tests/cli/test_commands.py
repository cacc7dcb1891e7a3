"""The command line: what a newcomer types, and everything that can go wrong with it."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest
from PIL import Image

from impasto import StyleTransfer, images
from impasto.images import paintings
from impasto.settings import Settings
from small import ROOT, SMALL_WORDS, Run, command


def test_stylize_writes_a_picture_and_says_so(impasto: Run, photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.png"
    status, out, err = impasto("stylize", photo, "great-wave", "-o", target, *SMALL_WORDS)
    assert status == 0
    assert out == ""
    assert "The Great Wave off Kanagawa" in err
    assert "step 6/6" in err  # 3 at 32 px, 1 for detail and 2 at 64
    assert f"wrote {target} (64x43 px" in err
    assert images.read(target).size == (64, 43)


def test_default_name_is_beside_the_photo(impasto: Run, photo: Path, tmp_path: Path) -> None:
    own = Path(shutil.copy(photo, tmp_path / "holiday.png"))
    assert impasto("stylize", own, "great-wave", *SMALL_WORDS)[0] == 0
    assert (tmp_path / "holiday-great-wave.png").is_file()
    status, _, err = impasto("stylize", own, "great-wave", *SMALL_WORDS)
    assert status == 2
    assert "--force" in err
    assert impasto("stylize", own, "great-wave", *SMALL_WORDS, "--force")[0] == 0


@pytest.mark.parametrize(
    ("suffix", "format"), [("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP"), ("tif", "TIFF")]
)
def test_formats_by_suffix(
    impasto: Run, photo: Path, tmp_path: Path, suffix: str, format: str
) -> None:
    target = tmp_path / f"a.{suffix}"
    assert impasto("stylize", photo, "poppies", "-o", target, *SMALL_WORDS)[0] == 0
    with Image.open(target) as image:
        assert image.format == format


def test_sixteen_bits(impasto: Run, photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    assert impasto("stylize", photo, "poppies", "-o", target, "--bits", 16, *SMALL_WORDS)[0] == 0
    with Image.open(target) as image:
        assert image.tile[0].args == "RGB;16B"


def test_json_is_one_object(impasto: Run, photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    _, out, err = impasto(
        "stylize", photo, "poppies", "-o", target, *SMALL_WORDS, "--json", "--quiet"
    )
    found = json.loads(out)
    assert err == ""
    assert (found["output"], found["width"], found["height"]) == (str(target), 64, 43)
    assert found["losses"]["total"] > 0
    assert found["settings"]["steps"] == [3, 2]
    assert found["stopped"] is False


def test_save_every_and_always_1_5_10(impasto: Run, photo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    arguments = ("--steps", "4,3", "--save-every", 4, folder, "-o", tmp_path / "a.png")
    assert (
        impasto("stylize", photo, "poppies", *SMALL_WORDS[:4], *SMALL_WORDS[6:], *arguments)[0] == 0
    )
    numbers = sorted(int(p.stem.removeprefix("step-")) for p in folder.iterdir())
    assert numbers == [1, 4, 5, 8]
    assert {images.read(p).size for p in folder.iterdir()} == {(64, 43)}


def test_stdin_and_stdout(photo: Path) -> None:
    process = command("stylize", "-", "great-wave", "-o", "-", *SMALL_WORDS)
    out, err = process.communicate(photo.read_bytes())
    assert process.returncode == 0, err
    with Image.open(io.BytesIO(out)) as image:
        assert image.size == (64, 43)
    assert b"on stdout" in err


def test_own_paintings(impasto: Run, photo: Path, tmp_path: Path) -> None:
    style = ROOT / "examples" / "coffee.jpg"
    assert impasto("stylize", photo, style, "-o", tmp_path / "a.png", *SMALL_WORDS)[0] == 0


def test_ctrl_c_saves_the_picture_so_far(photo: Path, tmp_path: Path) -> None:
    target, frames = tmp_path / "a.png", tmp_path / "frames"
    words = ("--size", 96, "--steps", 5000, "--save-every", 1, frames, "-o", target)
    process = command("stylize", photo, "great-wave", *words)
    deadline = time.monotonic() + 120
    while not (frames / "step-0002.png").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    try:
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert b"stopped at step" in err
    assert b"Traceback" not in err
    assert images.read(target).size == (96, 64)


def test_ctrl_c_before_the_first_step_says_so(
    impasto: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(images, "read", interrupted)
    status, out, err = impasto("stylize", photo, "poppies", "-o", tmp_path / "a.png")
    assert (status, out) == (130, "")
    assert "stopped before there was a picture" in err
    assert list(tmp_path.iterdir()) == []


def test_a_diverging_run_keeps_its_last_good_picture(
    impasto: Run, photo: Path, tmp_path: Path
) -> None:
    target = tmp_path / "a.png"
    words = (
        *SMALL_WORDS[:4],
        *SMALL_WORDS[6:],
        "--steps",
        40,
        "--learning-rate",
        1e30,
        "-o",
        target,
    )
    status, _, err = impasto("stylize", photo, "great-wave", *words)
    assert status == 1
    assert "lower --learning-rate" in err.splitlines()[-1]
    assert images.read(target).pixels.isfinite().all()


def test_styles_lists_paintings_and_draws_a_sheet(impasto: Run, tmp_path: Path) -> None:
    status, out, _ = impasto("styles", "--sheet", tmp_path / "sheet.png")
    assert status == 0
    assert len(out.splitlines()) >= 10
    assert "great-wave" in out
    assert "Hokusai" in out
    assert images.read(tmp_path / "sheet.png").size == (1500, 548)
    status, _, err = impasto("styles", "--sheet", tmp_path / "sheet.png")
    assert status == 2
    assert "--force" in err
    _, out, _ = impasto("styles", "--json")
    assert all(Path(json.loads(line)["file"]).is_file() for line in out.splitlines())


def test_a_library_of_ones_own(
    impasto: Run, library: Path, kept_here: Path, photo: Path, tmp_path: Path
) -> None:
    """Added, listed, painted with, measured once, removed with all that was measured."""
    given = tmp_path / "sea.png"
    given.write_bytes(paintings.path("poppies").read_bytes())
    words = ("styles", "add", "my-sea", given)
    status, out, err = impasto(*words, "--painter", "Me", "--year", 2026)
    assert (status, out) == (0, "")
    assert f"added my-sea: {library / 'my-sea.png'}" in err
    status, _, err = impasto(*words)
    assert status == 2
    assert "replace it with --force" in err
    assert impasto(*words, "--force", "--title", "Sea", "--painter", "Me")[0] == 0
    for listing in (("styles",), ("styles", "list")):
        _, out, _ = impasto(*listing)
        assert re.search(r"^my-sea +Sea, Me \(your own\)$", out, re.M)
        assert re.search(r"^great-wave +The Great Wave off Kanagawa, Katsushika Hokusai", out, re.M)
    _, out, _ = impasto("styles", "--json")
    facts = {line["name"]: line for line in map(json.loads, out.splitlines())}
    assert facts["my-sea"]["painter"] == "Me"
    assert (facts["my-sea"]["ships"], facts["poppies"]["ships"]) == (False, True)
    assert Path(facts["my-sea"]["thumbnail"]).is_file()
    assert impasto("styles", "--sheet", tmp_path / "sheet.png")[0] == 0
    assert images.read(tmp_path / "sheet.png").size == (1500, 822)  # three rows
    target = tmp_path / "out.png"
    assert impasto("stylize", photo, "my-sea", *SMALL_WORDS, "-o", target)[0] == 0
    assert len(list(kept_here.glob("my-sea.*"))) == 2
    status, _, err = impasto("styles", "remove", "my-sea")
    assert (status, err) == (0, "removed my-sea\n")
    assert list(kept_here.glob("*")) == []
    assert "my-sea" not in impasto("styles")[1]
    status, _, err = impasto("rerun", target, "--content", photo)
    assert status == 2
    assert "add it with `impasto styles add my-sea FILE`" in err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("add", "My Sea", "a.png"), "cannot be called 'My Sea'"),
        (("add", "poppies", "a.png"), "is the painting that ships"),
        (("add", "sea", "gone.png"), "cannot read gone.png"),
        (("add", "sea"), "requires an argument"),
        (("remove",), "there is nothing to remove"),
        (("remove", "poppies"), "poppies ships with impasto"),
        (("remove", "sea"), "no painting of your own is called 'sea'"),
        (("add", "sea", "a.png", "extra"), "extra"),
    ],
)
def test_what_cannot_be_added_or_removed(
    impasto: Run, library: Path, words: tuple[str, ...], why: str
) -> None:
    status, out, err = impasto("styles", *words)
    assert (status, out) == (2, "")
    assert why in err
    assert err.count("\n") == 1
    assert not library.exists()


def test_a_name_of_ones_own_works_wherever_a_painting_is_asked_for(
    impasto: Run, library: Path, photo: Path, tmp_path: Path
) -> None:
    paintings.add("my-sea", paintings.path("poppies"), paintings.Painting())
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes(photo.read_bytes())
    instant = ("--preset", "instant", "--size", 64)
    for words in (
        ("texture", "my-sea", *SMALL_WORDS, "-o", tmp_path / "texture.png"),
        ("evaluate", photo, "my-sea", photo, "--json"),
        ("augment", folder, "-o", tmp_path / "augmented", "--styles", "my-sea"),
        ("stylize", photo, "--region", "rest:my-sea", *SMALL_WORDS, "-o", tmp_path / "rest.png"),
        ("stylize", photo, "my-sea", "poppies", *instant, "-o", tmp_path / "instant.png"),
    ):
        status, _, err = impasto(*words)
        assert status == 0, (words, err)
    assert StyleTransfer("my-sea").names == ("my-sea",)


def test_weights_list_and_verify(impasto: Run) -> None:
    status, out, _ = impasto("weights", "list")
    assert status == 0
    assert "CC BY 4.0" in out
    status, out, _ = impasto("weights", "verify")
    assert status == 0
    assert "vgg19: ok" in out
    assert "adain-decoder: ok" in out


def test_weights_verify_sees_damage(
    impasto: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path))
    (tmp_path / "vgg16_torchvision.safetensors").write_bytes(b"no")
    status, out, err = impasto("weights", "verify")
    assert status == 2
    assert "vgg16-torchvision: damaged" in out
    assert "vgg16-torchvision not as recorded" in err


def test_doctor(impasto: Run) -> None:
    status, out, _ = impasto("doctor")
    assert status == 0
    for word in ("impasto", "torch", "device", "threads", "bfloat16", "vgg19: ok"):
        assert word in out
    assert f"0 of your own, in {os.environ['IMPASTO_DATA']}" in out
    assert re.search(r"kept +\d+ MB measured of paintings, in .*styles \(off\)", out)
    assert re.search(r"about \d+ s of painting for 512x512", out)


def test_help_shows_every_setting_with_its_default(impasto: Run) -> None:
    status, out, _ = impasto("stylize", "--help-all")
    assert status == 0
    for item in fields(Settings):
        assert f"--{item.name.replace('_', '-')}" in out


def test_help_and_listing_do_not_import_torch() -> None:
    """What makes `impasto --help` quick, counted instead of timed."""
    for words in (["--help"], ["stylize", "--help"], ["styles"], ["--version"], ["stylize", "x"]):
        code = (
            "import sys; from impasto.cli import main; main(sys.argv[1:]); "
            "heavy = {'torch', 'numpy', 'gradio', 'PIL'} & set(sys.modules); "
            "sys.exit(f'imported {heavy}' if heavy else 0)"
        )
        found = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
        )
        assert found.returncode == 0, (words, found.stderr)


def test_painting_does_not_import_the_compiler(photo: Path, tmp_path: Path) -> None:
    """PyTorch loads it for half a second to a second, where one of some functions is called."""
    code = (
        "import sys, torch; before = set(sys.modules); "
        "from impasto.cli import main; main(sys.argv[1:]); "
        "compiler = {'sympy', 'torch._dynamo', 'torch._inductor'} & (set(sys.modules) - before); "
        "sys.exit(f'imported {compiler}' if compiler else 0)"
    )
    words = map(str, ["stylize", photo, "great-wave", *SMALL_WORDS, "-o", tmp_path / "out.png"])
    found = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert (tmp_path / "out.png").exists()
