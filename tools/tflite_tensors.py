"""The constant tensors of a TensorFlow Lite file, read without TensorFlow.

A .tflite file is a FlatBuffer. Of its schema (schema.fbs, version 3) only these fields are read:

    Model     2: subgraphs, 4: buffers
    SubGraph  0: tensors
    Tensor    0: shape, 1: type, 2: buffer, 3: name
    Buffer    0: data
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TYPES = {0: np.float32, 1: np.float16}  # of TensorType; what else there is are no weights


def read(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of floats that have values in the file, by name, as they are stored."""
    data = path.read_bytes()
    assert data[4:8] == b"TFL3", path
    model = _Table(data, _at(data, 0))
    buffers = [buffer.values(0) for buffer in model.tables(4)]
    (graph,) = model.tables(2)
    found = {}
    for tensor in graph.tables(0):
        kind, values = tensor.number(1, "b"), buffers[tensor.number(2, "I")]
        if kind in TYPES and values:
            shape = struct.unpack(f"<{len(tensor.values(0, 4)) // 4}i", tensor.values(0, 4))
            name = tensor.values(3).decode()
            found[name] = np.frombuffer(values, TYPES[kind]).reshape(shape)
    return found


class _Table:
    """A table of a FlatBuffer: its fields by number, through the offsets that begin it."""

    def __init__(self, data: bytes, place: int) -> None:
        self.data, self.place = data, place
        self.offsets = place - struct.unpack_from("<i", data, place)[0]

    def _field(self, number: int) -> int:
        """Where a field is; 0 if the table leaves it out."""
        length: int = struct.unpack_from("<H", self.data, self.offsets)[0]
        where = 4 + 2 * number
        if where >= length:
            return 0
        offset: int = struct.unpack_from("<H", self.data, self.offsets + where)[0]
        return self.place + offset if offset else 0

    def number(self, number: int, kind: str) -> int:
        """A whole number of that `struct` type, 0 by default."""
        place = self._field(number)
        return int(struct.unpack_from(f"<{kind}", self.data, place)[0]) if place else 0

    def values(self, number: int, width: int = 1) -> bytes:
        """The bytes of a vector, or text, whose items are so wide."""
        place = self._field(number)
        if not place:
            return b""
        start = _at(self.data, place)
        length = struct.unpack_from("<I", self.data, start)[0] * width
        return self.data[start + 4 : start + 4 + length]

    def tables(self, number: int) -> "list[_Table]":
        """The tables of a vector."""
        start = _at(self.data, self._field(number))
        count = struct.unpack_from("<I", self.data, start)[0]
        places = range(start + 4, start + 4 + 4 * count, 4)
        return [_Table(self.data, _at(self.data, place)) for place in places]


def _at(data: bytes, place: int) -> int:
    """Where the offset at a place leads."""
    return place + int(struct.unpack_from("<I", data, place)[0])
