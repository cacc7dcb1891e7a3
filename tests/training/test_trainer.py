"""Training: the optimizer's own objective, resumed as uninterrupted, what a user may get wrong."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from impasto import images
from impasto.errors import DivergedError, PictureError, SettingError
from impasto.networks import residual
from impasto.objective import Styles, objective_of
from impasto.painting import Step
from impasto.scene import Scene
from impasto.settings import TrainingSettings, settings_for
from impasto.training import Trainer
from impasto.training import photos as module
from impasto.training.photos import Photos
from small import EXAMPLES, Run

SETTINGS = settings_for(size=96, precision="float32")
TRAINING = TrainingSettings(steps=4, crop=64, width=4, blocks=1)
WORDS = ("--size", "96", "--steps", "4", "--crop", "64", "--width", "4", "--blocks", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos, one of them in a folder below, and a file that is none."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "below").mkdir()
    for name, target in (("china", "china"), ("coffee", "coffee"), ("rocket", "below/rocket")):
        with Image.open(EXAMPLES / f"{name}.jpg") as image:
            image.resize((150, 100)).save(folder / f"{target}.png")
    (folder / "damaged.jpg").write_bytes(b"nonsense")
    (folder / "notes.txt").write_text("no photo")
    return folder


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tensors_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in trainer.network.tensors.items()}


def test_crops_are_squares_of_all_photos_and_the_same_for_the_same_seed(folder: Path) -> None:
    photos = Photos(folder, 96)
    assert [path.name for path in photos.files] == [
        "rocket.png", "china.png", "coffee.png", "damaged.jpg",
    ]  # fmt: skip
    crops = [photos.crop(64, seeded(number)) for number in range(12)]
    for number, crop in enumerate(crops):
        assert crop.shape == (1, 3, 64, 64)
        assert 0 <= float(crop.min()) < float(crop.max()) <= 1
        assert torch.equal(crop, Photos(folder, 96).crop(64, seeded(number)))
    assert len({float(crop.sum()) for crop in crops}) == 12
    said = [note for note in photos.notes if "damaged.jpg" in note]
    assert len(said) == 1


def test_a_crop_of_the_whole_photo_is_the_photo_or_its_mirror_image(tmp_path: Path) -> None:
    photo = torch.rand(3, 64, 64, generator=seeded(0)).mul(255).round().div(255)
    images.write_bytes(images.encode(images.read(photo)), tmp_path / "photo.png")
    photos, found = Photos(tmp_path, 64), []
    for seed in range(16):
        crop = photos.crop(64, seeded(seed))
        mirrored = torch.allclose(crop, photo.flip(-1), atol=1e-6)
        assert mirrored or torch.allclose(crop, photo, atol=1e-6)
        found.append(mirrored)
    assert 3 < sum(found) < 13


def test_large_photos_are_kept_small(tmp_path: Path) -> None:
    Image.new("RGB", (600, 300), "teal").save(tmp_path / "large.png")
    assert Photos(tmp_path, 96).at(0).shape == (1, 3, 96, 192)


def test_few_photos_are_warned_of_and_none_refused(folder: Path, tmp_path: Path) -> None:
    assert "4 photos are few" in Photos(folder, 96).notes[0]
    for name in ("absent", ""):
        with pytest.raises(PictureError, match="photos"):
            Photos(tmp_path / name, 96)
    (tmp_path / "damaged.png").write_bytes(b"nonsense")
    with pytest.raises(PictureError, match="no photo under"):
        Photos(tmp_path, 96).at(0)


def test_the_objective_is_the_optimizers(folder: Path) -> None:
    """Terms and gradient of a square, against those of painting it at its own size, by moments."""
    settings = settings_for(size=64, precision="float32", strength=0.7)
    trainer = Trainer("great-wave", folder, settings, TRAINING)
    photo, painted = (trainer.photos.crop(64, seeded(seed)) for seed in (0, 1))
    scene = Scene(images.read(photo), "great-wave", settings)
    objective = objective_of(scene.at((64, 64)), Styles(trainer.vgg, trainer.settings, 16))
    expected, slope = objective.loss(painted)
    terms, gradient = trainer.loss(photo, painted)
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)
    torch.testing.assert_close(gradient, slope)
    assert float(trainer.loss(photo, photo)[0]["content"]) == pytest.approx(0, abs=1e-6)


def test_the_network_learns(folder: Path) -> None:
    """The loss of the same squares falls by a fifth in 60 steps."""
    training = TrainingSettings(steps=60, crop=64, width=4, blocks=1, learning_rate=0.003)
    trainer = Trainer("great-wave", folder, SETTINGS, training)
    squares = [trainer.square(number) for number in range(3)]

    def loss() -> float:
        with torch.no_grad():
            painted = [(square, trainer.network(square)) for square in squares]
        return sum(float(trainer.loss(*pair)[0]["total"]) for pair in painted)

    before, steps = loss(), list(trainer.train())
    assert loss() < before * 4 / 5
    assert [step.step for step in steps] == list(range(1, 61))
    assert set(steps[0].losses) == {"content", "style", "range", "total"}
    recipe = trainer.trained().recipe
    assert (recipe["style"], recipe["steps_taken"]) == (["great-wave"], 60)


def test_squares_are_small_at_first(folder: Path) -> None:
    """Of 5 steps 3 are on squares of half the side, which are a quarter of the work each:
    3/4 + 2 in all."""
    training = TrainingSettings(steps=5, crop=64, width=4, blocks=1)
    steps = list(Trainer("great-wave", folder, SETTINGS, training).train())
    assert [step.size for step in steps] == [(32, 32)] * 3 + [(64, 64)] * 2
    work = [step.work for step in steps]
    assert work == pytest.approx([1 / 11, 2 / 11, 3 / 11, 7 / 11, 1])


def test_a_batch_is_the_mean_of_its_squares(folder: Path) -> None:
    """Two squares in one step: the loss is the mean, the gradients too."""
    one, two = (TrainingSettings(steps=2, crop=64, width=4, blocks=1, batch=b) for b in (1, 2))
    trainer = Trainer("great-wave", folder, SETTINGS, two)
    squares = [trainer.square(number) for number in range(2)]
    with torch.no_grad():
        losses = [
            float(trainer.loss(square, trainer.network(square))[0]["total"]) for square in squares
        ]
    found = next(trainer.train()).losses["total"]
    assert found == pytest.approx(sum(losses) / 2, rel=1e-5)
    alone = next(Trainer("great-wave", folder, SETTINGS, one).train()).losses["total"]
    assert alone == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.parametrize("stop", [1, 3])
def test_resumed_is_uninterrupted_bit_for_bit(folder: Path, tmp_path: Path, stop: int) -> None:
    straight = Trainer("great-wave", folder, SETTINGS, TRAINING)
    losses = [step.losses for step in straight.train()]
    first, file = Trainer("great-wave", folder, SETTINGS, TRAINING), tmp_path / "state"
    for step in first.train():
        if step.step == stop:
            step.save_checkpoint(file)
            break
    second = Trainer("great-wave", folder, SETTINGS, TRAINING, resume=file)
    assert [step.losses for step in second.train()] == losses[stop:]
    for name, tensor in tensors_of(straight).items():
        assert torch.equal(second.network.tensors[name], tensor), name


def test_checkpoints_of_other_runs_are_refused(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "state"
    next(Trainer("great-wave", folder, SETTINGS, TRAINING).train()).save_checkpoint(file)
    other = TrainingSettings(steps=5, crop=64, width=4, blocks=1)
    for style, settings, training, said in (
        ("poppies", SETTINGS, TRAINING, "inputs"),
        ("great-wave", settings_for(size=96, precision="float32", strength=0.6), TRAINING,
         "strength 0.5"),
        ("great-wave", SETTINGS, other, "steps 4"),
    ):  # fmt: skip
        with pytest.raises(PictureError, match=said):
            Trainer(style, folder, settings, training, resume=file)
    (tmp_path / "text").write_text("no checkpoint")
    with pytest.raises(PictureError, match="no checkpoint"):
        Trainer("great-wave", folder, SETTINGS, TRAINING, resume=tmp_path / "text")


def test_training_starts_from_another_network(folder: Path) -> None:
    start = residual.fresh(residual.Shape(6, 2), seed=9)
    trainer = Trainer("great-wave", folder, SETTINGS, TRAINING, init=start)
    assert trainer.network.shape == start.shape
    for name, tensor in start.tensors.items():
        assert torch.equal(trainer.network.tensors[name], tensor)


def test_settings_that_a_network_cannot_learn_are_refused(folder: Path) -> None:
    for changes in (
        {"keep_colors": "luminance"}, {"palette": "style"}, {"seamless": True},
        {"method": "instant"},
    ):  # fmt: skip
        settings = settings_for(size=96, **changes)
        with pytest.raises(SettingError, match=next(iter(changes))):
            Trainer("great-wave", folder, settings, TRAINING)
    for wrong in ({"crop": 8}, {"steps": 0}, {"learning_rate": float("nan")}, {"batch": "two"}):
        with pytest.raises(SettingError, match=next(iter(wrong))):
            TrainingSettings(**wrong)


def test_a_loss_that_is_no_number_stops_the_run(folder: Path) -> None:
    trainer = Trainer("great-wave", folder, SETTINGS, TRAINING)
    with torch.no_grad():
        trainer.network.tensors["out.bias"].fill_(torch.nan)
    with pytest.raises(DivergedError, match="learning-rate"):
        next(trainer.train())


def test_a_step_that_breaks_the_network_is_not_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer("great-wave", folder, SETTINGS, TRAINING)
    known = Trainer.loss

    def loss(self: Trainer, photo: Tensor, painted: Tensor) -> tuple[Any, Tensor]:
        terms, gradient = known(self, photo, painted)
        return terms, gradient * math.inf

    monkeypatch.setattr(Trainer, "loss", loss)
    with pytest.raises(DivergedError):
        list(trainer.train())
    assert all(bool(tensor.isfinite().all()) for tensor in trainer.network.tensors.values())


def test_training_from_the_command_line(impasto: Run, folder: Path, tmp_path: Path) -> None:
    target, state = tmp_path / "wave.safetensors", tmp_path / "state"
    status, out, err = impasto(
        "train", "great-wave", "--photos", folder, "-o", target, *WORDS, "--json",
        "--checkpoint", state, "--preview", tmp_path / "seen", "--preview-every", 2,
        "--preview-photo", EXAMPLES / "china.jpg",
    )  # fmt: skip
    assert status == 0, err
    found = json.loads(out)
    assert (found["style"], found["steps_taken"], found["stopped"]) == (["great-wave"], 4, False)
    network = residual.load(target)
    assert (network.shape, network.recipe["training"]["crop"]) == (residual.Shape(4, 1), 64)
    previews = sorted((tmp_path / "seen").iterdir())
    assert [path.name for path in previews] == ["step-00002.png", "step-00004.png"]
    assert images.read(previews[0]).size == (96, 64)
    assert "photos are few" in err
    assert "left out" in err
    again = tmp_path / "again.safetensors"
    status, _, err = impasto(
        "train", "great-wave", "--photos", folder, "-o", again, *WORDS, "--quiet",
        "--resume", state,
    )  # fmt: skip
    assert (status, err) == (0, "")
    first, second = residual.load(target), residual.load(again)
    assert all(torch.equal(first.tensors[name], second.tensors[name]) for name in first.tensors)


def test_ctrl_c_saves_the_network_so_far(
    impasto: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Trainer.train

    def interrupted(trainer: Trainer) -> Iterator[Step]:
        for step in whole(trainer):
            yield step
            if step.step == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "train", interrupted)
    target, state = tmp_path / "wave.safetensors", tmp_path / "state"
    words = ("train", "great-wave", "--photos", folder, "-o", target, *WORDS)
    status, _, err = impasto(*words, "--checkpoint", state)
    assert status == 130
    assert f"--resume {state}" in err
    assert residual.load(target).recipe["steps_taken"] == 2
    monkeypatch.setattr(Trainer, "train", whole)
    straight = Trainer("great-wave", folder, settings_for(size=96), TRAINING)
    list(straight.train())
    status, _, err = impasto(*words, "--resume", state, "--force")
    assert status == 0, err
    residual.save(straight.trained(), tmp_path / "straight.safetensors")
    resumed, expected = residual.load(target), residual.load(tmp_path / "straight.safetensors")
    for name, tensor in expected.tensors.items():
        assert torch.equal(resumed.tensors[name], tensor), name


def test_what_cannot_be_done_is_refused_before_anything_is_read(
    impasto: Run, folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "wave.safetensors"
    (tmp_path / "there.safetensors").write_bytes(b"precious")
    (tmp_path / "empty").mkdir()
    start = ("train", "great-wave", "--photos", folder)
    for words in (
        ("train", "--photos", folder, "-o", target),
        ("train", "great-wave", "--photos", tmp_path / "empty", "-o", target),
        ("train", "no-such-painting", "--photos", folder, "-o", target),
        ("train", "great-wave.safetensors", "--photos", folder, "-o", target),
        (*start,),
        (*start, "-o", tmp_path / "wave.png"),
        (*start, "-o", tmp_path / "there.safetensors"),
        (*start, "-o", tmp_path / "no" / "wave.safetensors"),
        (*start, "-o", target, "--crop", 8),
        (*start, "-o", target, "--init", EXAMPLES / "china.jpg"),
        (*start, "-o", target, "--resume", tmp_path / "absent"),
        (*start, "-o", target, "--preview-photo", EXAMPLES / "china.jpg"),
        (*start, "-o", target, "--preview", tmp_path / "seen", "--preview-every", 0),
        (*start, "-o", target, "--checkpoint", tmp_path / "there.safetensors"),
    ):
        status, out, err = impasto(*words)
        assert (status, out) == (2, ""), words
        assert len(err.splitlines()) == 1, err
    assert (tmp_path / "there.safetensors").read_bytes() == b"precious"
    assert not target.exists()


def test_photos_beyond_the_room_are_read_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 0)
    found = Photos(folder, 96)
    assert torch.equal(found.crop(64, seeded(5)), found.crop(64, seeded(5)))
    assert not found._small
