"""Video files: what goes in comes out, at its own times, upright, in its own colors."""

import resource
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from impasto import video
from impasto.errors import PictureError, SettingError
from impasto.video import Clip, Format, Unfinished
from impasto.video import unfinished as module
from impasto.video.frames import BT601, BT709, SCALING

TICKS = Fraction(1, 1000)
STEADY = tuple(range(0, 240, 40))  # six frames, 25 a second
UNEVEN = (0, 40, 90, 100, 300, 400)


def picture(number: int, size: tuple[int, int]) -> np.ndarray:
    """Frame of that number, h w 4: left red, right gray, a transparent lowest quarter."""
    values = np.full((size[1], size[0], 4), 255, np.uint8)
    values[..., :3] = (40 + 25 * number) % 256
    values[:, : size[0] // 2, :3] = (200, 60, 40)
    values[-size[1] // 4 :, :, 3] = 0
    return values


def made(
    path: Path,
    times: tuple[int, ...] = STEADY,
    size: tuple[int, int] = (64, 48),
    codec: str = "libx264",
    pixels: str = "yuv420p",
    sound: str | None = None,
    turned: int = 0,
    matrix: int = BT709,
    full: bool = False,
    draw: Callable[[int, tuple[int, int]], np.ndarray] = picture,
) -> Path:
    """A clip of flat frames, each brighter than the last, left half red, with a tone."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        stream.codec_context.time_base = TICKS
        stream.codec_context.colorspace = matrix
        stream.codec_context.color_range = 2 if full else 1
        if codec == "libx264":
            stream.codec_context.options = {"crf": "4"}
        if turned:
            stream.set_display_rotation(turned)
        other: Any = container.add_stream(sound, rate=48000) if sound else None
        container.start_encoding()
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(draw(number, size), format="rgba")
            coded = {"dst_colorspace": 5 if matrix == BT601 else matrix}
            frame = frame.reformat(
                format=pixels, dst_color_range=2 if full else 1, src_color_range=2,
                interpolation=SCALING,
                **({} if "a" in pixels and "rgb" in pixels else coded),
            )  # fmt: skip
            frame.pts, frame.time_base = time, TICKS
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if other:
            for start in range(0, 12000, 1000):
                tone = np.sin(np.arange(start, start + 1000) / 20)[None].astype(np.float32)
                played = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
                played.sample_rate, played.pts = 48000, start
                container.mux(other.encode(played))
            container.mux(other.encode(None))
    return path


def again(clip: Clip, target: Path, quality: int = 95, sound: bool = True) -> Path:
    """The clip written anew, frame by frame."""
    even = clip.size[0] // 2 * 2, clip.size[1] // 2 * 2
    form = Format.of(clip, even, target.suffix, quality)
    video.check_output(target, clip, form, sound)
    encoder, packets = module.Encoder(form), []
    for frame in clip.frames(even):
        packets += encoder.add(array(frame.pixels), frame.pts, frame.duration)
    video.join([*packets, *encoder.finish()], clip, form, target, sound, {"style": "none"})
    return target


def array(pixels: torch.Tensor) -> np.ndarray:
    return (pixels[0].permute(1, 2, 0) * 255).round().byte().numpy()


def times(path: Path) -> list[float]:
    clip = Clip(path)
    return [round(clip.seconds(frame.pts), 3) for frame in clip.frames()]


def sounds(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(container.streams.audio[0]) if p.size]


def test_the_home_folder_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(PictureError, match=f"cannot read {tmp_path}/none.mp4"):
        Clip(Path("~/none.mp4"))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
@pytest.mark.parametrize("shown", [STEADY, UNEVEN], ids=["steady", "uneven"])
def test_every_frame_keeps_its_time(tmp_path: Path, suffix: str, shown: tuple[int, ...]) -> None:
    source = made(tmp_path / "in.mkv", shown)
    target = again(Clip(source), tmp_path / f"out{suffix}")
    assert times(target) == [time / 1000 for time in shown]


def test_the_sound_is_copied_packet_by_packet(tmp_path: Path) -> None:
    source = made(tmp_path / "in.mp4", sound="aac")
    target = again(Clip(source), tmp_path / "out.mp4")
    assert sounds(target) == sounds(source)
    silent = again(Clip(source), tmp_path / "silent.mp4", sound=False)
    assert Clip(silent).sounds == []


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_same_film_is_the_same_file(tmp_path: Path, suffix: str) -> None:
    clip = Clip(made(tmp_path / "in.mp4", sound="aac"))
    first, second = (again(clip, tmp_path / f"{name}{suffix}") for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_sound_that_the_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    source = made(tmp_path / "in.mp4", sound="aac")
    with pytest.raises(PictureError, match=r"\.webm cannot hold .* \(aac\)"):
        again(Clip(source), tmp_path / "out.webm")
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("matrix", [BT601, BT709])
@pytest.mark.parametrize("full", [False, True])
def test_colors_are_what_they_were(tmp_path: Path, matrix: int, full: bool) -> None:
    source = made(tmp_path / "in.mp4", matrix=matrix, full=full)
    clip = Clip(source)
    target = again(clip, tmp_path / "out.mp4")
    for path in (source, target):
        first = next(iter(Clip(path).frames()))
        assert np.abs(array(first.pixels)[8, 8] - np.array([200, 60, 40])).max() <= 3
        assert np.abs(array(first.pixels)[8, 56] - 40.0).max() <= 2
    with av.open(str(target)) as container:
        frame = next(container.decode(video=0))
        assert int(frame.color_range) == (2 if full else 1)
        assert int(frame.colorspace) == matrix


@pytest.mark.parametrize("turned", [90, -90, 180])
def test_turned_clips_come_upright(tmp_path: Path, turned: int) -> None:
    clip = Clip(made(tmp_path / "in.mp4", turned=turned))
    assert clip.size == ((48, 64) if turned != 180 else (64, 48))
    frame = array(next(iter(clip.frames())).pixels)
    upright = np.rot90(picture(0, (64, 48)), turned // 90)[..., :3]
    assert np.abs(frame.astype(int) - upright)[4:-4, 4:-4].mean() < 4
    written = Clip(again(clip, tmp_path / "out.mp4"))
    assert written.size == clip.size
    assert np.abs(array(next(iter(written.frames())).pixels).astype(int) - frame).mean() < 4


COLORS = {"r": (220, 40, 40), "g": (40, 200, 60), "b": (40, 60, 210), "w": (230, 230, 230)}


def quarters(_: int, size: tuple[int, int]) -> np.ndarray:
    """Red and green above, blue and white below, h w 4."""
    values = np.full((size[1], size[0], 4), 255, np.uint8)
    above, left = slice(None, size[1] // 2), slice(None, size[0] // 2)
    below, right = slice(size[1] // 2, None), slice(size[0] // 2, None)
    for place, name in zip(
        [(above, left), (above, right), (below, left), (below, right)], "rgbw", strict=True
    ):
        values[place][..., :3] = COLORS[name]
    return values


def corners(values: np.ndarray) -> str:
    """The names of the colors in a picture's corners, row by row."""
    found = ""
    for place in ((4, 4), (4, -5), (-5, 4), (-5, -5)):
        off = {name: np.abs(values[place] - np.array(rgb)).max() for name, rgb in COLORS.items()}
        found += min(off, key=lambda name: off[name])
        assert min(off.values()) < 20
    return found


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((1, 0, 0, 1), "rgbw"),
        ((0, 1, -1, 0), "brwg"),  # a quarter turn clockwise: y downward becomes x leftward
        ((-1, 0, 0, -1), "wbgr"),
        ((0, -1, 1, 0), "gwrb"),
        ((-1, 0, 0, 1), "grwb"),  # a mirror
        ((1, 0, 0, -1), "bwrg"),  # upside down
        ((0, 1, 1, 0), "rbgw"),  # rows become columns
        ((0, -1, -1, 0), "wgbr"),
        ((0, 0, 0, 0), "rgbw"),  # says nothing
    ],
)
def test_clips_are_shown_by_their_whole_display_matrix(
    tmp_path: Path, matrix: tuple[int, int, int, int], shown: str
) -> None:
    """What is stored at x, y is shown at a x + c y, b x + d y (ISO/IEC 14496-12, 6.2.2)."""
    path = made(tmp_path / "in.mp4", times=(0,), draw=quarters)
    data, (a, b, c, d) = path.read_bytes(), (65536 * number for number in matrix)
    at = data.index(b"tkhd") + 44  # where a track header of version 0 has its matrix
    told = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data[:at] + told + data[at + len(told) :])
    clip = Clip(path)
    assert clip.size == ((48, 64) if b else (64, 48))
    assert corners(array(next(iter(clip.frames())).pixels)) == shown


@pytest.mark.parametrize("name", ["take:1", "100% of %03d"])
def test_a_colon_and_a_percent_sign_are_parts_of_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    made(tmp_path / f"{name}.mp4")
    target = again(Clip(Path(f"{name}.mp4")), Path(f"{name}.mkv"))
    assert target.exists()
    assert times(target) == [time / 1000 for time in STEADY]
    (Path(f"{name}.mp4")).rename("plain.mp4")
    with pytest.raises(PictureError, match="check the name"):
        Clip(Path(f"{name}.mp4"))


SHOWN = (40, 200, 120)  # ms


def animated(path: Path, format: str) -> Path:
    """Three frames, each brighter than the last, left half red, the lowest quarter transparent."""
    first, *others = (Image.fromarray(picture(number, (64, 48))) for number in range(3))
    each = {
        "GIF": {"disposal": 2},  # each frame whole, so that transparency shows no older one
        "PNG": {"disposal": 1},
        "WEBP": {"lossless": True},
    }
    first.save(path, format, save_all=True, append_images=others, duration=SHOWN, **each[format])
    return path


@pytest.mark.parametrize("name", ["in.gif", "in.png", "in.webp", "in%03d.gif", "in%03d.png"])
def test_animated_pictures_are_films(tmp_path: Path, name: str) -> None:
    kind = {".gif": "GIF", ".png": "PNG", ".webp": "WEBP"}[Path(name).suffix]
    clip = Clip(animated(tmp_path / name, kind))
    frames = list(clip.frames())
    assert clip.transparent
    assert clip.size == (64, 48)
    assert [round(clip.seconds(frame.pts) * 1000) for frame in frames] == [0, 40, 240]
    for number, frame in enumerate(frames):
        values = array(frame.pixels)
        assert np.abs(values[8, 8] - np.array([200, 60, 40])).max() <= 3
        assert np.abs(values[8, 56] - (40.0 + 25 * number)).max() <= 3
        assert (values[-4:] == 255).all()
    assert times(again(clip, tmp_path / "out.mp4")) == [0, 0.04, 0.24]


def test_webp_of_one_frame_is_a_picture_and_half_a_webp_is_damaged(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "still.webp")
    with pytest.raises(PictureError, match="no video but a picture"):
        Clip(tmp_path / "still.webp")
    data = animated(tmp_path / "in.webp", "WEBP").read_bytes()
    (tmp_path / "half.webp").write_bytes(data[: len(data) // 2])
    with pytest.raises(PictureError, match=r"half\.webp"):
        Clip(tmp_path / "half.webp")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_frames_keep_their_times_where_sound_begins_before_them(
    tmp_path: Path, suffix: str
) -> None:
    """AAC begins a packet of 1024 samples early, which nobody hears: 21 ms at 48 kHz. Matroska has
    no times below 0, so there the packet is left out, and neither frames nor sound move."""
    target = again(Clip(made(tmp_path / "in.mp4", sound="aac")), tmp_path / f"out{suffix}")
    with av.open(str(target)) as container:
        shown = [
            round(1000 * float(frame.pts * frame.time_base)) for frame in container.decode(video=0)
        ]
    with av.open(str(target)) as container:
        heard = list(container.decode(audio=0))
    assert shown == list(STEADY)
    assert heard[0].pts == 0
    assert sum(frame.samples for frame in heard) == 12 * 1024  # 12,000 samples, in whole packets


def test_odd_sides_are_read_and_transparency_is_laid_on_white(tmp_path: Path) -> None:
    source = made(tmp_path / "in.mov", size=(65, 47), codec="qtrle", pixels="argb")
    clip = Clip(source)
    assert clip.size == (65, 47)
    assert clip.transparent
    frame = array(next(iter(clip.frames())).pixels)
    assert (frame[-4:] == 255).all()
    assert np.abs(frame[4, 4] - np.array([200, 60, 40])).max() <= 2


def test_transparent_webm(tmp_path: Path) -> None:
    source = made(tmp_path / "in.webm", codec="libvpx-vp9", pixels="yuva420p")
    with av.open(str(source)) as container:
        assert container.streams.video[0].metadata.get("alpha_mode") == "1"
    assert Clip(source).transparent


def test_a_file_that_begins_late_is_read_from_its_own_beginning(tmp_path: Path) -> None:
    source = tmp_path / "in.ts"
    known, late = made(tmp_path / "in.mp4", sound="aac"), {"output_ts_offset": "5"}
    with av.open(str(known)) as begun, av.open(str(source), "w", options=late) as container:
        streams = {s.index: container.add_stream_from_template(s) for s in begun.streams}
        for packet in begun.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream_index]
                container.mux(packet)
    with av.open(str(source)) as container:
        assert container.start_time > 4_000_000
    whole, part = Clip(source), Clip(source, 0.08, 0.2)
    assert [whole.seconds(frame.pts) for frame in whole.frames()] == pytest.approx(
        [0.04 * n for n in range(6)], abs=0.03
    )
    assert (whole.count, part.count) == (6, 3)
    assert len(list(part.frames())) == 3


def test_a_stop_while_a_segment_is_closed_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEGMENT", 4)
    clip = Clip(made(tmp_path / "in.mp4"))
    form = Format.of(clip, (64, 48), ".mp4", 65)
    pictures = frames_for(form, 9)

    def run(name: str, stops: bool) -> list[Any]:
        work = Unfinished(tmp_path / name, form, {}, False, False)
        for i, picture in enumerate(pictures):
            if stops and i == 3:
                with monkeypatch.context() as patch:
                    patch.setattr(Unfinished, "_close", _stop)
                    with pytest.raises(KeyboardInterrupt):
                        work.add(i, picture, timed(i))
                work = Unfinished(tmp_path / name, form, {}, True, False)
                assert work.done == 4
            else:
                work.add(i, picture, timed(i))
        return list(work.film())

    assert run("whole", stops=False) == run("stopped", stops=True)


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


ORDERS = [*range(11)], [*reversed(range(11))], [3, 9, 4, 0, 8, 1, 2, 10, 7, 5, 6]
STOPS = "note", "_close", "_remove_used"


@pytest.mark.parametrize("order", ORDERS)
def test_frames_in_any_order_make_the_same_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: Sequence[int]
) -> None:
    """Each frame is stopped at another of the places where a process may be killed: before the
    row, before the segment, before the frames of the segment are removed."""
    monkeypatch.setattr(module, "SEGMENT", 4)
    form = Format.of(Clip(made(tmp_path / "in.mp4")), (64, 48), ".mp4", 65)
    pictures = frames_for(form, 11)
    whole = Unfinished(tmp_path / "whole", form, {}, False, False)
    for i, picture in enumerate(pictures):
        whole.add(i, picture, timed(i))
    work = Unfinished(tmp_path / "work", form, {}, False, False)
    for step, i in enumerate(order):
        place = STOPS[step % len(STOPS)]
        with monkeypatch.context() as patch:
            patch.setattr(Unfinished, place, _stop)
            with suppress(KeyboardInterrupt):
                work.add(i, pictures[i], timed(i))
        work = Unfinished(tmp_path / "work", form, {}, True, False)
        assert (i in work.facts) is (place != "note")
        if i not in work.facts:
            work.add(i, pictures[i], timed(i))
    assert work.facts == whole.facts
    assert list(work.film()) == list(whole.film())
    assert not list(work.folder.glob("frame-00000[0-3].npy"))  # none is of use any more


def test_a_part_begins_at_zero_and_takes_its_sound_along(tmp_path: Path) -> None:
    source = made(tmp_path / "in.mp4", sound="aac")
    clip = Clip(source, 0.08, 0.2)
    assert clip.count == 3
    frames = list(clip.frames())
    assert [frame.pts * clip.time_base for frame in frames] == [0, Fraction(1, 25), Fraction(2, 25)]
    assert abs(array(frames[0].pixels)[8, 56].mean() - 90) < 3  # the third frame
    target = again(clip, tmp_path / "out.mp4")
    assert times(target) == [0, 0.04, 0.08]
    assert 4 <= len(sounds(target)) < len(sounds(source))


def test_frames_from_a_number_on(tmp_path: Path) -> None:
    clip = Clip(made(tmp_path / "in.mp4"))
    all_frames, rest = list(clip.frames()), list(clip.frames(first=4))
    assert [frame.number for frame in rest] == [4, 5]
    assert torch.equal(rest[0].pixels, all_frames[4].pixels)


def broken(path: Path) -> Path:
    data = made(path.with_suffix(".mkv")).read_bytes()
    path.write_bytes(data[:40] + bytes(100) + data[300:900])
    return path


def test_what_is_no_video_is_refused(tmp_path: Path, photo: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("no video at all\n" * 20)
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 4000), np.float32), "fltp", "mono")
        tone.sample_rate = 48000
        container.mux([*stream.encode(tone), *stream.encode(None)])
    for path, words in (
        (tmp_path / "missing.mp4", "check the name"),
        (tmp_path, "is a folder"),
        (tmp_path / "empty.mp4", "no video that can be read"),
        (tmp_path / "text.mp4", "no video"),
        (photo, "impasto stylize"),
        (tmp_path / "sound.mp4", "has no video in it"),
        (broken(tmp_path / "broken.mkv"), "broken.mkv"),
    ):
        with pytest.raises(PictureError, match=words):
            Clip(path)


def test_a_clip_without_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"no frames|no video"):
        Clip(made(tmp_path / "none.mkv", times=()))
    source = made(tmp_path / "in.mp4")
    with pytest.raises(SettingError, match="no frames between"):
        Clip(source, 5.0)
    with pytest.raises(SettingError, match="nothing from 2 s to 1"):
        Clip(source, 2.0, 1.0)


def test_a_clip_that_was_cut_short_is_refused_before_it_is_painted(tmp_path: Path) -> None:
    source = made(tmp_path / "in.mp4", times=tuple(range(0, 4000, 40)))
    with av.open(str(source)) as container:  # the index in front, as films for the web have it
        with av.open(str(tmp_path / "web.mp4"), "w", options={"movflags": "faststart"}) as web:
            stream = web.add_stream_from_template(container.streams.video[0])
            for packet in container.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    web.mux(packet)
    data = (tmp_path / "web.mp4").read_bytes()
    (tmp_path / "short.mp4").write_bytes(data[: len(data) * 3 // 4])
    with pytest.raises(PictureError, match=r"cut short, \d+ of its 100 frames"):
        Clip(tmp_path / "short.mp4")


@pytest.mark.parametrize("room", [0, 2000])
def test_a_full_disk_leaves_nothing(tmp_path: Path, room: int) -> None:
    clip = Clip(made(tmp_path / "in.mp4", size=(320, 240), sound="aac"))
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    form = Format.of(clip, (320, 240), ".mp4", 90)
    encoder = module.Encoder(form)
    packets = [*encoder.add(noise, 0, 40), *encoder.finish()]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(PictureError, match="cannot write"):
            video.join(packets, clip, form, tmp_path / "out.mp4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def frames_for(form: Format, count: int) -> list[np.ndarray]:
    source = np.random.default_rng(1)
    return [source.integers(0, 255, (*form.size[::-1], 3), np.uint8) for _ in range(count)]


def timed(number: int) -> dict[str, float]:
    """What is known of a frame."""
    return {"pts": 40 * number, "duration": 40, "flicker": 0.1 * number}


def test_stopped_and_gone_on_is_the_same_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEGMENT", 5)
    clip = Clip(made(tmp_path / "in.mkv", UNEVEN))
    form = Format.of(clip, (64, 48), ".mp4", 65)
    pictures, recipe = frames_for(form, 12), {"quality": 65}

    def run(folder: str, stops: tuple[int, ...]) -> list[video.unfinished.Packet]:
        done = 0
        for number, stop in enumerate((*stops, 12)):
            work = Unfinished(tmp_path / folder, form, recipe, resume=number > 0, force=False)
            assert work.done == done
            for i in range(max(0, done - 4), done):
                held = module.read_frame(work.folder, i)
                assert held is not None
                assert np.array_equal(held, pictures[i])
            for i in range(done, stop):
                work.add(i, pictures[i], timed(i))
            done = stop
        assert work.facts == {i: timed(i) for i in range(12)}
        return list(work.film())

    assert run("whole", ()) == run("stopped", (3, 5, 7, 11))
    assert len(list((tmp_path / "whole").glob("frame-*"))) <= 4 + 2  # no more than are looked at


def test_a_folder_of_another_run_is_left_alone(tmp_path: Path) -> None:
    clip = Clip(made(tmp_path / "in.mp4"))
    form = Format.of(clip, (64, 48), ".mp4", 65)
    folder = tmp_path / "work"
    Unfinished(folder, form, {"size": 64}, False, False).add(0, frames_for(form, 1)[0], timed(0))
    with pytest.raises(PictureError, match="--resume"):
        Unfinished(folder, form, {"size": 64}, False, False)
    with pytest.raises(PictureError, match="other size"):
        Unfinished(folder, form, {"size": 65}, True, False)
    assert Unfinished(folder, form, {"size": 64}, True, False).done == 1
    assert Unfinished(folder, form, {"size": 65}, False, True).done == 0
