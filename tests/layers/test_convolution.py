"""The layers' own backward passes against PyTorch's, and what they keep."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from impasto.layers import convolution as module
from impasto.layers import winograd
from impasto.layers.convolution import (
    Kernel,
    constants,
    convolution,
    convolved,
    kernel,
    max_pool,
    send_back,
)
from impasto.layers.strips import Padding

SIZES = [(6, 8), (7, 5), (2, 3)]


def maps(c: int, h: int, w: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    made = torch.randn(1, c, h, w, generator=generator, dtype=torch.float64)
    return made.contiguous(memory_format=torch.channels_last).requires_grad_()


def small_kernel() -> Kernel:
    generator = torch.Generator().manual_seed(9)
    weight = torch.randn(5, 3, 3, 3, generator=generator, dtype=torch.float64)
    return kernel(weight, torch.randn(5, generator=generator, dtype=torch.float64))


def gradient_of(made: Tensor, x: Tensor) -> Tensor:
    """The gradient of a weighted sum, with other weights everywhere."""
    weights = torch.randn(made.shape, generator=torch.Generator().manual_seed(3)).to(made)
    return torch.autograd.grad((made * weights).sum(), x)[0]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("padding", ["zero", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("rectify", [True, False])
def test_convolution_and_its_gradient(
    padding: Padding, size: tuple[int, int], rectify: bool
) -> None:
    x, k = maps(3, *size), small_kernel()
    mode = "constant" if padding == "zero" else padding
    expected = F.conv2d(F.pad(x, (1, 1, 1, 1), mode=mode), k.weight, k.bias)
    expected = F.relu(expected) if rectify else expected
    found = convolution(x, k, padding, rectify)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient_of(found, x), gradient_of(expected, x))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [1, 3])
def test_few_channels_are_made_in_blocks(size: tuple[int, int], count: int) -> None:
    """Of two by two, of which the last may reach beyond the border."""
    generator = torch.Generator().manual_seed(9)
    weight = torch.randn(count, 5, 3, 3, generator=generator, dtype=torch.float64)
    bias = torch.randn(count, generator=generator, dtype=torch.float64)
    made = constants(weight, torch.float64)
    assert made.shape == (4 * count, 5, 4, 4)
    x = F.pad(maps(5, *size).detach(), (1, 1, 1, 1))
    found = convolved(x.contiguous(memory_format=torch.channels_last), made, bias, True)
    torch.testing.assert_close(found, F.conv2d(x, weight, bias).relu())


def test_what_is_seen_in_parts_is_rounded_only_when_it_is_made() -> None:
    """Maps and weights differ from those in bfloat16 by up to 1/256, and the result by less."""
    x, weight = maps(3, 7, 9).detach().float(), small_kernel().weight.float()
    bias = torch.linspace(-1, 1, 5)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    k = kernel(weight, bias.bfloat16(), torch.bfloat16, parts=True)
    exact = F.conv2d(F.pad(x, (1, 1, 1, 1)), weight, bias.bfloat16().float())
    found = convolution(x, k, "zero", rectify=False)
    assert found.dtype == torch.bfloat16
    assert (found - exact).norm() < 2 ** -(8 + 1) * exact.norm()
    narrow = F.conv2d(F.pad(x, (1, 1, 1, 1)).bfloat16(), weight.bfloat16(), bias.bfloat16())
    assert (narrow - exact).norm() > 1.3 * (found - exact).norm()
    rounded = F.conv2d(F.pad(x, (1, 1, 1, 1)), weight.bfloat16().float())
    back, expected = gradient_of(found, x), gradient_of(rounded, x)
    assert back.dtype == torch.float32
    assert (back - expected).norm() < 2**-8 * expected.norm()


def test_send_back_is_the_backward_pass_of_a_gradient() -> None:
    x, k = maps(3, 6, 8), small_kernel()
    made = convolution(x, k, "zero")
    gradient = maps(5, 6, 8, seed=1).detach()
    (expected,) = torch.autograd.grad((made * gradient).sum(), x)
    send_back(convolution(x, k, "zero"), gradient)
    assert x.grad is not None
    torch.testing.assert_close(x.grad, expected)


@pytest.mark.parametrize("size", SIZES)
def test_max_pool_and_its_gradient(size: tuple[int, int]) -> None:
    x = maps(4, *size)
    found, expected = max_pool(F.relu(x)), F.max_pool2d(F.relu(x), 2)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient_of(found, x), gradient_of(expected, x))


def test_the_first_of_equal_maxima_has_the_gradient_and_windows_of_zeros_none() -> None:
    window = torch.tensor([[2.0, 2, 0, 0, 1, 3], [2, 2, 0, 0, 3, 1]])[None, None]
    x = window.requires_grad_()
    (found,) = torch.autograd.grad(max_pool(x).sum(), x)
    assert found.tolist() == [[[[1, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0]]]]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("padding", ["zero", "reflect", "replicate", "circular"])
def test_a_pooled_convolution_keeps_what_the_pooling_does_and_has_the_same_gradient(
    padding: Padding, size: tuple[int, int]
) -> None:
    x, k = maps(3, *size), small_kernel()
    kept: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        found = convolution(x, k, padding, pooled=True)
        assert {tensor.dtype for tensor in kept} == {torch.bool}
        kept.clear()
        plain = convolution(x, k, padding)
        assert len(kept) == 1
    expected = F.max_pool2d(plain, 2)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient_of(found, x), gradient_of(expected, x))
    with torch.no_grad():
        torch.testing.assert_close(convolution(x, k, padding, pooled=True), found)


@pytest.mark.parametrize("pooled", [True, False])
@pytest.mark.parametrize("padding", ["zero", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("wide", [True, False], ids=["winograd", "plain"])
@pytest.mark.parametrize("size", [(13, 9), (8, 14)])
def test_narrow_strips_are_the_whole(
    size: tuple[int, int],
    wide: bool,
    padding: Padding,
    pooled: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One row of squares, or two rows of a plain convolution, at a time; a batch of two."""
    monkeypatch.setattr(module, "STRIP_VALUES", 1)
    monkeypatch.setattr(winograd, "STRIP_VALUES", 1)
    generator = torch.Generator().manual_seed(4)
    channels = 256 if wide else 3
    dtype = torch.float32 if wide else torch.float64
    x = torch.randn(2, channels, *size, generator=generator, dtype=dtype)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(channels, channels, 3, 3, generator=generator, dtype=dtype)
    weight = weight / (3 * channels**0.5)
    k = kernel(weight, torch.randn(channels, generator=generator, dtype=dtype))
    assert k.weight.dim() == (3 if wide else 4)
    mode = "constant" if padding == "zero" else padding
    expected = F.relu(F.conv2d(F.pad(x, (1, 1, 1, 1), mode=mode), weight, k.bias))
    expected = F.max_pool2d(expected, 2) if pooled else expected
    found = convolution(x, k, padding, pooled=pooled)
    near = {"rtol": 1e-4, "atol": 1e-4} if wide else {}
    torch.testing.assert_close(found, expected, **near)
    torch.testing.assert_close(gradient_of(found, x), gradient_of(expected, x), **near)
