"""Arrays and tensors of every type and layout: the same numbers are the same picture."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from impasto import images
from impasto.errors import PictureError

BYTES = np.random.default_rng(0).integers(0, 256, (16, 20, 3), np.uint8)
UNIT = BYTES / 255
TYPES = ("uint8", "int16", "int32", "int64", "uint32", "uint64", ">i4", ">u2", "float16",
         "float32", "float64", ">f4", "longdouble")  # fmt: skip


def as_type(name: str) -> np.ndarray:
    """The same picture in another type."""
    kind = np.dtype(name)
    if kind.kind == "f":
        return UNIT.astype(kind)
    return BYTES.astype(kind) * kind.type(257 if name == ">u2" else 1)


def same(found: images.Picture, rounding: float = 1e-6) -> None:
    wanted = torch.from_numpy(UNIT).float().permute(2, 0, 1)[None]
    torch.testing.assert_close(found.pixels, wanted, rtol=0, atol=rounding)
    assert found.pixels.dtype == torch.float32
    assert found.alpha is None


@given(
    name=st.sampled_from(TYPES),
    first=st.booleans(),
    leading=st.integers(0, 2),
    flips=st.tuples(st.booleans(), st.booleans()),
    padded=st.booleans(),
)
def test_any_array_is_the_same_picture(
    name: str, first: bool, leading: int, flips: tuple[bool, bool], padded: bool
) -> None:
    """Types, byte orders, channels first or last, ones before, negative and wide strides."""
    values = as_type(name)
    for axis, flip in enumerate(flips):
        if flip:  # the same numbers, but stored from the other end
            values = np.flip(np.flip(values, axis).copy(), axis)
    if padded:
        values = np.repeat(values, 2, 1)[:, ::2]
    values = values.transpose(2, 0, 1) if first else values
    values = values.reshape((1,) * leading + values.shape) if leading else values
    same(images.read(values), 1e-3 if name == "float16" else 1e-6)


@given(
    kind=st.sampled_from(
        (torch.uint8, torch.int16, torch.int64, torch.float16, torch.bfloat16, torch.float32,
         torch.float64)
    ),
    last=st.booleans(),
    leading=st.integers(0, 2),
    way=st.sampled_from(("plain", "grad", "sparse", "inference", "subclass", "strided")),
)  # fmt: skip
def test_any_tensor_is_the_same_picture(
    kind: torch.dtype, last: bool, leading: int, way: str
) -> None:
    tensor = torch.from_numpy(UNIT if kind.is_floating_point else BYTES).to(kind)
    tensor = tensor if last else tensor.permute(2, 0, 1)
    tensor = tensor[(None,) * leading]
    if way == "grad" and kind.is_floating_point:
        tensor = tensor.clone().requires_grad_()
    elif way == "sparse":
        tensor = tensor.to_sparse()
    elif way == "inference":
        with torch.inference_mode():
            tensor = tensor.clone()
    elif way == "subclass":
        tensor = tensor.as_subclass(Typed)
    elif way == "strided":
        tensor = tensor.repeat_interleave(2, -1)[..., ::2]
    same(images.read(tensor), 5e-3 if kind.itemsize == 2 and kind.is_floating_point else 1e-6)


class Typed(Tensor):
    """A kind of tensor of another library."""


def test_matrices_are_arrays() -> None:
    """The class numpy.matrix stays two-dimensional whatever one does, which ended the process."""
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix(UNIT[:, :, 0])
    torch.testing.assert_close(
        images.read(matrix).pixels[0, 1], torch.from_numpy(UNIT[:, :, 0]).float()
    )


def test_masked_values_are_transparent() -> None:
    """Whatever lies under the mask, NaN too, and in whichever channel the mask is."""
    values = UNIT.copy()
    values[:4] = np.nan
    mask = np.zeros(values.shape, bool)
    mask[:4, :, 1:] = True
    mask[:4, :, 0] = True
    found = images.read(np.ma.MaskedArray(values, mask))
    assert found.alpha is not None
    assert found.alpha[..., :4, :].max() == 0
    assert found.alpha[..., 4:, :].min() == 1
    torch.testing.assert_close(
        found.pixels[0, :, 4:], torch.from_numpy(UNIT[4:]).float().permute(2, 0, 1)
    )
    gray = images.read(np.ma.masked_less(UNIT[:, :, 0], 0.5))
    assert gray.alpha is not None
    torch.testing.assert_close(gray.alpha[0, 0], torch.from_numpy(UNIT[:, :, 0] >= 0.5).float())


def test_rounding_is_no_error() -> None:
    """Resizing and half precision leave values just outside [0, 1]."""
    values = np.full((16, 16), 1.0004)
    values[0] = -0.0004
    found = images.read(values).pixels
    assert found.max() == 1
    assert found.min() == 0


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (np.full((20, 20), 200.0), "divide them by 255"),
        (np.full((20, 20), 3e5), "scale them"),
        (np.full((20, 20), -0.5), "scale them"),
        (np.full((20, 20), np.nan), "400 values that are NaN or infinite"),
        (np.where(np.eye(20) > 0, np.inf, 0.5), "20 values that are NaN"),
        (np.full((20, 20), 1e300), "NaN or infinite"),
        (np.full((20, 20), -1), "whole numbers of -1"),
        (np.full((20, 20), 70_000), "whole numbers of 70000"),
        (np.zeros((20, 20), complex), "complex128"),
        (np.zeros((20, 20), "U3"), "<U3"),
        (np.zeros((20, 20), object), "object"),
        (np.zeros((20, 30, 2)), r"\(20, 30, 2\)"),
        (np.zeros(20), r"\(20,\)"),
        (np.float32(1), r"\(\)"),
        (np.zeros((2, 20, 20, 3)), "a batch of 2"),
        (torch.zeros(2, 3, 20, 20), "a batch of 2"),
        (torch.zeros(3, 20, 20, device="meta"), "meta"),
        (torch.zeros(3, 20, 20, dtype=torch.complex64), "complex64"),
        (torch.zeros(3, 20, 8), "8x20 px"),
    ],
)
def test_bad_numbers_are_refused_with_what_is_wrong(bad: Any, words: str) -> None:
    with pytest.raises(PictureError, match=words) as caught:
        images.read(bad)
    assert len(str(caught.value).splitlines()) == 1


@given(
    value=st.lists(st.integers(0, 255), min_size=256, max_size=256),
    depth=st.sampled_from((1, 3, 4)),
)
@settings(max_examples=20)
def test_rows_of_numbers_are_a_picture(value: list[int], depth: int) -> None:
    rows = np.array(value, np.int64).reshape(16, 16)
    rows[0, 0] = 200  # else a picture of 0 and 1 alone would be black and white
    nested = rows.tolist() if depth == 1 else np.dstack([rows] * depth).tolist()
    wanted = torch.from_numpy(rows / 255).float()
    torch.testing.assert_close(images.read(nested).pixels[0, 2], wanted)
