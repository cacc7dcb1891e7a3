"""Progress on stderr: a bar on a terminal, a line now and then elsewhere."""

import time
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from impasto.errors import SettingError

if TYPE_CHECKING:
    from impasto.step import Run, Step
    from impasto.training import Update

SECONDS_BETWEEN_LINES = 5.0
PREVIEW = 640  # px at most
LONG_WORK = 20_000_000  # pixels times steps: above a minute on two cores


class Progress:
    """Shows the loss, the step, the scale being painted and the time left."""

    def __init__(self, quiet: bool, preview: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self.preview = terminal_image() if preview and self.console.is_terminal else None
        self.first = True
        self.work_before = 0.0
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

    def begin(self, painter: "Run") -> None:
        """Say what is about to be done, and before a long run what it will take."""
        from impasto.paintings import PAINTINGS

        content, settings = painter.content, painter.settings
        works = [PAINTINGS.get(name) for name in painter.scene.paintings]
        painting = " and ".join(
            f"{work.title} ({work.painter})" if work else name
            for work, name in zip(works, painter.scene.paintings, strict=True)
        )
        width, height = content.size
        self.console.print(
            f"painting {escape(content.name)} ({width}x{height}) in the style of "
            f"{escape(painting)}: {settings.preset}, {settings.size} px"
        )
        if painter.work > LONG_WORK and not self.console.quiet:
            seconds, size = painter.estimate()
            tile = painter.footprint(painter.sizes[-1]).tile
            tiles = f", in tiles of {tile} px" if tile else ""
            self.console.print(
                f"this will take about {duration(seconds)} and {size / 1e9:.1f} GB{tiles}"
            )
        self.began, self.work_before = time.perf_counter(), 0.0

    def show(self, step: "Step", losses: dict[str, float]) -> None:
        """One step is done."""
        if self.preview is not None and step.ends_scale:
            self._show_picture(step)
        self.say(step, losses)

    def say(self, step: "Step | Update", losses: dict[str, float]) -> None:
        """The step in words."""
        if self.first:
            self.first, self.work_before = False, step.work
            self.began = time.perf_counter()
        if step.note:
            self.console.print(step.note)
        width, height = step.size
        words = f"step {step.step}/{step.steps}  {width}x{height}"
        if losses:
            words += f"  loss {losses['total']:.4g}"
        left = self._left(step)
        if self.bar is not None:
            self.bar.update(self.task, completed=step.work, description=words, rest=left)
        elif losses and self._due(step):
            terms = [f"{n} {losses[n]:.3g}" for n in ("content", "style") if n in losses]
            parts = " + ".join(terms) or "detail, of the shallow layers alone"
            self.console.print(f"{words}  = {parts}  {left}".rstrip())

    def _show_picture(self, step: "Step") -> None:
        """The picture so far, in the terminal."""
        from impasto import images

        assert self.preview is not None
        picture = images.to_pil(step.picture(full_size=False))
        picture.thumbnail((PREVIEW, PREVIEW))
        self.console.print(self.preview(picture.convert("RGB")))

    def _left(self, step: "Step | Update") -> str:
        """The time that is left, from the pixels still to be computed."""
        done = step.work - self.work_before
        if not 0.01 < done < 1 or step.work == 1:
            return ""
        spent = time.perf_counter() - self.began
        return f"{duration(spent * (1 - step.work) / done)} left"

    def _due(self, step: "Step | Update") -> bool:
        now = time.perf_counter()
        if step.step not in (1, step.steps) and now - self.last_line < SECONDS_BETWEEN_LINES:
            return False
        self.last_line = now
        return True


def terminal_image() -> Any:
    """What shows a picture in this terminal, in its own protocol or in coloured blocks."""
    try:
        from textual_image.renderable import Image
    except ImportError:
        raise SettingError(
            "--preview needs a library more: pip install 'impasto[preview]'"
        ) from None
    return Image


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes / 60:.1f} h"
