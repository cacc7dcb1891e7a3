"""Terms of the pixels alone, against the losses they are blocks of."""

import pytest
import torch

from impasto import losses, pixelwise, strips


@pytest.mark.parametrize("rows", [1, 3, 100])
@pytest.mark.parametrize("name", ["total_variation", "out_of_range"])
def test_blocks_of_rows_are_the_whole(
    name: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strips, "BLOCK_VALUES", rows * 3 * 9)
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, 7, 9, generator=generator, dtype=torch.float64).requires_grad_()
    expected = 5 * getattr(losses, name)(image).sum()
    (slope,) = torch.autograd.grad(expected, image)
    gradient = torch.ones_like(image)  # of other terms
    found = getattr(pixelwise, name)(5.0, image.detach(), gradient)
    torch.testing.assert_close(found, expected.detach())
    torch.testing.assert_close(gradient, slope + 1)
    torch.testing.assert_close(
        getattr(pixelwise, name)(5.0, image.detach(), None), expected.detach()
    )


def test_a_line_of_pixels_has_neighbours_one_way() -> None:
    image = torch.tensor([0.0, 1.0, 3.0]).expand(1, 3, 1, 3)
    assert pixelwise.total_variation(1.0, image, None).item() == pytest.approx(2.5)
