"""How many pictures a second does `StyleTransfer` paint?

    python -m benchmarks.augment [--batch 16] [--device auto] [--json FILE]

Every picture of a batch is painted (p = 1), from uint8 to uint8. The best of three batches, after
one that is not counted.
"""

import time
from collections.abc import Callable

import torch

from benchmarks.shared.report import EXAMPLES, parser, publish
from impasto import images
from impasto.augmentation.transform import StyleTransfer
from impasto.machine import device


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--batch", type=int, default=16)
    options.add_argument("--device", default="auto")
    options.add_argument("--sides", type=int, nargs="+", default=[32, 64, 128, 224])
    given = options.parse_args()
    chosen = device.choose_device(given.device)
    photo = images.read(EXAMPLES / "china.jpg")
    rows = []
    for side in given.sides:
        pixels = (photo.resized(side, side).pixels * 255).round().to(chosen, torch.uint8)
        batch = pixels.expand(given.batch, -1, -1, -1).contiguous()
        transform = StyleTransfer(p=1.0, seed=0)
        seconds = best_of(3, lambda t=transform, b=batch: t(b))  # type: ignore[misc]
        rows.append({"side": side, "batch": given.batch, "a second": given.batch / seconds})
    began = time.perf_counter()
    StyleTransfer()
    publish("augment", rows, given.json, construct_cached=time.perf_counter() - began,
            device=str(chosen))  # fmt: skip


def best_of(times: int, work: Callable[[], object]) -> float:
    """Seconds of the fastest run, after one that warms up."""
    work()
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        device.wait_for(device.choose_device("auto"))
        found.append(time.perf_counter() - began)
    return min(found)


if __name__ == "__main__":
    main()
