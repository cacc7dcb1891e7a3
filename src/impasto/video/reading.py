"""Video files in: what they say of themselves, and their frames one by one."""

import io
import json
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from impasto import images
from impasto.errors import PictureError, SettingError
from impasto.images.files import expanded
from impasto.video.frames import colors_of, in_memory, pixels_of, turn_of

WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # decoders that read it; the usual ones do not
FRAME_BYTES = 40  # per pixel of a frame: decoded, converted, and as float32
EARLIER = 2  # seconds before a part that reading begins
MICROSECONDS = 1_000_000  # a second, in FFmpeg's own time base
NO_VIDEOS = ("image2", "tty")  # of FFmpeg's formats: pictures, and text as a terminal shows it


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a clip, upright."""

    number: int
    """From 0, at the clip's start."""
    pts: int
    """When it is shown, in the clip's time base, from its start."""
    duration: int
    """How long it is shown, likewise."""
    pixels: Float[Tensor, "1 3 h w"]


class Clip:
    """A video, or the part of it from `start` to `end` (seconds; None for its end).

    Raises PictureError for what cannot be read, is no video, or has no frames; SettingError for a
    part that is none, or where PyAV is not installed.
    """

    def __init__(self, path: Path, start: float = 0.0, end: float | None = None) -> None:
        path = expanded(path)
        self.path, self.start, self.end = path, start, end
        if not 0 <= start < (math.inf if end is None else end):
            raise SettingError(
                f"there is nothing from {start:g} s to {end} s: --start must be "
                "at least 0, and --end later"
            )
        if path.is_dir():
            raise PictureError(f"{path} is a folder: name a video in it")
        self.transparent = False
        with self._opened() as (container, stream):
            self.time_base: Fraction = stream.time_base
            self.rate: Fraction | None = stream.average_rate or stream.guessed_rate
            self.metadata = dict(container.metadata)
            self.sounds = [s.codec_context.name for s in _others(container)]
            self.zero = max(Fraction(0), Fraction(container.start_time or 0, MICROSECONDS))
            """When the file says that it begins, seconds: broadcasts begin at any time."""
            self.offset = round((Fraction(start) + self.zero) / self.time_base)
            """The part's start, in the time base."""
            self.limit = math.inf
            if end is not None and end < math.inf:
                self.limit = round((Fraction(end) + self.zero) / self.time_base)
            self.count = self._counted(container, stream)
            """How many frames there are, by the file's packets."""
        self._look()

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    def seconds(self, ticks: int) -> float:
        """A time in the clip's time base as seconds."""
        return float(ticks * self.time_base)

    def frames(self, size: tuple[int, int] | None = None, first: int = 0) -> Iterator[Frame]:
        """The frames from a number on, at a width and height (their own if None), px.

        PictureError where the file turns out to be damaged.
        """
        number, last = 0, -1
        now: int | None = None
        with self._opened() as (container, stream):
            for frame in self._decoded(container, stream):
                told = frame.dts if frame.pts is None else frame.pts
                if told is None:  # a raw stream has no times
                    told = 0 if now is None else now + self._usual()
                now = told
                if not self._contains(now):
                    continue
                pts = now - self.offset
                pts = max(pts, last + 1) if number else pts  # broken files repeat times
                last = pts
                if number >= first:
                    pixels = self._pixels(frame, size)
                    yield Frame(number, pts, frame.duration or self._usual(), pixels)
                number += 1

    def others(self, early: bool = True) -> Iterator[Any]:
        """The packets of sound and subtitles, in the order of the file, from the part's start.

        `early`: with those before it that a decoder warms up with, and nobody hears. Without them
        a stream that states its own delay keeps them: the delay counts from the first.
        """
        with self._opened() as (container, _):
            streams = _others(container)
            delayed = {stream.index for stream in streams if _states_delay(container, stream)}
            for packet in container.demux(streams) if streams else ():
                if packet.pts is None or packet.dts is None:
                    continue
                offset = round((Fraction(self.start) + self.zero) / packet.time_base)
                seconds = packet.pts * packet.time_base - self.zero
                if self.start and seconds < self.start:
                    continue
                if seconds < 0 and not early and packet.stream_index not in delayed:
                    continue
                if self.end is None or seconds < self.end:
                    packet.pts, packet.dts = packet.pts - offset, packet.dts - offset
                    yield packet

    def streams_into(self, container: Any) -> dict[int, Any]:
        """A stream in a container that is written for each of sound and subtitles, by its index
        here."""
        found = {}
        with self._opened() as (source, _):
            for stream in _others(source):
                made = container.add_stream_from_template(stream)
                made.metadata.update(stream.metadata)
                found[stream.index] = made
        return found

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        """The file and its video stream. PictureError for FFmpeg's many ways to refuse it."""
        av = library()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                container = av.open(self._source(), metadata_errors="replace")
        except (av.FFmpegError, OSError) as error:
            if isinstance(error, FileNotFoundError | PermissionError):
                raise PictureError(
                    f"cannot read {self.path} ({error.strerror}): check the name"
                ) from None
            raise PictureError(
                f"{self.path} is no video that can be read ({_words(error)}): save or download it "
                "again"
            ) from None
        with container:
            yield container, self._video_of(container)

    def _source(self) -> str | io.BytesIO:
        """What FFmpeg opens. With "file:" in front of it a name such as take:1.mp4 is a name."""
        return f"file:{self.path}" if self._held is None else io.BytesIO(self._held)

    @cached_property
    def _held(self) -> bytes | None:
        """What is read in place of the file. PictureError for a damaged animated picture."""
        try:
            return in_memory(self.path, library())
        except (SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
            raise PictureError(
                f"{self.path} is damaged ({_words(error)}): save or download it again"
            ) from None

    def _video_of(self, container: Any) -> Any:
        form = container.format.name
        if form in NO_VIDEOS or form.endswith("_pipe"):
            raise PictureError(
                f"{self.path} is no video but a picture or text: for a picture use impasto stylize"
            )
        for stream in container.streams.video:
            if not stream.disposition & stream.disposition.attached_pic and stream.codec_context:
                return stream
        raise PictureError(f"{self.path} has no video in it: name a file that has")

    def _counted(self, container: Any, stream: Any) -> int:
        """How many frames the file holds in the part asked for. PictureError if it is cut short."""
        held = found = 0
        av = library()
        try:
            for packet in container.demux(stream):
                if packet.size:
                    held += 1
                    found += packet.pts is None or self._contains(packet.pts)
        except av.FFmpegError as error:
            raise self._damaged(error, held) from None
        # An edit list may hide frames that the header counts: the index knows.
        promised = min(stream.frames, len(stream.index_entries))
        if held and held < promised:
            raise PictureError(
                f"{self.path} is cut short, {held} of its {promised} frames are there: "
                "download it again"
            )
        if not held:
            raise PictureError(f"{self.path} has no frames: save or download it again")
        if not found:
            raise SettingError(
                f"{self.path} has no frames between --start {self.start:g} s and its end, or --end"
            )
        return found

    def _look(self) -> None:
        """Learn the rest from the first frame, which must be there."""
        with self._opened() as (container, stream):
            aspect = stream.sample_aspect_ratio or Fraction(1)
            decoded = self._decoded(container, stream)
            first = next((f for f in decoded if f.pts is None or self._contains(f.pts)), None)
            if first is None:
                raise PictureError(f"{self.path} has no frame that can be read: download it again")
        width, height = first.width, first.height
        if min(width, height) < images.MIN_SIDE:
            raise PictureError(
                f"{self.path} is {width}x{height} px: it must have {images.MIN_SIDE} px a side or "
                "more"
            )
        images.check_room(str(self.path), (width, height), width * height * FRAME_BYTES)
        self.colors = colors_of(first)
        turned = turn_of(first).aside
        self.size = (height, width) if turned else (width, height)
        """Width and height as it is shown, px."""
        self.aspect = 1 / aspect if turned else aspect
        """Width of a pixel in its heights."""
        self._pixels(first, None)  # sees whether it is transparent

    def _contains(self, pts: int) -> bool:
        """Whether a time of the file belongs to the part; the first may be below zero."""
        return (self.start == 0 or pts >= self.offset) and pts < self.limit

    def _usual(self) -> int:
        """How long a frame is shown that does not say, in the time base."""
        rate = self.rate or Fraction(25)
        return max(1, round(1 / (rate * self.time_base)))

    def _decoded(self, container: Any, stream: Any) -> Iterator[Any]:
        """All frames as FFmpeg has them. PictureError where it finds damage."""
        av = library()
        decoder, done = stream.codec_context, 0
        if stream.metadata.get("alpha_mode") == "1" and decoder.name in WITH_ALPHA:
            decoder = av.CodecContext.create(WITH_ALPHA[decoder.name], "r")
            decoder.extradata = stream.codec_context.extradata
        if self.start:
            with suppress(av.FFmpegError):  # what cannot be sought is read from its beginning
                early = self.offset - round(EARLIER / self.time_base)  # MPEG-TS is found inexactly
                container.seek(early, stream=stream)
        try:
            for packet in container.demux(stream):
                for frame in decoder.decode(packet if packet.size else None):
                    done += 1
                    yield frame
        except av.FFmpegError as error:
            raise self._damaged(error, done) from None

    def _damaged(self, error: Exception, done: int) -> PictureError:
        where = f" after {done} frames" if done else ""
        return PictureError(
            f"{self.path} is damaged{where} ({_words(error)}): download it again, or leave that "
            "part out with --start and --end"
        )

    def _pixels(self, frame: Any, size: tuple[int, int] | None) -> Tensor:
        """A frame as pixels, upright; what is transparent is laid on white."""
        pixels, transparent = pixels_of(frame, size or self.size, self.colors)
        self.transparent |= transparent
        return pixels


def recipe_of(path: Path) -> dict[str, Any]:
    """How a film was made, from its file. PictureError if the file does not say."""
    metadata = {key.lower(): value for key, value in Clip(path).metadata.items()}
    try:
        found = json.loads(metadata.get("comment", ""))
        if not isinstance(found, dict) or "impasto" not in found:
            raise ValueError("a recipe is an object that names its program")
    except ValueError:
        raise PictureError(
            f"{path} does not say how it was made: only films that impasto wrote, and nothing has "
            "saved anew, do"
        ) from None
    return found


def library() -> Any:
    """PyAV. SettingError where it is not installed."""
    try:
        import av
    except ImportError:
        raise SettingError("films need libraries more: pip install 'impasto[video]'") from None
    av.logging.set_level(None)  # its complaints come as errors
    return av


def _others(container: Any) -> list[Any]:
    """The streams that are copied: sound and subtitles of a known kind."""
    found = [s for s in container.streams if s.type in ("audio", "subtitle")]
    return [stream for stream in found if stream.codec_context is not None]


def _states_delay(container: Any, stream: Any) -> bool:
    """Whether FFmpeg knows a stream's delay from its head, which Matroska then takes over."""
    return "matroska" in container.format.name or stream.codec_context.name == "opus"


def _words(error: Exception) -> str:
    """What FFmpeg says, without its numbers and paths."""
    return str(getattr(error, "strerror", None) or error).splitlines()[0]
