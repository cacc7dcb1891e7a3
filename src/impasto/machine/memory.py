"""How much memory there is, what an error says of it, and maps some rows at a time."""

import math
from pathlib import Path, PurePosixPath

import psutil
import torch
from jaxtyping import Float
from torch import Tensor

from impasto.errors import SettingError

BLOCK_VALUES = 2**19  # of a map that are worked on at a time: 2 MB in float32
CARD_VALUES = 2**24  # on a card, for which small pieces of work last as long as large ones
OUT_OF_MEMORY = (
    "can't allocate memory", "out of memory", "ALLOC_FAILED", "unable to find an engine",
)  # fmt: skip
"""What errors of PyTorch on a CPU, of CUDA and MPS, of cuBLAS, cuDNN and cuFFT say; the last is of
convolutions for none of whose algorithms there is room."""

PROCESS_BYTES = {
    torch.bfloat16: 570_000_000,
    torch.float16: 570_000_000,
    torch.float32: 710_000_000,
}
"""Python, PyTorch, the network and the buffers of the libraries, by the features' dtype."""
LEAST_BYTES = 90_000_000  # that painting takes besides: 160 px and the pictures for it
CGROUPS = {
    "": ("", "memory.max", "memory.current", "inactive_file"),
    "memory": ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
"""Linux's control groups, version 2 and 1: by the controllers that /proc names, the folder that
they lie in, a group's limit, what is in use, and what of that are files that need not stay."""


def available(device: torch.device) -> int:
    """Bytes that this process may still take on the device, itself included; of what is free, no
    more than the process has claimed."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free * _CLAIM[0]) + torch.cuda.memory_reserved(device)
    free, room = int(psutil.virtual_memory().available), cgroup_room()
    return int((free if room is None else min(free, room)) * _CLAIM[0]) + resident()


_CLAIM = [1.0]


def claim(share: float) -> None:
    """Let this process take no more than a share of what is free: others share it, too."""
    _CLAIM[0] = share


def check_limit(limit: int | None, dtype: torch.dtype) -> None:
    """SettingError if so many bytes, a `memory_limit`, hold no process that paints anything."""
    process = PROCESS_BYTES[dtype]
    least = process + LEAST_BYTES
    if limit is not None and limit < least:
        raise SettingError(
            f"memory_limit is {limit / 1e6:.0f} MB, but impasto takes {process / 1e6:.0f} MB "
            f"before it paints anything: give it {math.ceil(least / 2**20)}M or more"
        )


def cgroup_room(root: Path = Path("/")) -> int | None:
    """Bytes that this process may still take in its control group, such as a container's, and in
    all those which that lies in: more, and the kernel kills it. None where there is no limit.

    root: the folder that holds `proc` and `sys`.
    """
    rooms = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        for name in CGROUPS.keys() & set(controllers.split(",")):
            folder, *files = CGROUPS[name]
            names = [part for part in PurePosixPath(group).parts if part not in ("/", "..")]
            for depth in range(len(names) + 1):
                place = root / "sys/fs/cgroup" / folder
                rooms.append(_room(place.joinpath(*names[:depth]), *files))
    return min((room for room in rooms if room is not None), default=None)


def _room(group: Path, limit: str, used: str, files: str) -> int | None:
    """What a control group has left, bytes; None if it has no limit."""
    most, taken = _text(group / limit).strip(), _text(group / used).strip()
    if not (most.isdecimal() and taken.isdecimal()):  # "max", or no such group here
        return None
    lines = (line.split() for line in _text(group / "memory.stat").splitlines())
    freed = sum(int(value) for name, value in lines if name == files)
    return max(0, int(most) - int(taken) + freed)


def _text(file: Path) -> str:
    """What a file of the kernel says; nothing where there is none."""
    try:
        return file.read_text("utf-8")
    except OSError:
        return ""


def resident() -> int:
    """Bytes of this process in memory."""
    return int(psutil.Process().memory_info().rss)


def ran_out(error: BaseException) -> bool:
    """True if an exception means that memory ran out, on whichever device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


def rows_of(maps: Float[Tensor, "b c h w"]) -> list[slice]:
    """Rows to be worked on at a time, so that what is made on the way stays small."""
    height, values = maps.shape[2], maps.shape[1] * maps.shape[3]
    most = BLOCK_VALUES if maps.device.type == "cpu" else CARD_VALUES
    rows = max(1, most // values)
    return [slice(top, top + rows) for top in range(0, height, rows)]
