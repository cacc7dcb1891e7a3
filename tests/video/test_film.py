"""Films in the style of a painting: what a frame knows of the last, and what a run leaves."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from impasto.batch import Workers
from impasto.errors import PictureError, SettingError
from impasto.losses.pixels import TemporalTarget
from impasto.objective import Styles, objective_of
from impasto.painting import OptimizedRun
from impasto.scene import Scene
from impasto.settings import changed, settings_for
from impasto.video import Clip, Film, flow, shot, unfinished
from impasto.video import film as module
from impasto.video.film import TEMPORAL
from small import EXAMPLES, Run, elsewhere

SIZE = 96, 64


def shown(count: int, cut: int | tuple[int, ...] | None = None) -> list[np.ndarray]:
    """A pan over the temple; from the cut on, one over the coffee; from a second, the temple."""
    found = []
    cuts = () if cut is None else (cut,) if isinstance(cut, int) else cut
    with Image.open(EXAMPLES / "china.jpg") as first, Image.open(EXAMPLES / "coffee.jpg") as second:
        grounds = [image.convert("RGB").resize((240, 160)) for image in (first, second)]
    for number in range(count):
        ground = grounds[sum(number >= first for first in cuts) % 2]
        found.append(np.asarray(ground)[40:104, 20 + 3 * number : 116 + 3 * number])
    return found


def filmed(
    path: Path, count: int = 6, cut: int | tuple[int, ...] | None = None, sound: bool = False
) -> Path:
    """A clip of it."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        other: Any = container.add_stream("aac", rate=48000) if sound else None
        for values in shown(count, cut):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(values), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound:
            tone = av.AudioFrame.from_ndarray(np.zeros((1, 9600), np.float32), "fltp", "mono")
            tone.sample_rate = 48000
            container.mux([*other.encode(tone), *other.encode(None)])
    return path


def film_of(path: Path, temporal: float = TEMPORAL, **changes: Any) -> Film:
    settings = settings_for("instant", size=96, precision="float32", **changes)
    return Film(Clip(path), "great-wave", settings, temporal=temporal)


def pixels_of(path: Path) -> list[torch.Tensor]:
    return [frame.pixels for frame in Clip(path).frames()]


def test_held_together_frames_flicker_less_than_half(tmp_path: Path) -> None:
    source = filmed(tmp_path / "in.mp4", 8)
    photos = pixels_of(source)
    found = {}
    for temporal in (0.0, TEMPORAL):
        painted = list(film_of(source, temporal).paint())
        found[temporal] = [frame.pixels for frame in painted]
        assert [frame.first for frame in painted] == [True] + 7 * [False]
    ratio = flow.flicker(photos, found[TEMPORAL]) / flow.flicker(photos, found[0.0])
    assert ratio < 0.5
    gradients = [
        float(np.mean([frame.diff(dim=3).abs().mean() for frame in found[key][-3:]]))
        for key in (TEMPORAL, 0.0)
    ]
    assert gradients[0] > 0.7 * gradients[1]  # what was painted does not fade


def test_frames_between_are_the_last_carried_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shot, "LEAST_SKETCH", 16)
    source = filmed(tmp_path / "in.mp4", 4)
    photos, film = pixels_of(source), film_of(source)
    sizes: list[tuple[int, int] | None] = []
    assert film.one_pass is not None
    whole = film.one_pass.painted

    def noted(scene: Scene, size: tuple[int, int] | None = None) -> torch.Tensor:
        sizes.append(size)
        return whole(scene, size)

    monkeypatch.setattr(film.one_pass, "painted", noted)
    frames = [frame.pixels for frame in film.paint()]
    assert sizes == [(104, 72), (48, 32), (104, 72), (48, 32)]
    moved = flow.motion(photos[0], photos[1])
    assert flow.warping_error(moved, frames[0], frames[1]) < 0.001
    assert flow.warping_error(moved, frames[0], frames[1]) < flow.warping_error(
        flow.motion(photos[1], photos[2]), frames[1], frames[2]
    )


def test_a_cut_starts_afresh(tmp_path: Path) -> None:
    source = filmed(tmp_path / "in.mp4", 5, cut=3)
    painted = list(film_of(source).paint())
    assert [frame.first for frame in painted] == [True, False, False, True, False]
    settings = settings_for("instant", size=96, precision="float32")
    alone = next(Film(Clip(source, start=0.12), "great-wave", settings).paint())
    # painted as if the shot were a film of its own
    assert torch.allclose(painted[3].pixels, alone.pixels, atol=2 / 255)


def test_the_command_writes_a_film_with_its_sound(impasto: Run, tmp_path: Path) -> None:
    source = filmed(tmp_path / "in.mp4", 4, sound=True)
    target = tmp_path / "out.mp4"
    status, out, err = impasto("video", source, "great-wave", "-o", target, "--json")
    assert status == 0, err
    facts = json.loads(out)
    assert facts["frames"] == 4
    assert facts["settings"]["preset"] == "instant"
    assert facts["settings"]["size"] == 96
    assert 0 < facts["flicker"] < 1
    written = Clip(target)
    assert written.size == SIZE
    assert written.sounds == ["aac"]
    assert [f.pts * written.time_base for f in written.frames()] == [
        f.pts * Clip(source).time_base for f in Clip(source).frames()
    ]
    assert json.loads(written.metadata["comment"])["style"] == ["great-wave"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]
    photo = pixels_of(source)[0]
    assert float((photo - pixels_of(target)[0]).abs().mean()) > 0.05  # it is painted


@pytest.mark.parametrize("stop", [1, 4, 5])
def test_stopped_and_resumed_is_uninterrupted(
    impasto: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    monkeypatch.setattr(unfinished, "SEGMENT", 4)
    monkeypatch.setattr(shot, "LEAST_SKETCH", 16)  # frames between are carried along, too
    source = filmed(tmp_path / "in.mp4", 7, cut=3)
    words = ["video", source, "great-wave", "--precision", "float32", "-q", "-o"]
    assert impasto(*words, tmp_path / "whole.mp4")[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr(Film, "write", stopped(Film.write, stop))
        status, _, _ = impasto(*words, tmp_path / "out.mp4")
    assert status == 130
    assert not (tmp_path / "out.mp4").exists()
    status, _, err = impasto(*words, tmp_path / "out.mp4")
    assert status == 2
    assert "--resume" in err
    status, _, err = impasto(*words, tmp_path / "out.mp4", "--resume", "--strength", "0.5")
    assert status == 2
    assert "other settings" in err
    assert impasto(*words, tmp_path / "out.mp4", "--resume")[0] == 0
    assert not (tmp_path / "out.mp4.unfinished").exists()
    for a, b in zip(
        pixels_of(tmp_path / "whole.mp4"), pixels_of(tmp_path / "out.mp4"), strict=True
    ):
        assert torch.equal(a, b)


def stopped(write: Any, after: int) -> Any:
    """A way of writing that Ctrl-C ends after so many frames."""

    def limited(*args: Any, **kwargs: Any) -> Any:
        for number, frame in enumerate(write(*args, **kwargs), 1):
            yield frame
            if number == after:
                raise KeyboardInterrupt

    return limited


CUTS = 3, 5  # frames at which shots begin in the films that are painted shot by shot


@pytest.fixture(scope="module")
def three_shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of three shots, in.mp4, and the film as it is painted in one go, whole.mp4."""
    folder = tmp_path_factory.mktemp("shots")
    list(film_of(filmed(folder / "in.mp4", 9, CUTS)).write(folder / "whole.mp4"))
    return folder


def test_the_shots_are_those_that_are_painted(tmp_path: Path) -> None:
    film = film_of(filmed(tmp_path / "in.mp4", 9, CUTS))
    assert film.shots() == [(0, 3), (3, 5), (5, 9)]
    assert [frame.number - 1 for frame in film.paint() if frame.first] == [0, 3, 5]
    assert film_of(filmed(tmp_path / "in.mp4", 3)).shots() == [(0, 3)]


@pytest.mark.parametrize("preset", ["instant", "draft"])
def test_shots_painted_elsewhere_make_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, preset: str
) -> None:
    monkeypatch.setattr(unfinished, "SEGMENT", 4)
    monkeypatch.setattr(shot, "LEAST_SKETCH", 16)  # frames between are carried along, too
    monkeypatch.setattr(shot, "FEWEST", 2)
    source = filmed(tmp_path / "in.mp4", 9, CUTS)
    settings = settings_for(preset, size=96, precision="float32")
    if preset == "draft":
        settings = changed(settings, coarsest=0, steps=3, matching_weight=0)
    tasks: list[shot.ShotTask] = []

    def noted(make: Any, given: Any) -> Any:
        tasks.extend(given)
        return elsewhere(make, given)

    whole, spread = (Film(Clip(source), "great-wave", settings) for _ in range(2))
    frames = list(whole.write(tmp_path / "whole.mp4"))
    others = list(spread.write(tmp_path / "out.mp4", spread=noted))
    assert [(task.begin, task.end) for task in tasks] == [(5, 9), (0, 3), (3, 5)]  # longest first
    assert whole.history == spread.history
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert [frame.number for frame in others] == [4, 5, 1, 2, 3, 6, 7, 8, 9]
    for other in others:
        one = frames[other.number - 1]
        assert torch.equal(one.pixels, other.pixels)
        assert (one.seconds, one.first, one.flicker) == (other.seconds, other.first, other.flicker)


def test_two_processes_make_the_same_bytes(three_shots: Path, tmp_path: Path) -> None:
    film, target = film_of(three_shots / "in.mp4"), tmp_path / "out.mp4"
    list(film.write(target, spread=Workers(count=2, threads=1).spread))
    assert target.read_bytes() == (three_shots / "whole.mp4").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def retried(make: Any, tasks: Any) -> Any:
    """A spread whose every task is killed after a frame, and begun again by another process."""
    work = make()
    for task in tasks:
        with pytest.raises(KeyboardInterrupt):
            work(task, partial(_stop_at, 0))
        shown: list[float] = []
        rows = work(task, shown.append)
        assert len(shown) == len(rows) - 1  # the frame that was there is not painted again
        yield rows


@pytest.mark.parametrize("spread", [None, elsewhere, retried])
def test_stopped_within_shots_and_resumed_any_way(
    three_shots: Path, tmp_path: Path, spread: Any
) -> None:
    """One shot is painted, and processes are killed at the second frame of one and at the first of
    another: what they had painted is not painted again."""
    source, target = three_shots / "in.mp4", tmp_path / "out.mp4"

    def killed(make: Any, tasks: Any) -> Any:
        assert [(task.begin, task.end) for task in tasks] == [(5, 9), (0, 3), (3, 5)]
        work = make()
        yield work(tasks[2], lambda part: None)
        for task, stop in ((tasks[0], 2 / 4), (tasks[1], 1 / 3)):
            with pytest.raises(KeyboardInterrupt):
                work(task, partial(_stop_at, stop))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(film_of(source).write(target, spread=killed))
    rest = list(film_of(source).write(target, resume=True, spread=spread))
    assert sorted(frame.number for frame in rest) == [2, 3, 8, 9]
    assert target.read_bytes() == (three_shots / "whole.mp4").read_bytes()


def test_a_stop_before_the_first_shot_is_done_keeps_its_frames(
    three_shots: Path, tmp_path: Path
) -> None:
    def full(make: Any, tasks: Any) -> Any:
        make()(tasks[0], lambda part: None)
        raise PictureError("cannot write (No space left on device): free space")
        yield

    film = film_of(three_shots / "in.mp4")
    with pytest.raises(PictureError, match="4 finished frames are kept"):
        list(film.write(tmp_path / "out.mp4", spread=full))
    rest = list(film.write(tmp_path / "out.mp4", resume=True))
    assert [frame.number for frame in rest] == [1, 2, 3, 4, 5]


def test_frames_that_were_written_elsewhere_are_missed(three_shots: Path, tmp_path: Path) -> None:
    def gone(make: Any, tasks: Any) -> Any:
        rows = make()(tasks[-1], lambda part: None)
        (tmp_path / "out.mp4.unfinished" / rows[0]["output"]).unlink()
        yield rows

    film = film_of(three_shots / "in.mp4")
    with pytest.raises(PictureError, match="a place with -o that all processes see"):
        list(film.write(tmp_path / "out.mp4", spread=gone))


def test_a_film_of_one_shot_is_painted_here(tmp_path: Path) -> None:
    film = film_of(filmed(tmp_path / "in.mp4", 2))
    assert len(list(film.write(tmp_path / "out.mp4", spread=None))) == 2
    (tmp_path / "out.mp4").unlink()
    assert len(list(film.write(tmp_path / "out.mp4", spread=_nowhere))) == 2


def _nowhere(make: Any, tasks: Any) -> Any:
    raise AssertionError("one shot needs no other process")


def _stop_at(stop: float, now: float) -> None:
    if now >= stop:
        raise KeyboardInterrupt


def test_optimized_frames_start_from_the_last_and_are_held_to_it(tmp_path: Path) -> None:
    source = filmed(tmp_path / "in.mp4", 3)
    photos, found = pixels_of(source), {}
    settings = settings_for(size=96, coarsest=0, steps=8, precision="float32", start="noise")
    for temporal in (0.0, 0.6):
        film = Film(Clip(source), "great-wave", settings, temporal=temporal)
        found[temporal] = [frame.pixels for frame in film.paint()]
    ratio = flow.flicker(photos, found[0.6]) / flow.flicker(photos, found[0.0])
    assert torch.equal(found[0.6][0], found[0.0][0])
    assert ratio < 0.5


def test_the_temporal_loss_by_hand_and_in_tiles(astronaut: torch.Tensor) -> None:
    settings = settings_for(size=64, coarsest=0, precision="float32")
    from impasto.images import Picture

    scene = Scene(Picture(astronaut), "great-wave", settings)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., :16] = 1
    target = TemporalTarget(astronaut + 0.1, mask, 3.0)
    run, view = OptimizedRun(scene, temporal=target), scene.at((64, 64))
    assert torch.equal(run.start.at(view)[..., :16], target.image[..., :16])
    styles = Styles(run.network, settings, 32)
    made = {tile: objective_of(view, styles, tile, target).loss(astronaut) for tile in (None, 32)}
    plain = objective_of(view, styles).loss(astronaut)
    for terms, gradient in made.values():
        # a quarter of the pixels is 0.1 off: 3 * 0.01 / 4
        assert float(terms["temporal"]) == pytest.approx(0.0075, rel=1e-4)
        change = gradient - plain[1]
        # 2 * 3 * (-0.1) / (3 * 64 * 64) in the mask, nothing outside
        inside, outside = change[..., :16], change[..., 16:]
        assert torch.allclose(inside, torch.tensor(-0.6 / 12288), atol=1e-6)
        assert float(outside.abs().max()) < 1e-6


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("out.gif",), "end its name in .mp4"),
        (("in.mp4",), "is the input"),
        (("there.mp4",), "exists"),
        (("nowhere/out.mp4",), "there is no folder"),
        (("out.mp4", "--start", "9"), "no frames between"),
        (("out.mp4", "--temporal", "1"), "0 to 0.95"),
        (("out.mp4", "--quality", "101"), "0 to 100"),
        (("out.mp4", "--original-size"), "--original-size"),
        (("out.webm",), "cannot hold the sound"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    impasto: Run, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    source = filmed(tmp_path / "in.mp4", 2, sound=True)
    (tmp_path / "there.mp4").write_text("kept")
    status, _, err = impasto(
        "video", source, "great-wave", "-o", tmp_path / words[0], *words[1:], "-q"
    )
    assert status == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "there.mp4"]


def test_a_film_without_a_name_lies_beside_its_clip(impasto: Run, tmp_path: Path) -> None:
    clip = filmed(tmp_path / "clip.mp4", count=2)
    status, _, err = impasto("video", clip, "great-wave", "--steps", "3")
    assert status == 0, err
    assert "painting in one pass does not use --steps" in err
    made = tmp_path / "clip-great-wave.mp4"
    assert Clip(made).size == SIZE
    status, out, _ = impasto("info", made, "--json")
    assert status == 0
    recipe = json.loads(out)
    assert recipe["style"] == ["great-wave"]
    assert recipe["sources"]["content"] == "clip.mp4"
    assert "great-wave" in impasto("info", made)[1]
    status, _, err = impasto("info", clip)
    assert status == 2
    assert "does not say how it was made" in err


def test_a_broken_film_leaves_nothing(impasto: Run, tmp_path: Path) -> None:
    (tmp_path / "in.mp4").write_bytes(b"\0" * 999)
    status, _, err = impasto("video", tmp_path / "in.mp4", "great-wave", "-o", tmp_path / "out.mp4")
    assert status == 2
    assert "no video that can be read" in err
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def test_a_full_disk_keeps_finished_frames_only_if_there_are_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = film_of(filmed(tmp_path / "in.mp4", 2))

    def full(*args: Any, **kwargs: Any) -> None:
        raise PictureError("cannot write out.mp4 (No space left on device): free space")

    with monkeypatch.context() as patch:
        patch.setattr(unfinished.images, "write_bytes", full)
        with pytest.raises(PictureError, match="No space left"):
            list(film.write(tmp_path / "out.mp4"))
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]
    with monkeypatch.context() as patch:
        patch.setattr(module, "join", full)
        with pytest.raises(PictureError, match=r"2 finished frames are kept in .*unfinished"):
            list(film.write(tmp_path / "out.mp4"))
    assert list(film.write(tmp_path / "out.mp4", resume=True)) == []
    assert Clip(tmp_path / "out.mp4").count == 2


def test_masks_and_odd_sides(tmp_path: Path) -> None:
    values = np.stack(shown(2))[:, :63, :95]
    with av.open(str(tmp_path / "in.mov"), "w") as container:
        stream: Any = container.add_stream("qtrle", rate=25)
        stream.width, stream.height, stream.pix_fmt = 95, 63, "rgb24"
        for frame in values:
            made = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(made))
        container.mux(stream.encode(None))
    mask = np.zeros((63, 95), np.uint8)
    mask[:, 48:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    film = Film(
        Clip(tmp_path / "in.mov"), "great-wave", settings_for("instant", size=95),
        mask=str(tmp_path / "mask.png"),
    )  # fmt: skip
    painted = list(film.paint())
    assert film.size == (94, 62)
    for frame, photo in zip(painted, values, strict=True):
        assert frame.pixels.shape == (1, 3, 62, 94)
        left = torch.from_numpy(photo[:62, :40].copy()).permute(2, 0, 1)[None] / 255
        assert torch.allclose(frame.pixels[..., :40], left, atol=1 / 255)
        assert frame.picture.size == (94, 62)


def test_a_film_is_the_same_in_any_state_of_pytorch(tmp_path: Path) -> None:
    """Inside inference mode, autocast and another default dtype, OpenCV's threads left alone."""
    import cv2

    source, settings = filmed(tmp_path / "in.mp4", 2), settings_for("instant", size=96)
    expected = [frame.pixels for frame in Film(Clip(source), "great-wave", settings).paint()]
    threads, dtype = cv2.getNumThreads(), torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode(), torch.autocast("cpu"):
            found = [frame.pixels for frame in Film(Clip(source), "great-wave", settings).paint()]
    finally:
        torch.set_default_dtype(dtype)
    assert cv2.getNumThreads() == threads
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
        assert not one.is_inference()


def test_without_its_library_it_says_what_to_install(
    impasto: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = filmed(tmp_path / "in.mp4", 2)
    monkeypatch.setitem(sys.modules, "cv2", None)
    flow._search.cache_clear()
    with pytest.raises(SettingError, match=r"impasto\[video\]"):
        list(film_of(source).paint())
    monkeypatch.setitem(sys.modules, "av", None)
    status, _, err = impasto("video", source, "great-wave", "-o", tmp_path / "out.mp4")
    assert status == 2
    assert "pip install 'impasto[video]'" in err


def test_the_help_needs_no_heavy_library() -> None:
    program = (
        "import sys; from impasto.cli import main; main(['video', '--help']); "
        "print([name for name in ('av', 'cv2', 'torch') if name in sys.modules])"
    )
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "default: instant" in done.stdout
    assert "--seamless" not in done.stdout


@pytest.mark.parametrize(("size", "asked"), [((201, 150), 201), ((99, 56), 99), ((96, 64), 97)])
def test_frames_have_the_size_of_the_film(
    tmp_path: Path, size: tuple[int, int], asked: int
) -> None:
    path = tmp_path / "in.gif"
    pictures = [Image.new("RGB", size, (60 * n, 90, 40)) for n in range(3)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=40)
    film = Film(Clip(path), "great-wave", settings_for("instant", size=asked))
    painted = list(film.paint())
    assert {frame.pixels.shape[-2:] for frame in painted} == {film.size[::-1]}
    assert len(painted) == 3
