"""One evaluation on a card: the processor's numbers, in each format, in tiles and replayed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from impasto.machine import cuda_graph
from impasto.objective import Objective, Terms
from impasto.painting.optimized import OptimizedRun
from impasto.scene import Scene
from impasto.settings import settings_for

pytestmark = pytest.mark.gpu

SIZE = 96  # px, long side
CLOSE = {"float32": (1e-4, 1e-3), "float16": (5e-3, 5e-2), "bfloat16": (2e-2, 0.15)}
"""How far the loss and the gradient in a format may lie from those of the processor in float32,
relative to these: gradients of features in bfloat16 have 5.5 % of error at 128 px."""


class Case:
    """An objective of a photo on a device, and the pictures that it is asked for."""

    def __init__(
        self, photo: Path, device: str, precision: str, mask: Tensor | None, **changes: Any
    ) -> None:
        settings = settings_for(size=SIZE, device=device, precision=precision, **changes)
        self.run = OptimizedRun(Scene(photo, "great-wave", settings, mask))
        view = self.run.scene.at(self.run.sizes[-1])
        with self.run.compute.tuned():
            self.objective: Objective = self.run._objective(view, None)
        noise = torch.rand(view.photo.shape, generator=torch.Generator().manual_seed(0))
        self.image = torch.lerp(view.photo, noise, 0.1).to(device)

    def evaluated(self, objective: Objective | None = None) -> tuple[Terms, Tensor]:
        """The loss terms of the picture and their gradient, on the processor."""
        with self.run.compute.tuned():
            terms, gradient = (objective or self.objective).loss(self.image)
        return {name: value.cpu() for name, value in terms.items()}, gradient.cpu()


def check(found: tuple[Terms, Tensor], wanted: tuple[Terms, Tensor], precision: str) -> None:
    """The same terms and gradient, as near as the format is."""
    of_loss, of_gradient = CLOSE[precision]
    assert found[0].keys() == wanted[0].keys()
    for name, value in wanted[0].items():
        whole = float(wanted[0]["total"])
        assert float(found[0][name]) == pytest.approx(float(value), abs=of_loss * whole), name
    assert float((found[1] - wanted[1]).norm() / wanted[1].norm()) < of_gradient


@pytest.mark.parametrize("precision", CLOSE)
@pytest.mark.parametrize("masked", [False, True])
def test_an_evaluation_is_the_processors(
    photo: Path, card: str, precision: str, masked: bool
) -> None:
    """All terms of `best`, matching included; with a mask, which weighs every position."""
    mask = torch.linspace(0, 1, SIZE).expand(64, SIZE) if masked else None
    wanted = Case(photo, "cpu", "float32", mask).evaluated()
    check(Case(photo, card, precision, mask).evaluated(), wanted, precision)


@pytest.mark.parametrize(
    "changes",
    [{"style_loss": "wasserstein"}, {"structure_weight": 1.0}, {"tv_weight": 1.0},
     {"seamless": True}, {"padding": "reflect"}, {"pooling": "average"}, {"keep_colors": "match"}],
    ids=str,
)  # fmt: skip
def test_an_evaluation_of_other_settings_is_the_processors(
    photo: Path, card: str, changes: dict[str, Any]
) -> None:
    wanted = Case(photo, "cpu", "float32", None, **changes).evaluated()
    check(Case(photo, card, "float32", None, **changes).evaluated(), wanted, "float32")


@pytest.mark.parametrize("precision", CLOSE)
def test_tiles_are_the_whole_picture(photo: Path, card: str, precision: str) -> None:
    case = Case(photo, card, precision, None)
    whole = case.evaluated()
    case.objective.use_tiles(48)
    case.objective.matching.renew()
    assert len(case.objective.tiles) == 4
    check(case.evaluated(), whole, precision)


@pytest.mark.parametrize("precision", CLOSE)
def test_a_replay_is_the_evaluation(photo: Path, card: str, precision: str) -> None:
    """Of another picture than the recorded one; twice, into the same memory."""
    case = Case(photo, card, precision, None, matching_weight=0.0)
    evaluate = case.objective.loss
    with case.run.compute.tuned():
        for _ in range(cuda_graph.WARM):
            evaluate(case.image)
        if case.image.device.type == "cuda":
            evaluate = cuda_graph.recorded(evaluate, case.image)
        evaluate(case.image.flip(-1))
        terms, gradient = evaluate(case.image)
        wanted = case.evaluated()
    found = {name: value.cpu() for name, value in terms.items()}, gradient.cpu()
    check(found, wanted, precision)


def test_recordings_are_used_on_a_card(photo: Path, card: str) -> None:
    """A replay that gives the same and is faster takes over; on a processor nothing is recorded."""
    settings = settings_for(
        size=64, coarsest=0, steps=(30,), device=card, matching_weight=0.0, cuda_graphs=True
    )
    run, replays = OptimizedRun(Scene(photo, "great-wave", settings)), []
    for _ in run.paint():
        if run.canvas is not None:
            replays.append(getattr(run.canvas.evaluate, "replays", False))
    assert run.history[-1]["total"] < run.history[0]["total"]
    if torch.device(card).type == "cuda":
        assert replays[-1]
    else:
        assert not any(replays)
