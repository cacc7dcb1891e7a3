"""A start of the machine: what was asked for holds inside a step, the caller's own outside."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

import impasto
from impasto.errors import DivergedError
from impasto.machine import Compute
from impasto.networks.vgg import VGG, Features
from small import SMALL

CALLERS = 2
ONE_THREAD = Compute(torch.device("cpu"), torch.float32, "auto", threads=1)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """The caller computes on two threads; afterwards on as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(CALLERS)
    yield
    torch.set_num_threads(before)


def counts() -> Iterator[int]:
    """Three times the number of threads there is, where the generator runs."""
    for _ in range(3):
        yield torch.get_num_threads()


def test_threads_are_as_asked_for_inside_and_the_callers_again_afterwards() -> None:
    with ONE_THREAD.tuned():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == CALLERS


def test_without_a_number_the_callers_threads_stay() -> None:
    with Compute(torch.device("cpu"), torch.float32, "auto", threads=0).tuned():
        assert torch.get_num_threads() == CALLERS
    assert torch.get_num_threads() == CALLERS


def test_threads_are_the_callers_again_after_an_error() -> None:
    with pytest.raises(ValueError, match="inside"), ONE_THREAD.tuned():
        raise ValueError("inside")
    assert torch.get_num_threads() == CALLERS


def test_between_steps_threads_are_the_callers() -> None:
    found = []
    for count in ONE_THREAD.stepwise(counts()):
        found.append(count)
        assert torch.get_num_threads() == CALLERS
    assert found == [1, 1, 1]
    assert torch.get_num_threads() == CALLERS


def test_what_the_caller_changes_between_steps_stays() -> None:
    steps = ONE_THREAD.stepwise(counts())
    assert next(steps) == 1
    torch.set_num_threads(3)
    assert next(steps) == 1
    assert torch.get_num_threads() == 3


def test_threads_are_the_callers_again_after_an_error_in_a_step() -> None:
    def failing() -> Iterator[int]:
        yield torch.get_num_threads()
        raise ValueError("in the second step")

    steps = ONE_THREAD.stepwise(failing())
    assert next(steps) == 1
    with pytest.raises(ValueError, match="second step"):
        next(steps)
    assert torch.get_num_threads() == CALLERS
    assert list(steps) == []


def test_threads_are_the_callers_where_a_run_is_abandoned() -> None:
    steps = ONE_THREAD.stepwise(counts())
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert torch.get_num_threads() == CALLERS
    never_begun = ONE_THREAD.stepwise(counts())
    assert torch.get_num_threads() == CALLERS
    del never_begun
    assert torch.get_num_threads() == CALLERS


@pytest.mark.parametrize("preset", ["best", "instant"])
def test_painting_on_one_thread_leaves_the_callers_as_they_were(
    photo: Path, preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network runs on one thread; whoever holds a step has his own."""
    seen: list[int] = []
    forward = VGG.__call__

    def noted(self: VGG, image: Tensor, layers: list[str]) -> Features:
        seen.append(torch.get_num_threads())
        return forward(self, image, layers)

    monkeypatch.setattr(VGG, "__call__", noted)
    stream = impasto.steps(photo, "great-wave", preset=preset, threads=1, **SMALL)
    assert torch.get_num_threads() == CALLERS
    for step in stream:
        assert torch.get_num_threads() == CALLERS
        step.picture()
        assert torch.get_num_threads() == CALLERS
    assert torch.get_num_threads() == CALLERS
    assert set(seen) == {1}


def test_a_run_that_is_stopped_or_fails_leaves_the_callers_threads(photo: Path) -> None:
    stream = impasto.steps(photo, "great-wave", threads=1, **SMALL)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert torch.get_num_threads() == CALLERS
    wild = SMALL | {"learning_rate": 1e9, "steps": 40, "range_weight": 0, "precondition": False}
    with pytest.raises(DivergedError):
        list(impasto.steps(photo, "great-wave", threads=1, **wild))
    assert torch.get_num_threads() == CALLERS
