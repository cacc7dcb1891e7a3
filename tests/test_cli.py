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
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from impasto import images
from impasto.cli import main
from impasto.settings import Settings

Run = Callable[..., tuple[int, str, str]]
SMALL = (
    "--size",
    64,
    "--coarsest",
    32,
    "--steps",
    "3,2",
    "--detail-steps",
    1,
    "--precision",
    "float32",
)
ROOT = Path(__file__).parents[1]


def command(*words: object, **options: object) -> subprocess.Popen[bytes]:
    """The command as a process of its own, with Ctrl-C on: in the background it may be off."""
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    return subprocess.Popen(
        [sys.executable, "-m", "impasto", *map(str, words)], env=environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL), **options,
    )  # fmt: skip  # type: ignore[call-overload]


def test_stylize_writes_a_picture_and_says_so(impasto: Run, photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.png"
    status, out, err = impasto("stylize", photo, "great-wave", "-o", target, *SMALL)
    assert status == 0
    assert out == ""
    assert "The Great Wave off Kanagawa" in err
    assert "step 6/6" in err  # 3 at 32 px, 1 for detail and 2 at 64
    assert f"wrote {target} (64x43 px" in err
    assert images.read(target).size == (64, 43)


def test_default_name_is_beside_the_photo(impasto: Run, photo: Path, tmp_path: Path) -> None:
    own = Path(shutil.copy(photo, tmp_path / "holiday.png"))
    assert impasto("stylize", own, "great-wave", *SMALL)[0] == 0
    assert (tmp_path / "holiday-great-wave.png").is_file()
    status, _, err = impasto("stylize", own, "great-wave", *SMALL)
    assert status == 2
    assert "--force" in err
    assert impasto("stylize", own, "great-wave", *SMALL, "--force")[0] == 0


@pytest.mark.parametrize(
    ("suffix", "format"), [("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP"), ("tif", "TIFF")]
)
def test_formats_by_suffix(
    impasto: Run, photo: Path, tmp_path: Path, suffix: str, format: str
) -> None:
    target = tmp_path / f"a.{suffix}"
    assert impasto("stylize", photo, "poppies", "-o", target, *SMALL)[0] == 0
    with Image.open(target) as image:
        assert image.format == format


def test_sixteen_bits(impasto: Run, photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    assert impasto("stylize", photo, "poppies", "-o", target, "--bits", 16, *SMALL)[0] == 0
    with Image.open(target) as image:
        assert image.tile[0].args == "RGB;16B"


def test_json_is_one_object(impasto: Run, photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    _, out, err = impasto("stylize", photo, "poppies", "-o", target, *SMALL, "--json", "--quiet")
    found = json.loads(out)
    assert err == ""
    assert (found["output"], found["width"], found["height"]) == (str(target), 64, 43)
    assert found["losses"]["total"] > 0
    assert found["settings"]["steps"] == [3, 2]
    assert found["stopped"] is False


def test_save_every_and_always_1_5_10(impasto: Run, photo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    arguments = ("--steps", "4,3", "--save-every", 4, folder, "-o", tmp_path / "a.png")
    assert impasto("stylize", photo, "poppies", *SMALL[:4], *SMALL[6:], *arguments)[0] == 0
    numbers = sorted(int(p.stem.removeprefix("step-")) for p in folder.iterdir())
    assert numbers == [1, 4, 5, 8]
    assert {images.read(p).size for p in folder.iterdir()} == {(64, 43)}


def test_stdin_and_stdout(photo: Path) -> None:
    process = command("stylize", "-", "great-wave", "-o", "-", *SMALL)
    out, err = process.communicate(photo.read_bytes())
    assert process.returncode == 0, err
    with Image.open(io.BytesIO(out)) as image:
        assert image.size == (64, 43)
    assert b"on stdout" in err


def test_own_paintings(impasto: Run, photo: Path, tmp_path: Path) -> None:
    style = ROOT / "examples" / "coffee.jpg"
    assert impasto("stylize", photo, style, "-o", tmp_path / "a.png", *SMALL)[0] == 0


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
    def interrupted(*_: object) -> None:
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
    words = (*SMALL[:4], *SMALL[6:], "--steps", 40, "--learning-rate", 1e30, "-o", target)
    status, _, err = impasto("stylize", photo, "great-wave", *words)
    assert status == 1
    assert "lower --learning-rate" in err.splitlines()[-1]
    assert images.read(target).pixels.isfinite().all()


def test_styles_lists_paintings_and_draws_a_sheet(impasto: Run, tmp_path: Path) -> None:
    status, out, _ = impasto("styles", "--sheet", tmp_path / "sheet.png")
    assert status == 0
    assert len(out.splitlines()) >= 6
    assert "great-wave" in out
    assert "Hokusai" in out
    assert images.read(tmp_path / "sheet.png").size == (900, 548)
    status, _, err = impasto("styles", "--sheet", tmp_path / "sheet.png")
    assert status == 2
    assert "--force" in err
    _, out, _ = impasto("styles", "--json")
    assert all(Path(json.loads(line)["file"]).is_file() for line in out.splitlines())


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
    assert re.search(r"about \d+ s of painting for 512x512", out)


def test_help_shows_every_setting_with_its_default(impasto: Run) -> None:
    status, out, _ = impasto("stylize", "--help")
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


def truncated_jpeg(path: Path) -> None:
    data = (ROOT / "examples" / "coffee.jpg").read_bytes()
    path.write_bytes(data[: len(data) // 2])


def huge_png(path: Path) -> None:
    from test_images import bomb

    path.write_bytes(bomb(30_000, 30_000))


BAD_PHOTOS: dict[str, tuple[Callable[[Path], object] | None, str]] = {
    "missing.jpg": (None, "No such file"),
    "folder.jpg": (Path.mkdir, "is a folder"),
    "empty.jpg": (Path.touch, "is empty"),
    "text.jpg": (lambda p: p.write_text("dear diary"), "no picture that can be read"),
    "truncated.jpg": (truncated_jpeg, "is damaged"),
    "tiny.png": (lambda p: Image.new("RGB", (1, 1)).save(p), "1x1 px"),
    "strip.png": (lambda p: Image.new("RGB", (10, 4000)).save(p), "10x4000 px"),
    "thin.png": (lambda p: Image.new("RGB", (20, 4000)).save(p), "--size 3200"),
    "bomb.png": (huge_png, "178,956,970"),
}


@pytest.mark.parametrize("name", list(BAD_PHOTOS))
@pytest.mark.parametrize("role", ["content", "style"])
def test_bad_pictures(impasto: Run, photo: Path, tmp_path: Path, name: str, role: str) -> None:
    make, words = BAD_PHOTOS[name]
    if role == "style" and name == "thin.png":
        pytest.skip("a thin painting is scaled until it suffices")
    bad, target = tmp_path / name, tmp_path / "out.png"
    if make is not None:
        make(bad)
    pair = (bad, "great-wave") if role == "content" else (photo, bad)
    before = sorted(tmp_path.iterdir())
    refused(impasto("stylize", *pair, "-o", target), words)
    assert sorted(tmp_path.iterdir()) == before


def refused(answer: tuple[int, str, str], words: str) -> None:
    """One line on stderr that says `words`, nothing on stdout, exit status 2."""
    status, out, err = answer
    assert status == 2
    assert out == ""
    assert words in err
    assert len(err.splitlines()) == 1
    assert err.startswith("impasto: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--style-layers", "relu9_9"], "no layer 'relu9_9'"),
        (["--content-layers", "conv4_5"], "no layer 'conv4_5'"),
        (["--content-weight", "-1"], "content_weight is -1.0: it must be at least 0"),
        (["--style-layers", "relu1_1:-1"], "0 or more"),
        (["--size", "7"], "at least 32"),
        (["--size", "many"], "many"),
        (["--start", "nowhere.png"], "nowhere.png"),
        (["--device", "cuda:77"], "cuda:77"),
        (["--optimizer", "newton"], "newton"),
        (["--save-every", "0", "frames"], "at least 1"),
        (["--bits", "16", "-o", "a.jpg"], "PNG only"),
        (["-o", "a.bmp"], "end its name in .png"),
        (["-o", "no/such/folder/a.png"], "no/such/folder"),
        (["-o", "/proc/a.png"], "cannot write to the folder /proc"),
        (["-o", "."], "is a folder"),
        (["-o", "-", "--json"], "both want stdout"),
        (["--backbone", "vgg16-torchvision"], "impasto weights get vgg16-torchvision"),
        (["--no-such-option"], "no-such-option"),
        (["a", "b", "c"], "no built-in painting is called 'a'"),
        (["--memory-limit", "2"], "like 3G or 1500M"),
        (["--checkpoint", "no/such/a.ckpt"], "there is no folder"),
    ],
)
def test_bad_options(
    impasto: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], words: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "cache"))
    given = arguments if "-o" in arguments else [*arguments, "-o", "out.png"]
    refused(impasto("stylize", photo, "great-wave", *given), words)
    assert list(tmp_path.iterdir()) == []


def test_unknown_painting_names_the_known_ones(impasto: Run, photo: Path) -> None:
    refused(impasto("stylize", photo, "mona-lisa"), "The paintings are great-wave, poppies")


def test_misspelt_paintings_name_the_nearest(impasto: Run, photo: Path) -> None:
    for name in ("graet-wave", "GREET-WAVE"):
        refused(impasto("stylize", photo, name), "did you mean 'great-wave'?")


def test_a_checkpoint_destroys_nothing(impasto: Run, photo: Path, tmp_path: Path) -> None:
    own = Path(shutil.copy(photo, tmp_path / "a.png"))
    other = tmp_path / "diary.txt"
    other.write_text("dear diary")
    target = tmp_path / "out.png"
    for victim, force, words in (
        (own, "--force", "is a picture of this run"),
        (other, "--quiet", "exists: go on from it with --resume"),
        (tmp_path, "--force", "exists"),
    ):
        before = victim.read_bytes() if victim.is_file() else b""
        answer = impasto("stylize", own, "poppies", "-o", target, "--checkpoint", victim, force)
        refused(answer, words)
        assert not victim.is_file() or victim.read_bytes() == before


def test_steps_of_an_earlier_run_are_not_overwritten(
    impasto: Run, photo: Path, tmp_path: Path
) -> None:
    (tmp_path / "step-0001.png").write_bytes(b"old")
    words = ("--save-every", 1, tmp_path, "-o", tmp_path / "a.png", *SMALL)
    refused(impasto("stylize", photo, "poppies", *words), "steps of an earlier run")
    assert impasto("stylize", photo, "poppies", *words, "--force")[0] == 0


def test_unknown_command(impasto: Run) -> None:
    refused(impasto("stylise", "a", "b"), 'Did you mean "stylize"?')


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_the_output_may_not_be_an_input(
    impasto: Run, photo: Path, tmp_path: Path, force: tuple[str, ...]
) -> None:
    own = Path(shutil.copy(photo, tmp_path / "a.png"))
    before = own.read_bytes()
    (tmp_path / "link.png").symlink_to(own)
    for target in (own, tmp_path / "link.png"):
        refused(impasto("stylize", own, "poppies", "-o", target, *force), "is an input")
    assert own.read_bytes() == before


def test_a_full_disk_at_the_end_leaves_nothing(
    impasto: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    arguments = ("-o", tmp_path / "a.png", *SMALL, "--quiet")
    refused(impasto("stylize", photo, "poppies", *arguments), "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_seen_before_painting(
    impasto: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    refused(impasto("stylize", photo, "poppies", "-o", tmp_path / "a.png"), "0.0 MB left")


def test_stdin_without_a_name_for_the_output(impasto: Run) -> None:
    refused(impasto("stylize", "-", "great-wave"), "say where to write with -o")


def test_memory_errors_are_one_line(
    impasto: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 GB")

    monkeypatch.setattr(images, "read", exhausted)
    refused(impasto("stylize", photo, "great-wave", "-o", tmp_path / "a.png"), "smaller --size")


def test_a_closed_pipe_is_no_traceback() -> None:
    process = command("styles")
    assert process.stdout is not None
    process.stdout.close()
    process.wait(60)
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    assert process.stdin is not None
    process.stdin.close()


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "stylize" in capsys.readouterr().out
