"""One start of the machine: where to compute, in which number format, on how many threads."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch

from impasto.machine.device import Precision, choose_device, choose_dtype

Item = TypeVar("Item")


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
        """Inside, PyTorch computes as was asked for; afterwards the caller's state is back.

        On CUDA cuDNN times its algorithms (a run has few shapes, each hundreds of times: a second
        of trials pays), and TF32 is on unless float32 was asked for by name.
        """
        threads = torch.get_num_threads()
        cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
        before = cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32
        try:
            if self.threads and self.threads != threads:
                torch.set_num_threads(self.threads)
            if self.device.type == "cuda":
                cudnn.benchmark = True
                cudnn.allow_tf32 = matmul.allow_tf32 = self.precision != "float32"
            yield
        finally:
            if self.threads and self.threads != threads:
                torch.set_num_threads(threads)
            if self.device.type == "cuda":
                cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = before

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


def start(
    device: str = "auto", precision: Precision = "auto", threads: int = 0, float16: bool = True
) -> Compute:
    """Choose a device and a number format by their names, `auto` for the best there is.

    float16: whether that will do, too, on cards that have no bfloat16. Raises SettingError for a
    device that is not there.
    """
    chosen = choose_device(device)
    return Compute(chosen, choose_dtype(precision, chosen, float16), precision, threads)
