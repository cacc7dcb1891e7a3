"""Films to files: frames to packets, and packets with the sound of the clip to a file."""

import heapq
import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto import images
from impasto.errors import PictureError, SettingError
from impasto.video.frames import (
    BT601,
    BT709,
    FULL,
    HIGH_DEFINITION,
    LIMITED,
    RGB,
    SCALING,
    Colors,
)
from impasto.video.reading import Clip, library

CONTAINERS = {
    ".mp4": ("mp4", "libx264"),
    ".mov": ("mov", "libx264"),
    ".mkv": ("matroska", "libx264"),
    ".webm": ("webm", "libvpx-vp9"),
}
"""FFmpeg's names of the format and the encoder for each suffix."""
WITH_EARLY = ("mp4", "mov")
"""Formats with times below zero. Matroska has none: a packet of AAC that is played from -23 ms on
would shift the whole film by as much."""
CODED = {  # without B-frames: times grow from packet to packet, and segments join as they are
    "libx264": {"preset": "medium", "bf": "0"},
    "libvpx-vp9": {"b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"},
}
TRIAL = 64  # packets of sound and subtitles
WORST = {"libx264": 51, "libvpx-vp9": 63}  # the coarsest quantizer
GLOBAL_HEADER = 1 << 22  # AV_CODEC_FLAG_GLOBAL_HEADER: what containers keep once, not each second
PRIVATE = ("location", "com.apple.quicktime.location.iso6709")  # of the clip's notes


@dataclass(frozen=True)
class Packet:
    """An encoded frame and its times, in the clip's time base."""

    data: bytes
    pts: int
    dts: int
    duration: int
    key: bool


@dataclass(frozen=True)
class Format:
    """How a film is coded: all that its packets depend on but the frames."""

    container: str
    codec: str
    size: tuple[int, int]
    """Width and height, px, both even."""
    time_base: Fraction
    rate: Fraction
    aspect: Fraction
    colors: Colors
    quality: int
    """0 ... 100."""

    @classmethod
    def of(cls, clip: Clip, size: tuple[int, int], suffix: str, quality: int) -> "Format":
        """That of a clip that is painted at this size."""
        container, codec = CONTAINERS[suffix]
        matrix = clip.colors.matrix
        if matrix == RGB:
            matrix = BT709 if min(size) >= HIGH_DEFINITION else BT601
            colors = Colors(matrix, clip.colors.primaries, clip.colors.transfer, LIMITED)
        else:
            colors = clip.colors
        rate = clip.rate or Fraction(25)
        return cls(container, codec, size, clip.time_base, rate, clip.aspect, colors, quality)


class Encoder:
    """Frames in, packets out; a film may be made of the packets of several of them."""

    def __init__(self, format: Format) -> None:
        self.format = format
        self.context = context = library().CodecContext.create(format.codec, "w")
        _configure(context, format)
        self.durations: dict[int, int] = {}

    def add(self, pixels: NDArray[np.uint8], pts: int, duration: int) -> list[Packet]:
        """Take the next frame, h w 3; the packets that are ready."""
        frame = library().VideoFrame.from_ndarray(pixels, format="rgb24")
        colors = self.format.colors
        matrix = 5 if colors.matrix == BT601 else colors.matrix
        frame = frame.reformat(
            format="yuv420p", dst_colorspace=matrix, dst_color_range=colors.range,
            src_color_range=FULL, interpolation=SCALING,
        )  # fmt: skip
        frame.pts, frame.time_base = pts, self.format.time_base
        self.durations[pts] = duration
        return self._packed(self.context.encode(frame))

    def finish(self) -> list[Packet]:
        """The packets that are left."""
        return self._packed(self.context.encode(None))

    def _packed(self, packets: Iterable[Any]) -> list[Packet]:
        return [
            Packet(bytes(p), p.pts, p.dts, self.durations.pop(p.pts), p.is_keyframe)
            for p in packets
        ]


def check_output(path: Path, clip: Clip, format: Format, sound: bool) -> None:
    """Raise what `join` would, before anything is painted. SettingError or PictureError."""
    images.check_place(path)
    try:
        with tempfile.TemporaryDirectory() as trial:
            _write(Path(trial) / f"trial{path.suffix}", (), clip, format, sound, {}, path, TRIAL)
    except (OSError, library().FFmpegError) as error:
        raise PictureError(
            f"{path.suffix} cannot hold what {clip.name} has beside its pictures "
            f"({error.strerror or error}): name an .mkv, or leave it out with --no-sound"
        ) from error


def join(
    packets: Iterable[Packet],
    clip: Clip,
    format: Format,
    target: Path,
    sound: bool = True,
    recipe: dict[str, Any] | None = None,
) -> None:
    """Write a film whole or not at all: its packets, with the clip's sound and subtitles.

    PictureError where the disk is full or says no, or the format cannot hold the sound.
    """
    try:
        with images.written_whole(target) as part:
            _write(part, packets, clip, format, sound, recipe or {}, target)
    except library().FFmpegError as error:
        raise PictureError(
            f"cannot write {target} ({error.strerror or error}): free space or name another place "
            "with -o"
        ) from error


def check_suffix(path: Path) -> None:
    """SettingError for a name that does not say which format to write."""
    if path.suffix.lower() not in CONTAINERS:
        raise SettingError(f"cannot write {path.name!r}: end its name in {', '.join(CONTAINERS)}")


def _write(
    path: Path,
    packets: Iterable[Packet],
    clip: Clip,
    format: Format,
    sound: bool,
    recipe: dict[str, Any],
    target: Path,
    most: int | None = None,
) -> None:
    """Write the file; or no more than so many packets of sound and subtitles, as a trial."""
    av = library()
    with av.open(f"file:{path}", "w", format=format.container) as container:
        container.flags |= av.container.Flags.bitexact.value  # no names by chance in Matroska
        notes = {k: v for k, v in clip.metadata.items() if k.lower() not in PRIVATE}
        container.metadata.update(notes | {"comment": json.dumps(recipe)})
        stream = container.add_stream(format.codec, rate=format.rate)
        _configure(stream.codec_context, format)
        stream.time_base = format.time_base
        try:
            streams = clip.streams_into(container) if sound else {}
            container.start_encoding()
        except (ValueError, av.FFmpegError) as error:
            if isinstance(error, OSError):  # the disk's word, not the format's
                raise
            raise PictureError(
                f"{target.suffix} cannot hold the sound or subtitles of {clip.name} "
                f"({', '.join(clip.sounds)}): name an .mkv, or leave them out with --no-sound"
            ) from error
        for packet in heapq.merge(
            _pictures(packets, stream, format),
            islice(_sounds(clip, streams, format), most),
            key=_seconds,
        ):
            container.mux_one(packet)


def _pictures(packets: Iterable[Packet], stream: Any, format: Format) -> Iterator[Any]:
    """The film's packets as FFmpeg has them."""
    for packet in packets:
        made = library().Packet(packet.data)
        made.time_base = format.time_base
        made.pts, made.dts, made.duration = packet.pts, packet.dts, packet.duration
        made.is_keyframe, made.stream = packet.key, stream
        yield made


def _sounds(clip: Clip, streams: dict[int, Any], format: Format) -> Iterator[Any]:
    """The clip's other packets, each for its new stream."""
    early = format.container in WITH_EARLY
    for packet in clip.others(early) if streams else ():
        if packet.stream_index in streams:
            packet.stream = streams[packet.stream_index]
            yield packet


def _seconds(packet: Any) -> Fraction:
    found: Fraction = packet.dts * packet.time_base
    return found


def _configure(context: Any, format: Format) -> None:
    """Set what an encoder needs to know: the same for each segment, and for the file's header."""
    context.width, context.height = format.size
    context.pix_fmt = "yuv420p"
    context.time_base, context.framerate = format.time_base, format.rate
    context.sample_aspect_ratio = format.aspect
    colors = format.colors
    context.colorspace, context.color_range = colors.matrix, colors.range
    context.color_primaries, context.color_trc = colors.primaries, colors.transfer
    context.flags |= GLOBAL_HEADER
    coarse = round(WORST[format.codec] * (1 - format.quality / 100))
    context.options = CODED[format.codec] | {"crf": str(coarse)}
