"""The objective: the sum of its parts, and the gradient of that sum."""

import gc
import weakref
from typing import Any

import pytest
import torch

from impasto import losses
from impasto.losses import moments
from impasto.networks import vgg
from impasto.networks.tiled import style_moments
from impasto.objective import Objective, Spec, Target
from impasto.objective.backward import Slopes, gradient_of

STYLE_LAYERS = (("relu1_1", 0.25), ("relu2_1", 0.75))


def objective(
    network: vgg.VGG,
    photo: torch.Tensor,
    content: float,
    style: float,
    tv: float = 0.0,
    style_losses: tuple[str, ...] = ("gram",),
) -> Objective:
    """With these weights."""
    painting = photo.flip(-1).roll(1, 1)
    wanted = style_moments(network, painting, dict(STYLE_LAYERS))
    spec = Spec(
        content_weight=content,
        style_weight=style,
        tv_weight=tv,
        content_layers=(("relu2_2", 1.0),),
        style_layers=STYLE_LAYERS,
        style_losses=style_losses,
    )
    return Objective(network, photo, [Target(wanted)], spec)


def test_terms_are_the_weighted_losses(network: vgg.VGG, astronaut: torch.Tensor) -> None:
    image = astronaut.roll(3, -1)
    found = objective(network, astronaut, 2.0, 30.0, 5.0).terms(image)
    layers = ["relu1_1", "relu2_1", "relu2_2"]
    f, p = network(image, layers), network(astronaut, layers)
    a = network(astronaut.flip(-1).roll(1, 1), layers)
    style = sum(
        w * losses.gram(moments.measure(f[layer]), moments.measure(a[layer]))
        for layer, w in STYLE_LAYERS
    )
    torch.testing.assert_close(found["content"], 2 * losses.content(f["relu2_2"], p["relu2_2"])[0])
    torch.testing.assert_close(found["style"], 30 * style[0])
    torch.testing.assert_close(found["tv"], 5 * losses.total_variation(image)[0])
    total = found["content"] + found["style"] + found["tv"]
    torch.testing.assert_close(found["total"], total)


def test_a_missing_gradient_is_an_error_and_no_zero(
    network: vgg.VGG, astronaut: torch.Tensor
) -> None:
    """As in inference mode, where PyTorch records nothing of what the loss is made of."""
    made = objective(network, astronaut, 2.0, 30.0)
    with torch.inference_mode(), pytest.raises(RuntimeError, match="does not require grad"):
        made.loss(astronaut.clone())
    with pytest.raises(RuntimeError, match=r"left no gradient in a leaf of \(2,\)"):
        gradient_of(torch.zeros(2, requires_grad=True))


def test_a_pass_back_that_fails_leaves_no_maps_in_memory(
    network: vgg.VGG, astronaut: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory ran out half-way: smaller tiles need what the whole picture took."""
    seen: list[weakref.ref[torch.Tensor]] = []
    forward, usual, calls = vgg.VGG.__call__, Slopes.add_own, []

    def watched(self: vgg.VGG, image: torch.Tensor, layers: Any) -> vgg.Features:
        found = forward(self, image, layers)
        seen.extend(weakref.ref(maps) for maps in found.values())
        return found

    def failing(self: Slopes, *args: Any) -> torch.Tensor:
        calls.append(args[1])
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return usual(self, *args)

    made = objective(network, astronaut, 2.0, 30.0)
    monkeypatch.setattr(vgg.VGG, "__call__", watched)
    monkeypatch.setattr(Slopes, "add_own", failing)
    with pytest.raises(torch.OutOfMemoryError):
        made.loss(astronaut.clone())
    gc.collect()
    assert len(calls) == 2
    assert seen
    assert not [maps for maps in seen if maps() is not None]


def test_only_losses_of_means_measure_them(network: vgg.VGG, astronaut: torch.Tensor) -> None:
    for name, measured in (("gram", False), ("meanstd", True)):
        made = objective(network, astronaut, 1.0, 1.0, style_losses=(name,))
        found, _ = made._measured(astronaut, None)
        assert all(bool(m.mean.isfinite().all()) == measured for [m] in found.values())


def test_pixels_beyond_black_and_white_are_called_back() -> None:
    net = vgg.load("vgg19", ["relu1_1"], padding="replicate")
    flat = torch.full((1, 3, 40, 30), 0.5)
    layers = (("relu1_1", 1.0),)
    spec = Spec(
        content_weight=0.0,
        style_weight=0.0,
        range_weight=2.0,
        content_layers=layers,
        style_layers=layers,
    )
    made = Objective(net, flat, [], spec)
    image = torch.linspace(-0.5, 1.5, 3600).reshape(1, 3, 40, 30).requires_grad_()
    expected = 2 * losses.out_of_range(image).sum()
    (slope,) = torch.autograd.grad(expected, image)
    terms, gradient = made.loss(image)
    torch.testing.assert_close(terms["range"], expected.detach())
    torch.testing.assert_close(gradient, slope)


def test_gradient_is_that_of_the_total(network: vgg.VGG, astronaut: torch.Tensor) -> None:
    """Against a central difference along a random direction, in float64."""
    net = vgg.load("vgg19", ["relu2_2"], padding="replicate", dtype=torch.float64)
    photo = astronaut.double()[..., :32, :32]
    o = objective(net, photo, 1e-4, 3.0, 1.0, ("gram", "meanstd"))
    image = photo.roll(5, -1)
    _, gradient = o.loss(image)
    direction = torch.randn(image.shape, generator=torch.Generator().manual_seed(0)).double()
    step = 1e-7
    ahead, behind = o.terms(image + step * direction), o.terms(image - step * direction)
    slope = (ahead["total"] - behind["total"]) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-4, atol=0)


def test_a_limited_objective_is_that_of_its_layers(
    network: vgg.VGG, astronaut: torch.Tensor
) -> None:
    image, whole = astronaut.roll(3, -1), objective(network, astronaut, 2.0, 3.0, 5.0)
    style = {"relu1_1": whole.targets[0].moments["relu1_1"]}
    spec = Spec(
        content_weight=0.0, style_weight=3.0, tv_weight=5.0, style_layers=(("relu1_1", 0.25),)
    )
    alone = Objective(network, astronaut, [Target(style)], spec)
    found, gradient = whole.limited(["relu1_1", "relu3_1"]).loss(image)
    wanted, its = alone.loss(image)
    assert found == wanted
    assert torch.equal(gradient, its)
    assert "relu2_2" in whole.content  # the whole one is as it was


def test_content_alone_is_zero_at_the_photo(network: vgg.VGG, astronaut: torch.Tensor) -> None:
    terms, gradient = objective(network, astronaut, 1.0, 0.0).loss(astronaut)
    assert terms["total"] == 0
    assert gradient.abs().max() == 0


def test_layers_of_no_weight_are_not_computed(network: vgg.VGG, astronaut: torch.Tensor) -> None:
    assert objective(network, astronaut, 0.0, 1.0).layers == ("relu1_1", "relu2_1")
    assert objective(network, astronaut, 1.0, 0.0).layers == ("relu2_2",)
