"""Where the command meets its user: signals, streams, errors, names, and what goes with a picture.

Whatever fails, there is one line and no traceback, and a picture that was painted is there.
"""

import io
import logging
import os
import shutil
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from impasto import images, studies
from impasto.augmentation import folder as augmentation
from impasto.cli import edge, main
from impasto.cli.commands import evaluate
from impasto.cli.progress import Progress
from impasto.cli.run import RunToFile
from impasto.errors import LeftOutWarning
from impasto.painting import checkpoint
from impasto.painting.optimized import OptimizedRun
from impasto.reports import plots
from impasto.video import timelapse
from small import Run

FAST = ("--size", 48, "--coarsest", 0, "--steps", 4, "--precision", "float32")
ONE_PASS = ("--preset", "instant", "--size", 48)
SIGNALS = [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)]
unix = pytest.mark.skipif(os.name != "posix", reason="only Unix has these")
full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has it")


def send(name: str) -> None:
    os.kill(os.getpid(), getattr(signal, name))


@pytest.fixture(autouse=True)
def usual_signals() -> Iterator[None]:
    """As a terminal has them: who starts the tests in the background may have them ignored."""
    usual = {
        "SIGINT": signal.default_int_handler,
        "SIGTERM": signal.SIG_DFL,
        "SIGHUP": signal.SIG_DFL,
    }
    before = {
        getattr(signal, name): signal.signal(getattr(signal, name), handler)
        for name, handler in usual.items()
        if hasattr(signal, name)
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def after_two(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Do something behind the second step of a run."""

    def set_action(action: Any) -> None:
        plain = RunToFile.keep

        def keep(self: Any, step: Any, progress: Any) -> None:
            plain(self, step, progress)
            if step.step == 2:
                action()

        monkeypatch.setattr(RunToFile, "keep", keep)

    return set_action


# Signals


@unix
@pytest.mark.parametrize(("name", "expected"), SIGNALS)
def test_a_signal_saves_the_picture_so_far(
    impasto: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after_two: Any,
    name: str, expected: int,
) -> None:  # fmt: skip
    """And a second one while that is saved loses nothing."""
    target, film = tmp_path / "a.png", tmp_path / "film.gif"
    plain, before = images.write_bytes, signal.getsignal(getattr(signal, name))

    def slow(data: bytes, path: Path) -> None:
        send(name)
        plain(data, path)
        send(name)

    monkeypatch.setattr(images, "write_bytes", slow)
    after_two(lambda: send(name))
    words = ("-o", target, "--timelapse", film, *FAST)
    status, out, err = impasto("stylize", photo, "poppies", *words)
    assert (status, out) == (expected, "")
    assert f"stopped at step 2 of 4; the picture so far is {target}" in err
    assert images.recipe_of(target)["steps_taken"] == 2
    assert film.exists()
    assert signal.getsignal(getattr(signal, name)) is before


@unix
def test_a_signal_while_a_finished_picture_is_saved_loses_nothing(
    impasto: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = images.encode
    monkeypatch.setattr(images, "encode", lambda *a: send("SIGTERM") or plain(*a))
    status, _, err = impasto("stylize", photo, "poppies", "-o", tmp_path / "a.png", *ONE_PASS)
    assert status == 0, err
    assert images.read(tmp_path / "a.png").size == (48, 32)


@unix
def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with edge.guarded():
            send("SIGHUP")
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@unix
def test_saving_that_never_ends_can_be_stopped() -> None:
    """As where a named pipe has no reader."""
    with edge.guarded():
        edge.SIGNALS.hold()
        for _ in range(edge.MANY):
            send("SIGTERM")
        with pytest.raises(edge.Stopped):
            send("SIGTERM")


def test_outside_of_the_main_thread_signals_stay_as_they_are() -> None:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(main(["--version"])))
    thread.start()
    thread.join()
    assert found == [0]


@unix
def test_a_study_and_a_copy_say_how_far_they_came(
    impasto: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> Iterator[object]:
        send("SIGTERM")
        yield

    monkeypatch.setattr(studies, "run", stopped)
    words = ("study", "sheet", photo, "--styles", "poppies", "--seed", 1, 2, "-o", tmp_path / "s")
    status, _, err = impasto(*words)
    assert (status, err) == (
        143,
        "impasto: stopped after 0 of 2 pictures; go on with the same words\n",
    )
    monkeypatch.setattr(augmentation, "stylized", stopped)
    words = ("augment", photo.parent, "--styles", "poppies", "-o", tmp_path / "copy")
    status, _, err = impasto(*words)
    assert status == 143
    assert "stopped after 0 of 1 pictures; go on with the same words and --resume" in err


# Streams


def closed_pipe(_: str) -> io.TextIOWrapper:
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w")


@full
@pytest.mark.parametrize(
    ("stream", "words"),
    [(Path("/dev/full").open, "No space left"), (closed_pipe, "its reader has gone")],
)
def test_a_stdout_that_takes_no_more_is_said_in_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, photo: Path,
    tmp_path: Path, stream: Any, words: str,
) -> None:  # fmt: skip
    """Nothing is left in it that Python would try to write again at its end."""
    for given in (["styles"], ["weights", "list"], ["--help"], []):
        with stream("w") as out:
            monkeypatch.setattr(sys, "stdout", out)
            assert main(given) == 1
        err = capsys.readouterr().err
        assert (
            err == f"impasto: stdout takes no more ({words}{err[err.index(words) + len(words) :]}"
        )
        assert len(err.splitlines()) == 1
    target = tmp_path / "a.png"
    given = ["stylize", str(photo), "poppies", "-o", str(target), *map(str, ONE_PASS)]
    with stream("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert main([*given, "--json", "-q"]) == 1
    assert images.read(target).size == (48, 32)
    given[given.index(str(target))] = "-"
    with stream("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert main(given) == 2
    assert "the picture is lost: stdout takes no more" in capsys.readouterr().err


@full
def test_a_stderr_that_takes_no_more_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, photo: Path, tmp_path: Path
) -> None:
    with open("/dev/full", "w") as err:  # noqa: PTH123
        monkeypatch.setattr(sys, "stderr", err)
        words = [str(photo), "poppies", "-o", str(tmp_path / "a.png"), *map(str, ONE_PASS)]
        assert main(["stylize", *words]) == 0
        assert main(["stylize", *words]) == 2  # it exists
    assert images.read(tmp_path / "a.png").size == (48, 32)


def test_closed_streams_are_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    edge._open_closed()
    opened: list[Any] = [sys.stdin, sys.stdout, sys.stderr]
    assert opened[0].read() == ""
    opened[2].write("nobody reads this")
    opened[2].flush()
    with pytest.raises(edge.StdoutError, match="Bad file descriptor"):
        edge._Stream(opened[1], "stdout").write("x" * 100_000)
    for stream in opened:
        stream.close()


def test_letters_that_stdout_lacks_are_shown_as_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO(), "ascii")
    edge._Stream(out, "stdout").write("caf\udce9 ± 1\n")
    out.flush()
    assert out.buffer.getvalue() == b"caf\\udce9 \\xb1 1\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1"])
def test_the_picture_on_stdout(
    monkeypatch: pytest.MonkeyPatch, photo: Path, tmp_path: Path, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    out = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["stylize", str(photo), "poppies", "-o", name, *map(str, ONE_PASS), "-q"]) == 0
    assert images.read(out.buffer.getvalue()).size == (48, 32)  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []


# Errors


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied", "a/b.png"), "a/b.png cannot be used (Permission"),
        (OSError(40, "Too many levels of symbolic links"), "the system refuses (Too many levels"),
        (ValueError("encoder error\n-2"), "ValueError: encoder error -2 (not foreseen"),
        (RuntimeError("shape '[1]' is invalid"), "RuntimeError: shape '[1]' is invalid (not"),
        (RuntimeError("CUDA out of memory"), "there is not enough memory"),
        (MemoryError(), "there is not enough memory"),
        (AssertionError(), "AssertionError: no more is known (not foreseen"),
        (KeyError("uid not found: 12345"), "KeyError: 'uid not found: 12345'"),
    ],
)
def test_every_error_is_one_line(
    impasto: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    error: Exception, words: str,
) -> None:  # fmt: skip
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(images, "read", fails)
    given = ("stylize", photo, "poppies", "-o", tmp_path / "a.png")
    status, out, err = impasto(*given)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith(f"impasto: {words}")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv(edge.TRACEBACK, "1")
    status, _, err = impasto(*given)
    assert status == 2
    assert "in fails" in err


LONG = "x" * 300
NAMES: dict[str, list[str]] = {
    "photo": ["stylize", LONG, "poppies"],
    "painting": ["stylize", "PHOTO", LONG, "-o", "a.png"],
    "picture": ["stylize", "PHOTO", "poppies", "-o", f"{LONG}.png"],
    "mask": ["stylize", "PHOTO", "poppies", "-o", "a.png", "--mask", LONG],
    "checkpoint": ["stylize", "PHOTO", "poppies", "-o", "a.png", "--checkpoint", LONG],
    "resumed": ["stylize", "PHOTO", "poppies", "-o", "a.png", "--resume", LONG],
    "frames": ["stylize", "PHOTO", "poppies", "-o", "a.png", "--save-every", "1", LONG],
    "plot": ["stylize", "PHOTO", "poppies", "-o", "a.png", "--plot", f"{LONG}.png"],
    "film of it": ["stylize", "PHOTO", "poppies", "-o", "a.png", "--timelapse", f"{LONG}.gif"],
    "texture": ["texture", LONG],
    "made of two": ["texture", "y" * 130, "z" * 130],
    "clip": ["video", LONG, "poppies"],
    "recipe": ["info", LONG],
    "again": ["rerun", LONG],
    "photos": ["train", "poppies", "--photos", LONG, "-o", "a.safetensors"],
    "network": ["train", "poppies", "--photos", ".", "-o", f"{LONG}.safetensors"],
    "folder": ["augment", LONG, "-o", "copy"],
    "copy": ["augment", "..", "-o", LONG],
    "exported": ["export", LONG],
    "onnx": ["export", "a.safetensors", "-o", f"{LONG}.onnx"],
    "judged": ["evaluate", LONG, "poppies", "b"],
    "list": ["evaluate", "--list", LONG],
    "page": ["evaluate", "PHOTO", "poppies", "PHOTO", "--html", LONG],
    "study": ["study", "sheet", "PHOTO", "--styles", "poppies", "--seed", "1", "2", "-o", LONG],
    "cell": ["study", "sheet", "PHOTO", "--styles", LONG, "poppies", "-o", "s"],
    "sheet": ["styles", "--sheet", f"{LONG}.png"],
    "weights": ["weights", "get", LONG],
    "command": [LONG],
}


@pytest.mark.parametrize("what", list(NAMES))
def test_a_name_of_300_bytes_is_refused_in_a_line(
    impasto: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = impasto(*(str(photo) if w == "PHOTO" else w for w in NAMES[what]))
    assert (status, out, len(err.splitlines())) == (2, "", 1), err
    assert "not foreseen" not in err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_user_without_a_home_has_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    from impasto import weights

    for name in ("HOME", "XDG_CACHE_HOME", "IMPASTO_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user without a name
    assert weights.cache_folder().is_absolute()


def test_warnings_of_libraries_are_not_shown_but_those_of_impasto_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        with edge.guarded():
            logging.getLogger("matplotlib").warning("created a temporary cache directory")
            warnings.warn("Possibly corrupt EXIF data", UserWarning, stacklevel=1)
            warnings.warn("a JPEG has no room for it", LeftOutWarning, stacklevel=1)
    assert capsys.readouterr().err == "impasto: a JPEG has no room for it\n"


# What goes with a picture


def fails(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def test_what_goes_with_a_picture_may_fail_but_once_said(
    impasto: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.png"
    for place, name in (
        (plots, "write"), (timelapse.Timelapse, "write"), (checkpoint, "write"),
        (RunToFile, "_save_frame"),
    ):  # fmt: skip
        monkeypatch.setattr(place, name, fails)
    words = (
        "--plot", tmp_path / "p.png", "--timelapse", tmp_path / "t.gif", "--save-every", 1,
        tmp_path / "f", "--checkpoint", tmp_path / "c", "--checkpoint-every", 1e-9,
    )  # fmt: skip
    status, out, err = impasto("stylize", photo, "poppies", "-o", target, *words, *FAST, "-q")
    assert (status, out) == (1, "")
    assert images.recipe_of(target)["steps_taken"] == 4
    said = err.splitlines()
    assert sorted(line.split()[2] for line in said) == ["checkpoint", "film", "picture", "plot"]
    assert all("could not be made: the system refuses (No space left" in line for line in said)
    assert not (tmp_path / "p.png").exists()


def test_a_folder_that_goes_away_ends_no_run(
    impasto: Run, photo: Path, tmp_path: Path, after_two: Any
) -> None:
    frames = tmp_path / "frames"
    after_two(lambda: shutil.rmtree(frames))
    words = ("--save-every", 1, frames, "-o", tmp_path / "a.png", *FAST, "-q")
    status, _, err = impasto("stylize", photo, "poppies", *words)
    assert status == 1
    assert err.startswith(f"impasto: a picture in {frames} could not be made: cannot write")
    assert len(err.splitlines()) == 1
    assert images.recipe_of(tmp_path / "a.png")["steps_taken"] == 4


def test_a_run_that_fails_on_the_way_saves_the_picture_so_far(
    impasto: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = OptimizedRun.paint

    def paint(self: OptimizedRun) -> Iterator[Any]:
        for step in plain(self):
            yield step
            if step.step == 3:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(OptimizedRun, "paint", paint)
    status, _, err = impasto("stylize", photo, "poppies", "-o", tmp_path / "a.png", *FAST, "-q")
    assert status == 1
    assert err == ("impasto: there is not enough memory for this picture: use a smaller --size\n")
    assert images.recipe_of(tmp_path / "a.png")["steps_taken"] == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--plot", "a.png"], "--plot and the picture are the same file a.png"),
        (["--plot", "b.png", "--timelapse", "b.png"], "end its name in .mp4, .gif"),
        (["--plot", "PHOTO", "--force"], "--plot and an input are the same file"),
        (["--checkpoint", "a.png"], "--checkpoint and the picture are the same file"),
        (["--plot", "none/b.png"], "there is no folder"),
        (["--timelapse", "none/b.gif"], "there is no folder"),
        (["--checkpoint", "none/c"], "there is no folder"),
        (["--save-every", "1", "file.txt/frames"], "cannot make the folder"),
        (["--save-every", "1", "/proc"], "cannot write to the folder /proc"),
    ],
)
def test_places_are_tried_before_painting(
    impasto: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    words: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    own = Path(shutil.copy(photo, tmp_path / "own.png"))
    (tmp_path / "file.txt").touch()
    before = sorted(tmp_path.iterdir())
    given = ["own.png" if word == "PHOTO" else word for word in words]
    status, _, err = impasto("stylize", own, "poppies", "-o", "a.png", *given)
    assert status == 2
    assert message in err
    assert len(err.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_names_of_255_bytes_are_written(impasto: Run, photo: Path, tmp_path: Path) -> None:
    def long(letter: str, suffix: str) -> Path:
        return tmp_path / (letter * (255 - len(suffix)) + suffix)

    target, plot, film, state = (
        long("a", ".png"), long("b", ".png"), long("c", ".gif"), long("d", ".ckpt"),
    )  # fmt: skip
    words = ("--plot", plot, "--timelapse", film, "--checkpoint", state, "--checkpoint-every", 1e-9)
    status, _, err = impasto("stylize", photo, "poppies", "-o", target, *words, *FAST)
    assert status == 0, err
    assert sorted(tmp_path.iterdir()) == sorted([target, plot, film, state])


# Markup


NAMED = "[/] [b]x[/b] :cat: {0} %s.png"


def test_names_that_look_like_markup_are_shown_as_they_are(
    impasto: Run, photo: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    own = Path(shutil.copy(photo, folder / NAMED.replace("/", "")))
    painting = Path(shutil.copy(photo, folder / "$a$ [red]\\.png"))
    words = ("-o", tmp_path / "[b].png", "--plot", tmp_path / "p.png", *FAST)
    status, _, err = impasto("stylize", own, painting, *words)
    assert status == 0, err
    assert f"painting {own.name} (96x64) in the style of {painting.name}: best" in err
    assert f"wrote {tmp_path / '[b].png'}" in err


def test_notes_and_tables_show_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(quiet=False) as progress:
        progress.say("HEIC with `pip install 'impasto[heif]'`")
        progress.update(NAMED, 1.0)
    assert capsys.readouterr().err == f"HEIC with `pip install 'impasto[heif]'`\n{NAMED}\n"
    evaluate._console().print(NAMED)
    assert capsys.readouterr().out == f"{NAMED}\n"
