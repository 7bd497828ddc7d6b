"""Grid encodings on a GPU by tinycudann, where it is installed."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from recon.errors import ConfigError

INSTALL = (
    "pip install --no-build-isolation 'git+https://github.com/NVlabs/tiny-cuda-nn/#subdirectory=bindings/torch' "
    "(it needs nvcc; the Dockerfile's target cuda-tinycudann has it)"
)


@functools.cache
def missing() -> str:
    """Why tinycudann cannot be used here, and what to do; empty where it can."""
    if not torch.cuda.is_available():
        return "PyTorch sees no CUDA device; tinycudann runs on NVIDIA GPUs only"
    try:
        importlib.import_module("tinycudann")
    except (ImportError, OSError) as error:  # it raises OSError for a GPU that it was not built for
        return f"tinycudann cannot be imported ({error}); install it: {INSTALL}"
    return ""


def encode(
    table: Float[Tensor, "entries features"],
    rows: Sequence[Sequence[float]],
    points: Float[Tensor, "points 3"],
) -> Float[Tensor, "points encoded"]:
    """Features of points on a GPU by tinycudann's kernels, from a table of our own.

    It can be differentiated by the points and the table, and the gradient by the points again by points and table;
    the gradient by the table cannot be differentiated.

    Args:
        table: Values of all levels.
        rows: Layout of the levels, see `recon.fields.level_grid.LevelGrid`; on the host, since reading a buffer back
            would wait for the GPU at every call.
        points: In the cube [-1, 1]³.

    Raises:
        ConfigError: This tinycudann arranges its tables in another way.
    """
    native = _native(table, rows)
    unit = ((points + 1) / 2).clamp(0, 1)
    features: Tensor = torch.func.functional_call(native, {"params": table.flatten()}, (unit,))
    return features.to(points.dtype)


def _native(table: Tensor, rows: Sequence[Sequence[float]]) -> Any:
    """The encoding by tinycudann of the same levels; made once for each layout."""
    largest = max(int(row[4]) for row in rows)
    log2_size = max((largest - 1).bit_length(), 3)
    growth = ((rows[-1][0] + 1) / (rows[0][0] + 1)) ** (1 / max(len(rows) - 1, 1))
    native = _made(len(rows), table.shape[1], log2_size, round(rows[0][0]) + 1, growth)
    if native.params.numel() != table.numel():
        cells = [round(row[0]) for row in rows]
        raise ConfigError(
            f"this tinycudann has {native.params.numel()} numbers in a grid of {cells} cells with {table.shape[1]} "
            f"features, expected {table.numel()}: use encoding.backend=torch"
        )
    return native


@functools.cache
def _made(levels: int, features: int, log2_size: int, base: int, growth: float) -> Any:
    settings = {
        "otype": "HashGrid",
        "n_levels": levels,
        "n_features_per_level": features,
        "log2_hashmap_size": log2_size,
        "base_resolution": base,
        "per_level_scale": growth,
        "interpolation": "Linear",
    }
    tinycudann = importlib.import_module("tinycudann")
    return tinycudann.Encoding(3, settings, dtype=torch.float32)
