"""A run that is stopped from outside ends before the next layer, and keeps what it has."""

import signal

import pytest
import torch

import impasto
from impasto.machine import stopping
from impasto.networks import vgg
from small import EXAMPLES, SMALL, painted


def test_nobody_asks_and_nothing_stops() -> None:
    stopping.check()
    with stopping.stoppable(lambda: False):
        stopping.check()


def test_the_question_is_forgotten_outside() -> None:
    with pytest.raises(stopping.Stopped), stopping.stoppable(lambda: True):
        stopping.check()
    stopping.check()


def test_a_network_stops_between_two_layers() -> None:
    network = vgg.load("vgg19", ["relu2_1"])
    asked = iter([False, False, True])
    with pytest.raises(stopping.Stopped), stopping.stoppable(lambda: next(asked)):
        network(torch.rand(1, 3, 64, 64), ["relu2_1"])
    assert next(asked, "all asked") == "all asked"


def test_a_stopped_run_keeps_its_last_step() -> None:
    """What is kept is the picture of a run of so many steps, whatever the step that was broken off
    had begun."""
    one_scale = {"coarsest": 0, "matching_steps": 0}
    found: list[impasto.Step] = []

    def paint() -> None:
        found.extend(impasto.steps(EXAMPLES / "astronaut.jpg", "great-wave", **SMALL | one_scale))

    with pytest.raises(stopping.Stopped), stopping.stoppable(lambda: len(found) == 2):
        paint()
    stopped = found[-1].result().picture.pixels
    whole = painted(EXAMPLES / "astronaut.jpg", **one_scale | {"steps": 2})
    torch.testing.assert_close(stopped, whole.picture.pixels)


def test_instant_mode_stops() -> None:
    with pytest.raises(stopping.Stopped), stopping.stoppable(lambda: True):
        impasto.stylize(EXAMPLES / "astronaut.jpg", "great-wave", preset="instant", size=64)


def test_what_members_do_together_is_not_left_in_the_middle() -> None:
    """A signal and a question wait until it is done, and are answered then."""
    with stopping.stoppable(lambda: True):
        with stopping.Unbroken() as waiting:
            signal.raise_signal(signal.SIGINT)
            stopping.check()
        with pytest.raises(KeyboardInterrupt):
            waiting.deliver()
        with stopping.Unbroken() as waiting:
            stopping.check()
        with pytest.raises(stopping.Stopped):
            waiting.deliver()
    with stopping.Unbroken() as waiting:
        pass
    waiting.deliver()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
