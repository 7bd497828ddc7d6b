"""Networks in TensorFlow Lite files, run by PyTorch: a reader of the file's flatbuffer and the 17 operations that
MediaPipe's networks of faces, hands and persons are made of.

Why not `ai-edge-litert` 2.3, which reads the same files: measured with one thread of an AMD EPYC, milliseconds a call,

| network | litert | this module | four pictures at once, here |
|---|---|---|---|
| face detection, 128² | 1.4 | 5.7 | 21 |
| face landmarks, 192² | 2.0 | 9.8 | 28 |
| segmentation, 256² | 5.9 | 9.9 | 24 |

It is faster by 0.1 s a photograph, which takes a second to prepare; it would add 60 MB and six packages, takes 0.24 s
to import, and has no wheel for Macs with Intel processors. Outputs agree to 1e-4 pixels and 1e-6 of a probability.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor

from recon.errors import PerceptionError
from recon.reading import read_bytes, shortened

DTYPES = {0: np.float32, 1: np.float16, 2: np.int32, 3: np.uint8, 4: np.int64}
"""Numbers of TensorType in the schema of TensorFlow Lite."""
OPERATIONS = {
    0: "add",
    1: "average_pool",
    2: "concatenation",
    3: "convolution",
    4: "depthwise_convolution",
    6: "dequantize",
    9: "fully_connected",
    14: "logistic",
    17: "max_pool",
    18: "mul",
    19: "relu",
    21: "relu6",
    22: "reshape",
    23: "resize_bilinear",
    34: "pad",
    40: "mean",
    54: "prelu",
    117: "hard_swish",
}
"""Numbers of BuiltinOperator in the schema of TensorFlow Lite."""
CUSTOM = 32
MOST_BYTES = 256 << 20
"""Largest file."""
ACTIVATIONS: dict[int, Callable[[Tensor], Tensor]] = {0: lambda x: x, 1: F.relu, 3: F.relu6}
"""Numbers of ActivationFunctionType in the schema."""
SAME = 0


@dataclass(frozen=True)
class Table:
    """A table of a flatbuffer (https://flatbuffers.dev/internals).

    Attributes:
        data: The whole file.
        at: Where the table begins, bytes.
    """

    data: bytes
    at: int

    def _field(self, number: int) -> int:
        """Where a field lies, bytes; 0 where it has its default value."""
        vtable = self.at - struct.unpack_from("<i", self.data, self.at)[0]
        length = struct.unpack_from("<H", self.data, vtable)[0]
        entry = 4 + 2 * number
        if entry >= length:
            return 0
        offset = struct.unpack_from("<H", self.data, vtable + entry)[0]
        return self.at + offset if offset else 0

    def scalar(self, number: int, kind: str = "i", default: int = 0) -> int:
        """A number; `kind` is a letter of the module `struct`."""
        at = self._field(number)
        return struct.unpack_from(f"<{kind}", self.data, at)[0] if at else default

    def _vector(self, number: int) -> tuple[int, int]:
        """Where the elements of a vector begin, bytes, and how many there are."""
        at = self._field(number)
        if not at:
            return 0, 0
        at += struct.unpack_from("<I", self.data, at)[0]
        length = struct.unpack_from("<I", self.data, at)[0]
        if length > len(self.data):
            raise ValueError(f"a vector claims {length} elements")
        return at + 4, length

    def array(self, number: int, dtype: Any) -> np.ndarray:
        """A vector of numbers; empty where there is none."""
        at, length = self._vector(number)
        return np.frombuffer(self.data, dtype, length, at) if length else np.zeros(0, dtype)

    def table(self, number: int) -> Table | None:
        """A table within this one; None where there is none."""
        at = self._field(number)
        return Table(self.data, at + struct.unpack_from("<I", self.data, at)[0]) if at else None

    def tables(self, number: int) -> list[Table]:
        """A vector of tables."""
        at, length = self._vector(number)
        places = [at + 4 * i for i in range(length)]
        return [Table(self.data, place + struct.unpack_from("<I", self.data, place)[0]) for place in places]


@dataclass(frozen=True)
class Step:
    """One operation of a network, with its constants bound.

    Attributes:
        run: From the tensors it takes to the one it gives; pictures are (pictures, channels, height, width).
        inputs: Numbers of the tensors it takes.
        output: Number of the tensor that it gives.
    """

    run: Callable[..., Tensor]
    inputs: tuple[int, ...]
    output: int


class TFLiteNetwork(torch.nn.Module):
    """A network of one picture in a TensorFlow Lite file; any number of pictures may be given at once.

    Attributes:
        input_size: (height, width) of the picture that it takes.

    Raises:
        PerceptionError: The file is no such network, or has an operation that is not known here.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        try:
            self._read(read_bytes(path, MOST_BYTES))
        except PerceptionError as error:
            raise PerceptionError(f"{path}: {error}") from error
        except Exception as error:  # a broken file makes any line of this fail
            raise PerceptionError(
                f"{path} is no TensorFlow Lite network ({shortened(repr(error))})"
            ) from error

    def _read(self, data: bytes) -> None:
        if data[4:8] != b"TFL3":
            raise PerceptionError("it is no TensorFlow Lite network (it does not say TFL3)")
        model = Table(data, struct.unpack_from("<I", data)[0])
        graph = model.tables(2)[0]
        tensors, buffers, codes = graph.tables(0), model.tables(4), model.tables(1)
        self._constants: dict[int, np.ndarray] = {}
        for number, tensor in enumerate(tensors):
            values = buffers[tensor.scalar(2, "I")].array(0, np.uint8)
            if len(values):
                self._constants[number] = values.view(DTYPES[tensor.scalar(1, "b")]).reshape(
                    tensor.array(0, np.int32)
                )
        self._inputs = [int(i) for i in graph.array(1, np.int32)]
        self._outputs = [int(i) for i in graph.array(2, np.int32)]
        self.input_size = tuple(int(n) for n in tensors[self._inputs[0]].array(0, np.int32)[1:3])
        self._weights = torch.nn.ParameterList()
        self._steps = []
        for operator in graph.tables(3):
            step = self._step(operator, codes[operator.scalar(0, "I")])
            if step is not None:
                self._steps.append(step)
        self.requires_grad_(False)

    def _step(self, operator: Table, code: Table) -> Step | None:
        """The operation; None where it only unpacks a constant."""
        kind = max(code.scalar(0, "b"), code.scalar(3))
        inputs = [int(i) for i in operator.array(1, np.int32)]
        output = int(operator.array(2, np.int32)[0])
        if kind == CUSTOM:
            name = bytes(code.array(1, np.uint8)).decode()
            make = {"Convolution2DTransposeBias": self._transposed_convolution}.get(name)
        else:
            name = OPERATIONS.get(kind, f"operation {kind}")
            make = getattr(self, f"_{name}", None)
        if name == "dequantize" and inputs[0] in self._constants:
            self._constants[output] = self._constants[inputs[0]].astype(np.float32)
            return None
        if make is None:
            raise PerceptionError(f"{name} is an operation that recon.perception.tflite does not know")
        options = operator.table(4) or Table(b"\4\0\4\0\4\0\0\0", 4)  # an empty table
        run = make(options, inputs)
        return Step(run, tuple(i for i in inputs if i not in self._constants), output)

    def forward(self, pictures: Float[Tensor, "pictures height width 3"]) -> tuple[Tensor, ...]:
        """Outputs in the order of the file, channels last, the number of pictures first.

        Args:
            pictures: RGB in the range that the network was trained with.
        """
        x = pictures.permute(0, 3, 1, 2)
        values = {self._inputs[0]: x.contiguous(memory_format=torch.channels_last)}
        for step in self._steps:
            values[step.output] = step.run(*(values[i] for i in step.inputs))
        return tuple(_channels_last(values[i]) for i in self._outputs)

    def _weight(self, value: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(np.array(value, np.float32))
        if tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        self._weights.append(torch.nn.Parameter(tensor, requires_grad=False))
        return self._weights[-1]

    def _convolution(self, options: Table, inputs: list[int]) -> Callable[..., Tensor]:
        weight = self._weight(self._constants[inputs[1]].transpose(0, 3, 1, 2))
        return self._convolved(options, inputs, weight, groups=1, first=3)

    def _depthwise_convolution(self, options: Table, inputs: list[int]) -> Callable[..., Tensor]:
        weight = self._weight(self._constants[inputs[1]].transpose(3, 0, 1, 2))
        groups = weight.shape[0] // options.scalar(3, default=1)
        return self._convolved(options, inputs, weight, groups=groups, first=4)

    def _convolved(
        self, options: Table, inputs: list[int], weight: Tensor, groups: int, first: int
    ) -> Callable[..., Tensor]:
        """Both kinds of convolution; `first` is the number of the field of the activation."""
        bias = self._weight(self._constants[inputs[2]]) if len(inputs) > 2 else None
        stride = options.scalar(2, default=1), options.scalar(1, default=1)
        dilation = options.scalar(first + 2, default=1), options.scalar(first + 1, default=1)
        same = options.scalar(0, "b") == SAME
        activation = ACTIVATIONS[options.scalar(first, "b")]

        def run(x: Tensor) -> Tensor:
            padding: tuple[int, int] = (0, 0)
            if same:
                kernel = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilation, strict=True)]
                x, padding = _padded(x, kernel, stride)
            return activation(F.conv2d(x, weight, bias, stride, padding, dilation, groups))

        return run

    def _transposed_convolution(self, options: Table, inputs: list[int]) -> Callable[..., Tensor]:
        """MediaPipe's own operation; its networks have it with a stride of the kernel's size only."""
        weight = self._weight(self._constants[inputs[1]].transpose(3, 0, 1, 2))
        bias = self._weight(self._constants[inputs[2]])
        return partial(F.conv_transpose2d, weight=weight, bias=bias, stride=weight.shape[2:])

    def _pool(self, options: Table, pool: Callable[..., Tensor], value: float) -> Callable[..., Tensor]:
        stride = options.scalar(2, default=1), options.scalar(1, default=1)
        kernel = options.scalar(4), options.scalar(3)
        same = options.scalar(0, "b") == SAME

        def run(x: Tensor) -> Tensor:
            if same and (x.shape[2] % kernel[0] or x.shape[3] % kernel[1]):
                x = F.pad(x, _same_padding(x, list(kernel), stride), value=value)
            return pool(x, kernel, stride)

        return run

    def _max_pool(self, options: Table, inputs: list[int]) -> Callable[..., Tensor]:
        return self._pool(options, F.max_pool2d, -torch.inf)

    def _average_pool(self, options: Table, inputs: list[int]) -> Callable[..., Tensor]:
        return self._pool(options, F.avg_pool2d, 0.0)

    def _binary(
        self, options: Table, inputs: list[int], combine: Callable[[Tensor, Tensor], Tensor]
    ) -> Callable[..., Tensor]:
        """An operation of two tensors, of which one may be a constant."""
        activation = ACTIVATIONS[options.scalar(0, "b")]
        constant = [self._constants[i] for i in inputs if i in self._constants]
        if not constant:
            return lambda x, y: activation(combine(x, y))
        other = self._weight(_channels_first(constant[0]))
        return lambda x: activation(combine(x, other))

    def _add(self, options: Table, inputs: list[int]) -> Callable[..., Tensor]:
        return self._binary(options, inputs, torch.add)

    def _mul(self, options: Table, inputs: list[int]) -> Callable[..., Tensor]:
        return self._binary(options, inputs, torch.mul)

    def _prelu(self, options: Table, inputs: list[int]) -> Callable[..., Tensor]:
        slope = self._weight(self._constants[inputs[1]].reshape(-1))
        return lambda x: F.prelu(x, slope)

    def _relu(self, options: Table, inputs: list[int]) -> Callable[..., Tensor]:
        return F.relu

    def _relu6(self, options: Table, inputs: list[int]) -> Callable[..., Tensor]:
        return F.relu6

    def _hard_swish(self, options: Table, inputs: list[int]) -> Callable[..., Tensor]:
        return F.hardswish

    def _logistic(self, options: Table, inputs: list[int]) -> Callable[..., Tensor]:
        return torch.sigmoid

    def _pad(self, options: Table, inputs: list[int]) -> Callable[..., Tensor]:
        amounts = self._constants[inputs[1]].astype(int)[[0, 3, 1, 2]]  # of pictures, channels, rows, columns
        flat = [int(n) for pair in amounts[::-1] for n in pair]
        return lambda x: F.pad(x, flat)

    def _reshape(self, options: Table, inputs: list[int]) -> Callable[..., Tensor]:
        shape = self._constants[inputs[1]] if len(inputs) > 1 else options.array(0, np.int32)
        rest = [int(n) for n in shape[1:]]
        return lambda x: _channels_last(x).reshape(x.shape[0], *rest)

    def _concatenation(self, options: Table, inputs: list[int]) -> Callable[..., Tensor]:
        axis = options.scalar(0)

        def run(*parts: Tensor) -> Tensor:
            channels_first = {1: 2, 2: 3, 3: 1, -1: 1}
            return torch.cat(parts, channels_first[axis] if parts[0].ndim == 4 else axis)

        return run

    def _fully_connected(self, options: Table, inputs: list[int]) -> Callable[..., Tensor]:
        weight = self._weight(self._constants[inputs[1]])
        bias = self._weight(self._constants[inputs[2]]) if len(inputs) > 2 else None
        activation = ACTIVATIONS[options.scalar(0, "b")]
        return lambda x: activation(F.linear(_channels_last(x).flatten(1), weight, bias))

    def _mean(self, options: Table, inputs: list[int]) -> Callable[..., Tensor]:
        axes = [{1: 2, 2: 3, 3: 1}[int(n)] for n in self._constants[inputs[1]].ravel()]
        keep = bool(options.scalar(0, "b"))
        return lambda x: x.mean(dim=axes, keepdim=keep)

    def _resize_bilinear(self, options: Table, inputs: list[int]) -> Callable[..., Tensor]:
        size = [int(n) for n in self._constants[inputs[1]]]
        corners, half = bool(options.scalar(2, "b")), bool(options.scalar(3, "b"))
        if not corners and not half:
            raise PerceptionError("it resizes by the rule of TensorFlow 1, which PyTorch does not know")
        return lambda x: F.interpolate(x, size, mode="bilinear", align_corners=corners)


def _same_padding(x: Tensor, kernel: list[int], stride: tuple[int, int]) -> list[int]:
    """Rows and columns that padding=SAME adds, in the order of `F.pad`: an odd one goes to the end."""
    amounts = []
    for size, k, s in reversed(list(zip(x.shape[2:], kernel, stride, strict=True))):
        total = max((-(-size // s) - 1) * s + k - size, 0)
        amounts += [total // 2, total - total // 2]
    return amounts


def _padded(x: Tensor, kernel: list[int], stride: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
    """The picture and the padding that a convolution is to add: none where it is not the same on both sides."""
    left, right, top, bottom = _same_padding(x, kernel, stride)
    if left == right and top == bottom:
        return x, (top, left)
    return F.pad(x, (left, right, top, bottom)), (0, 0)


def _channels_first(value: np.ndarray) -> np.ndarray:
    return value.transpose(0, 3, 1, 2) if value.ndim == 4 else value


def _channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1) if x.ndim == 4 else x
