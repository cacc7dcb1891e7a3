"""The benchmarks measure what they say: the race's two sides minimize the same loss."""

from pathlib import Path

import pytest
import torch

from impasto import images
from impasto.images import paintings
from impasto.painting import OptimizedRun
from impasto.scene import Scene
from impasto.settings import changed
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
