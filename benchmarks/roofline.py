"""FLOP/s of whole steps against the convolution peak of this machine.

    python -m benchmarks.roofline [--sizes 256 512 1024 2048] [--device auto] [--json FILE]

The peak is the largest of several convolution shapes, measured in the same run in the format that
impasto uses. A step is one evaluation of `best`'s objective and one L-BFGS update; its FLOP are
those of plain convolutions forward and backward (the picture's gradient only) and of the second
moments and their gradients; all else is overhead. Winograd's way (impasto.winograd) does with
fewer, so `share` may pass 1; `done` counts what it does in their place.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn import functional as F

from benchmarks.shared.report import parser, publish
from impasto import images, machine
from impasto.images import paintings
from impasto.layers import winograd
from impasto.machine import device
from impasto.networks.layer_names import block_of, channels_of, layer_names, stride_of
from impasto.objective.targets import BANK_SIZES, LARGEST_BANK
from impasto.painting import steps
from impasto.settings import settings_for

SHAPES = ((64, 512), (128, 256), (256, 128), (512, 64))  # channels, side


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024, 2048])
    options.add_argument("--device", default="auto")
    given = options.parse_args()
    device.keep_large_buffers()
    chosen = device.choose_device(given.device)
    dtype = device.choose_dtype("auto", chosen)
    rows: list[dict[str, Any]] = []
    for size in given.sizes:
        with machine.start(given.device).tuned():  # as steps compute: cuDNN tries its algorithms
            peak = convolution_peak(dtype, chosen)
        seconds = step_seconds(size, given.device)
        rate = step_flop(size) / seconds
        done = step_flop(size, dtype, chosen) / seconds
        rows.append(
            {"px": size, "s/step": seconds, "GFLOP/s": rate / 1e9, "peak GFLOP/s": peak / 1e9,
             "share": rate / peak, "done": done / peak}
        )  # fmt: skip
    publish("roofline", rows, given.json, features=str(dtype))


def convolution_peak(dtype: torch.dtype, on: torch.device) -> float:
    """The highest FLOP/s of a 3x3 convolution over several shapes."""
    rates = []
    for channels, side in SHAPES:
        x = torch.rand(1, channels, side, side, dtype=dtype, device=on)
        weight = torch.rand(channels, channels, 3, 3, dtype=dtype, device=on)
        x, weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))
        seconds = best_of(10, partial(F.conv2d, x, weight, padding=1), on)
        rates.append(2 * 9 * channels**2 * side**2 / seconds)
    return max(rates)


def step_seconds(size: int, on: str = "auto") -> float:
    """Seconds of a step in the middle of a run: the median of several."""
    painting = paintings.read("great-wave")
    photo = images.Picture(painting.pixels.flip(-1)).resized(size, size)
    count = 3 + (12 if size <= 1024 else 4)
    settings = settings_for(size=size, coarsest=0, steps=(count,), device=on)
    times = []
    began = time.perf_counter()
    for _ in steps(photo, painting, settings):
        now = time.perf_counter()
        times.append(now - began)
        began = now
    late = sorted(times[3:])
    return late[len(late) // 2]


def step_flop(size: int, dtype: torch.dtype | None = None, on: torch.device | None = None) -> float:
    """Floating-point operations of a step: convolutions twice, moments three times.

    With a dtype those that are done in it on a device, by whichever kind of convolution.
    """
    flop, channels, side = 0.0, 3, size
    widths = {1: 64, 2: 128, 3: 256, 4: 512, 5: 512}
    for layer in layer_names():
        width = widths[block_of(layer)]
        if layer.startswith("conv"):
            kernel = torch.empty(width, channels, 3, 3, device=on)
            for m in (2, 4):  # forward, backward
                quick = dtype is not None and winograd.pays(kernel, dtype, m)
                products = (m + 2) ** 2 / m**2 if quick else 9
                flop += 2 * products * channels * width * side**2
            channels = width
        elif layer.startswith("pool"):
            side //= 2
        elif layer.endswith("_1"):  # S = F F^T / n forward, (dS + dS^T) F backward
            flop += 2 * (2 * width**2 * side**2)
        if layer == "relu5_1":
            break
    return flop


def flop_of_a_pixel() -> float:
    """Floating-point operations of one evaluation of `best` for each pixel, without matching.

    A 3x3 convolution of c channels to d takes 2 * 9 c d for each position, one product and one sum
    for each weight; back to its input it takes as many. A position of block k stands for 4^(k-1)
    pixels. At each relu<k>_1, of c channels, S = F F^T takes 2 c^2 for a position, and so does its
    gradient, dS F. So a pixel takes

        sum over convolutions 36 c d / 4^(k-1)  +  sum over blocks 4 c^2 / 4^(k-1)
        = 36 * 40,128 + 4 * 17,408 = 1,514,240

    down to relu5_1. All else, such as content, pooling and the optimizer, is below one percent.
    """
    side = 16  # px: one position of the deepest layer
    return step_flop(side) / side**2


def matching_flop_of_a_pixel() -> float:
    """Floating-point operations for each pixel of finding the nearest strokes of `best` once.

    Each of the positions of a layer, one for s^2 pixels, is multiplied with the n vectors of the
    bank, of c channels: 2 n c / s^2, with full banks 131,072 in each of the first three blocks and
    65,536 in the fourth. A step that matches finds strokes every fifth time.
    """
    return sum(
        2 * BANK_SIZES.get(stride_of(layer), LARGEST_BANK) * channels_of(layer)
        / stride_of(layer) ** 2
        for layer, _ in settings_for().matching_layers
    )  # fmt: skip


def best_of(repeats: int, call: Callable[[], object], on: torch.device) -> float:
    """The shortest of so many calls, s."""
    times = []
    for _ in range(repeats + 2):
        began = time.perf_counter()
        call()
        device.wait_for(on)
        times.append(time.perf_counter() - began)
    return min(times[2:])


if __name__ == "__main__":
    main()
