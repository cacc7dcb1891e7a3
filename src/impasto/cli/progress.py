"""Progress on stderr: a bar on a terminal, a line now and then elsewhere."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

if TYPE_CHECKING:
    from impasto.images import Picture
    from impasto.paint import Step
    from impasto.settings import Settings

SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Shows the loss, the step, the scale being painted and the time left."""

    def __init__(self, quiet: bool, target: Path | None) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self.target = target
        self.bar: Bar | None = None
        self.began = self.last_line = time.perf_counter()

    def __enter__(self) -> Self:
        if self.console.is_terminal and not self.console.quiet:
            self.bar = Bar(
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rest]}"),
                TimeElapsedColumn(), console=self.console, transient=True,
            )  # fmt: skip
            self.task = self.bar.add_task("getting ready", total=1.0, rest="")
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def begin(self, content: "Picture", style: "Picture", settings: "Settings") -> None:
        """Say what is about to be done."""
        self.began = time.perf_counter()
        from impasto.paintings import PAINTINGS

        work = PAINTINGS.get(style.name)
        painting = f"{work.title} ({work.painter})" if work else style.name
        width, height = content.size
        self.console.print(
            f"painting {escape(content.name)} ({width}x{height}) in the style of "
            f"{escape(painting)}: {settings.preset}, {settings.size} px"
        )

    def show(self, step: "Step", losses: dict[str, float]) -> None:
        """One step is done."""
        width, height = step.size
        words = f"step {step.step}/{step.steps}  {width}x{height}  loss {losses['total']:.4g}"
        left = self._left(step)
        if self.bar is not None:
            self.bar.update(self.task, completed=step.work, description=words, rest=left)
        elif self._due(step):
            self.console.print(f"{words}  (content {losses['content']:.3g}, style "
                               f"{losses['style']:.3g})  {left}".rstrip())  # fmt: skip

    def _left(self, step: "Step") -> str:
        """The time that is left, from the pixels still to be computed."""
        if not 0.01 < step.work < 1:
            return ""
        spent = time.perf_counter() - self.began
        seconds = round(spent * (1 - step.work) / step.work)
        minutes, seconds = divmod(seconds, 60)
        return f"{minutes} min {seconds} s left" if minutes else f"{seconds} s left"

    def _due(self, step: "Step") -> bool:
        now = time.perf_counter()
        if step.step not in (1, step.steps) and now - self.last_line < SECONDS_BETWEEN_LINES:
            return False
        self.last_line = now
        return True
