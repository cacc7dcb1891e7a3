"""A network of one's own style against the other ways to paint at 512 px: how long, how near?

    python -m benchmarks.feedforward NETWORK.safetensors [--style great-wave] [--json FILE]

Each way paints examples/astronaut.jpg; the loss is the optimizer's, measured in float32. `again` is
the second picture, when everything is loaded and measured: what a folder or a film costs.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.shared.report import EXAMPLES, parser, publish
from impasto.images import read
from impasto.images.paintings import read as read_painting
from impasto.machine import device
from impasto.networks import residual
from impasto.painting import stylize
from impasto.painting.optimized import OptimizedRun
from impasto.scene import Scene
from impasto.settings import settings_for
from impasto.training import onnx

Paint = Callable[[], Tensor]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("network", type=Path, help="a file that `impasto train` wrote")
    options.add_argument("--style", default="great-wave", help="the painting it learned")
    options.add_argument("--size", type=int, default=512, help="long side, px")
    given = options.parse_args()
    device.keep_large_buffers()
    photo, style = read(EXAMPLES / "astronaut.jpg"), read_painting(given.style)
    judge = OptimizedRun(Scene(photo, style, settings_for(size=given.size, precision="float32")))
    size = judge.sizes[-1]
    objective = judge._objective(judge.scene.at(size), None)
    pixels = photo.resized(*size).pixels
    ways: dict[str, Paint] = {
        "network, bfloat16": by_network(given.network, pixels, torch.bfloat16),
        "network, float32": by_network(given.network, pixels, torch.float32),
        "network, onnxruntime": by_onnx(given.network, pixels),
    }
    for preset in ("instant", "draft", "best"):
        ways[f"preset {preset}"] = by_preset(photo, style, preset, given.size)
    rows = []
    for way, run in ways.items():
        first, painted = timed(run)
        again = first if way in ("preset draft", "preset best") else timed(run)[0]
        terms = {name: float(v) for name, v in objective.terms(painted).items()}
        rows.append({"way": way, "seconds": first, "again": again, "loss": terms["total"]})
    publish("feedforward", rows, given.json, size=f"{size[0]}x{size[1]}")


def by_network(path: Path, pixels: Tensor, dtype: torch.dtype) -> Paint:
    """One pass of the network."""
    network = residual.load(path, dtype)

    def run() -> Tensor:
        with torch.no_grad():
            return network(pixels).clamp_(0, 1)

    return run


def by_onnx(path: Path, pixels: Tensor) -> Paint:
    """One pass of the exported network, without PyTorch."""
    import onnxruntime

    data, _ = onnx.onnx_bytes(residual.load(path))
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return lambda: torch.from_numpy(session.run(None, {"photo": pixels.numpy()})[0])


def by_preset(photo: Any, style: Any, preset: str, size: int) -> Paint:
    """The whole command, but for reading and writing."""
    return lambda: stylize(photo, style, preset=preset, size=size).picture.pixels


def timed(run: Paint) -> tuple[float, Tensor]:
    """Seconds, and the picture."""
    began = time.perf_counter()
    painted = run()
    return time.perf_counter() - began, painted


if __name__ == "__main__":
    main()
