"""One picture over several devices: equal to that of one, in bytes that a formula tells, whoever
dies on the way."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import impasto
from impasto import images
from impasto.errors import PictureError, SettingError
from impasto.images import Picture
from impasto.machine.members import Crew
from impasto.networks.layer_names import channels_of
from impasto.optimizers import spectrum
from impasto.painting import SharedRun, Step, shared
from impasto.scene import Scene
from impasto.settings import Settings, settings_for
from small import EXAMPLES

PAIR: dict[str, Any] = {
    "size": 128, "coarsest": 64, "steps": (2, 3), "detail_steps": 2, "history": 4, "threads": 1,
    "precision": "float32", "matching_steps": 2, "device": "cpu,cpu",
}  # fmt: skip
ONE = PAIR | {"device": "cpu"}
SHORT: dict[str, Any] = PAIR | {"coarsest": 0, "steps": (4,), "matching_weight": 0.0}


def upright(width: int, height: int) -> Picture:
    """A photo as high as strips need."""
    photo = images.read(EXAMPLES / "china.jpg")
    pixels = photo.pixels.rot90(1, (2, 3)).contiguous()
    return replace(replace(photo, pixels=pixels).resized(width, height), name="tower")


@pytest.fixture(scope="module")
def tower() -> Picture:
    return upright(48, 128)


class Threaded:
    """A member in a thread of this process."""

    def __init__(self, rank: int, count: int, address: str, job: bytes) -> None:
        words = rank, count, address, job
        self.thread = threading.Thread(target=shared.member, args=words, daemon=True)
        self.thread.start()

    def poll(self) -> int | None:
        return None if self.thread.is_alive() else 1

    def kill(self) -> None:
        self.thread.join()


def in_threads(photo: Picture, resume: Path | None = None, **changes: Any) -> SharedRun:
    """A run whose other members are threads: the same messages, and no process to wait for."""
    scene = Scene(photo, "great-wave", settings_for(**changes))
    each = shared.settings_of_members(scene.settings)
    job = shared.job_of(scene, each)
    crew = Crew(len(each), lambda rank, count, address: Threaded(rank, count, address, job))
    return SharedRun(scene, resume=resume, crew=crew)


def steps_of(run: SharedRun) -> Iterator[Step]:
    """All steps, and the end of the members."""
    yield from run.paint()
    run.end()


def assert_near(found: Tensor, wanted: Tensor) -> None:
    """Roundings that grew over a few steps, and no more."""
    assert (found - wanted).abs().mean() < 5e-4
    assert (found - wanted).abs().max() < 0.05


@pytest.fixture(scope="module")
def two_processes(tower: Picture) -> impasto.Result:
    return impasto.stylize(tower, "great-wave", **PAIR)


def test_two_processes_paint_the_picture_of_one(
    tower: Picture, two_processes: impasto.Result
) -> None:
    """The first scale is too small to be cut, the second is."""
    one = impasto.stylize(tower, "great-wave", **ONE)
    assert_near(two_processes.picture.pixels, one.picture.pixels)
    for mine, its in zip(two_processes.history, one.history, strict=True):
        assert mine == pytest.approx(its, rel=1e-3)
    assert two_processes.recipe["settings"] == one.recipe["settings"] | {"device": "cpu,cpu"}
    assert two_processes.recipe["device"] == "cpu,cpu"


def test_a_killed_member_is_brought_back(tower: Picture, two_processes: impasto.Result) -> None:
    """From where the scale began, so that the picture has the same bits; the loss is told once."""
    run = SharedRun(Scene(tower, "great-wave", settings_for(**PAIR)))
    assert run.crew is not None
    notes, numbers = [], []
    for step in run.paint():
        numbers.append(step.step)
        notes += [step.note] if step.note else []
        if len(numbers) == 5:
            run.crew.started[0].kill()
    assert numbers == [1, 2, 3, 4, 5, 3, 4, 5, 6, 7]
    assert notes == ["a device was lost (it ended): going on from step 2"]
    assert torch.equal(step.result().picture.pixels, two_processes.picture.pixels)
    assert step.result().history == two_processes.history


def test_members_that_die_again_and_again_end_the_run(
    tower: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "spawned", lambda scene, each: lambda *words: Dead())
    with pytest.raises(PictureError, match="cpu,cpu were lost 3 times without a step"):
        impasto.stylize(tower, "great-wave", **SHORT)


class Dead:
    """A member that ended at once."""

    def poll(self) -> int:
        return 9

    def kill(self) -> None:
        pass


def test_what_is_kept_for_a_loss_is_the_picture_so_far(
    tower: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the memory of L-BFGS; what is known of waves goes along."""
    monkeypatch.setattr(shared, "KEEP_EVERY", 0.0)
    monkeypatch.setattr(spectrum, "FIRST_PAIRS", 1)
    run = in_threads(tower, **SHORT)
    before = None
    for step in steps_of(run):
        if before is not None and not step.ends_scale:
            assert run.kept is not None
            tensors, facts = run.kept
            assert torch.equal(tensors["pixels"], before)
            assert facts["taken"] == step.step - 1 == len(facts["history"])
            assert not any(name.startswith("optimizer") for name in tensors)
        before = run._pixels().clone()
    assert run.kept is not None
    assert "known" in run.kept[0]


def bytes_of_a_step(settings: Settings, edges: tuple[int, int, int], width: int, pairs: int) -> int:
    """What the first of two members sends in a step with so many pairs in memory, in bytes."""
    moments = sum(1 + c + c * c for c in (channels_of(n) for n, _ in settings.style_layers))
    borders = 2 * 80 * width * 3  # pixels out, gradients back
    terms, products = 3, 3 + 2 * 3 * 2 * pairs  # in float32; the latter in float64, but for three
    found = 4 * (moments + borders + terms + products)
    if settings.precondition:
        waves = (width + sum(spectrum._margins(width))) // 2 + 1
        mine = waves // 2
        upper, lower = edges[1], edges[2] - edges[1]
        there = 3 * 8 * upper * (waves - mine)
        back = 3 * 8 * lower * mine
        seen = 2 * there + 2 * 3 * 32 * 8  # both of the pair, and the sums by color and bin
        found += 2 * (there + back) + seen
    return found


@pytest.mark.parametrize("precondition", [False, True])
@pytest.mark.parametrize(("width", "height"), [(32, 176), (48, 192)])
def test_bytes_of_a_step_are_those_of_the_formula(
    width: int, height: int, precondition: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2.4 MB of moments whatever the size, 3840 bytes for each px of the cut on both sides of it;
    with the spectrum, its waves."""
    monkeypatch.setattr(spectrum, "FIRST_PAIRS", 2)
    changes = SHORT | {"size": height, "precondition": precondition, "steps": (6,)}
    changes["learning_rate"] = 0.2  # so that no step is taken back, which sends more
    run = in_threads(upright(width, height), **changes)
    sent, found = 0, []
    for step in steps_of(run):
        found.append(run.exchange.sent - sent)
        if step.step == 5:  # the last one gathers the picture
            assert run.strips is not None
            edges = run.strips.edges
        sent = run.exchange.sent
    expected = bytes_of_a_step(run.settings, edges, width, 4)  # type: ignore[arg-type]
    assert found[4] == expected, edges
    assert min(edges[1], height - edges[1]) >= 80
    assert 2_400_000 < expected < 2_460_000 + 1920 * width + precondition * 72 * width * height


def test_a_checkpoint_of_two_is_gone_on_with_by_one_and_the_other_way_round(
    tower: Picture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a scale, with pairs, a spectrum and matches in memory."""
    monkeypatch.setattr(spectrum, "FIRST_PAIRS", 1)
    changes = SHORT | {"steps": (6,), "matching_weight": 1.0, "matching_steps": 6}
    alone = changes | {"device": "cpu"}
    two, one = tmp_path / "two.safetensors", tmp_path / "one.safetensors"
    for step in impasto.steps(tower, "great-wave", **alone):
        if step.step == 4:
            step.save_checkpoint(one)
    wanted = step.result().picture.pixels
    for step in steps_of(run := in_threads(tower, **changes)):
        if step.step == 4:
            step.save_checkpoint(two)
            kept = {name: own.clone() for name, own in run.state()[0].items()}
    assert any(name.startswith("matches.") for name in kept)
    assert kept["optimizer.vectors"].shape == (2 * 3, 3 * 48 * 128)
    *_, last = impasto.steps(tower, "great-wave", resume=two, **alone)
    assert_near(last.result().picture.pixels, wanted)
    assert len(last.result().history) == 6
    again = in_threads(tower, one, **changes)
    *_, last = steps_of(again)
    assert_near(last.result().picture.pixels, wanted)


def test_state_goes_through_the_members_and_comes_back(
    tower: Picture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit: uninterrupted by two, and gone on with by two."""
    monkeypatch.setattr(spectrum, "FIRST_PAIRS", 1)
    changes, file = SHORT | {"matching_weight": 1.0, "matching_steps": 3}, tmp_path / "run"
    for step in steps_of(run := in_threads(tower, **changes)):
        if step.step == 2:
            step.save_checkpoint(file)
    resumed = in_threads(tower, file, **changes)
    assert len(list(steps_of(resumed))) == 2
    assert torch.equal(run._pixels(), resumed._pixels())
    assert [record["step"] for record in resumed.history] == [1, 2, 3, 4]


def test_masks_transparency_and_regions_of_three_members(tmp_path: Path) -> None:
    """The strips' terms are those of the whole, and so is the picture, where part of it stays."""
    photo = upright(48, 192)
    alpha = torch.ones(1, 1, 192, 48)
    alpha[..., 100:, :24] = 0
    photo = replace(photo, alpha=alpha)
    mask = torch.zeros(192, 48)
    mask[40:120, 10:] = 1
    changes = SHORT | {
        "size": 192, "steps": (2,), "seamless": True, "tv_weight": 1.0, "matching_weight": 1.0,
    }  # fmt: skip
    regions = [impasto.Region("composition-viii", mask.numpy(), 0.7)]

    def scene(device: str) -> Scene:
        settings = settings_for(**changes | {"device": device})
        return Scene(photo, "great-wave", settings, regions=regions)

    one = list(impasto.painting.OptimizedRun(scene("cpu")).paint())
    given = scene("cpu,cpu,cpu")
    each = shared.settings_of_members(given.settings)
    job = shared.job_of(given, each)
    run = SharedRun(given, crew=Crew(3, lambda *words: Threaded(*words, job)))
    for mine, its in zip(steps_of(run), one, strict=True):
        assert mine.losses == pytest.approx(its.losses, rel=1e-4)
    assert_near(run._pixels(), one[-1]._run._pixels())  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"device": "cpu,cuda:7"}, SettingError, "'cuda:7' cannot be used here, with 0 CUDA cards"),
        ({"device": "cpu,auto"}, SettingError, "name each of several"),
        ({"device": "cpu,,cpu"}, SettingError, "name one, or several like cuda:0,cuda:1"),
        (
            {"preset": "instant", "size": 128},
            SettingError,
            "painting in one pass take one: name it",
        ),
        ({"size": 96}, PictureError, "36x96 px cannot be cut for 2 devices, with 64 rows"),
    ],
)
def test_what_cannot_be_shared_is_refused_in_one_line(
    tower: Picture, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    given = {"size": 128, "device": "cpu,cpu"} | changes
    with pytest.raises(error, match=words) as found:
        impasto.steps(tower, "great-wave", **given)
    assert "\n" not in str(found.value)


def test_members_share_threads_and_a_number_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    three = shared.settings_of_members(settings_for(device="cpu,cpu,cpu"))
    assert [own.threads for own in three] == [2, 2, 2]
    assert [own.device for own in three] == ["cpu"] * 3
    own = shared.settings_of_members(settings_for(device="cpu,cpu", threads=3))
    assert [each.threads for each in own] == [3, 3]
    formats = iter([torch.bfloat16, torch.float32])
    monkeypatch.setattr(shared.machine, "choose_dtype", lambda *_: next(formats))
    mixed = shared.settings_of_members(settings_for(device="cpu,cpu"))
    assert {each.precision for each in mixed} == {"float32"}


def test_a_member_plans_with_its_strip(tower: Picture) -> None:
    """Two members take less memory each than one; three pictures' worth less, at least."""
    scene = Scene(upright(512, 2048), "great-wave", settings_for(size=2048, device="cpu,cpu"))
    run = SharedRun(scene, crew=Crew(2, lambda *_: Dead()))
    one = impasto.painting.OptimizedRun(scene.with_settings(settings_for(size=2048, device="cpu")))
    size = run.sizes[-1]
    assert run.footprint(size).tile is None
    assert run.footprint(size).bytes < one.footprint(size).bytes - 3 * 12 * 512 * 2048
