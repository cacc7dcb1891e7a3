"""The benchmarks measure what they say: the race's two sides minimize the same loss."""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from impasto import images
from impasto.images import paintings
from impasto.networks import tiled, vgg
from impasto.objective import Objective, Spec, Target
from impasto.painting import OptimizedRun
from impasto.scene import Scene
from impasto.settings import changed, settings_for
from small import ROOT


@pytest.mark.parametrize("objective", ["authors", "best"])
def test_the_textbook_and_impasto_race_for_the_same_loss(
    objective: str, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks import race

    entered = race.Race(objective, str(photo), "great-wave", 96)
    textbook, start = race.objective_of(entered)
    settings = changed(race.settings_of(entered), precision="float32")
    scene = Scene(images.read(entered.photo), paintings.read(entered.painting), settings)
    run = OptimizedRun(scene)
    mine = run._objective(scene.at(run.sizes[-1]), None)
    assert run.sizes[-1] == (start.shape[-1], start.shape[-2])
    generator = torch.Generator().manual_seed(0)
    for image in (start, start + 0.2 * torch.randn(start.shape, generator=generator)):
        terms, gradient = mine.loss(image)
        image = image.clone().requires_grad_()
        loss = textbook(image)
        (other,) = torch.autograd.grad(loss, image)
        assert float(terms["total"]) == pytest.approx(loss.item(), rel=1e-4)
        assert float((gradient - other).norm() / other.norm()) < 1e-3


def test_the_textbook_runs_where_impasto_does(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it: one tensor on another device would raise."""
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks import race

    entered = race.Race("best", str(photo), "great-wave", 96, "meta")
    textbook, start = race.objective_of(entered)
    assert textbook(start).device.type == "meta"
    assert race.settings_of(entered).device == "meta"


def test_winograds_products_count_where_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks import roofline

    plain = roofline.step_flop(64)
    assert roofline.step_flop(64, torch.bfloat16, torch.device("cpu")) < plain
    assert roofline.step_flop(64, torch.bfloat16, torch.device("meta")) == plain


def test_the_operations_of_a_pixel_are_those_of_an_evaluation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The formula against PyTorch's own count, on `meta`, where all convolutions are plain, but for
    conv1_1's way back, which is made in blocks of four positions. PyTorch does not count the way
    back from the second moments: products that are added in place."""
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks import roofline

    assert roofline.flop_of_a_pixel() == 36 * 40_128 + 4 * 17_408
    assert roofline.matching_flop_of_a_pixel() == 3 * 131_072 + 65_536
    side = 256
    settings = settings_for(size=side, device="meta", precision="float32", matching_weight=0)
    network = vgg.load("vgg19", Spec.of(settings).layers(), padding="zero", device="meta")
    image = torch.empty(1, 3, side, side, device="meta")
    target = tiled.style_moments(network, image, dict(settings.style_layers))
    objective = Objective(network, image, [Target(target)], Spec.of(settings))
    with FlopCounterMode(display=False) as counted:
        objective.loss(image)
    blocks = 2 * 3 * 64 * (16 - 9)  # a position's 16 products in place of 9, of conv1_1
    expected = roofline.flop_of_a_pixel() + blocks - 2 * 17_408
    assert counted.get_total_flops() == expected * side**2


def report_of(
    out: Path, *words: str, python: str = sys.executable
) -> tuple[int, dict[str, Any], str]:
    """The exit status of `gpu.sh`, its report, and its table."""
    command = [str(ROOT / "benchmarks" / "gpu.sh"), "--device", "cpu", "--small", "--out", str(out)]
    environment = os.environ | {"PYTHON": python}
    done = subprocess.run([*command, *words], env=environment, check=False, capture_output=True)
    assert done.returncode in (0, 1), done.stderr.decode()
    report = json.loads((out / "gpu.json").read_text("utf-8"))
    return done.returncode, report, (out / "gpu.md").read_text("utf-8")


def test_the_script_for_a_card_measures_and_reports(tmp_path: Path) -> None:
    status, report, page = report_of(tmp_path, "--only", "draft-64")
    assert status == 0
    (part,) = report["parts"].values()
    assert part["status"] == "ok"
    assert part["command"].endswith("paint --preset draft --size 64 --device cpu")
    assert 0 < part["figures"]["s of painting"] < part["figures"]["s of the command"]
    assert part["figures"]["s of the command"] < part["seconds"] + 1
    assert part["figures"]["peak GB"] > 0.1
    assert 0 < part["figures"]["loss at the end"] < 1
    assert "| draft-64 |" in page


def test_parts_that_fail_last_too_long_or_find_no_time_are_noted(tmp_path: Path) -> None:
    """A Python that fails in one part, and sleeps through the last second in the next."""
    fake = tmp_path / "python"
    fake.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        "  *torch.ones*) exit 0 ;;\n"
        "  *card\\ machine*) echo first >&2; echo 'no card' >&2; exit 3 ;;\n"
        "  *card\\ paint*) sleep 60 ;;\n"
        f'  *) exec "{sys.executable}" "$@" ;;\n'
        "esac\n"
    )
    fake.chmod(0o755)
    words = ("--only", "machine,best-64,draft-64", "--seconds", "6")
    status, report, page = report_of(tmp_path / "out", *words, python=str(fake))
    assert status == 1
    parts = report["parts"]
    assert [parts[name]["status"] for name in ("machine", "best-64", "draft-64")] == [
        "failed", "overtime", "left out",
    ]  # fmt: skip
    assert parts["machine"]["errors"] == ["first", "no card"]
    assert parts["best-64"]["limit"] <= 6  # of its own 30 s what was left
    assert "| machine | failed |" in page
    assert "| draft-64 | left out |" in page


def test_all_parts_are_there_and_begin_within_eight_minutes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks import gpu

    names = [part.name for part in gpu.plan()]
    assert len(names) == len(set(names))
    assert {"tests", "race", "roofline", "precision", "graphs", "memory", "batch"} <= set(names)
    assert {f"{p}-{s}" for p in ("best", "draft") for s in (512, 1024, 4096)} <= set(names)
    assert max(part.limit for part in gpu.plan()) + 20 < 480
    assert gpu.SECONDS + 20 <= 480  # each part is cut at the last second
    for small in (False, True):
        for part in gpu.plan("cpu", small):
            module = part.words.split()[0]
            assert (ROOT / (module.replace(".", "/") + ".py")).is_file()


def test_packages_that_are_missing_or_too_old_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks import gpu

    assert gpu.missing() == []
    usual = metadata.version
    versions = {"numpy": None, "Pillow": "9.1.0", "cyclopts": "6.0", "rich": "13.0.1"}

    def version(name: str) -> str:
        found = versions.get(name, "old")
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return usual(name) if found == "old" else found

    monkeypatch.setattr(metadata, "version", version)
    assert gpu.missing() == ["numpy>=1.26", "Pillow>=11.2", "cyclopts>=5,<6"]
