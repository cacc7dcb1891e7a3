"""Tasks that may run anywhere: one by one in this process, or in several processes at once.

Whoever has much to do names its tasks and gives a `Make`, which is called once in each process:

    work = make()
    for task in tasks:
        result = work(task, show)

`make`, tasks and results can be pickled. What `make` returns need not be: it may hold networks.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar, runtime_checkable

Task = TypeVar("Task")
Result = TypeVar("Result")
Show = Callable[[float], None]
"""Takes how much of a task is done, 0 to 1."""
Work = Callable[[Task, Show], Result]
"""Does a task."""
Make = Callable[[], Work[Task, Result]]
"""Gets a process ready for work."""


@runtime_checkable
class Spread(Protocol):
    """Runs tasks somewhere: begins them in their order, and yields results as they come.

    A result says itself what it is of. What a task raises, the spread raises.
    """

    def __call__(self, make: Make[Task, Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """The result of each task, in any order."""


def one_by_one(make: Make[Task, Result], tasks: Sequence[Task]) -> Iterator[Result]:
    """The spread over this process alone: each task once the result before it was taken."""
    work = make()
    for task in tasks:
        yield work(task, _unseen)


def _unseen(part: float) -> None:
    """Nobody looks."""
