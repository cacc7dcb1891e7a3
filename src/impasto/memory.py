"""How much memory a picture needs, how much there is, and which tiles fit into it."""

import math
from dataclasses import dataclass

import psutil
import torch

from impasto.errors import PictureError

PROCESS_BYTES = 500_000_000  # Python, PyTorch, the network and the buffers of the libraries
PIXEL_BYTES = 12  # one picture: RGB in float32
EVALUATION_BYTES = {torch.bfloat16: 1900, torch.float16: 1900, torch.float32: 3400}
"""Per pixel of a tile: the features down to relu5_1, their gradients and the poolings' indices;
measured by `benchmarks.scaling`."""
TARGET_VALUES = 8  # values of relu4_2 per pixel: 512 channels at a stride of 8
SMALLEST_TILE, LARGEST_TILE = 128, 2048  # px; margins eat smaller ones, larger ones gain nothing
HEADROOM = 0.85  # of a limit that is planned with: the allocator's holes take up to a tenth
SHARE = 0.9  # of what is free, for a run that was given no limit


@dataclass(frozen=True)
class Footprint:
    """What painting one scale takes: bytes in all, and the tiles' side (None: no tiles), px."""

    bytes: int
    tile: int | None


def available(device: torch.device) -> int:
    """Bytes that this process may still take on the device, itself included."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free) + torch.cuda.memory_reserved(device)
    return int(psutil.virtual_memory().available) + resident()


def resident() -> int:
    """Bytes of this process in memory."""
    return int(psutil.Process().memory_info().rss)


def optimiser_pictures(optimizer: str, history: int) -> int:
    """How many pictures an optimiser keeps besides pixels and gradient."""
    if optimizer == "lbfgs":
        return 2 * history + 4
    return 2 if optimizer == "adam" else 1


def footprint(
    size: tuple[int, int],
    dtype: torch.dtype,
    pictures: int,
    limit: int,
    margin: int,
    tile: int | None = None,
) -> Footprint:
    """The largest tiles with which a picture of this size stays under `limit` bytes.

    pictures: how many the run keeps beside pixels and gradient (see `optimiser_pictures`).
    margin: of a tile, px. tile: the side asked for, if one was. Raises PictureError where not
    even the smallest tiles fit, with what would.
    """
    width, height = size
    target = TARGET_VALUES * torch.finfo(dtype).bits // 8
    state = PROCESS_BYTES + width * height * ((pictures + 6) * PIXEL_BYTES + target)
    each = EVALUATION_BYTES[dtype]
    if tile is not None and tile < max(size):
        return Footprint(state + _outer(size, tile, margin) * each, tile)
    whole = state + width * height * each
    planned = int(limit * HEADROOM)
    if whole <= planned:
        return Footprint(whole, None)
    room = (planned - state) / each
    side = int(math.sqrt(max(room, 0))) - 2 * margin
    side = min(side // 64 * 64, LARGEST_TILE)
    if side < SMALLEST_TILE:
        least = (state + _outer(size, SMALLEST_TILE, margin) * each) / HEADROOM
        raise PictureError(
            f"painting {width}x{height} px takes {least / 1e9:.1f} GB, more than the "
            f"{limit / 1e9:.1f} GB there are: lower --size or --history, use --optimizer adam, or "
            "raise --memory-limit"
        )
    return Footprint(state + _outer(size, side, margin) * each, side)


def _outer(size: tuple[int, int], tile: int, margin: int) -> int:
    """The pixels of the largest outer box of such tiles."""
    width, height = (min(side, tile + 2 * margin) for side in size)
    return width * height


def ran_out(error: BaseException) -> bool:
    """True if an exception means that memory ran out, on whichever device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
