"""Winograd's way against the plain convolution, and by hand."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from impasto.layers import convolution, winograd
from impasto.layers.strips import Padding


def maps(c: int, h: int, w: int, b: int = 1) -> Tensor:
    made = torch.randn(b, c, h, w, generator=torch.Generator().manual_seed(1))
    return made.contiguous(memory_format=torch.channels_last)


def weights(d: int, c: int) -> Tensor:
    return torch.randn(d, c, 3, 3, generator=torch.Generator().manual_seed(2)) / (3 * c**0.5)


def test_the_matrices_of_the_paper() -> None:
    a, g, b = (form.float() for form in winograd.forms(2))
    # Lavin and Gray 2016, section 4.1; but for the sign of the last row
    torch.testing.assert_close(a, torch.tensor([[1.0, 1, 1, 0], [0, 1, -1, 1]]))
    halves = torch.tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    torch.testing.assert_close(g, halves)
    signs = torch.tensor([[1.0, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]])
    torch.testing.assert_close(b, signs)


@pytest.mark.parametrize("m", [2, 4])
def test_one_row_of_products(m: int) -> None:
    # F(m, 3): A^T [(G g) * (B^T d)] are m values of the correlation of d with g
    a, g, b = winograd.forms(m)
    d, kernel = torch.arange(1.0, m + 3).double() ** 2, torch.tensor([3.0, -1, 2]).double()
    found = a @ ((g @ kernel) * (b @ d))
    torch.testing.assert_close(found, d.unfold(0, 3, 1) @ kernel)


def test_one_square_by_hand() -> None:
    # one channel: d is 1 ... 16 row by row, g has a 1 above its middle and a 2 to the left of it
    d = torch.arange(1.0, 17).view(1, 1, 4, 4)
    g = torch.tensor([[0.0, 1, 0], [2, 0, 0], [0, 0, 0]]).view(1, 1, 3, 3)
    # Y[0, 0] = d[0, 1] + 2 d[1, 0] = 2 + 10; one to the right adds 3, one down 12
    expected = torch.tensor([[12.0, 15], [24, 27]]).view(1, 1, 2, 2)
    found = convolution.convolved(d, winograd.transformed(g, 2), torch.tensor([0.5]))
    torch.testing.assert_close(found, expected + 0.5)


@pytest.mark.parametrize("size", [(4, 4), (5, 8), (8, 7), (3, 3), (22, 34), (50, 19)])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("m", [2, 4])
def test_it_is_the_convolution(
    size: tuple[int, int], batch: int, m: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = -(-(size[1] - 2) // m)  # of squares: strips of three, the last of fewer
    monkeypatch.setattr(winograd, "STRIP_VALUES", (m + 2) ** 2 * 16 * columns * 3)
    x, weight, bias = maps(8, *size, b=batch), weights(16, 8), torch.randn(16)
    found = convolution.convolved(x, winograd.transformed(weight, m), bias)
    torch.testing.assert_close(found, F.conv2d(x, weight, bias), rtol=1e-5, atol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("dtype", "m", "worst"),
    [
        (torch.float32, 2, 4e-7),
        (torch.float32, 4, 1.2e-6),
        (torch.bfloat16, 2, 5.2e-3),
        (torch.bfloat16, 4, 1.5e-2),
    ],
)
def test_its_error_is_small(dtype: torch.dtype, m: int, worst: float) -> None:
    x, weight = maps(256, 18, 18).relu().to(dtype), weights(256, 256)
    exact = F.conv2d(x.double(), weight.double())
    found = convolution.convolved(x, winograd.transformed(weight, m).to(dtype), None).double()
    assert (found - exact).norm() < worst * exact.norm()


@pytest.mark.parametrize(
    ("weight", "dtype", "m", "expected"),
    [
        (torch.zeros(256, 512, 3, 3), torch.float32, 2, True),
        (torch.zeros(256, 128, 3, 3), torch.float32, 2, False),
        (torch.zeros(256, 128, 3, 3), torch.float32, 4, True),
        (torch.zeros(256, 256, 3, 3), torch.bfloat16, 2, True),
        (torch.zeros(256, 128, 3, 3), torch.bfloat16, 2, False),
        (torch.zeros(128, 128, 3, 3), torch.bfloat16, 4, True),
        (torch.zeros(64, 128, 3, 3), torch.bfloat16, 4, False),
        (torch.zeros(512, 64, 3, 3), torch.float32, 4, False),
        (torch.zeros(256, 256, 2, 2), torch.float32, 4, False),
        (torch.zeros(256, 256, 3, 3), torch.float64, 4, False),
        (torch.zeros(256, 256, 3, 3, device="meta"), torch.float32, 4, False),
    ],
)
def test_where_it_pays(weight: Tensor, dtype: torch.dtype, m: int, expected: bool) -> None:
    assert winograd.pays(weight, dtype, m) is expected


@pytest.mark.parametrize(
    ("channels", "shapes"),
    [
        (128, ((128, 128, 3, 3), (36, 128, 128))),
        (256, ((16, 256, 256), (36, 256, 256))),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_maps_take_small_squares_and_gradients_large_ones(
    channels: int, shapes: tuple[tuple[int, ...], tuple[int, ...]], dtype: torch.dtype
) -> None:
    made = convolution.kernel(weights(channels, channels), torch.zeros(channels), dtype)
    assert (made.weight.shape, made.back.shape) == shapes


@pytest.mark.parametrize("padding", ["zero", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("size", [(6, 8), (5, 7)])
def test_wide_layers_take_it_and_have_the_same_gradient(
    padding: Padding, size: tuple[int, int]
) -> None:
    weight, bias = weights(512, 256), torch.randn(512)
    kernel = convolution.kernel(weight, bias)
    assert kernel.weight.shape == (16, 256, 512)
    assert kernel.back.shape == (36, 512, 256)
    x = maps(256, *size).requires_grad_()
    found = convolution.convolution(x, kernel, padding)
    expected = F.relu(F.conv2d(convolution.pad(x, padding), weight, bias))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)
    slope = torch.randn(found.shape)
    mine, its = (torch.autograd.grad((y * slope).sum(), x)[0] for y in (found, expected))
    torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-4)
