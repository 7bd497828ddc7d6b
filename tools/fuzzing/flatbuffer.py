"""A writer of flatbuffers, and a small network in the format of TensorFlow Lite."""

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np


class FlatBuffer:
    """A writer of flatbuffers: tables as dictionaries from numbers of fields to values.

    A value is an integer (of 32 bits), an array (a vector of numbers), a dictionary (a table), or a list of these.
    """

    def __init__(self) -> None:
        self.data = bytearray(b"\0\0\0\0TFL3")

    def write(self, root: Mapping[int, Any]) -> bytes:
        """The file of a root table."""
        struct.pack_into("<I", self.data, 0, self._table(root))
        return bytes(self.data)

    def _align(self) -> int:
        self.data += b"\0" * (-len(self.data) % 8)
        return len(self.data)

    def _table(self, fields: Mapping[int, Any]) -> int:
        count = max(fields, default=-1) + 1
        start = self._align()
        slots = {number: 4 + 4 * place for place, number in enumerate(sorted(fields))}
        places = (slots.get(number, 0) for number in range(count))
        self.data += struct.pack(f"<HH{count}H", 4 + 2 * count, 4 + 4 * len(slots), *places)
        at = self._align()
        self.data += struct.pack("<i", at - start) + b"\0" * (4 * len(slots))
        for number, place in slots.items():
            value = fields[number]
            if isinstance(value, int):
                struct.pack_into("<i", self.data, at + place, value)
            else:
                target = self._table(value) if isinstance(value, Mapping) else self._vector(value)
                struct.pack_into("<I", self.data, at + place, target - at - place)
        return at

    def _vector(self, value: Any) -> int:
        if isinstance(value, list):
            at = self._align()
            self.data += struct.pack("<I", len(value)) + b"\0" * (4 * len(value))
            for place, each in enumerate(value):
                slot = at + 4 + 4 * place
                struct.pack_into("<I", self.data, slot, self._table(each) - slot)
            return at
        array = np.asarray(value)
        self._align()
        self.data += b"\0" * 4  # the numbers themselves begin at a multiple of 8
        at = len(self.data)
        self.data += struct.pack("<I", len(array)) + array.tobytes()
        return at


def tflite() -> bytes:
    """A network of a convolution, a pooling and a sigmoid over pictures of 4 x 4."""
    i4 = np.int32

    def tensor(shape: list[int], buffer: int) -> dict[int, Any]:
        return {0: np.array(shape, i4), 1: 0, 2: buffer}

    def operator(code: int, inputs: list[int], output: int, options: dict[int, Any]) -> dict[int, Any]:
        return {0: code, 1: np.array(inputs, i4), 2: np.array([output], i4), 4: options}

    weight, bias = np.ones(2 * 3 * 3 * 3, np.float32).view(np.uint8), np.zeros(2, np.float32).view(np.uint8)
    graph = {
        0: [
            tensor([1, 4, 4, 3], 0), tensor([2, 3, 3, 3], 1), tensor([2], 2), tensor([1, 4, 4, 2], 0),
            tensor([1, 2, 2, 2], 0), tensor([1, 2, 2, 2], 0),
        ],
        1: np.array([0], i4),
        2: np.array([5], i4),
        3: [
            operator(0, [0, 1, 2], 3, {0: 0, 1: 1, 2: 1, 3: 0}),
            operator(1, [3], 4, {0: 0, 1: 2, 2: 2, 3: 2, 4: 2, 5: 0}),
            operator(2, [4], 5, {}),
        ],
    }  # fmt: skip
    codes = [{0: 3, 3: 3}, {0: 17, 3: 17}, {0: 14, 3: 14}]
    return FlatBuffer().write({0: 3, 1: codes, 2: [graph], 4: [{}, {0: weight}, {0: bias}]})
