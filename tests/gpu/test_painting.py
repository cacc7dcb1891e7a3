"""Whole runs on a card: near the processor's, resumed, in tiles, where memory runs out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import impasto
from impasto import Region
from impasto.networks.vgg import VGG
from small import SMALL

pytestmark = pytest.mark.gpu

LEVEL = 1 / 255
SAME = 3 * LEVEL  # mean difference of runs that differ in the order of sums alone: after some steps
# L-BFGS has magnified what rounding changed


def apart(one: impasto.Result, other: impasto.Result) -> float:
    """The mean difference of two pictures."""
    return float((one.picture.pixels - other.picture.pixels).abs().mean())


def half_mask(folder: Path) -> str:
    """A file whose left half is white."""
    values = np.zeros((64, 96), np.uint8)
    values[:, :48] = 255
    Image.fromarray(values).save(folder / "left.png")
    return str(folder / "left.png")


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16", "auto"])
def test_a_run_lowers_the_loss(photo: Path, card: str, precision: Any) -> None:
    found = impasto.stylize(photo, "great-wave", device=card, **(SMALL | {"precision": precision}))
    whole = [record["total"] for record in found.history if "content" in record]
    assert whole[-1] < whole[-3]
    assert found.recipe["device"] == card
    assert found.picture.pixels.device.type == "cpu"


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"keep_colors": "luminance"}, {"palette": "style"}, {"seamless": True},
        {"start": "noise"}, {"start": "instant"}, {"start": "style"}, {"optimizer": "adam"},
        {"preset": "instant"}, {"preset": "instant", "transform": "adain"},
        {"preset": "instant", "strength": 0.5}, {"original_size": True}, {"tile": 48},
        {"preset": "paper", "steps": (4,), "coarsest": 0},
    ],
    ids=str,
)  # fmt: skip
def test_a_run_is_near_the_processors(photo: Path, card: str, changes: dict[str, Any]) -> None:
    chosen = SMALL | changes
    wanted = impasto.stylize(photo, "great-wave", device="cpu", **chosen)
    assert apart(impasto.stylize(photo, "great-wave", device=card, **chosen), wanted) < SAME


@pytest.mark.parametrize("preset", ["best", "instant"])
def test_masks_and_regions_are_near_the_processors(
    photo: Path, card: str, preset: Any, tmp_path: Path
) -> None:
    left = half_mask(tmp_path)
    ways: list[dict[str, Any]] = [
        {"mask": left}, {"keep": left}, {"regions": [Region("poppies", left)]},
    ]  # fmt: skip
    for way in ways:
        wanted, found = (
            impasto.stylize(photo, "great-wave", device=name, **way, **(SMALL | {"preset": preset}))
            for name in ("cpu", card)
        )
        assert apart(found, wanted) < SAME, way


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam", "adagrad", "rmsprop", "sgd"])
@pytest.mark.parametrize("stop", [3, 8])
def test_a_resumed_run_is_near_the_uninterrupted(
    photo: Path, card: str, optimizer: Any, stop: int, tmp_path: Path
) -> None:
    """Stopped in the middle of a scale; in 8 with the matches that were found."""
    changes = SMALL | {"device": card, "optimizer": optimizer, "matching_steps": 2}
    file = tmp_path / "run.safetensors"
    for step in impasto.steps(photo, "great-wave", **changes):
        if step.step == stop:
            step.save_checkpoint(file)
    *_, last = impasto.steps(photo, "great-wave", resume=file, **changes)
    assert last.step == step.step
    assert apart(last.result(), step.result()) < SAME


@pytest.mark.parametrize("words", ["CUDA out of memory", "FIND was unable to find an engine"])
def test_where_memory_runs_out_tiles_paint_the_same(
    photo: Path, card: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evaluations of a whole picture fail as PyTorch's do, or as cuDNN's without its workspace."""
    forward = VGG.__call__

    def limited(self: VGG, image: Tensor, layers: Any) -> Any:
        if max(image.shape) > 300 and image.requires_grad:
            raise RuntimeError(words)
        return forward(self, image, layers)

    changes: dict[str, Any] = {"size": 352, "coarsest": 0, "steps": 2, "precision": "float32"}
    whole = impasto.stylize(photo, "great-wave", device=card, **changes)
    monkeypatch.setattr(VGG, "__call__", limited)
    *_, last = (steps := list(impasto.steps(photo, "great-wave", device=card, **changes)))
    assert "tiles of 176 px" in str(steps[0].note)
    assert apart(last.result(), whole) < LEVEL


def test_where_a_cards_memory_runs_out_tiles_paint_the_same(photo: Path, card: str) -> None:
    """Its own memory, of which PyTorch may take less than a whole picture needs."""
    if torch.device(card).type != "cuda":
        pytest.skip("a processor's memory has no such limit")
    changes: dict[str, Any] = {"size": 1024, "coarsest": 0, "steps": 2, "precision": "float32"}
    whole = [impasto.stylize(photo, "great-wave", device=card, **changes) for _ in range(2)][-1]
    torch.cuda.reset_peak_memory_stats(card)
    impasto.stylize(photo, "great-wave", device=card, **changes)
    most, total = (
        torch.cuda.max_memory_allocated(card),
        torch.cuda.get_device_properties(card).total_memory,
    )
    torch.cuda.empty_cache()
    number = torch.device(card).index or 0
    torch.cuda.set_per_process_memory_fraction(0.6 * most / total, number)
    try:
        steps = list(impasto.steps(photo, "great-wave", device=card, **changes))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, number)
    assert "memory ran out: going on in tiles of" in str(steps[0].note)
    assert apart(steps[-1].result(), whole) < LEVEL


def test_a_memory_limit_makes_tiles(photo: Path, card: str) -> None:
    changes: dict[str, Any] = {"size": 1024, "coarsest": 0, "steps": 1, "history": 2}
    scene = impasto.painting.start_run(
        impasto.scene.Scene(
            photo, "great-wave",
            impasto.settings_for(device=card, precision="float32", memory_limit="1800M", **changes),
        )
    )  # fmt: skip
    plan = scene.footprint(scene.sizes[-1])
    assert plan.tile is not None
    assert plan.bytes < 1.8e9


def test_the_estimate_is_of_the_card(photo: Path, card: str) -> None:
    settings = impasto.settings_for(device=card, **SMALL)
    scene = impasto.scene.Scene(photo, "great-wave", settings)
    seconds, count = impasto.painting.start_run(scene).estimate()
    assert 0 < seconds < 600
    assert count > 0
