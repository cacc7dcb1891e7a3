"""How much memory there is, what an error says of it, and maps some rows at a time."""

import psutil
import torch
from jaxtyping import Float
from torch import Tensor

BLOCK_VALUES = 2**19  # of a map that are worked on at a time: 2 MB in float32
OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "STATUS_ALLOC_FAILED")
"""What errors of PyTorch on a CPU, of CUDA and MPS, of cuBLAS and cuDNN say."""


def available(device: torch.device) -> int:
    """Bytes that this process may still take on the device, itself included."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free) + torch.cuda.memory_reserved(device)
    return int(psutil.virtual_memory().available) + resident()


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
    rows = max(1, BLOCK_VALUES // values)
    return [slice(top, top + rows) for top in range(0, height, rows)]
