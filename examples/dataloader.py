"""Style transfer in a DataLoader: the same pictures for the same seed, with 0 and with 2 workers.

python examples/dataloader.py
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from impasto import StyleTransfer

EXAMPLES = Path(__file__).parent


class Photos(Dataset[tuple[Tensor, int]]):
    """The six example photos at 64x64 px, each a class of its own."""

    def __init__(self, transform: StyleTransfer) -> None:
        self.files = sorted(EXAMPLES.glob("*.jpg"))
        self.transform = transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        with Image.open(self.files[index]) as image:
            pixels = np.array(image.convert("RGB").resize((64, 64)))
        picture = torch.from_numpy(pixels).permute(2, 0, 1)
        painted: tuple[Tensor, int] = self.transform(picture, index)
        return painted


def main() -> None:
    # The paintings are measured here, once; workers get the moments and load the network.
    transform = StyleTransfer(["great-wave", "poppies"], p=0.5, strength=(0.2, 0.8), seed=0)
    photos = Photos(transform)
    for epoch in range(2):
        transform.set_epoch(epoch)  # else every epoch would paint the same
        alone, shared = (pictures_of(DataLoader(photos, 3, num_workers=n)) for n in (0, 2))
        originals = pictures_of(DataLoader(Photos(StyleTransfer(p=0)), 3))
        painted = int((alone != originals).flatten(1).any(1).sum())
        same = torch.equal(alone, shared)
        print(f"epoch {epoch}: {painted} of {len(alone)} pictures are painted; "
              f"with 2 workers {'the same' if same else 'NOT the same'}")  # fmt: skip


def pictures_of(loader: DataLoader[tuple[Tensor, int]]) -> Tensor:
    """All pictures of an epoch, b 3 h w."""
    return torch.cat([pictures for pictures, labels in loader])


if __name__ == "__main__":
    main()
