"""The layers' own backward passes against PyTorch's, and what they keep."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from impasto.layers import Kernel, Padding, convolution, kernel, max_pool

SIZES = [(6, 8), (7, 5), (2, 3)]


def maps(c: int, h: int, w: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    made = torch.randn(1, c, h, w, generator=generator, dtype=torch.float64)
    return made.contiguous(memory_format=torch.channels_last).requires_grad_()


def constants() -> Kernel:
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
    x, k = maps(3, *size), constants()
    mode = "constant" if padding == "zero" else padding
    expected = F.conv2d(F.pad(x, (1, 1, 1, 1), mode=mode), k.weight, k.bias)
    expected = F.relu(expected) if rectify else expected
    found = convolution(x, k, padding, rectify)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient_of(found, x), gradient_of(expected, x))


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


def test_a_pooled_convolution_keeps_nothing_and_has_the_same_gradient() -> None:
    x, k = maps(3, 6, 8), constants()
    kept: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        made = convolution(x, k, "replicate", pooled=True)
        assert kept == []
        found = max_pool(made)
        assert {tensor.dtype for tensor in kept} == {torch.bool}
        kept.clear()
        plain = convolution(x, k, "replicate")
        assert len(kept) == 1
    expected = F.max_pool2d(plain, 2)
    torch.testing.assert_close(gradient_of(found, x), gradient_of(expected, x))
