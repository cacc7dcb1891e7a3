"""Killed at two random moments and resumed each time: the same bytes in the file."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

KILLS = 2
RUN = ("--size", "64", "--coarsest", "32", "--steps", "12", "--precision", "float32", "--quiet")


def start(photo: Path, target: Path, *words: str) -> subprocess.Popen[bytes]:
    environment = dict(os.environ)
    return subprocess.Popen(
        [sys.executable, "-m", "impasto", "stylize", str(photo), "great-wave", "-o", str(target),
         *RUN, *words], env=environment, stderr=subprocess.PIPE,
    )  # fmt: skip


def finish(process: subprocess.Popen[bytes]) -> None:
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err


def test_killed_and_resumed_is_the_same_file(photo: Path, tmp_path: Path) -> None:
    whole, broken, checkpoint = (tmp_path / name for name in ("a.png", "b.png", "run.ckpt"))
    # With a checkpoint, too: without one the recipe tells the seconds, which differ.
    finish(start(photo, whole, "--checkpoint", str(tmp_path / "whole.ckpt")))
    moments = random.Random(0)
    kills = 0
    for _ in range(KILLS):
        resume = ("--resume", str(checkpoint)) if checkpoint.exists() else ()
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        process = start(
            photo, broken, "--checkpoint", str(checkpoint), "--checkpoint-every", "0.1", *resume
        )
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            if checkpoint.exists() and checkpoint.stat().st_mtime_ns != before:
                break
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.5))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
    assert kills >= KILLS // 2  # a fast machine may be done before the last ones
    if not broken.exists():
        finish(start(photo, broken, "--resume", str(checkpoint)))
    assert broken.read_bytes() == whole.read_bytes()
