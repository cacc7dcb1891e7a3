"""Progress on stderr: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from impasto.errors import SettingError
from impasto.reports.words import duration

if TYPE_CHECKING:
    from impasto.images import Picture

SECONDS_BETWEEN_LINES = 5.0
PREVIEW = 640  # px at most

Item = TypeVar("Item")


class Progress:
    """What is being done, how far it is, and the time left: of a picture, a film or a training."""

    def __init__(self, quiet: bool, preview: bool = False) -> None:
        # A name may look like markup, [/], or like an emoji, :cat:, and is shown as it is.
        self.console = Console(
            stderr=True, quiet=quiet, highlight=False, soft_wrap=True, markup=False, emoji=False
        )
        self.preview: Any = terminal_image() if preview and self.console.is_terminal else None
        self.bar: Bar | None = None
        self.began = self.last_line = time.perf_counter()
        self.first: tuple[float, int] | None = None  # work and count of the first update

    def __enter__(self) -> Self:
        if self.console.is_terminal and not self.console.quiet:
            self.bar = Bar(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[rest]}", markup=False),
                TimeElapsedColumn(),
                console=self.console,
                transient=True,
            )
            self.task = self.bar.add_task("getting ready", total=1.0, rest="")
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def say(self, words: str) -> None:
        """A line of its own."""
        self.console.print(words)

    def update(
        self,
        words: str,
        work: float,
        *,
        details: str = "",
        count: int = 0,
        unit: str = "",
        ends: bool = True,
    ) -> None:
        """So much of the work is done, 0 to 1.

        words: where it is. details: what a line says besides. count and unit: how many of what are
        done, for the speed. ends: whether the first and the last update have a line in any case.
        """
        now = time.perf_counter()
        new = self.first is None
        if self.first is None:
            self.first, self.began = (work, count), now
        left = self._left(work, count, unit)
        if self.bar is not None:
            self.bar.update(self.task, completed=work, description=words, rest=left)
        elif (ends and (new or work == 1)) or now - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = now
            self.console.print(f"{words}{details}  {left}".rstrip())

    def show(self, picture: Callable[[], "Picture"]) -> None:
        """A picture in the terminal, if that was asked for and the terminal can."""
        if self.preview is None:
            return
        from impasto.images import to_pil

        image = to_pil(picture()).convert("RGB")
        image.thumbnail((PREVIEW, PREVIEW))
        self.console.print(self.preview(image))

    def track(self, items: Iterable[Item], total: int, unit: str) -> Iterator[Item]:
        """The items of a known number, shown as they come."""
        for number, item in enumerate(items, 1):
            yield item
            self.update(f"{number}/{total} {unit}", number / total, ends=False)

    def _left(self, work: float, count: int, unit: str) -> str:
        """The time that is left, by what was done since the first update, and the speed."""
        assert self.first is not None
        done = work - self.first[0]
        if not 0.01 < done < 1 or work == 1:
            return ""
        spent = time.perf_counter() - self.began
        speed = f"{(count - self.first[1]) / spent:.2f} {unit}, " if unit else ""
        return f"{speed}{duration(spent * (1 - work) / done)} left"


def terminal_image() -> Any:
    """What shows a picture in this terminal, in its own protocol or in colored blocks."""
    try:
        from textual_image.renderable import Image
    except ImportError:
        raise SettingError(
            "--preview needs a library more: pip install 'impasto[preview]'"
        ) from None
    return Image
