"""Masks on the grids of layers, and boxes that go round a picture."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from impasto.errors import PictureError
from impasto.images import masks
from impasto.networks.tiles import Box
from impasto.objective.guides import on_grid

LAYERS = [f"relu{i}_1" for i in range(1, 6)]


def test_white_is_one_black_and_clear_are_zero(tmp_path: Path) -> None:
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[:16] = 255  # white, opaque
    pixels[:16, :16, 3] = 0  # white, clear
    pixels[16:, :, 3] = 255  # black, opaque
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    found = masks.read(tmp_path / "mask.png")[0, 0]
    assert found[:16, 16:].min() > 0.999
    assert found[:16, :16].max() == 0
    assert found[16:].max() == 0


HALF = np.arange(24)[None] < np.full((20, 1), 12)  # the left half is meant
MASKS: dict[str, Any] = {
    "bool": HALF,
    "int64": HALF.astype(np.int64),
    "int64 of 255": HALF.astype(np.int64) * 255,
    "uint8 of 0 and 1": HALF.astype(np.uint8),
    "uint16 of 0 and 1": HALF.astype(np.uint16),
    "uint8": HALF.astype(np.uint8) * 255,
    "float64": HALF.astype(float),
    "list": HALF.tolist(),
    "h w 1": HALF[:, :, None],
    "1 h w": HALF[None],
    "tensor of bool": torch.from_numpy(HALF),
    "tensor of int64": torch.from_numpy(HALF).long(),
    "tensor of bfloat16, 1 h w": torch.from_numpy(HALF)[None].bfloat16(),
    "tensor 1 1 h w": torch.from_numpy(HALF)[None, None].float(),
    "bilevel": Image.fromarray(HALF),
    "masked": np.ma.MaskedArray(np.ones(HALF.shape), ~HALF),
    "black, alpha is it": np.dstack([np.zeros((*HALF.shape, 3)), HALF]),
    "drawn in red": np.dstack([np.ones(HALF.shape), np.zeros((*HALF.shape, 2)), HALF]),
    "drawn in an editor": {
        "background": np.ones((20, 24, 3)),
        "layers": [np.dstack([np.zeros((*HALF.shape, 3)), HALF])],
        "composite": np.ones((20, 24, 3)),
    },
    "drawn in an earlier editor": {"image": np.ones((20, 24, 3)), "mask": HALF},
}


@pytest.mark.parametrize("kind", list(MASKS))
def test_masks_are_what_they_say(kind: str) -> None:
    found = masks.read(MASKS[kind])
    torch.testing.assert_close(found[0, 0], torch.from_numpy(HALF).float())


def test_a_cut_out_is_where_it_is_opaque() -> None:
    """A photo with its ground cut away, as a mask: the alpha, whatever the photo shows."""
    photo = np.random.default_rng(0).random((20, 24, 3)) * (1.0, 0.6, 0.2)
    found = masks.read(np.dstack([photo, HALF]))
    torch.testing.assert_close(found[0, 0], torch.from_numpy(HALF).float())


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (np.zeros((20, 24)), "black"),
        (np.zeros((20, 24, 4)), "black"),
        (np.arange(4, dtype=np.uint8)[None].repeat(20, 0).repeat(6, 1), "brightest is 0.012"),
        ({"layers": [HALF, HALF], "composite": HALF}, "2 layers"),
    ],
)
def test_masks_that_mean_nothing_are_refused(bad: Any, words: str) -> None:
    with pytest.raises(PictureError, match=words):
        masks.read(bad)


@pytest.mark.parametrize("layer", LAYERS)
def test_guides_sum_to_one_where_masks_do(layer: str) -> None:
    mask = torch.rand(1, 1, 96, 80, generator=torch.Generator().manual_seed(0))
    total = on_grid(mask, layer) + on_grid(1 - mask, layer)
    torch.testing.assert_close(total, torch.ones_like(total))


@pytest.mark.parametrize(("layer", "side"), [("relu1_1", 1), ("relu3_1", 4), ("relu5_1", 16)])
def test_guides_lie_on_the_layer_grid(layer: str, side: int) -> None:
    found = on_grid(torch.ones(1, 1, 97, 83), layer)
    assert found.shape[-2:] == (97 // side, 83 // side)


def test_deep_layers_see_further() -> None:
    """An edge is as soft as the part of the receptive field that a unit listens to."""
    edge = torch.zeros(1, 1, 320, 320)
    edge[..., :160] = 1
    # a receptive field of 3 px: the weights 1 2 1 over 4
    assert set(on_grid(edge, "relu1_1").unique().tolist()) == {0.0, 0.25, 0.75, 1.0}
    row = on_grid(edge, "relu5_1")[0, 0, 10]
    # 156 px of receptive field, half of it effective: 2 cells of 16 px to either side, with the
    # weights 1 2 3 2 1 over 9; the edge lies between cells 9 and 10
    torch.testing.assert_close(row[8:12], torch.tensor([8.0, 6.0, 3.0, 1.0]) / 9)


def test_a_box_beyond_the_border_takes_from_the_other_side() -> None:
    image = torch.arange(12.0).view(1, 1, 3, 4)
    taken = Box(-1, 2, 3, 6).taken_from(image)
    assert taken[0, 0].tolist() == [[11, 8, 9], [3, 0, 1], [7, 4, 5]]


@pytest.mark.parametrize("box", [Box(0, 3, 1, 4), Box(-2, 7, -5, 9)])
def test_adding_is_the_reverse_of_taking(box: Box) -> None:
    """<taken(x), y> = <x, added(y)> for every x and y."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, 2, 3, 4, generator=generator)
    taken = box.taken_from(x)
    y = torch.rand(taken.shape, generator=generator)
    added = torch.zeros_like(x)
    box.add_to(added, y)
    torch.testing.assert_close((taken * y).sum(), (x * added).sum())
