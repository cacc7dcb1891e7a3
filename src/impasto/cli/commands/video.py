"""`impasto video`: a film in the style of a painting."""

import json as json_format
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from impasto.cli.edge import SIGNALS
from impasto.cli.options import options_of, settings_from, shown
from impasto.cli.regions import MASKS, NO_PAINTING, several
from impasto.errors import SettingError
from impasto.settings import Settings

if TYPE_CHECKING:
    from impasto.cli.progress import Progress
    from impasto.video import Film, FilmFrame

PREVIEW_EVERY = 24  # frames
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
    sound: bool = True,
    mask: Annotated[str | None, Parameter(group=MASKS)] = None,
    keep: Annotated[str | None, Parameter(group=MASKS)] = None,
    region: Annotated[tuple[str, ...], several(MASKS)] = (),
    style_mask: Annotated[tuple[str, ...], several(MASKS)] = (),
    workers: int = 1,
    ray: str | None = None,
    resume: bool = False,
    force: bool = False,
    preview: bool = False,
    json: bool = False,
    quiet: Annotated[bool, Parameter(alias="-q")] = False,
    options: Annotated[FilmOptions | None, Parameter(name="*")] = None,
) -> int:
    """Repaint a film in the style of a painting, or of several.

    The preset is instant if none is given, and the size that of the film. Ctrl-C stops (exit
    status 130), as SIGTERM and SIGHUP do (143, 129); --resume goes on. docs/guide/video.md tells
    more.

    Parameters
    ----------
    clip
        The film: MP4, MOV, MKV, WebM, AVI or any other that FFmpeg reads, or an animated GIF, PNG
        or WebP.
    styles
        The paintings: files, folders of pictures, or names that `impasto styles` lists. Several are
        blended, see --style-weights.
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
    sound
        Copy sound and subtitles.
    region
        A part of the picture that takes a style of its own: NAME=MASK:STYLE, as for stylize.
    mask
        Where to paint: white in this file, or face, person or background; ./face means a file. What
        a word means is found in the first frame of each shot, and moves with what it shows.
    keep
        Where to paint softly, as --keep-strength says: face, person, background or a mask file.
    style_mask
        Take the strokes from the white part of this mask of the painting.
    workers
        How many processes paint, each a shot at a time: the film is the same.
    ray
        Paint shots on a Ray cluster: its address, or local for one that is started here.
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
        raise SettingError(NO_PAINTING)
    from impasto.batch import Workers
    from impasto.cli.inputs import pictures
    from impasto.cli.outputs import beside, say
    from impasto.cli.progress import Progress
    from impasto.cli.regions import regions
    from impasto.video import Clip, Film

    source = Clip(clip, start, end)
    settings = settings_from(options, **{"preset": "instant", "size": max(source.size)})
    parts, main_mask = regions(region, style_mask)
    film = Film(
        source,
        pictures(styles) or None,
        settings,
        mask=mask,
        style_mask=main_mask,
        regions=parts,
        keep=keep,
        temporal=temporal,
        every=every,
    )
    names = [*styles, *(str(part.style) for part in parts)]
    target = output or beside(clip, names, ".mp4")
    spread = None
    if ray is not None or workers != 1:
        many = None if workers == 1 else workers
        spread = Workers(settings.device, settings.threads, many, ray).spread
    frames = film.write(target, quality, sound=sound, resume=resume, force=force, spread=spread)
    began = time.perf_counter()
    with Progress(quiet, preview) as progress:
        _announce(film, progress)
        last, taken, status = _take(film, frames, progress)
    if status and last is not None:
        say(
            quiet,
            f"stopped after {len(film.history)} of {last.count} frames; go on with the same words "
            "and --resume",
        )
        return status
    seconds = time.perf_counter() - began
    speed = taken / seconds
    if json:
        print(_facts(film, target, quality, seconds, speed), flush=True)
    (width, height), count = film.size, len(film.history)
    say(
        quiet,
        f"wrote {target} ({width}x{height} px, {count} frames, {seconds:.0f} s, "
        f"{speed:.2f} frames a second)",
    )
    return 0


def _take(
    film: "Film", frames: "Iterator[FilmFrame]", progress: "Progress"
) -> "tuple[FilmFrame | None, int, int]":
    """Take every frame, and show how far that is: the last one, how many there were, and the exit
    status that a signal before the end asks for, or 0."""
    last, taken = None, 0
    try:
        for frame in frames:
            last, taken = frame, taken + 1
            if frame.first or frame.number % PREVIEW_EVERY == 0:
                progress.show(lambda frame=frame: frame.picture)  # type: ignore[misc]
            done = len(film.history)  # of shots painted side by side, frames come in any order
            words = f"frame {done}/{frame.count}"
            progress.update(words, done / frame.count, count=done, unit="frames a second")
    except KeyboardInterrupt as error:
        if last is None:
            raise
        return last, taken, SIGNALS.hold(error)
    return last, taken, 0


def _announce(film: "Film", progress: "Progress") -> None:
    """Say what is about to be done."""
    clip, (width, height) = film.clip, film.size
    for note in film.scene.notes:
        progress.say(note)
    progress.say(
        f"painting {clip.name} ({clip.count} frames of {width}x{height} px) in the "
        f"style of {' and '.join(film.scene.paintings)}: {film.settings.preset}"
    )
    if film.one_pass is not None and film.one_pass.unused:
        progress.say(film.one_pass.unused)
    if clip.transparent:
        progress.say("what is transparent in it is laid on white")
    if clip.colors.transfer in HDR:
        progress.say("its high dynamic range is painted and written in 8 bits")


def _facts(film: "Film", target: Path, quality: int, seconds: float, speed: float) -> str:
    """One JSON object about a film that was written."""
    width, height = film.size
    found = {
        "output": str(target),
        "frames": len(film.history),
        "width": width,
        "height": height,
        "seconds": round(seconds, 3),
        "flicker": film.flicker,
        "frames_a_second": round(speed, 3),
    }
    return json_format.dumps(found | film.recipe(quality))
