"""Bad input and failures at the command line: one line that says what to do, nothing lost."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from impasto import images
from impasto.cli import main
from small import ROOT, SMALL_WORDS, Run, bomb, command


def truncated_jpeg(path: Path) -> None:
    data = (ROOT / "examples" / "coffee.jpg").read_bytes()
    path.write_bytes(data[: len(data) // 2])


def huge_png(path: Path) -> None:
    path.write_bytes(bomb(1_000_000, 1_000_000))


BAD_PHOTOS: dict[str, tuple[Callable[[Path], object] | None, str]] = {
    "missing.jpg": (None, "No such file"),
    "folder.jpg": (Path.mkdir, "is a folder"),
    "empty.jpg": (Path.touch, "is empty"),
    "text.jpg": (lambda p: p.write_text("dear diary"), "no picture that can be read"),
    "truncated.jpg": (truncated_jpeg, "is damaged"),
    "tiny.png": (lambda p: Image.new("RGB", (1, 1)).save(p), "1x1 px"),
    "strip.png": (lambda p: Image.new("RGB", (10, 4000)).save(p), "10x4000 px"),
    "thin.png": (lambda p: Image.new("RGB", (20, 4000)).save(p), "--size 3200"),
    "bomb.png": (huge_png, "1000000x1000000 px: reading it takes"),
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
        (["a", "b", "c"], "no file and no painting is called 'a'"),
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
    words = ("--save-every", 1, tmp_path, "-o", tmp_path / "a.png", *SMALL_WORDS)
    refused(impasto("stylize", photo, "poppies", *words), "steps of an earlier run")
    assert impasto("stylize", photo, "poppies", *words, "--force")[0] == 0


def test_unknown_command(impasto: Run) -> None:
    refused(impasto("stylise", "a", "b"), "there is no command 'stylise': did you mean `impasto")
    refused(impasto("photo.jpg", "poppies"), "type `impasto stylize photo.jpg poppies`")
    refused(impasto("nonsense"), "try `impasto stylize photo.jpg great-wave`")
    refused(impasto("stylize"), "try `impasto stylize photo.jpg great-wave`")


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
    arguments = ("-o", tmp_path / "a.png", *SMALL_WORDS, "--quiet")
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


def test_no_arguments_say_what_to_type(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out = capsys.readouterr().out
    assert "impasto stylize photo.jpg great-wave" in out
    assert len(out.splitlines()) < 10
