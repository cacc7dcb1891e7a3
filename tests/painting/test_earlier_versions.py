"""What earlier versions wrote can still be read: recipes, checkpoints, trained networks.

earlier.png and earlier.ckpt are of commit 19da8e3: `impasto.steps("china.jpg", "great-wave",
size=48, coarsest=32, steps=(3, 2), detail_steps=1, precision="float32", style_turn="0,flip90",
style_crop="0:0:0.5:1", memory_limit="3G", threads=1)`, the checkpoint after its second step.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import impasto as library
from impasto import images
from impasto.networks import residual
from impasto.settings import Crop, Turn, from_recipe, settings_for
from small import EXAMPLES, REFERENCES, Run

PNG, CHECKPOINT = REFERENCES / "earlier.png", REFERENCES / "earlier.ckpt"


def test_a_picture_is_painted_again(impasto: Run, tmp_path: Path) -> None:
    own = Path(shutil.copy(PNG, tmp_path))
    shutil.copy(EXAMPLES / "china.jpg", tmp_path)
    status, _, err = impasto("rerun", own, "-q")
    assert status == 0, err
    before, after = images.read(own), images.read(tmp_path / "earlier-again.png")
    assert float((before.pixels - after.pixels).abs().mean()) < 0.01
    settings = images.recipe_of(tmp_path / "earlier-again.png")["settings"]
    assert settings["method"] == "optimize"
    assert "tangent_steps" not in settings


def test_its_recipe_is_told(impasto: Run) -> None:
    status, out, err = impasto("info", PNG)
    assert status == 0, err
    assert "great-wave" in out
    assert "style_turn 0, flip90" in out
    assert "tangent" not in out


def test_the_settings_of_a_checkpoint_are_todays() -> None:
    with safe_open(CHECKPOINT, framework="pt") as stored:
        recorded = json.loads(stored.metadata()["impasto"])["recipe"]["settings"]
    assert (recorded["method"], recorded["memory_limit"]) == ("optimise", "3G")
    settings = settings_for(**from_recipe(recorded))
    assert settings.method == "optimize"
    assert settings.memory_limit == 3 * 1024**3
    assert settings.style_crop == (Crop(0, 0, 0.5, 1),)
    assert settings.style_turn == (Turn(False, 0), Turn(True, 90))
    assert settings.steps == (3, 2)


def test_a_checkpoint_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the pixels of then, without the memory of L-BFGS, which had another form: to a picture
    like that of then."""
    with safe_open(CHECKPOINT, framework="pt") as stored:
        facts = json.loads(stored.metadata()["impasto"])
        tensors = {key: stored.get_tensor(key) for key in stored.keys()}
    photo = EXAMPLES / "china.jpg"
    settings = settings_for(**from_recipe(facts["recipe"]["settings"]))
    now = next(library.steps(photo, "great-wave", settings))._run.recipe()
    facts["recipe"] |= {"torch": torch.__version__, "inputs": now["inputs"]}  # of this machine
    own = tmp_path / "run.ckpt"
    save_file(tensors, own, {"impasto": json.dumps(facts)})
    *_, last = library.steps(photo, "great-wave", settings, resume=own)
    assert last.step == last.steps == 6
    then = images.read(PNG).pixels
    assert float((last.picture().pixels - then).abs().mean()) < 0.03


def test_the_network_that_ships_is_read() -> None:
    network = residual.load("great-wave.safetensors")
    assert network.recipe["style"] == ["great-wave"]
    assert network(torch.rand(1, 3, 32, 32)).shape == (1, 3, 32, 32)
