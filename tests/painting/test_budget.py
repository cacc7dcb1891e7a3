"""How long a run will take."""

import time

import pytest

from impasto.painting import budget
from impasto.painting.budget import Trial, Work


def test_seconds_by_hand() -> None:
    """Between two trials on a line, above the larger by pixels, below zero never."""
    trials = [Trial(100, 1.0), Trial(400, 2.5)]
    update = budget.UPDATE_COST

    def seconds(steps: float, begins: bool, *areas: int) -> float:
        return budget.seconds(trials, [Work(steps, begins, areas)])

    assert seconds(10, False, 100) == pytest.approx(10 * 1.0 * update)
    assert seconds(10, False, 200) == pytest.approx(10 * 1.5 * update)
    assert seconds(10, False, 800) == pytest.approx(10 * 5.0 * update)
    assert seconds(10, True, 400) == pytest.approx((10 + budget.START_COST) * 2.5 * update)
    tiles = 10 * (5.0 + 2.5) * 4 / 3 * update
    assert seconds(10, False, 800, 400) == pytest.approx(tiles)
    scales = [Work(4, False, [100]), Work(2, False, [800])]
    assert budget.seconds(trials, scales) == pytest.approx((4 * 1.0 + 2 * 5.0) * update)
    steep = [Trial(300, 1.0), Trial(400, 2.5)]
    assert budget.seconds(steep, [Work(10, False, [100])]) == 0


def test_one_trial_counts_by_pixels() -> None:
    found = budget.seconds([Trial(400, 2.0)], [Work(3, False, [100])])
    assert found == pytest.approx(3 * 0.5 * budget.UPDATE_COST)


def test_a_trial_is_the_median_without_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    now, lasting = [0.0], [9.0, 1.0, 5.0, 2.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def evaluate() -> None:
        now[0] += lasting.pop(0)

    assert budget.trial(7, evaluate) == Trial(7, 2.0)
    assert not lasting
