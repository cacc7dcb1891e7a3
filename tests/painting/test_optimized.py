"""A run from step to step: resumed, in tiles, where memory is short, and what it will take."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import impasto
from impasto import images, machine
from impasto.errors import PictureError
from impasto.images import paintings
from impasto.machine import cuda_graph
from impasto.optimizers import spectrum
from impasto.painting import OptimizedRun, budget, canvas
from impasto.scene import Scene
from impasto.settings import settings_for
from small import SMALL, painted


def run_of(photo: Path, **changes: Any) -> OptimizedRun:
    """A run with the Great Wave."""
    scene = Scene(images.read(photo), paintings.read("great-wave"), settings_for(**changes))
    return OptimizedRun(scene)


@pytest.mark.parametrize("start", ["recolored", "noise"])
@pytest.mark.parametrize("stop", [1, 3, 4, 5, 6, 7, 8, 9])
def test_resumed_is_uninterrupted(photo: Path, tmp_path: Path, start: str, stop: int) -> None:
    """Bit for bit: pixels, history and recipe, stopped in each phase of a scale, between two, and
    at the end; in 3 and 8 with the matches that were found."""
    changes = SMALL | {"start": start, "history": 3, "matching_steps": 2, "matching_every": 3}
    whole = painted(photo, **changes)
    for step in impasto.steps(photo, "great-wave", **changes):
        if step.step == stop:
            step.save_checkpoint(tmp_path / "run.safetensors")
            break
    *_, last = impasto.steps(photo, "great-wave", resume=tmp_path / "run.safetensors", **changes)
    found = last.result()
    assert torch.equal(found.picture.pixels, whole.picture.pixels)
    assert found.encoded() == whole.encoded()
    assert found.history == whole.history


@pytest.mark.parametrize("stop", [2, 6, 8, 12, 13])
def test_what_is_learned_is_carried_from_scale_to_scale_and_resumed(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    """The curvature of waves, of the whole objective and of steps for detail apart."""
    monkeypatch.setattr(spectrum, "FIRST_PAIRS", 1)
    changes: dict[str, Any] = SMALL | {
        "size": 128, "steps": (4, 4, 3), "detail_steps": 3,
    }  # fmt: skip
    file = tmp_path / "run.safetensors"
    run = run_of(photo, **changes)
    learned: dict[str, torch.Tensor] = {}
    for step in run.paint():
        assert run.minimizer is not None
        kind = "detail" if "detail" in step.losses else "whole"
        began = step.step in (1, 5, 8, 12, 15)  # with these steps, a minimizer of its own
        if began and kind in learned:
            assert run.minimizer.known is not None
            torch.testing.assert_close(run.minimizer.known, learned[kind])
        elif began:
            assert run.minimizer.known is None
        if run.minimizer.learned is not None:
            learned[kind] = run.minimizer.learned.clone()
        if step.step == stop:
            step.save_checkpoint(file)
    assert set(learned) == {"detail", "whole"}
    whole = run.picture(full_size=False).pixels
    *_, last = impasto.steps(photo, "great-wave", resume=file, **changes)
    assert torch.equal(last.picture(full_size=False).pixels, whole)


def test_a_checkpoint_of_something_else_is_refused(photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "run.safetensors"
    next(impasto.steps(photo, "great-wave", **SMALL)).save_checkpoint(target)
    with pytest.raises(PictureError, match="other inputs"):
        impasto.steps(photo, "poppies", resume=target, **SMALL)
    with pytest.raises(PictureError, match=r"other settings \(strength 0.5\)"):
        impasto.steps(photo, "great-wave", resume=target, **(SMALL | {"strength": 0.7}))
    # where and in which tiles it is computed may change
    next(impasto.steps(photo, "great-wave", resume=target, memory_limit="3G", **SMALL))
    with pytest.raises(PictureError, match="no checkpoint"):
        impasto.steps(photo, "great-wave", resume=tmp_path / "none", **SMALL)
    target.write_bytes(target.read_bytes()[:1000])
    with pytest.raises(PictureError, match="is no checkpoint of impasto"):
        impasto.steps(photo, "great-wave", resume=target, **SMALL)


def test_painting_inside_no_grad(photo: Path) -> None:
    with torch.no_grad():
        inside = painted(photo).picture.pixels
    assert torch.equal(inside, painted(photo).picture.pixels)


def test_tiles_paint_the_same_picture(photo: Path) -> None:
    tiled = painted(photo, size=192, steps=(3, 2), tile=96).picture.pixels
    whole = painted(photo, size=192, steps=(3, 2)).picture.pixels
    apart = (tiled - whole).abs()
    assert apart.mean() < 2e-4  # L-BFGS magnifies what single roundings change, and may take
    assert apart.max() < 2e-2  # a pair for curved in a square where the other run does not


def test_running_out_of_memory_goes_on_in_tiles(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first evaluations of a picture larger than 200 px fail as PyTorch fails."""
    from impasto.networks.vgg import VGG

    forward = VGG.__call__

    def limited(self: VGG, image: torch.Tensor, layers: object) -> object:
        if max(image.shape) > 300 and image.requires_grad:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 GB")
        return forward(self, image, layers)

    changes = {"size": 352, "coarsest": 0, "steps": 2, "precision": "float32"}
    whole = impasto.stylize(photo, "great-wave", **changes)
    monkeypatch.setattr(VGG, "__call__", limited)
    notes = []
    for step in impasto.steps(photo, "great-wave", **changes):
        notes.append(step.note)
    assert notes == ["memory ran out: going on in tiles of 176 px, with the same result", None]
    apart = (step.picture().pixels - whole.picture.pixels).abs()
    assert apart.mean() < 1e-5
    assert apart.max() < 1e-2  # a unit of the network that nearly ties may switch


def test_running_out_of_memory_while_the_painting_is_measured_goes_on_in_tiles(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first step: the photo's features and the painting's moments are tiles', too."""
    from impasto.networks.vgg import VGG

    forward = VGG.__call__

    def limited(self: VGG, image: torch.Tensor, layers: object) -> object:
        if max(image.shape) > 340:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, image, layers)

    changes = {"size": 352, "coarsest": 0, "steps": 1, "precision": "float32"}
    whole = impasto.stylize(photo, "great-wave", **changes)
    monkeypatch.setattr(VGG, "__call__", limited)
    (step,) = impasto.steps(photo, "great-wave", **changes)
    assert step.note == "memory ran out: going on in tiles of 176 px, with the same result"
    assert (step.picture().pixels - whole.picture.pixels).abs().mean() < 1e-5


def test_where_memory_is_short_another_optimizer_paints_and_says_so(
    photo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The last of two scales has room for Adam alone; a resumed run goes on with it."""
    footprint = budget.footprint

    def short(size: tuple[int, int], *arguments: Any) -> budget.Footprint:
        found = footprint(size, *arguments)
        return replace(found, optimizer="adam") if max(size) == 64 else found

    monkeypatch.setattr(budget, "footprint", short)
    file = tmp_path / "run.safetensors"
    notes, whole = [], []
    for step in impasto.steps(photo, "great-wave", **SMALL, learning_rate=0.9):
        notes.append(step.note)
        if step.step == 6:
            step.save_checkpoint(file)
    whole = step.result()
    assert notes[4] == "memory is short: 64 px are painted with adam"
    assert [note for note in notes if note] == [notes[4]]
    assert whole.recipe["optimizers"] == ["lbfgs 12", "adam"]
    *_, last = impasto.steps(photo, "great-wave", **SMALL, learning_rate=0.9, resume=file)
    resumed = last.result()
    assert torch.equal(resumed.picture.pixels, whole.picture.pixels)
    assert resumed.recipe == whole.recipe


def test_too_little_memory_is_refused_with_what_it_takes(photo: Path) -> None:
    with pytest.raises(PictureError, match=r"painting 4000x2667 px takes .* GB, more than"):
        impasto.steps(photo, "great-wave", size=4000, memory_limit="1G")


def test_the_estimate_counts_pixels_steps_and_tiles(photo: Path) -> None:
    def estimate(**changes: object) -> tuple[float, int]:
        settings = settings_for(**(SMALL | changes))
        return OptimizedRun(Scene(photo, photo, settings)).estimate()

    seconds, size = estimate(size=256, coarsest=0, steps=10)
    longer, same = estimate(size=256, coarsest=0, steps=1000)
    assert 20 < longer / seconds < 500
    assert same == size
    assert estimate(size=512, coarsest=0)[1] > size


def test_trials_wait_for_the_device(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once after each evaluation: a card answers before it has done what it was told."""
    waited: list[torch.device] = []
    monkeypatch.setattr(machine, "wait_for", waited.append)
    run = run_of(photo, size=64, coarsest=0)
    run._time_one_evaluation((64, 48))
    assert waited == [run.device] * (1 + budget.TIMES)


def test_trials_are_timed_when_replays_have_begun(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    usual = cuda_graph.Replayed._tried

    def tried(self: cuda_graph.Replayed, image: torch.Tensor) -> Any:
        calls.append("tried")
        return usual(self, image)

    def trial(pixels: int, evaluate: Any) -> budget.Trial:
        calls.append("timed")
        evaluate()  # the first one warms up
        calls.append("warm")
        return budget.Trial(pixels, 1.0)

    monkeypatch.setattr(canvas, "pays", lambda objective, steps: True)
    monkeypatch.setattr(cuda_graph, "recorded", lambda evaluate, image: evaluate)
    monkeypatch.setattr(cuda_graph.Replayed, "_tried", tried)
    monkeypatch.setattr(budget, "trial", trial)
    run_of(photo, size=64, coarsest=0, cuda_graphs=True)._time_one_evaluation((64, 48))
    assert calls == ["timed", "tried", "warm"]


def test_a_card_is_timed_at_sizes_that_keep_it_busy(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(photo, size=2048, coarsest=0)
    seen: list[int] = []

    def trial(size: tuple[int, int]) -> budget.Trial:
        seen.append(max(size))
        return budget.Trial(size[0] * size[1], 1.0)

    monkeypatch.setattr(run, "_time_one_evaluation", trial)
    run.estimate()
    monkeypatch.setattr(run, "device", torch.device("cuda"))
    monkeypatch.setattr(budget, "available", lambda _: 2**40)
    run.estimate()
    assert seen == [*budget.SIDES, *budget.CARD_SIDES]


def test_the_estimate_is_made_of_two_trials(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small evaluations take longer than their pixels say; every scale has a start."""

    def trial(run: OptimizedRun, size: tuple[int, int]) -> budget.Trial:
        return budget.Trial(size[0] * size[1], {128: 1.0, 256: 2.0}[max(size)])

    monkeypatch.setattr(OptimizedRun, "_time_one_evaluation", trial)

    def seconds(**changes: object) -> float:
        plain = SMALL | {"steps": 10, "detail_steps": 0, "matching_weight": 0}
        settings = settings_for(**(plain | changes))
        run = OptimizedRun(Scene(images.read(photo), paintings.read("poppies"), settings))
        return run.estimate()[0]

    scale = (10 + budget.START_COST) * budget.UPDATE_COST
    assert seconds(size=128, coarsest=0) == pytest.approx(scale)
    assert seconds(size=256, coarsest=128, scale_ratio=2) == pytest.approx(3 * scale)
    assert seconds(size=512, coarsest=0) == pytest.approx(4 * 2 * scale, rel=0.02)
    assert 3 < seconds(size=256, coarsest=192, scale_ratio=1.4) / scale < 4
