"""What else computes on a card: transforms, training, films, and what the command says of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import impasto
from impasto.augmentation import StyleTransfer
from impasto.settings import TrainingSettings, settings_for
from small import EXAMPLES, SMALL, Run

pytestmark = pytest.mark.gpu

TRAINING = TrainingSettings(steps=4, crop=64, width=4, blocks=1)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two small photos."""
    (tmp_path / "photos").mkdir()
    for name in ("china", "coffee"):
        with Image.open(EXAMPLES / f"{name}.jpg") as image:
            image.resize((96, 80)).save(tmp_path / "photos" / f"{name}.png")
    return tmp_path / "photos"


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_a_transform_paints_where_its_batch_is(batch: Tensor, card: str, precision: Any) -> None:
    """The same styles for the same seed, and nearly the processor's pictures."""
    transform = StyleTransfer(["great-wave", "poppies"], p=1.0, seed=1, precision=precision)
    wanted, found = transform(batch), transform(batch.to(card))
    assert found.device.type == torch.device(card).type
    assert found.dtype == torch.uint8
    assert float((found.cpu().float() - wanted.float()).abs().mean()) < 3
    if card == "meta":
        return  # PyTorch gives modules on `meta` no values
    moved = transform.to(card)(batch.to(card))
    assert float((moved.float() - found.float()).abs().mean()) < 1


def test_a_network_is_trained_resumed_and_paints(card: str, photos: Path, tmp_path: Path) -> None:
    from impasto.networks import residual
    from impasto.training import Trainer

    settings = settings_for(size=96, device=card)
    trainer, file = Trainer("great-wave", photos, settings, TRAINING), tmp_path / "run.safetensors"
    for step in trainer.train():
        assert np.isfinite(step.losses["total"])
        if step.step == 2:
            step.save_checkpoint(file)
    resumed = Trainer("great-wave", photos, settings, TRAINING, resume=file)
    *_, last = resumed.train()
    assert last.step == 4
    for name, tensor in trainer.network.tensors.items():
        assert tensor.device.type == torch.device(card).type
        other = resumed.network.tensors[name].detach().cpu()
        torch.testing.assert_close(other, tensor.detach().cpu(), rtol=0.05, atol=5e-3)
    residual.save(trainer.trained(), tmp_path / "own.safetensors")
    painted = impasto.stylize(
        photos / "china.png", str(tmp_path / "own.safetensors"), size=96, device=card
    )
    assert painted.picture.size == (96, 80)


@pytest.mark.parametrize("preset", ["instant", "draft"])
def test_a_film_of_three_frames(card: str, preset: Any, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    pytest.importorskip("cv2")
    from impasto.video import Clip, Film

    with Image.open(EXAMPLES / "china.jpg") as image:
        ground = np.asarray(image.convert("RGB").resize((240, 160)))
    with av.open(str(tmp_path / "in.mp4"), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number in range(3):
            values = np.ascontiguousarray(ground[40:104, 20 + 3 * number : 116 + 3 * number])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(values, format="rgb24")))
        container.mux(stream.encode(None))
    settings = settings_for(preset, size=96, device=card, coarsest=0, steps=(3,))
    frames = list(Film(Clip(tmp_path / "in.mp4"), "great-wave", settings).paint())
    assert [frame.first for frame in frames] == [True, False, False]
    for frame in frames:
        assert frame.pixels.shape == (1, 3, 64, 96)
        assert bool(frame.pixels.isfinite().all())


def test_pixels_on_the_card_are_a_photo(card: str) -> None:
    photo = torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(0))
    wanted, found = (
        impasto.stylize(given, "great-wave", device=card, **SMALL)
        for given in (photo, photo.to(card))
    )
    assert found.recipe["inputs"] == wanted.recipe["inputs"]


def test_the_doctor_names_the_card(card: str, impasto: Run) -> None:
    status, out, err = impasto("doctor")
    assert (status, err) == (0, "")
    if torch.device(card).type == "cuda":
        assert torch.cuda.get_device_name(card) in out
    else:
        assert "device      " in out


def test_a_card_that_is_not_there_is_refused_in_one_line(
    photo: Path, impasto: Run, tmp_path: Path
) -> None:
    words = ("stylize", photo, "great-wave", "-o", tmp_path / "out.png", "--device", "cuda:9")
    status, out, err = impasto(*words)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert "'cuda:9' cannot be used here" in err


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_the_command_paints_on_the_card(
    photo: Path, card: str, impasto: Run, precision: str, tmp_path: Path
) -> None:
    words = ("--size", 64, "--coarsest", 0, "--steps", 3, "--precision", precision)
    target = tmp_path / "out.png"
    status, _, err = impasto("stylize", photo, "great-wave", "-o", target, "--device", card, *words)
    assert status == 0, err
    with Image.open(target) as image:
        assert image.size == (64, 43)
