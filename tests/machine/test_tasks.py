"""Tasks: what a spread over one process does."""

from collections.abc import Callable

from impasto.machine.tasks import Show, one_by_one


def test_one_by_one_makes_once_and_does_each_task_as_it_is_asked_for() -> None:
    done: list[object] = []

    def make() -> Callable[[int, Show], int]:
        done.append("made")

        def work(task: int, show: Show) -> int:
            show(0.5)
            done.append(task)
            return task * task

        return work

    results = one_by_one(make, [3, 1, 2])
    assert done == []
    assert next(results) == 9
    assert done == ["made", 3]
    assert list(results) == [1, 4]
    assert done == ["made", 3, 1, 2]
