"""The optimizers, on a problem whose answer is known, and what happens when one runs away."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from impasto.errors import DivergedError
from impasto.optimizers.minimizer import LEARNING_RATES, Evaluate, Minimizer, Terms
from impasto.settings import Settings, settings_for

TARGET = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
SCALE = torch.linspace(1, 10, 192).view(1, 3, 8, 8)


class Iterate(NamedTuple):
    """The picture after a step and the loss terms before it."""

    image: Tensor
    terms: Terms


def quadratic(image: Tensor) -> tuple[Terms, Tensor]:
    """1/2 sum s (x - t)^2: badly scaled, with its minimum at TARGET."""
    difference = image - TARGET
    return {"total": (SCALE * difference**2).sum() / 2}, SCALE * difference


def minimize(
    evaluate: Evaluate, image: Tensor, steps: int, settings: Settings
) -> Iterator[Iterate]:
    """So many steps from `image`."""
    minimizer = Minimizer(image, settings)
    for _ in range(steps):
        terms = minimizer.step(evaluate)
        yield Iterate(minimizer.pixels, terms)


@pytest.mark.parametrize("optimizer", list(LEARNING_RATES))
def test_every_optimizer_finds_the_minimum(optimizer: str) -> None:
    settings = settings_for(optimizer=optimizer)
    start = torch.full((1, 3, 8, 8), 0.5)
    *_, last = minimize(quadratic, start, 200, settings)
    assert (last.image - TARGET).abs().max() < 0.03
    assert (start == 0.5).all()  # the start picture is not touched


def test_lbfgs_converges_fast() -> None:
    *_, last = minimize(quadratic, torch.zeros_like(TARGET), 40, settings_for())
    assert (last.image - TARGET).abs().max() < 1e-4


def test_a_step_of_lbfgs_that_leads_uphill_is_taken_back() -> None:
    """From 0.001 beside the minimum of 1/2 |x - t|^2 the first step, 0.02, leads to 0.019 beyond.

    What it taught is all there is to know of a quadratic: the step in its place ends at t.
    """

    def even(image: Tensor) -> tuple[Terms, Tensor]:
        difference = image - TARGET
        return {"total": difference.square().mean() / 2}, difference / difference.numel()

    settings = settings_for()
    losses = [float(s.terms["total"]) for s in minimize(even, TARGET + 0.001, 3, settings)]
    assert losses[0] == pytest.approx(0.001**2 / 2, rel=1e-3)
    assert losses[1] == pytest.approx(0.019**2 / 2, rel=1e-3)
    assert losses[2] < 1e-6 * losses[0]


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("optimizer", list(LEARNING_RATES))
def test_the_scale_of_the_loss_does_not_matter(optimizer: str, scale: float) -> None:
    def scaled(image: Tensor) -> tuple[Terms, Tensor]:
        terms, gradient = quadratic(image)
        return {"total": terms["total"] * scale}, gradient * scale

    *_, last = minimize(scaled, TARGET * 0 + 0.5, 200, settings_for(optimizer=optimizer))
    assert (last.image - TARGET).abs().max() < 0.05


def test_one_step_of_adam_by_hand() -> None:
    """Adam's first step is its learning rate against the gradient's sign (Kingma and Ba 2015)."""
    start = TARGET + 0.1
    step = next(minimize(quadratic, start, 1, settings_for(optimizer="adam")))
    torch.testing.assert_close(step.image, (start - 0.02).clamp(0, 1), rtol=0, atol=1e-6)


def test_one_step_of_sgd_by_hand() -> None:
    start = torch.full((1, 3, 8, 8), 0.5)
    _, gradient = quadratic(start)
    settings = settings_for(optimizer="sgd", learning_rate=0.01)
    step = next(minimize(quadratic, start, 1, settings))
    change = step.image - start
    assert change.square().mean().sqrt().item() == pytest.approx(0.01, rel=1e-4)
    torch.testing.assert_close(change / change.norm(), -gradient / gradient.norm())


def test_the_terms_are_those_before_the_step() -> None:
    start = torch.full((1, 3, 8, 8), 0.5)
    step = next(minimize(quadratic, start, 1, settings_for()))
    assert step.terms["total"] == quadratic(start)[0]["total"]


def test_a_loss_that_is_never_a_number_diverges() -> None:
    def broken(image: Tensor) -> tuple[Terms, Tensor]:
        return {"total": image.sum() * float("nan")}, image

    with pytest.raises(DivergedError, match="loss is nan before the first step: lower the weights"):
        next(minimize(broken, TARGET, 5, settings_for()))


def test_a_weight_that_overflows_is_named() -> None:
    def heavy(image: Tensor) -> tuple[Terms, Tensor]:
        total = image.sum() * float("inf")
        return {"content": image.sum(), "style": total, "total": total}, image

    with pytest.raises(DivergedError, match=r"the loss is inf before .*: lower --style-weight, or"):
        next(minimize(heavy, TARGET, 5, settings_for()))


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam", "adagrad", "sgd", "rmsprop"])
@pytest.mark.parametrize("weight", [2.0**66, 2.0**-90])
def test_the_loss_may_have_any_size(optimizer: Any, weight: float) -> None:
    """In float32 the squares of such gradients overflow, or vanish."""

    def weighted(image: Tensor) -> tuple[Terms, Tensor]:
        terms, gradient = quadratic(image)
        return {"total": terms["total"] * weight}, gradient * weight

    settings, start = settings_for(optimizer=optimizer), torch.zeros_like(TARGET)
    *_, plain = minimize(quadratic, start, 8, settings)
    *_, other = minimize(weighted, start, 8, settings)
    assert torch.equal(plain.image, other.image)
    assert (plain.image - start).abs().max() > 0.01


def finished(settings: Settings, steps: int, evaluate: Evaluate) -> tuple[Minimizer, str | None]:
    minimizer = Minimizer(torch.zeros_like(TARGET), settings)
    for _ in range(steps):
        minimizer.step(evaluate)
    return minimizer, minimizer.finish(evaluate)


def test_a_run_that_only_rose_ends_at_its_start_and_says_so() -> None:
    """Adam is clamped to [0, 1]: its loss does not reach ten times that of the start."""

    def near(image: Tensor) -> tuple[Terms, Tensor]:  # 0.04 at 0, 0.64 at 1
        return {"total": (image - 0.2).square().mean()}, 2 * (image - 0.2) / image.numel()

    minimizer = Minimizer(
        torch.zeros_like(TARGET), settings_for(optimizer="adam", learning_rate=1e6)
    )
    minimizer.step(near)
    assert minimizer.pixels.min() == 1
    with pytest.raises(
        DivergedError, match=r"adam at learning rate 1e\+06: lower --learning-rate \(0.02"
    ):
        minimizer.finish(near)
    assert minimizer.pixels.count_nonzero() == 0


def test_last_steps_that_led_uphill_are_taken_back() -> None:
    calls = 0

    def cliff(image: Tensor) -> tuple[Terms, Tensor]:
        nonlocal calls
        calls += 1
        terms, gradient = quadratic(image)
        return {"total": terms["total"] + 100 * (calls > 7)}, gradient

    minimizer, note = finished(settings_for(optimizer="adam", learning_rate=0.01), 7, cliff)
    assert note is not None
    assert note.startswith(f"the loss rose from {minimizer.best_loss:.4g} to ")
    assert torch.equal(minimizer.pixels, minimizer.best)
    assert calls == 8


def test_a_run_that_went_well_ends_where_it_is_without_another_evaluation() -> None:
    calls = 0

    def counted(image: Tensor) -> tuple[Terms, Tensor]:
        nonlocal calls
        calls += 1
        return quadratic(image)

    minimizer, note = finished(settings_for(), 6, counted)
    assert (note, calls) == (None, 6)
    assert not torch.equal(minimizer.pixels, minimizer.best)


def test_a_loss_that_never_moves_is_said() -> None:
    def flat(image: Tensor) -> tuple[Terms, Tensor]:
        return {"total": torch.tensor(3.0)}, torch.zeros_like(image)

    _, note = finished(settings_for(), 5, flat)
    assert note is not None
    assert "stayed at 3 from the first step to the last" in note


def test_a_single_failure_is_overcome_from_the_best_picture() -> None:
    calls = 0

    def hiccup(image: Tensor) -> tuple[Terms, Tensor]:
        nonlocal calls
        calls += 1
        terms, gradient = quadratic(image)
        return ({"total": terms["total"] * float("nan")}, gradient) if calls == 9 else (
            terms, gradient)  # fmt: skip

    for last in minimize(hiccup, torch.zeros_like(TARGET), 60, settings_for()):
        assert last.image.isfinite().all()
    assert (last.image - TARGET).abs().max() < 1e-3


def test_a_rate_far_too_high_diverges_and_says_so() -> None:
    settings = settings_for(optimizer="lbfgs", learning_rate=1e4)
    with pytest.raises(DivergedError, match="learning rate 10000"):
        for _ in minimize(quadratic, torch.zeros_like(TARGET), 100, settings):
            pass


def test_first_order_methods_stay_in_range() -> None:
    settings = settings_for(optimizer="adam", learning_rate=0.7)
    for step in minimize(quadratic, TARGET, 10, settings):
        assert step.image.min() >= 0
        assert step.image.max() <= 1


def test_no_gradient_no_change() -> None:
    def flat(image: Tensor) -> tuple[Terms, Tensor]:
        return {"total": torch.zeros(())}, torch.zeros_like(image)

    for optimizer in LEARNING_RATES:
        for step in minimize(flat, TARGET, 3, settings_for(optimizer=optimizer)):
            torch.testing.assert_close(step.image, TARGET)


@pytest.mark.parametrize("optimizer", list(LEARNING_RATES))
@pytest.mark.parametrize("stop", [0, 1, 2, 7, 25])
def test_stopped_and_resumed_is_uninterrupted(optimizer: str, stop: int) -> None:
    """Bit for bit, through JSON and copies, at every stage of the optimizer's memory."""
    settings = settings_for(optimizer=optimizer, history=5)
    whole = Minimizer(TARGET * 0 + 0.5, settings)
    first = Minimizer(TARGET * 0 + 0.5, settings)
    for i in range(30):
        whole.step(quadratic)
        if i < stop:
            first.step(quadratic)
    tensors, numbers = first.state()
    second = Minimizer(torch.zeros_like(TARGET), settings)
    second.load({k: v.clone() for k, v in tensors.items()}, json.loads(json.dumps(numbers)))
    for _ in range(30 - stop):
        second.step(quadratic)
    assert torch.equal(second.pixels, whole.pixels)
    assert torch.equal(second.best, whole.best)


@pytest.mark.parametrize("optimizer", list(LEARNING_RATES))
def test_a_checkpoints_memory_goes_where_the_pixels_are(optimizer: str) -> None:
    """A file's tensors are a processor's; here the pixels lie on `meta`, as they may on a card."""
    settings = settings_for(optimizer=optimizer, history=5)
    first = Minimizer(TARGET * 0 + 0.5, settings)
    for _ in range(3):
        first.step(quadratic)
    resumed = Minimizer(torch.zeros_like(TARGET, device="meta"), settings)
    resumed.load(*first.state())
    tensors, _ = resumed.state()
    assert tensors.keys() == first.state()[0].keys()
    for name, value in tensors.items():
        assert name == "optimizer.step" or value.device.type == "meta", name
