"""Where and how to compute."""

import platform
import resource
import subprocess
import sys

import pytest
import torch

from impasto import machine
from impasto.errors import SettingError
from impasto.machine import Compute, compute, device

CPU = torch.device("cpu")


def test_formats_follow_what_was_asked_for_and_the_hardware(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert device.choose_dtype("float32", CPU) == torch.float32
    assert device.choose_dtype("bfloat16", CPU) == torch.bfloat16
    for able, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(device, "has_bfloat16", lambda _, able=able: able)
        assert device.choose_dtype("auto", CPU) == expected


def test_a_device_that_is_not_here_is_refused() -> None:
    assert device.choose_device("cpu") == CPU
    with pytest.raises(SettingError, match="'cuda:99' cannot be used here"):
        device.choose_device("cuda:99")


def test_clocks_wait_for_a_card_and_not_for_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[torch.device] = []
    monkeypatch.setattr(torch.accelerator, "synchronize", waited.append)
    device.wait_for(CPU)
    assert not waited
    device.wait_for(torch.device("cuda:1"))
    assert waited == [torch.device("cuda:1")]


def flags() -> list[bool]:
    """The switches of cuDNN and cuBLAS: trials, TF32 of both, partial sums of two bytes."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    rounded = [getattr(matmul, name) for name in compute.ROUNDED_SUMS]
    return [cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32, *rounded]


@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16"])
def test_a_card_rounds_no_more_than_a_processor(precision: device.Precision) -> None:
    """Inside, neither float32 to TF32 nor partial sums; cuDNN tries its algorithms. Afterwards all
    is the caller's, who has TF32 in convolutions unless he says otherwise."""
    before = flags()
    assert before == [False, True, False, True, True]  # PyTorch's first state
    with Compute(CPU, torch.float32, precision, threads=0).tuned():
        assert flags() == before
    with Compute(torch.device("cuda"), torch.float32, precision, threads=0).tuned():
        assert flags() == [True, False, False, False, False]
    assert flags() == before
    with machine.unrounded(torch.device("cuda")):
        assert flags() == [False] * 5
    assert flags() == before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
@pytest.mark.parametrize(
    ("up_to", "kept"), [(device.LARGEST_INT, True), (device.SOME_BYTES, False)]
)
def test_large_buffers_are_kept_or_given_back(up_to: int, kept: bool) -> None:
    """A buffer of 64 MiB, filled and freed: in the end its pages fault never, or each time.

    Twenty rounds first: glibc's memalign (before 2.38) keeps up to seven splinters between the
    buffers before it uses one again.
    """
    code = (
        "import resource, torch; from impasto.machine import device\n"
        "torch.set_num_threads(1)\n"
        f"assert device.keep_large_buffers({up_to})\n"
        "for _ in range(20): torch.ones(2**24)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)\n"
        "for _ in range(5): torch.ones(2**24)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(int, found.stdout.split())
    pages = 5 * 2**26 // resource.getpagesize()
    assert (after - before < pages // 2) is kept
