"""Terms of the pixels alone, against the losses they are blocks of."""

import pytest
import torch

from impasto import losses
from impasto.losses import pixels
from impasto.losses.pixels import tv_term
from impasto.machine import memory


@pytest.mark.parametrize("rows", [1, 3, 100])
@pytest.mark.parametrize(
    ("name", "term"), [("total_variation", "tv_term"), ("out_of_range", "range_term")]
)
def test_blocks_of_rows_are_the_whole(
    name: str, term: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "BLOCK_VALUES", rows * 3 * 9)
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, 7, 9, generator=generator, dtype=torch.float64).requires_grad_()
    expected = 5 * getattr(losses, name)(image).sum()
    (slope,) = torch.autograd.grad(expected, image)
    gradient = torch.ones_like(image)  # of other terms
    found = getattr(pixels, term)(5.0, image.detach(), gradient)
    torch.testing.assert_close(found, expected.detach())
    torch.testing.assert_close(gradient, slope + 1)
    torch.testing.assert_close(getattr(pixels, term)(5.0, image.detach(), None), expected.detach())


def test_a_line_of_pixels_has_neighbors_one_way() -> None:
    image = torch.tensor([0.0, 1.0, 3.0]).expand(1, 3, 1, 3)
    assert tv_term(1.0, image, None).item() == pytest.approx(2.5)
