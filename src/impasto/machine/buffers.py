"""Memory for feature maps, used again and again without holes and without page faults.

A C library either gives each large buffer back to the system when it is freed, and the next one's
pages are zeroed one fault at a time, a sixth to a third of a step's time; or keeps it, and then a
new one of the same size often does not fit where the last one was: glibc before 2.38 leaves
splinters in between, and a step takes half as much memory again as it uses. Maps come and go in the
same order in every step, so a simple rule does better: the first gap that is large enough, from the
bottom up.
"""

import contextlib
import mmap
import weakref
from collections import deque
from threading import Lock

import torch
from jaxtyping import Float
from torch import Tensor

LEAST = 2**20  # bytes: the C library does well with smaller ones
GRAIN = 4096  # bytes: all buffers begin on a page


class Buffers:
    """A range of memory that maps are taken from on a CPU, and go back to when nobody has them.

    Without `reserve`, where it is full, and on other devices, maps come from PyTorch as usual.
    """

    def __init__(self) -> None:
        self.memory = memoryview(b"")
        self.gaps: list[tuple[int, int]] = []  # first byte and end, in order, none touching another
        self.returned: deque[tuple[int, int]] = deque()
        self.lock = Lock()

    def reserve(self, count: int) -> None:
        """Have a range of at least so many bytes, if the system grants it. Pages that were never
        used take no memory.

        Maps from a smaller range keep it until they are gone.
        """
        with self.lock:
            if count <= len(self.memory):
                return
            try:
                self.memory = memoryview(_mapped(count))
            except OSError:  # as under a limit on addresses: PyTorch's own may still fit
                return
            self.gaps, self.returned = [(0, len(self.memory))], deque()

    def maps(self, like: Tensor, b: int, c: int, h: int, w: int) -> Float[Tensor, "b c h w"]:
        """Maps with any values, in channels_last, of the dtype and on the device of another."""
        return self.take(like, b, h, w, c).permute(0, 3, 1, 2)

    def take(self, like: Tensor, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """A contiguous tensor with any values, of a dtype or that of another."""
        dtype = dtype or like.dtype
        count = dtype.itemsize
        for side in shape:
            count *= side
        span = self._span(count) if like.device.type == "cpu" and count >= LEAST else None
        if span is None:
            return like.new_empty(shape, dtype=dtype)
        start, end, memory, returned = span
        part = memory[start : start + count]
        weakref.finalize(part, returned.append, (start, end)).atexit = False
        # the tensor's storage keeps `part`, and nothing else does
        return torch.frombuffer(part, dtype=dtype).view(shape)

    def _span(self, count: int) -> tuple[int, int, memoryview, deque[tuple[int, int]]] | None:
        """Take the first gap of at least so many bytes."""
        count = -(-count // GRAIN) * GRAIN
        with self.lock:
            self._close()
            for i, (start, end) in enumerate(self.gaps):
                if end - start >= count:
                    self.gaps[i : i + 1] = [(start + count, end)] if start + count < end else []
                    return start, start + count, self.memory, self.returned
        return None

    def _close(self) -> None:
        """Make one gap of what came back and what it touches."""
        while self.returned:
            self.gaps.append(self.returned.popleft())
        self.gaps.sort()
        joined: list[tuple[int, int]] = []
        for start, end in self.gaps:
            if joined and joined[-1][1] == start:
                joined[-1] = joined[-1][0], end
            else:
                joined.append((start, end))
        self.gaps = joined


def _mapped(count: int) -> mmap.mmap:
    """So many bytes of the process's own, in huge pages where the system has them."""
    if not hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, count)
    found = mmap.mmap(-1, count, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel that was built without them
            found.madvise(mmap.MADV_HUGEPAGE)
    return found
