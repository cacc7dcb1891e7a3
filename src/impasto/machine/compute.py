"""One start of the machine: where to compute, in which number format, on how many threads; and in
which state PyTorch is meanwhile, whatever the caller made of it."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from impasto.machine.device import Precision, choose_device, choose_dtype

Item = TypeVar("Item")
CPU = torch.device("cpu")
AUTOCAST = ("cpu", "cuda", "mps", "xpu")  # the devices that PyTorch has autocast for
ROUNDED_SUMS = (
    "allow_bf16_reduced_precision_reduction", "allow_fp16_reduced_precision_reduction",
)  # fmt: skip
"""Switches of `torch.backends.cuda.matmul`, on in the beginning: cuBLAS may round partial sums."""
EXACT = ("none", "ieee")  # products of float32 whose factors are not rounded first


@contextmanager
def neutral() -> Iterator[None]:
    """Inside, PyTorch is as it begins; afterwards as the caller has it.

    As it begins: inference mode and autocast off, gradients on, float32 and the CPU by default,
    exact products of float32. So a picture is the same wherever it is painted, and tensors made
    inside are ordinary ones. What functions compute that it decorates, they compute inside;
    generators take `stepwise`.
    """
    with ExitStack() as stack:
        stack.enter_context(_SHARED.neutral())
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in AUTOCAST:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device() != CPU:
            stack.enter_context(CPU)
        yield


@dataclass(frozen=True)
class Compute:
    """What a run computes on, and with. Nothing global changes but inside `tuned`."""

    device: torch.device
    dtype: torch.dtype
    """Number format of the network's features."""
    precision: Precision
    """What was asked for."""
    threads: int
    """CPU threads; 0 for PyTorch's choice."""

    @contextmanager
    def tuned(self) -> Iterator[None]:
        """Inside, PyTorch is `neutral` and computes as was asked for; afterwards the caller's state
        is back.

        On CUDA cuDNN times its algorithms (a run has few shapes, each hundreds of times: a second
        of trials pays), and a card rounds no more than a processor does (`unrounded`).
        """
        with neutral():
            threads = torch.get_num_threads()
            try:
                if self.threads and self.threads != threads:
                    torch.set_num_threads(self.threads)
                with self._card():
                    yield
            finally:
                if self.threads and self.threads != threads:
                    torch.set_num_threads(threads)

    @contextmanager
    def _card(self) -> Iterator[None]:
        """What is CUDA's of `tuned`."""
        if self.device.type != "cuda":
            yield
            return
        before = torch.backends.cudnn.benchmark
        try:
            torch.backends.cudnn.benchmark = True
            with unrounded(self.device):
                yield
        finally:
            torch.backends.cudnn.benchmark = before

    def stepwise(self, items: Iterator[Item]) -> Iterator[Item]:
        """The items of a generator, each made inside `tuned`: while the caller has one, the
        caller's state is in force."""
        while True:
            with self.tuned():
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item


@contextmanager
def unrounded(device: torch.device) -> Iterator[None]:
    """Inside, a card rounds no more than a processor does.

    Convolutions of float32 do not see TF32 (to products `neutral` sees): its ten bits are too few
    for OKLab and for a covariance that is inverted. Partial sums of narrower formats are float32.
    """
    if device.type != "cuda":
        yield
        return
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    rounding = [name for name in ROUNDED_SUMS if getattr(matmul, name)]
    before = _tf32_of(cudnn)
    try:
        cudnn.allow_tf32 = False
        for name in rounding:
            setattr(matmul, name, False)
        yield
    finally:
        cudnn.allow_tf32 = before
        for name in rounding:
            setattr(matmul, name, True)


def start(
    device: str = "auto", precision: Precision = "auto", threads: int = 0, float16: bool = True
) -> Compute:
    """Choose a device and a number format by their names, `auto` for the best there is.

    float16: whether that will do, too, on cards that have no bfloat16. Raises SettingError for a
    device that is not there.
    """
    chosen = choose_device(device)
    return Compute(chosen, choose_dtype(precision, chosen, float16), precision, threads)


class _Shared:
    """What of PyTorch's state all threads of the process share.

    The first thread to come notes the caller's, the last to go gives it back. If each did so by
    itself, one would take for the caller's what another has set, and leave it behind.
    """

    def __init__(self) -> None:
        self.lock, self.own = threading.Lock(), threading.local()
        self.inside, self.threads = 0, 0
        self.changes = ExitStack()

    @contextmanager
    def neutral(self) -> Iterator[None]:
        """Inside, new tensors are float32 and products of them exact."""
        outermost = not getattr(self.own, "inside", False)
        self._enter()
        self.own.inside = True
        try:
            yield
        finally:
            self.own.inside = not outermost
            self._leave()
            # a thread that began while another had changed the number has that for its own
            if outermost and torch.get_num_threads() != self.threads:
                torch.set_num_threads(self.threads)

    def _enter(self) -> None:
        with self.lock:
            if not self.inside:
                self.threads = torch.get_num_threads()
                self._default_dtype()
                self._products()
            self.inside += 1

    def _leave(self) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.changes.close()

    def _default_dtype(self) -> None:
        dtype = torch.get_default_dtype()
        if dtype != torch.float32:
            torch.set_default_dtype(torch.float32)
            self.changes.callback(torch.set_default_dtype, dtype)

    def _products(self) -> None:
        """Exact products of float32, as they are named since PyTorch 2.9 and as they were."""
        backends: Any = torch.backends
        places: tuple[Any, ...] = ()
        if hasattr(backends, "fp32_precision"):
            mkldnn, cuda = backends.mkldnn, backends.cuda
            places = backends, mkldnn.matmul, mkldnn.conv, cuda.matmul
        before = [(place, place.fp32_precision) for place in places]
        try:
            precision = torch.get_float32_matmul_precision()
        except RuntimeError:  # it was not set by this name, but by the others
            precision = "highest"
        if precision == "highest" and all(value in EXACT for _, value in before):
            return
        for place, value in reversed(before):
            self.changes.callback(setattr, place, "fp32_precision", value)
        self.changes.callback(torch.set_float32_matmul_precision, precision)
        torch.set_float32_matmul_precision("highest")
        for place in places:
            if place.fp32_precision not in EXACT:
                place.fp32_precision = "ieee"


_SHARED = _Shared()


def _tf32_of(cudnn: Any) -> bool:
    """Whether cuDNN rounds to TF32; PyTorch refuses to say so where it was set by a newer name."""
    try:
        return bool(cudnn.allow_tf32)
    except RuntimeError:
        return bool(cudnn.conv.fp32_precision == "tf32")
