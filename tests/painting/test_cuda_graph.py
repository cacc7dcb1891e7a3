"""An evaluation as one call: when it is recorded, what it gives, and that it can be."""

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import impasto
from impasto import losses
from impasto.losses.pixels import TemporalTarget
from impasto.machine import cuda_graph
from impasto.machine.cuda_graph import WARM, Replayed
from impasto.networks import tiled, vgg
from impasto.networks.layer_names import stride_of
from impasto.objective import Objective, Spec, Target
from impasto.optimizers.minimizer import Evaluate, Terms
from impasto.painting import canvas
from impasto.settings import settings_for

META = torch.device("meta")


class OfOneDevice(TorchDispatchMode):
    """Notes operations that touch a CPU's tensors: copies to a card or from it. Numbers asked of a
    tensor on `meta`, which has none, raise by themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.strange: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, kwargs, out)) if isinstance(x, Tensor)]
        if any(x.device.type == "cpu" for x in tensors):
            self.strange.append(str(func))
        return out


def on_meta(
    dtype: torch.dtype = torch.bfloat16,
    style_losses: tuple[str, ...] = ("gram", "meanstd"),
    padding: Any = "replicate",
    masked: bool = False,
    temporal: bool = False,
    structure: float = 0.0,
) -> Objective:
    """An objective of 64x48 px on the device that computes shapes alone."""
    settings = settings_for()
    network = vgg.load("vgg19", None, "max", padding, dtype, META)
    image = torch.rand(1, 3, 48, 64, device=META)
    statistics = tiled.statistics_for(style_losses, META)
    layers = dict(settings.style_layers)
    target = tiled.style_moments(network, image, layers, None, statistics)
    guides = {
        layer: torch.rand(
            1, 1, *(side // stride_of(layer) for side in image.shape[2:]), device=META
        )
        for layer in (*layers, "relu4_2")
        if masked
    }
    spec = Spec(
        content_weight=1.0,
        style_weight=1.0,
        tv_weight=1.0,
        structure_weight=structure,
        range_weight=1.0,
        content_layers=settings.content_layers,
        style_layers=settings.style_layers,
        structure_layers=settings.structure_layers,
        style_losses=style_losses,
        scale="relative",
    )
    return Objective(
        network,
        image,
        [Target(target, guides)],
        spec,
        content_guides=guides,
        visible_guides=guides,
        temporal=TemporalTarget(image, image[:, :1]) if temporal else None,
    )


@pytest.mark.parametrize(
    "case",
    [
        {}, {"dtype": torch.float16}, {"dtype": torch.float32}, {"style_losses": ("gram",)},
        {"padding": "circular"}, {"padding": "zero"}, {"masked": True}, {"temporal": True},
        {"structure": 1.0},
    ],
    ids=str,
)  # fmt: skip
def test_an_evaluation_never_waits_for_its_device(case: dict[str, Any]) -> None:
    """Nothing is copied to the card or back, no number asked for: so it can be recorded."""
    objective = on_meta(**case)
    image = torch.rand(1, 3, 48, 64, device=META)
    objective.loss(image)  # what is made once comes with the first
    for made in (objective, objective.limited(["relu1_1", "relu2_1"])):
        with OfOneDevice() as watched:
            terms, gradient = made.loss(image)
        assert watched.strange == []
        assert gradient.shape == image.shape
        assert "total" in terms


def test_the_watch_sees_a_copy_and_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    objective, image = on_meta(), torch.rand(1, 3, 48, 64, device=META)
    usual = losses.style

    def copied(*args: Any) -> Tensor:
        return usual(*args) * torch.ones(1).to(META)

    monkeypatch.setattr(losses, "style", copied)
    with OfOneDevice() as watched:
        objective.loss(image)
    assert watched.strange
    monkeypatch.setattr(losses, "style", lambda *args: usual(*args) * float(usual(*args)))
    with pytest.raises(RuntimeError, match="meta"):
        objective.loss(image)


class Clock:
    """A clock that evaluations move."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def evaluation(self, lasts: float, factor: float = 2.0) -> Evaluate:
        """Terms and gradient of factor x^2 / 2, that take so long."""

        def evaluate(image: Tensor) -> tuple[Terms, Tensor]:
            self.now += lasts
            return {"total": factor * image.square().sum() / 2}, factor * image

        return evaluate


IMAGES = [torch.full((1, 3, 2, 2), float(n)) for n in range(1, WARM + 5)]


@pytest.mark.parametrize(
    ("lasts", "factor", "replays"),
    [(0.1, 2.0, True), (0.1, 2.01, True), (0.1, 2.1, False), (0.1, torch.nan, False),
     (1.5, 2.0, False)],
)  # fmt: skip
def test_a_replay_is_taken_that_is_faster_and_the_same(
    lasts: float, factor: float, replays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    recorded: list[Tensor] = []

    def record(evaluate: Evaluate, image: Tensor) -> Evaluate:
        recorded.append(image)
        return clock.evaluation(lasts, factor)

    monkeypatch.setattr(cuda_graph, "recorded", record)
    evaluate = Replayed(clock.evaluation(1.0))
    found = [evaluate(image)[1] for image in IMAGES]
    assert [int(image[0, 0, 0, 0]) for image in recorded] == [WARM + 1]  # once, when it is warm
    assert evaluate.replays is replays
    for i, (image, gradient) in enumerate(zip(IMAGES, found, strict=True)):
        late = replays and i > WARM
        torch.testing.assert_close(gradient, (factor if late else 2.0) * image)


def test_a_replay_of_the_recorded_picture_alone_is_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such as a graph that holds nothing, because all was done on another stream."""
    clock = Clock(monkeypatch)
    quick = clock.evaluation(0.1)
    monkeypatch.setattr(cuda_graph, "recorded", lambda _, image: lambda _: quick(image))
    evaluate = Replayed(clock.evaluation(1.0))
    images = [image + torch.arange(2.0) for image in IMAGES]  # no two columns are the same
    for image in images:
        torch.testing.assert_close(evaluate(image)[1], 2 * image)
    assert not evaluate.replays


def test_what_cannot_be_recorded_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    def record(evaluate: Evaluate, image: Tensor) -> Evaluate:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")

    monkeypatch.setattr(cuda_graph, "recorded", record)
    evaluate = Replayed(clock.evaluation(1.0))
    for image in IMAGES:
        torch.testing.assert_close(evaluate(image)[1], 2 * image)
    assert not evaluate.replays


def test_a_recording_without_room_leaves_the_picture_whole(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evaluations fit, and go on as they did: no tiles, no note."""
    forward, full, tried = vgg.VGG.__call__, [False], []

    def limited(self: vgg.VGG, image: Tensor, layers: Any) -> Any:
        if full[0] and max(image.shape) == 160:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, image, layers)

    def record(evaluate: Evaluate, image: Tensor) -> Evaluate:
        tried.append(image)
        full[0] = True
        try:
            evaluate(image)
        finally:
            full[0] = False
        return evaluate

    changes: dict[str, Any] = {"size": 160, "coarsest": 0, "steps": WARM + 2, "cuda_graphs": True}
    whole = impasto.stylize(photo, "great-wave", **changes)
    monkeypatch.setattr(vgg.VGG, "__call__", limited)
    monkeypatch.setattr(canvas, "pays", lambda objective, steps: True)
    monkeypatch.setattr(cuda_graph, "recorded", record)
    for step in impasto.steps(photo, "great-wave", **changes):
        assert step.note is None
    assert len(tried) == 1
    assert torch.equal(step.picture().pixels, whole.picture.pixels)


def test_replays_leave_earlier_results_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph writes to the same memory each time; L-BFGS keeps the gradient before."""

    class Graph:
        """Repeats an evaluation in its own memory, as CUDA's does."""

        def replay(self) -> None:
            self.gradient.copy_(2 * self.still)
            self.total.copy_(self.still.square().sum())

    graph = Graph()

    def evaluate(image: Tensor) -> tuple[Terms, Tensor]:
        graph.still = image
        graph.total, graph.gradient = image.square().sum(), 2 * image
        return {"total": graph.total}, graph.gradient

    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "device", lambda card: nullcontext())
    monkeypatch.setattr(cuda_graph, "_stream", lambda card: None)
    made = cuda_graph.recorded(evaluate, IMAGES[0])
    found = [made(image) for image in IMAGES]
    for image, (terms, gradient) in zip(IMAGES, found, strict=True):
        torch.testing.assert_close(gradient, 2 * image)
        torch.testing.assert_close(terms["total"], image.square().sum())
    torch.testing.assert_close(IMAGES[0], torch.ones(1, 3, 2, 2))


def test_only_small_whole_pictures_of_many_steps_on_cuda_are_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Card:
        """Of a network whose tensors lie on a card."""

        mean = torch.empty(0)

    def pays(steps: int = 100, **changes: Any) -> bool:
        objective = on_meta(style_losses=changes.pop("style_losses", ("gram",)))
        objective.network = Card()  # type: ignore[assignment]
        for name, value in changes.items():
            setattr(objective, name, value)
        return canvas.pays(objective, steps)

    assert not pays()
    monkeypatch.setattr(Card, "mean", type("Mean", (), {"device": torch.device("cuda")}))
    assert pays()
    assert pays(cuda_graph.LEAST_STEPS)
    assert not pays(cuda_graph.LEAST_STEPS - 1)
    assert not pays(style_losses=("gram", "wasserstein"))
    assert not pays(size=(4096, 4096))
    assert not pays(tiles=[None, None])


def test_a_painted_picture_is_the_same_with_replays(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through all of a run, with recordings that are the evaluation itself."""
    changes: dict[str, Any] = {
        "size": 96, "coarsest": 48, "steps": (5, 5), "detail_steps": 4, "cuda_graphs": True,
    }  # fmt: skip
    whole = impasto.stylize(photo, "great-wave", **changes)
    made: list[tuple[Evaluate, Tensor]] = []

    def record(evaluate: Evaluate, image: Tensor) -> Evaluate:
        made.append((evaluate, image))
        return evaluate

    monkeypatch.setattr(canvas, "pays", lambda objective, steps: steps > WARM)
    monkeypatch.setattr(cuda_graph, "recorded", record)
    found = impasto.stylize(photo, "great-wave", **changes)
    assert len(made) == 3  # whole, at the second scale detail and whole
    assert torch.equal(found.picture.pixels, whole.picture.pixels)
    assert found.history == whole.history
    made.clear()
    impasto.stylize(photo, "great-wave", **changes | {"cuda_graphs": False})
    assert not made
