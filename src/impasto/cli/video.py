"""`impasto video`: a film in the style of a painting."""

import sys
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from cyclopts import Parameter

from impasto.cli.options import given, options_of, shown
from impasto.errors import SettingError
from impasto.settings import Settings, settings_for

if TYPE_CHECKING:
    from impasto.clips import Clip
    from impasto.video import Film, Painted

PREVIEW_EVERY = 24  # frames
SECONDS_BETWEEN_LINES = 5.0
HDR = (16, 18)  # the transfer functions PQ and HLG in ITU-T H.273

NOT_OF_FILMS = ("start", "seamless", "original_size")
FilmOptions: Any = options_of(
    "FilmOptions",
    (item for item in fields(Settings) if item.name not in NOT_OF_FILMS),
    lambda item: {"preset": "instant", "size": "the film's"}.get(item.name) or shown(item),
)
"""The options of `impasto stylize` but for those that films have no use for."""


def video(
    clip: Path,
    /,
    *styles: str,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    temporal: float = 0.6,
    every: int = 2,
    start: float = 0.0,
    end: float | None = None,
    quality: int = 65,
    no_sound: Annotated[bool, Parameter(negative="")] = False,
    region: Annotated[tuple[str, ...], Parameter(negative="", show_default=False)] = (),
    mask: Path | None = None,
    style_mask: Annotated[tuple[str, ...], Parameter(negative="", show_default=False)] = (),
    resume: Annotated[bool, Parameter(negative="")] = False,
    force: Annotated[bool, Parameter(negative="")] = False,
    preview: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
    quiet: Annotated[bool, Parameter(negative="", alias="-q")] = False,
    options: Annotated[FilmOptions, Parameter(name="*")] = None,
) -> int:
    """Repaint a film in the style of a painting, or of several.

    The preset is instant if none is given, and the size that of the film. Ctrl-C stops (exit
    status 130); --resume goes on. docs/video.md tells more.

    Parameters
    ----------
    clip
        The film: MP4, MOV, MKV, WebM, AVI, GIF or any other that FFmpeg reads.
    styles
        The paintings: files, folders of pictures, or the names of built-in ones (`impasto styles`
        lists them). Several are blended, see --style-weights.
    output
        Where to write the film: .mp4, .mov or .mkv (H.264), or .webm (VP9). If not given: beside
        the clip, as CLIP-STYLE.mp4.
    temporal
        How strongly frames are held together, 0 (each for itself) to 0.95.
    every
        In instant mode each so many frames are painted whole; those between are carried along from
        the last where it shows what they show. 1 paints all, in 1.4 times the time.
    start
        Begin there, seconds.
    end
        Stop there, seconds.
    quality
        Of the film's compression, 0 to 100; 65 is H.264's CRF 18.
    no_sound
        Leave out sound and subtitles, which are copied otherwise.
    region
        A part of the picture that takes a style of its own: NAME=MASK:STYLE, as for stylize.
    mask
        Where to paint: white is painted, black stays the film, in every frame.
    style_mask
        Take the strokes from the white part of this mask of the painting.
    resume
        Go on where a run with the same words was stopped: the film is the same as without that.
    force
        Overwrite what exists.
    preview
        Show a frame in the terminal now and then, where it can.
    json
        Print one JSON object about the film on stdout.
    quiet
        Say nothing while painting.
    """
    if not styles and not region:
        raise SettingError(
            "there is no painting: name a file or a built-in one (`impasto styles` lists them)"
        )
    from impasto.cli.outputs import beside
    from impasto.cli.regions import regions
    from impasto.clips import Clip
    from impasto.video import Film

    source = Clip(clip, start, end)
    settings = _settings(options, source)
    parts, main_mask = regions(region, style_mask)
    styled = styles[0] if len(styles) == 1 else list(styles) or None
    film = Film(
        source, styled, settings, mask=mask, style_mask=main_mask, regions=parts,
        temporal=temporal, every=every,
    )  # fmt: skip
    names = [*styles, *(str(part.style) for part in parts)]
    target = output or beside(clip, names, ".mp4")
    frames = film.write(target, quality, sound=not no_sound, resume=resume, force=force)
    with Progress(quiet, preview) as progress:
        return _paint(film, frames, target, quality, progress, json)


def _settings(options: Any, clip: "Clip") -> Settings:
    """The settings asked for: instant and at the film's size, if nothing else is said."""
    asked = given(options)
    asked["preset"] = asked.get("preset") or "instant"
    asked["size"] = asked.get("size") or max(clip.size)
    return settings_for(**asked)


def _paint(
    film: "Film", frames: "Iterator[Painted]", output: Path, quality: int, progress: "Progress",
    json: bool,
) -> int:  # fmt: skip
    """Take every frame, and say what became of them; the exit status."""
    last, painted, began = None, 0, time.perf_counter()
    progress.begin(film)
    try:
        for frame in frames:
            last, painted = frame, painted + 1
            progress.show(frame)
    except KeyboardInterrupt:
        if last is None:
            raise
        progress.say(f"stopped after {last.number} of {last.count} frames; go on with the same "
                     "words and --resume")  # fmt: skip
        return 130
    seconds = time.perf_counter() - began
    width, height = film.size
    if json:
        import json as json_format

        found = {"output": str(output), "frames": len(film.history), "width": width,
                 "height": height, "seconds": round(seconds, 3), "flicker": film.flicker,
                 "frames_a_second": round(painted / seconds, 3)}  # fmt: skip
        print(json_format.dumps(found | film.recipe(quality)), flush=True)
    progress.say(f"wrote {output} ({width}x{height} px, {len(film.history)} frames, "
                 f"{seconds:.0f} s, {painted / seconds:.2f} frames a second)")  # fmt: skip
    return 0


class Progress:
    """Frames done and time left on stderr: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, quiet: bool, preview: bool) -> None:
        from rich.console import Console

        from impasto.cli.progress import terminal_image

        self.quiet = quiet
        self.console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self.image: Any = terminal_image() if preview and self.console.is_terminal else None
        self.bar: Any = None
        self.first: int | None = None
        self.began = self.last_line = time.perf_counter()

    def __enter__(self) -> Self:
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        if self.console.is_terminal and not self.quiet:
            self.bar = Bar(
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rest]}"),
                TimeElapsedColumn(), console=self.console, transient=True,
            )  # fmt: skip
            self.task = self.bar.add_task("getting ready", total=None, rest="")
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def begin(self, film: "Film") -> None:
        """Say what is about to be done."""
        from rich.markup import escape

        clip, (width, height) = film.clip, film.size
        self.console.print(
            f"painting {escape(clip.name)} ({clip.count} frames of {width}x{height} px) in the "
            f"style of {escape(' and '.join(film.scene.paintings))}: {film.settings.preset}"
        )
        if clip.transparent:
            self.console.print("what is transparent in it is laid on white")
        if clip.colours.transfer in HDR:
            self.console.print("its high dynamic range is painted and written in 8 bits")

    def show(self, frame: "Painted") -> None:
        """One frame is done."""
        from impasto.cli.progress import duration

        now = time.perf_counter()
        if self.first is None:
            self.first, self.began = frame.number, now
        done = frame.number - self.first
        words, rest = f"frame {frame.number}/{frame.count}", ""
        if done > 0 and frame.number < frame.count:
            each = (now - self.began) / done
            rest = f"{1 / each:.2f} frames a second, "
            rest += f"{duration(each * (frame.count - frame.number))} left"
        if self.image is not None and (frame.first or frame.number % PREVIEW_EVERY == 0):
            self._show_picture(frame)
        if self.bar is not None:
            self.bar.update(
                self.task, completed=frame.number, total=frame.count, description=words, rest=rest
            )
        elif now - self.last_line >= SECONDS_BETWEEN_LINES or frame.number in (1, frame.count):
            self.last_line = now
            self.console.print(f"{words}  {rest}".rstrip())

    def _show_picture(self, frame: "Painted") -> None:
        from impasto import images
        from impasto.cli.progress import PREVIEW

        picture = images.to_pil(frame.picture)
        picture.thumbnail((PREVIEW, PREVIEW))
        self.console.print(self.image(picture))

    def say(self, words: str) -> None:
        """A last word, once the bar is gone."""
        if self.bar is not None:
            self.bar.stop()
        if not self.quiet:
            print(words, file=sys.stderr)
