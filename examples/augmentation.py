"""Does style transfer help a network that is tested on other pictures than it was trained on?

    pip install scikit-learn
    python examples/augmentation.py [--seeds 5] [--json FILE]

scikit-learn's handwritten digits, 32x32 px, as blue ink on cream paper. A small network learns from
400 of them and is tested on others: on the same paper, in other colors, on crops of photos (as
MNIST-M is made, Ganin et al. 2016), on noise, and as outlines. It is trained without augmentation,
with color jitter, with style transfer, and with both; everything else is the same. Three minutes
on two cores.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from impasto import StyleTransfer

EXAMPLES = Path(__file__).parent
SIDE = 32  # px
TRAINED_ON, POOL = 400, 800  # digits of one run, and those they are drawn from; the rest are tests
EPOCHS, BATCH = 40, 40
COPIES = 3  # stylized ones of each digit, of which each epoch draws one
PAINTED = 0.5  # of the pictures that a run with style transfer sees

Generator = torch.Generator
Domain = Callable[[Tensor, Generator], Tensor]


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--json", type=Path, help="write every accuracy to this file")
    given = options.parse_args()
    masks, labels = digits()
    generator = Generator().manual_seed(0)
    paper = on_paper(masks, generator)
    tests = {name: domain(masks[POOL:], generator) for name, domain in DOMAINS.items()}
    began = time.perf_counter()
    stylized = painted(paper[:POOL])
    print(f"{COPIES * POOL} pictures painted in {time.perf_counter() - began:.0f} s")
    accuracies: dict[str, dict[str, list[float]]] = {}
    for method in ("none", "jitter", "style", "both"):
        for seed in range(given.seeds):
            network = trained(paper[:POOL], stylized, labels[:POOL], method, seed)
            for name, pictures in tests.items():
                found = round(accuracy(network, pictures, labels[POOL:]), 2)
                accuracies.setdefault(method, {}).setdefault(name, []).append(found)
        cells = (spread(values) for values in accuracies[method].values())
        if method == "none":
            print("".join(f"{word:>14}" for word in ("", *tests)))
        print("".join(f"{word:>14}" for word in (method, *cells)), flush=True)
    if given.json:
        given.json.write_text(json.dumps(accuracies, indent=1) + "\n", "utf-8")


def digits() -> tuple[Tensor, Tensor]:
    """How much ink is where, b 1 32 32 in [0, 1], in random order; and which digit it is."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    small = torch.from_numpy(data.images[order]).float()[:, None] / 16
    large = F.interpolate(small, size=(SIDE - 4, SIDE - 4), mode="bicubic", align_corners=False)
    return F.pad(large.clamp(0, 1), (2, 2, 2, 2)), torch.from_numpy(data.target[order])


def on_paper(masks: Tensor, generator: Generator) -> Tensor:
    """Blue ink on cream paper, each a little different."""
    ink, cream = torch.tensor([0.15, 0.2, 0.5]), torch.tensor([0.95, 0.9, 0.8])
    shades = 0.05 * torch.randn(2, len(masks), 3, 1, 1, generator=generator)
    return written(masks, ink.view(3, 1, 1) + shades[0], cream.view(3, 1, 1) + shades[1])


def in_other_colors(masks: Tensor, generator: Generator) -> Tensor:
    """Any color on any other that can be told from it."""
    colors = torch.rand(2, 20 * len(masks), 3, 1, 1, generator=generator)
    apart = (colors[0] - colors[1]).mean((1, 2, 3)).abs() > 0.3
    ink, ground = colors[:, apart][:, : len(masks)]
    return written(masks, ink, ground)


def on_photos(masks: Tensor, generator: Generator) -> Tensor:
    """The difference between a crop of a photo and the ink, as in MNIST-M."""
    photos = []
    for file in sorted(EXAMPLES.glob("*.jpg")):
        with Image.open(file) as image:
            photos.append(torch.from_numpy(np.array(image.convert("RGB").resize((256, 256)))))
    crops = []
    for _ in masks:
        which, top, left = (
            int(torch.randint(high, (), generator=generator))
            for high in (len(photos), 256 - SIDE, 256 - SIDE)
        )
        crops.append(photos[which][top : top + SIDE, left : left + SIDE])
    return (torch.stack(crops).permute(0, 3, 1, 2).float() / 255 - masks).abs()


def on_noise(masks: Tensor, generator: Generator) -> Tensor:
    """The paper as it was, under strong colored noise."""
    paper = on_paper(masks, generator)
    return (paper + 0.25 * torch.randn(paper.shape, generator=generator)).clamp(0, 1)


def as_outlines(masks: Tensor, _: Generator) -> Tensor:
    """The edges of the ink alone, in black on white."""
    edges = F.max_pool2d(masks, 3, 1, 1) + F.max_pool2d(-masks, 3, 1, 1)
    return (1 - 1.5 * edges).clamp(0, 1).expand(-1, 3, -1, -1)


def written(masks: Tensor, ink: Tensor, ground: Tensor) -> Tensor:
    """Ink where the masks are, ground where they are not, b 3 h w."""
    return torch.lerp(ground, ink, masks).clamp(0, 1)


DOMAINS: dict[str, Domain] = {
    "same paper": on_paper,
    "other colors": in_other_colors,
    "on photos": on_photos,
    "on noise": on_noise,
    "outlines": as_outlines,
}


def painted(pictures: Tensor) -> Tensor:
    """Stylized copies of each picture, copies b 3 h w: painted once, and used in every epoch."""
    transform = StyleTransfer(p=1.0, strength=(0.2, 0.8), size=64, seed=0)
    found = []
    for copy in range(COPIES):
        transform.set_epoch(copy)
        found.append(transform(pictures))
    return torch.stack(found)


def jittered(pictures: Tensor, generator: Generator) -> Tensor:
    """Color jitter: brightness and contrast by 0.5 to 1.5, saturation by 0 to 2, any hue."""
    count = len(pictures)
    brightness, contrast, saturation, hue = torch.rand(4, count, 1, 1, 1, generator=generator)
    found = pictures * (0.5 + brightness)
    mean = found.mean((1, 2, 3), keepdim=True)
    found = mean + (found - mean) * (0.5 + contrast)
    gray = found.mean(1, keepdim=True)
    chroma = (found - gray) * 2 * saturation
    # a turn about the gray axis (Rodrigues), which is (1, 1, 1) / sqrt 3
    angle, across = 2 * torch.pi * hue, (chroma.roll(1, 1) - chroma.roll(-1, 1)) / 3**0.5
    return (gray + chroma * angle.cos() + across * angle.sin()).clamp(0, 1)


def trained(paper: Tensor, stylized: Tensor, labels: Tensor, method: str, seed: int) -> nn.Module:
    """A network trained on a draw of its own of the pool."""
    generator = Generator().manual_seed(seed)
    torch.manual_seed(seed)
    network = nn.Sequential(
        *block(3, 16), *block(16, 32), *block(32, 64), nn.Flatten(), nn.Linear(64 * 16, 10)
    )
    chosen = torch.randperm(POOL, generator=generator)[:TRAINED_ON]
    steps = EPOCHS * TRAINED_ON // BATCH
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(EPOCHS):
        for index in chosen[torch.randperm(TRAINED_ON, generator=generator)].split(BATCH):
            pictures = paper[index]
            if method in ("style", "both"):
                copies = torch.randint(COPIES, index.shape, generator=generator)
                coin = torch.rand(index.shape, generator=generator) < PAINTED
                pictures = torch.where(coin.view(-1, 1, 1, 1), stylized[copies, index], pictures)
            if method in ("jitter", "both"):
                pictures = jittered(pictures, generator)
            optimizer.zero_grad()
            F.cross_entropy(network(pictures), labels[index]).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def block(before: int, after: int) -> tuple[nn.Module, ...]:
    """A convolution that halves the sides, normalized and rectified."""
    convolution = nn.Conv2d(before, after, 3, stride=2, padding=1)
    return convolution, nn.BatchNorm2d(after), nn.ReLU()


@torch.no_grad()
def accuracy(network: nn.Module, pictures: Tensor, labels: Tensor) -> float:
    """The share of pictures named rightly, in percent."""
    return 100 * float((network(pictures).argmax(1) == labels).float().mean())


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.1f} ± {deviation:.1f}"


if __name__ == "__main__":
    main()
