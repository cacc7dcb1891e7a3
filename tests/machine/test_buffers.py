"""Memory that is used again: where buffers lie, when they come back, and that a painting fits."""

import gc
import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from impasto.machine import buffers as module
from impasto.machine.buffers import LEAST, Buffers
from impasto.networks import vgg
from impasto.networks.vgg import VGG

MIB = 2**20
LIKE = torch.empty(1)


def of(mib: float, buffers: Buffers) -> Tensor:
    """A buffer of so many MiB."""
    return buffers.take(LIKE, int(mib * MIB) // 4)


def place(tensor: Tensor, buffers: Buffers) -> float:
    """How many MiB from the range's beginning it lies."""
    start = torch.frombuffer(buffers.memory, dtype=torch.uint8).data_ptr()
    return (tensor.data_ptr() - start) / MIB


def reserved(mib: int) -> Buffers:
    buffers = Buffers()
    buffers.reserve(mib * MIB)
    return buffers


def test_each_lies_in_the_first_gap_that_is_large_enough() -> None:
    buffers = reserved(16)
    a, b, c, d = (of(size, buffers) for size in (2, 3, 1, 4))
    assert [place(t, buffers) for t in (a, b, c, d)] == [0, 2, 5, 6]
    del a, c  # gaps of 2 MiB at 0 and of 1 MiB at 5
    e, f = of(1.5, buffers), of(1, buffers)
    assert [place(t, buffers) for t in (e, f)] == [0, 5]
    del b, f  # what touches is one gap: 4.5 MiB from 1.5 on
    assert place(of(4.5, buffers), buffers) == 1.5


def test_views_keep_their_buffer() -> None:
    buffers = reserved(4)
    view = of(2, buffers).view(2, -1)[1]
    view.fill_(7)
    other = of(2, buffers)
    other.zero_()
    assert place(other, buffers) == 2
    assert view.eq(7).all()


@pytest.mark.parametrize("mib", [5, 0.5])
def test_what_does_not_fit_or_is_small_comes_from_pytorch(mib: float) -> None:
    buffers = reserved(4)
    found = of(mib, buffers)
    assert not 0 <= place(found, buffers) < 4
    assert buffers.gaps == [(0, 4 * MIB)]


def test_without_a_range_all_comes_from_pytorch() -> None:
    assert of(8, Buffers()).shape == (2 * MIB,)


def test_a_larger_range_takes_the_place_of_a_smaller_one() -> None:
    buffers = reserved(4)
    old = of(2, buffers).fill_(3)
    memory = weakref.ref(buffers.memory)
    buffers.reserve(2 * MIB)  # there is more already
    assert buffers.memory is memory()
    buffers.reserve(8 * MIB)
    new = of(8, buffers).zero_()
    assert old.eq(3).all()
    del old, new
    gc.collect()
    buffers._close()
    assert buffers.gaps == [(0, 8 * MIB)]  # the old range's buffer is no gap of the new one
    assert memory() is None


def test_a_range_that_the_system_refuses_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(count: int) -> object:
        raise OSError(12, "Cannot allocate memory")

    buffers = reserved(4)
    monkeypatch.setattr(module, "_mapped", refused)
    buffers.reserve(8 * MIB)
    assert place(of(3, buffers), buffers) == 0
    assert of(8, buffers).shape == (2 * MIB,)


def test_maps_are_in_channels_last_of_the_dtype_of_others() -> None:
    like = torch.empty(1, dtype=torch.bfloat16)
    found = reserved(4).maps(like, 1, 64, 100, 120)
    assert (found.shape, found.dtype) == ((1, 64, 100, 120), torch.bfloat16)
    assert found.is_contiguous(memory_format=torch.channels_last)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(LEAST, 3 * LEAST)), max_size=40))
def test_no_two_live_buffers_overlap_and_nothing_is_lost(steps: list[tuple[int, int]]) -> None:
    """Buffers come and go in any order: six slots, each filled anew again and again."""
    buffers = reserved(16)
    held: dict[int, Tensor] = {}
    for slot, count in steps:
        held.pop(slot, None)
        held[slot] = buffers.take(LIKE, count, dtype=torch.uint8).fill_(slot)
        assert all(bool(tensor.eq(number).all()) for number, tensor in held.items())
    held.clear()
    buffers._close()
    assert buffers.gaps == [(0, 16 * MIB)]


@pytest.mark.parametrize("padding", ["zero", "replicate"])
def test_the_network_finds_room_for_all_of_an_evaluation(
    padding: vgg.Padding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Features and gradient of 257x200 px: no buffer had to come from PyTorch, none stays."""
    asked: list[bool] = []
    span = Buffers._span

    def watched(self: Buffers, count: int) -> object:
        found = span(self, count)
        asked.append(found is not None)
        return found

    monkeypatch.setattr(Buffers, "_span", watched)
    network: VGG = vgg.load(layers=["relu5_1"], padding=padding)
    pixels = torch.rand(1, 3, 200, 257, generator=torch.Generator().manual_seed(0))
    features = network(pixels.requires_grad_(), ["relu1_1", "relu4_2", "relu5_1"])
    torch.autograd.backward([f.square().mean() for f in features.values()])
    assert len(asked) > 50
    assert all(asked)
    del features
    network.buffers._close()
    assert network.buffers.gaps == [(0, len(network.buffers.memory))]
