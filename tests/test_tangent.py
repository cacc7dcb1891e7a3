"""The style loss beyond the content's layers, linear for a few steps."""

from pathlib import Path
from typing import Any

import pytest
import torch
from test_paint import SMALL, painted
from torch import Tensor

import impasto
from impasto import paint, tangent, vgg
from impasto.measuring import style_moments
from impasto.objective import Objective, Target, Weights
from impasto.painter import Painter
from impasto.scene import Scene
from impasto.settings import settings_for
from impasto.tangent import Tangent

STYLE_LAYERS = (("relu1_1", 0.4), ("relu2_1", 0.3), ("relu2_2", 0.2), ("relu3_1", 0.1))
CONTENT_LAYERS = (("relu1_2", 1.0), ("relu2_1", 1.0))
STIFF = {"loss_scale": "paper", "style_loss": "gram", "style_weight": 1.0, "content_weight": 1.0}


@pytest.fixture(scope="module")
def network() -> vgg.VGG:
    return vgg.load("vgg19", ["relu3_1"], padding="replicate", dtype=torch.float64)


def objective(network: vgg.VGG, photo: Tensor, **changes: Any) -> Objective:
    style = style_moments(network, photo.flip(-1).roll(1, 1), dict(STYLE_LAYERS))
    weights = Weights(0.1, 30.0, structure=1.0)
    given = {"content_layers": CONTENT_LAYERS, "style_layers": STYLE_LAYERS} | changes
    return Objective(network, photo, [Target(style)], weights, **given)


def touched(found: Tangent, slope: float, whole: float = 1.0) -> int:
    """Take in a gradient of one value; how many steps go by it."""
    maps = torch.ones(1, 1, 1, 1)
    found.touch(maps, maps.sum(), slope * maps, whole * maps)
    return found.left


def test_only_style_layers_beyond_the_content_are_deep(network: vgg.VGG, astronaut: Tensor) -> None:
    photo = astronaut.double()
    made = objective(network, photo)
    assert (made.boundary, made.deep) == ("relu2_1", ("relu2_2", "relu3_1"))
    assert made.limited(["relu3_1"]).deep == ()  # no content: nothing to be beyond
    assert objective(network, photo, content_layers=(("relu3_1", 1.0),)).deep == ()
    for layers, deep in ((("relu1_1", 1.0),), made.deep), ((("relu2_2", 1.0),), ()):
        assert objective(network, photo, structure_layers=layers).deep == deep


def test_the_tangent_touches_where_it_was_taken_and_its_gradient_is_its_own(
    network: vgg.VGG, astronaut: Tensor
) -> None:
    """Against the objective there; and against a central difference elsewhere, in float64."""
    photo = astronaut.double()[..., :48, :64]
    made, image = objective(network, photo), photo.roll(5, -1)
    terms, gradient = made.evaluate(image)
    known = Tangent(100)
    first, its = made.evaluate(image, known)
    assert (first, known.left) == (terms, 0)
    assert torch.equal(its, gradient)
    known.left = 100
    second, its = made.evaluate(image, known)
    assert known.left == 99
    assert known.every == 1
    for name, value in terms.items():
        torch.testing.assert_close(second[name], value, msg=name, rtol=1e-6, atol=0)
    torch.testing.assert_close(its, gradient)

    direction = torch.randn(image.shape, generator=torch.Generator().manual_seed(0)).double()
    there, step, known.loss = image + 0.02 * direction, 1e-6, 1e9
    _, gradient = made.evaluate(there, known)
    ahead, behind = (made.evaluate(there + d * direction, known)[0] for d in (step, -step))
    slope = (ahead["style"] + ahead["content"] - behind["style"] - behind["content"]) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-4, atol=0)
    assert known.left == 96
    exact, _ = made.evaluate(there)
    assert abs(float(exact["style"] / made.evaluate(there, known)[0]["style"]) - 1) > 1e-3


def test_deep_layers_are_left_out(network: vgg.VGG, astronaut: Tensor) -> None:
    photo = astronaut.double()[..., :48, :64]
    made, known, asked = objective(network, photo), Tangent(1), []

    def seen(pixels: Tensor, layers: tuple[str, ...]) -> dict[str, Tensor]:
        asked.append(set(layers))
        return network(pixels, layers)

    made.network = lambda *given: seen(*given)  # type: ignore[assignment]
    made.network.layers, made.network.mean = network.layers, network.mean  # type: ignore[misc]
    for _ in range(4):  # the same picture: as straight as can be
        made.evaluate(photo.roll(5, -1), known)
    whole = {"relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1"}
    shallow = whole - {"relu2_2", "relu3_1"}
    assert asked == [whole, whole, shallow, whole]


def test_steps_by_the_tangent_double_while_it_hardly_bends() -> None:
    found = Tangent(6)
    assert [touched(found, 1.0 + 0.05 * i) for i in range(6)] == [0, 1, 3, 6, 6, 6]
    assert touched(found, 1.0) == 0  # by a fourth of the whole gradient
    assert [touched(found, v) for v in (1.05, 1.3, 1.35)] == [1, 0, 1]
    assert touched(found, 9.0, whole=100.0) == 3
    assert touched(found, float("nan")) == 0
    assert touched(found, 1.0) == 0  # nothing is known of it after that


def test_a_loss_that_rises_is_not_believed(network: vgg.VGG, astronaut: Tensor) -> None:
    photo = astronaut.double()[..., :48, :64]
    made, known, image = objective(network, photo), Tangent(5), photo.roll(5, -1)
    made.evaluate(image, known)
    exact, gradient = made.evaluate(photo.roll(6, -1))
    known.left, known.loss = 5, float(exact["total"]) / 1.2
    found, its = made.evaluate(photo.roll(6, -1), known)
    assert found == exact
    assert torch.equal(its, gradient)
    assert known.loss == pytest.approx(float(exact["total"]))
    assert tangent.RISE == 1.1
    known.left, known.loss = 1, float(exact["total"]) / 1.05
    there = photo.roll(7, -1)
    assert made.evaluate(there, known)[0]["style"] != made.evaluate(there)[0]["style"]


def test_tiles_are_always_evaluated(network: vgg.VGG, astronaut: Tensor) -> None:
    photo = astronaut.double()
    made, known = objective(network, photo, tile=32), Tangent(5)
    known.left = 5
    found, gradient = made.evaluate(photo.roll(5, -1), known)
    expected, its = made.evaluate(photo.roll(5, -1))
    assert (found, known.left, known.gradient) == (expected, 5, None)
    assert torch.equal(gradient, its)


@pytest.mark.parametrize("stop", [2, 7, 8, 9, 10])
def test_resumed_is_uninterrupted(photo: Path, tmp_path: Path, stop: int) -> None:
    """Bit for bit, stopped before, between and at evaluations of deep layers."""
    changes = SMALL | STIFF | {"detail_steps": 0, "steps": (3, 10)}
    whole, left = painted(photo, **changes), []
    for step in impasto.steps(photo, "great-wave", **changes):
        run = step._run
        assert isinstance(run, Painter)
        assert run.tangent is not None
        left.append(run.tangent.left)
        if step.step == stop:
            step.save_checkpoint(tmp_path / "run.safetensors")
    assert {0, 1, 2, 3} <= set(left[3:])
    *_, last = impasto.steps(photo, "great-wave", resume=tmp_path / "run.safetensors", **changes)
    found = paint.result(last)
    assert torch.equal(found.picture.pixels, whole.picture.pixels)
    assert found.history == whole.history


def test_it_can_be_turned_off(photo: Path) -> None:
    """Then every step's loss is the objective's; else nearly so."""
    changes = SMALL | STIFF | {"detail_steps": 0}
    scene = Scene(
        impasto.images.read(photo), impasto.paintings.read("great-wave"),
        settings_for(**changes, tangent_steps=0),
    )  # fmt: skip
    assert Painter(scene).tangent is None
    assert settings_for("paper").tangent_steps == 0
    with_it, without = (painted(photo, **changes, tangent_steps=n) for n in (3, 0))
    assert with_it.history != without.history
    ends = [float(run.history[-1]["total"]) for run in (with_it, without)]
    assert ends[0] == pytest.approx(ends[1], rel=0.05)
