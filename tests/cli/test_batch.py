"""`impasto batch`: what it says, and what is left when it is stopped."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from PIL import Image

from impasto.reports.manifest import NAME
from small import EXAMPLES, Run, command

FAST = (
    "--styles",
    "great-wave",
    "--preset",
    "instant",
    "--size",
    48,
    "--workers",
    1,
    "--threads",
    1,
)
SLOW = (
    "--styles",
    "great-wave",
    "--preset",
    "draft",
    "--size",
    48,
    "--coarsest",
    0,
    "--steps",
    999,
)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    with Image.open(EXAMPLES / "china.jpg") as image:
        for number in range(3):
            image.crop((0, 0, 200 + 40 * number, 160)).resize((64, 48)).save(
                folder / f"{number}.jpg"
            )
    return folder


def test_a_batch_says_what_it_does_and_goes_on(impasto: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (photos / "broken.jpg").write_bytes(b"hello")
    (photos / os.fsdecode(b"bad\xe9\x1b[31m.png")).write_bytes(b"hello")
    status, printed, err = impasto("batch", photos, "-o", out, *FAST, "--json")
    assert status == 1
    assert "painting 5 pictures" in err
    assert f"3 pictures are in {out}" in err
    assert f"impasto: {photos}/broken.jpg: broken.jpg is no picture that can be read" in err
    assert "bad\\udce9\\x1b[31m.png" in err
    assert "\x1b" not in err
    assert "2 could not be painted; the same words try them again" in err
    rows = [json.loads(line) for line in printed.splitlines()]
    assert sorted(row["output"] for row in rows if "sha256" in row) == [
        f"{number}-great-wave.png" for number in range(3)
    ]
    for file in photos.glob("b*"):
        file.unlink()
    status, printed, err = impasto("batch", photos, "-o", out, *FAST)
    assert (status, printed) == (0, "")
    assert "painting 0 pictures; 3 are there already" in err


def test_a_dry_run_names_what_would_be_painted(impasto: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    status, printed, err = impasto("batch", photos, "-o", out, *FAST, "--dry-run")
    assert status == 0
    assert printed.splitlines() == [f"{out}/{number}-great-wave.png" for number in range(3)]
    assert "3 pictures: about" in err
    assert "by one process of" in err
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--styles", "grate-wave"], "did you mean 'great-wave'"),
        (["--styles", "great-wave", "--workers", "0"], "workers is 0: it must be at least 1"),
        (["--styles", "great-wave", "--name", "{x}.png"], "there is no {x}: use {stem}"),
        (["--styles", "great-wave", "--mask", "backgroundd"], "did you mean 'background'"),
        ([], "there is no painting: name one, or regions with theirs"),
        (["--region", "nonsense"], "--region is 'nonsense': write NAME=MASK:STYLE"),
    ],
)
def test_what_cannot_be_is_refused(
    impasto: Run, photos: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    status, printed, err = impasto("batch", photos, "-o", tmp_path / "out", *words)
    assert (status, printed) == (2, "")
    assert err.startswith("impasto: ")
    assert message in err
    assert err.count("\n") == 1


def test_a_batch_needs_photos(impasto: Run, tmp_path: Path) -> None:
    status, _, err = impasto("batch", "--styles", "great-wave", "-o", tmp_path / "out")
    assert (status, err) == (
        2,
        "impasto: there is no photo: name photos, or folders of photos\n",
    )


def test_the_short_help_of_a_batch(impasto: Run) -> None:
    _, printed, _ = impasto("batch", "--help")
    for option in ("--styles", "--output", "--workers", "--dry-run", "--size", "--mask"):
        assert option in printed
    assert "--style-weights" not in printed


def wait_until_begun(out: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait for the first picture."""
    while not (out / NAME).exists() or b"begun" not in (out / NAME).read_bytes():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_batch_that_is_stopped_says_how_to_go_on(
    photos: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "out"
    with command("batch", photos, "-o", out, *SLOW) as process:
        wait_until_begun(out, process)
        process.send_signal(number)
        _, err = process.communicate()
    assert process.returncode == 128 + number
    assert b"stopped after 0 of 3 pictures; the same words go on" in err
    assert b"Traceback" not in err
    assert [file.name for file in out.iterdir()] == [NAME]
