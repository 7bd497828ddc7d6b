"""Grid encodings on a GPU by tinycudann, where it is installed."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from recon.errors import ConfigError

if TYPE_CHECKING:
    from recon.fields.level_grid import LevelGrid

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


def encode(grid: LevelGrid, points: Tensor) -> Tensor:
    """Features of points on a GPU by tinycudann's kernels, from the grid's own table.

    It differentiates twice as training needs it: gradients by the points, and derivatives of these by points and
    table. Derivatives of the table's gradient it has not.

    Raises:
        ConfigError: This tinycudann arranges its tables in another way.
    """
    native = _native(grid)
    unit = ((points + 1) / 2).clamp(0, 1)
    features: Tensor = torch.func.functional_call(native, {"params": grid.table.flatten()}, (unit,))
    return features.to(points.dtype)


def _native(grid: LevelGrid) -> Any:
    """The encoding by tinycudann of the same levels; made once for each layout."""
    rows = grid.rows  # on the host: reading the buffer back would wait for the GPU at every call
    largest = max(int(row[4]) for row in rows)
    log2_size = max((largest - 1).bit_length(), 3)
    growth = ((rows[-1][0] + 1) / (rows[0][0] + 1)) ** (1 / max(len(rows) - 1, 1))
    native = _made(len(rows), grid.features, log2_size, round(rows[0][0]) + 1, growth)
    if native.params.numel() != grid.table.numel():
        raise ConfigError(
            f"this tinycudann has {native.params.numel()} numbers in a grid of {grid.extra_repr()}, expected "
            f"{grid.table.numel()}: use encoding.backend=torch"
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
