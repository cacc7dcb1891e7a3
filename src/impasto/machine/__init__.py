"""What this computer can do: its device and number formats, its memory.

Takes plain values and knows no settings: `start` chooses, `Compute.tuned` computes so, inside the
`neutral` state of PyTorch, and gives the caller's back.
"""

from impasto.machine.compute import Compute, neutral, start, unrounded
from impasto.machine.device import (
    SOME_BYTES,
    Precision,
    check_devices,
    choose_device,
    choose_dtype,
    cores,
    has_bfloat16,
    has_float16,
    keep_large_buffers,
    wait_for,
)

__all__ = [
    "SOME_BYTES", "Compute", "Precision", "check_devices", "choose_device", "choose_dtype", "cores",
    "has_bfloat16", "has_float16", "keep_large_buffers", "neutral", "start", "unrounded",
    "wait_for",
]  # fmt: skip
