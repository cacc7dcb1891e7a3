"""Where and how to compute: device, number format, threads, and the allocator's habits."""

import ctypes
import os
import platform
import re
from collections.abc import Sequence
from typing import Literal

import torch

from impasto.errors import SettingError

Precision = Literal["auto", "float32", "bfloat16", "float16"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h
LARGEST_INT = 2**31 - 1
SOME_BYTES = 4 * 1024**2  # of the largest buffer that is kept where most maps have their own memory


def cores() -> int:
    """The cores that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux has it
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def choose_device(name: str) -> torch.device:
    """The device of that name; `auto` takes CUDA, then Apple's MPS, then the CPU.

    Raises SettingError for a device that this machine or this build of PyTorch has not, and for
    several.
    """
    if "," in name:
        raise SettingError(
            f"device is {name!r}, but films, training and painting in one pass take one: name it"
        )
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise SettingError(f"device {name!r} cannot be used here ({reason}): try cpu") from error
    return device


def check_devices(names: Sequence[str]) -> None:
    """SettingError if one of several devices is not there; takes no memory of any card."""
    for name in names:
        if name == "auto":
            raise SettingError(f"device is {','.join(names)!r}: name each of several, such as cpu")
        card = re.fullmatch(r"cuda(?::(\d+))?", name)
        if card is None:
            choose_device(name)
        elif int(card[1] or 0) >= torch.cuda.device_count():
            count = torch.cuda.device_count()
            raise SettingError(
                f"device {name!r} cannot be used here, with {count} CUDA cards: try cpu"
            )


def choose_dtype(precision: Precision, device: torch.device, float16: bool = True) -> torch.dtype:
    """The number format of the features: `auto` takes bfloat16 where the hardware has it.

    `float16`: whether that will do, too, on CUDA cards that have it and not bfloat16.
    """
    if precision != "auto":
        named: torch.dtype = getattr(torch, precision)
        return named
    if has_bfloat16(device):
        return torch.bfloat16
    return torch.float16 if float16 and has_float16(device) else torch.float32


def has_bfloat16(device: torch.device) -> bool:
    """True where convolutions in bfloat16 are faster than in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.get_device_capability(device) >= (8, 0))
    if device.type == "cpu":
        supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
        return bool(supported()) if supported is not None else False
    return False


def has_float16(device: torch.device) -> bool:
    """True where convolutions in float16 are faster than in float32: from NVIDIA's Volta on."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (7, 0)


def keep_large_buffers(up_to: int = LARGEST_INT) -> bool:
    """Tell glibc not to hand every large buffer back to the kernel; True if it took the advice.

    By default each feature map of some MiB is mapped anew and its pages are zeroed one fault at a
    time: at 2048x1536 that costs more than the convolutions. What is kept is kept with holes,
    though. Where maps have `buffers` of their own, only what is smaller than `up_to` bytes is kept.
    No effect elsewhere than on glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    if up_to < LARGEST_INT:
        library.malloc_trim(0)
    took = [
        library.mallopt(M_MMAP_THRESHOLD, up_to),
        library.mallopt(M_TRIM_THRESHOLD, LARGEST_INT),
    ]
    return all(took)


def wait_for(device: torch.device) -> None:
    """Return when the device has done all that it was told: before a clock is read."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
