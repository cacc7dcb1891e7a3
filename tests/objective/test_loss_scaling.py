"""Gradients of maps in float16: none is lost, none runs over."""

from typing import Any

import pytest
import torch

import impasto
from impasto import images
from impasto.errors import SettingError
from impasto.images import paintings
from impasto.losses import moments
from impasto.machine import device
from impasto.objective import loss_scaling
from impasto.painting.optimized import OptimizedRun
from impasto.scene import Scene
from impasto.settings import settings_for
from impasto.training import Trainer


def test_only_float16_needs_it() -> None:
    for dtype, expected in (
        (torch.float16, True), (torch.bfloat16, False), (torch.float32, False),
        (torch.float64, False),
    ):  # fmt: skip
        assert loss_scaling.needed(dtype) is expected


def test_the_factor_is_a_power_of_two() -> None:
    """1/32 over the largest size, rounded down: 0.001 gives 31.25 and so 16."""
    like = torch.zeros(1)
    sizes = [torch.tensor(1e-6), torch.tensor(0.001, dtype=torch.float64)]
    assert loss_scaling.factor(sizes, like) == 16
    assert loss_scaling.factor([torch.tensor(1.0)], like) == 1 / 32
    assert loss_scaling.factor([], like) == 1
    assert loss_scaling.factor([torch.tensor(0.0)], like).isfinite()


@pytest.mark.parametrize("means", [True, False])
def test_sizes_of_style_are_those_of_the_gradients(means: bool) -> None:
    """What `pull_back` makes of real features has the root mean square that moments foretell."""
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(1, 5, 7, 6, generator=generator, dtype=torch.float64)
    found = moments.measure(features)
    second = torch.randn(1, 5, 5, generator=generator, dtype=torch.float64)
    mean = torch.randn(1, 5, generator=generator, dtype=torch.float64) if means else None
    gradient = moments.pull_back(features, None, found.weight, mean, second)
    size = loss_scaling.size_of_style(found, mean, second)
    torch.testing.assert_close(size, gradient.square().mean().sqrt())


def test_size_of_content_is_that_of_its_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    change = torch.randn(1, 4, 3, 5, generator=generator)
    factor = torch.tensor([0.25])
    value = (factor * change.square().sum()).sum()
    found = loss_scaling.size_of_content(value, factor, change.numel())
    torch.testing.assert_close(found, (2 * 0.25 * change).square().mean().sqrt())


def evaluated(photo: torch.Tensor, precision: str, **changes: Any) -> torch.Tensor:
    """The gradient of an objective of `best`, 64 px, near the photo."""
    settings = settings_for(size=64, precision=precision, **changes)
    scene = Scene(images.Picture(photo), paintings.read("great-wave"), settings)
    run = OptimizedRun(scene)
    view = run.scene.at(run.sizes[-1])
    objective = run._objective(view, settings.tile or None)
    image = view.photo
    generator = torch.Generator().manual_seed(0)
    image = image + 0.1 * torch.randn(image.shape, generator=generator)
    _, gradient = objective.loss(image)
    return gradient


CASES: list[dict[str, Any]] = [
    {},
    {"tile": 32},
    {"structure_weight": 1.0},
    {"style_loss": "gram", "style_weight": 3e9, "content_weight": 1e3, "loss_scale": "paper"},
]


@pytest.mark.parametrize("changes", CASES)
def test_float16_has_the_gradient_of_float32(
    astronaut: torch.Tensor, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    """To 2 %, a third of what bfloat16 rounds; unscaled, it loses half as much again, or all (at
    128 px more than bfloat16: there are more positions)."""
    exact = evaluated(astronaut, "float32", **changes)

    def error(precision: str) -> float:
        found = evaluated(astronaut, precision, **changes)
        return float((found - exact).norm() / exact.norm())

    scaled, rounded = error("float16"), error("bfloat16")
    assert scaled < 0.02
    assert scaled < rounded / 2
    monkeypatch.setattr(loss_scaling, "factor", lambda sizes, like: like.new_ones(()))
    assert not error("float16") < 1.5 * scaled  # it may be nan


def test_float16_paints_the_picture_of_float32(astronaut: torch.Tensor) -> None:
    photo = images.Picture(astronaut)
    changes: dict[str, Any] = {"size": 64, "coarsest": 0, "steps": 6, "detail_steps": 0}
    exact, found = (
        impasto.stylize(photo, "great-wave", precision=precision, **changes)
        for precision in ("float32", "float16")
    )
    ends = [result.history[-1]["total"] for result in (exact, found)]
    assert ends[1] == pytest.approx(ends[0], rel=0.06)
    assert ends[0] < 0.7 * exact.history[0]["total"]
    assert found.recipe["features"] == "float16"


def test_cards_without_bfloat16_take_float16_but_do_not_train_in_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    card = torch.device("cuda")
    for capability, expected in (
        ((6, 1), torch.float32), ((7, 5), torch.float16), ((8, 0), torch.bfloat16),
    ):  # fmt: skip
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, has=capability: has)
        assert device.choose_dtype("auto", card) == expected
        wide = torch.float32 if expected == torch.float16 else expected
        assert device.choose_dtype("auto", card, float16=False) == wide
        assert device.choose_dtype("float16", card) == torch.float16
    with pytest.raises(SettingError, match="precision is float16"):
        Trainer("great-wave", tmp_path, settings_for(precision="float16"))


def test_pairs_are_not_kept_in_float16(astronaut: torch.Tensor) -> None:
    """They are as small as gradients."""
    settings = settings_for(size=64, precision="float16", coarsest=0, steps=1)
    run = OptimizedRun(Scene(images.Picture(astronaut), "great-wave", settings))
    next(run.paint())
    assert run.minimizer is not None
    assert run.minimizer.dtype == torch.bfloat16
