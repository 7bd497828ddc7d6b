"""Features of points from grids of several resolutions over the cube [-1, 1]³, with exact first and second derivatives.

`LevelGrid` is the general module, `HashGrid` and `DenseGrid` are its two kinds, and `GridFeature` makes the feature of
the appearance from one. The derivatives of the compiled loops are differentiable operations of each other.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd import Function

from recon.errors import ConfigError
from recon.fields import grid_kernels as kernels
from recon.fields import tiny_cuda

log = logging.getLogger(__name__)

BACKENDS = ("auto", "torch", "numba", "tinycudann")
PRIMES = (1, 2_654_435_761, 805_459_861)


class LevelGrid(nn.Module):
    """Features of several grids, side by side, coarsest first; can be differentiated twice.

    Each grid has a value at every corner of its cells; one with more corners than its table has entries shares them by
    a hash of the corner. Order 1 interpolates linearly between 2³ values; order 2 smoothly, by quadratic B-splines
    over 3³, so that normals of a surface show no cells. Outside the cube, points take what its border has.

    Corners of order 1 lie half a cell beside the cube's, and are numbered and hashed as in tinycudann (Müller et al.,
    Instant Neural Graphics Primitives, 2022, section 3 and appendix A), so that either can use the other's table.

    Three ways to compute the same: `torch` anywhere, with plain operations; `numba` on CPUs, with compiled loops and
    derivatives by hand, many times faster; `tinycudann` on GPUs, for order 1.

    Args:
        cells: Of each grid along a side of the cube.
        features: Of each value.
        order: 1 or 2.
        log2_size: Logarithm of the most values of a grid; None for no limit.
        scale: The values begin uniform in ± this.
        backend: `auto` takes the fastest that there is for where the points are.

    Attributes:
        rows: For each grid scale, last first tap, side, first entry, number of entries, hashed or not; `levels` has
            the same on the device of the grid.

    Raises:
        ConfigError: The backend is unknown, is not there, or cannot compute this grid.
    """

    levels: Tensor
    strides: Tensor

    def __init__(
        self,
        cells: Float[Tensor, " levels"],
        features: int,
        order: int,
        log2_size: int | None,
        scale: float,
        backend: str,
    ) -> None:
        super().__init__()
        _check(backend, order)
        self.order, self.backend = order, backend
        self.offset = 0.5 if order == 1 else 0.0
        most = 2**log2_size if log2_size is not None else None
        rows, first = [], 0
        for count in cells.double().tolist():
            last = int(count + self.offset) if order == 1 else round(count) - 1
            side = -int(-count // 1) + 1 if order == 1 else round(count) + 2
            corners = side**3 + (-(side**3)) % 8 if order == 1 else side**3
            size = corners if most is None else min(corners, most)
            rows.append([count, last, side, first, size, float(size < side**3)])
            first += size
        self.rows = tuple(map(tuple, rows))
        self.features, self.entries = features, first
        self.out_features = len(rows) * features
        self.register_buffer("levels", torch.tensor(rows, dtype=torch.float64), persistent=False)
        taps = torch.cartesian_prod(*[torch.arange(order + 1)] * 3)
        self.register_buffer("corners", taps, persistent=False)
        self.table = nn.Parameter((torch.rand(first, features) * 2 - 1) * scale)

    corners: Tensor

    def extra_repr(self) -> str:
        """Resolutions and size."""
        cells = [round(row[0]) for row in self.rows]
        return f"cells={cells}, features={self.features}, order={self.order}, entries={self.entries}"

    def forward(
        self, points: Float[Tensor, "points 3"], levels: int | None = None
    ) -> Float[Tensor, "points features"]:
        """Features at points, coarsest grid first.

        Args:
            points: In unit space.
            levels: Only those of so many grids; None for all.
        """
        count = len(self.levels) if levels is None else levels
        backend = chosen(self.backend, points.device, self.order)
        if backend == "numba":
            return _Gather.apply(points, self.table, None, self, count)
        if backend == "tinycudann":
            return tiny_cuda.encode(self.table, self.rows, points)[:, : count * self.features]
        return self._plain(points, count)

    def _plain(self, points: Tensor, count: int) -> Tensor:
        """The features by PyTorch's operations, which can be differentiated any number of times."""
        scale, last, side, first, size, hashed = self.levels[:count].unbind(1)
        unit = ((points + 1) / 2).clamp(0, 1)
        place = unit[:, None] * scale[:, None].to(unit.dtype) + self.offset  # (points, levels, 3)
        origin = place.detach().floor().minimum(last[:, None].to(unit.dtype))
        x, y, z = _weights(place - origin, self.order).unbind(2)  # (points, levels, taps) each
        weight = (x[..., :, None, None] * y[..., None, :, None] * z[..., None, None, :]).flatten(2)
        corner = origin.long()[:, :, None] + self.corners
        entry = _entries(corner, side.long()[:, None], size.long()[:, None], hashed.bool()[:, None])
        values = self.table[entry + first.long()[:, None]]  # (points, levels, taps³, features)
        return (weight[..., None] * values).sum(2).flatten(1)


class HashGrid(LevelGrid):
    """Features of linear grids over the cube [-1, 1]³, of which the fine ones share values by a hash.

    Args:
        levels: Number of grids.
        features: Of each entry.
        log2_size: Logarithm of the most entries of a table.
        coarsest: Cells of the first grid along a side.
        finest: Cells of the last; those between grow by one factor (equations 2 and 3), and need be no whole numbers.
        scale: The entries begin uniform in ± this.
        backend: See `LevelGrid`.
    """

    def __init__(
        self,
        levels: int = 8,
        features: int = 2,
        log2_size: int = 16,
        coarsest: int = 16,
        finest: int = 256,
        scale: float = 1e-4,
        backend: str = "auto",
    ) -> None:
        # A hair less, so that rounding in single precision cannot give tinycudann one corner more.
        growth = ((finest + 1) / (coarsest + 1)) ** (1 / max(levels - 1, 1)) * (1 - 1e-6)
        cells = (coarsest + 1) * growth ** torch.arange(levels, dtype=torch.float64) - 1
        super().__init__(cells, features, 1, log2_size, scale, backend)


class DenseGrid(LevelGrid):
    """Features of grids over the cube [-1, 1]³ with a value for every corner, smoothly interpolated.

    Args:
        levels: Number of grids.
        features: Of each value.
        coarsest: Cells of the first grid along a side.
        finest: Cells of the last; those between grow by one factor.
        order: 1 interpolates linearly, 2 smoothly.
        scale: The values begin uniform in ± this.
        backend: See `LevelGrid`.
    """

    def __init__(
        self,
        levels: int = 3,
        features: int = 4,
        coarsest: int = 16,
        finest: int = 64,
        order: int = 2,
        scale: float = 1e-4,
        backend: str = "auto",
    ) -> None:
        growth = (finest / coarsest) ** (1 / max(levels - 1, 1))
        cells = (coarsest * growth ** torch.arange(levels, dtype=torch.float64)).round()
        super().__init__(cells, features, order, None, scale, backend)


class GridFeature(nn.Module):
    """The feature for the rendering network from a grid, which learns local colour in a few steps.

    Args:
        grid: The grid.
        feature_size: Size of the feature.
    """

    def __init__(self, grid: LevelGrid, feature_size: int) -> None:
        super().__init__()
        self.grid = grid
        self.mix = nn.Linear(grid.out_features, feature_size)

    def forward(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points features"]:
        """Features at points of unit space."""
        features: Tensor = self.mix(self.grid(points))
        return features


_logged: set[tuple[str, str, str]] = set()


def chosen(backend: str, device: torch.device, order: int) -> str:
    """The backend that computes for points on a device; each choice is logged once."""
    choice = backend
    if backend == "tinycudann" and device.type != "cuda":
        choice = "numba" if device.type == "cpu" else "torch"  # such as while a prior prepares a field
    elif backend == "numba" and device.type != "cpu":
        choice = "torch"
    elif backend == "auto" and device.type == "cuda":
        choice = "torch" if order != 1 or tiny_cuda.missing() else "tinycudann"
    elif backend == "auto":
        choice = "torch" if device.type != "cpu" else "numba"
    if (backend, device.type, choice) not in _logged:
        _logged.add((backend, device.type, choice))
        log.info("grid encoding on %s: %s (encoding.backend=%s)", device.type, choice, backend)
    return choice


def _weights(t: Float[Tensor, "points levels 3"], order: int) -> Float[Tensor, "points levels 3 taps"]:
    """Weights of the taps along each axis; t is the place within the cell."""
    rest = 1 - t
    if order == 1:
        return torch.stack([rest, t], dim=-1)
    return torch.stack([rest * rest / 2, 0.5 + t * rest, t * t / 2], dim=-1)


def _entries(
    corner: Int[Tensor, "points levels taps 3"], side: Tensor, size: Tensor, hashed: Tensor
) -> Int[Tensor, "points levels taps"]:
    """Indices of corners in the tables of their levels."""
    x, y, z = corner.unbind(-1)
    dense = x + side * (y + side * z)
    mixed = (x * PRIMES[0]) ^ (y * PRIMES[1]) ^ (z * PRIMES[2])
    return torch.where(hashed, mixed, dense) % size


def _check(backend: str, order: int) -> None:
    """Raise a ConfigError for a backend that a grid of an order cannot have on this machine."""
    if backend not in BACKENDS:
        raise ConfigError(f"encoding.backend is {', '.join(BACKENDS)}; not {backend!r}")
    if order not in (1, 2):
        raise ConfigError(f"encoding.order is 1 (linear) or 2 (smooth); not {order}")
    if backend == "tinycudann":
        if order != 1:
            raise ConfigError(
                "encoding.backend=tinycudann computes linear grids: use encoding.order=1, or auto"
            )
        reason = tiny_cuda.missing()
        if reason:
            raise ConfigError(f"encoding.backend=tinycudann: {reason}, or use encoding.backend=auto")


class _Gather(Function):
    """The features of points as an operation; with `along`, their derivatives by the points in these directions."""

    @staticmethod
    def forward(
        ctx: Any, points: Tensor, table: Tensor, along: Tensor | None, grid: LevelGrid, count: int
    ) -> Tensor:
        """Take points (n, 3), table (entries, features) and along (n, 3) to features (n, count · features)."""
        ctx.save_for_backward(points, table, along)
        ctx.grid, ctx.count = grid, count
        out = points.new_zeros(len(points), count * table.shape[1])
        kernels.gather(
            _array(points), _array(table), _along(along, points), *_settings(grid, count), _array(out)
        )
        return out

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        """Derivatives by points, table and along."""
        points, table, along = ctx.saved_tensors
        levels = ctx.grid, ctx.count
        by_points = by_table = by_along = None
        if ctx.needs_input_grad[0]:
            by_points = _Gradient.apply(points, table, cotangent, along, *levels)
        if ctx.needs_input_grad[1]:
            by_table = _Scatter.apply(points, cotangent, along, len(table), *levels)
        if along is not None and ctx.needs_input_grad[2]:
            by_along = _Gradient.apply(points, table, cotangent, None, *levels)
        return by_points, by_table, by_along, None, None


class _Scatter(Function):
    """The derivative by the table of cotangent · `_Gather` as an operation."""

    @staticmethod
    def forward(
        ctx: Any,
        points: Tensor,
        cotangent: Tensor,
        along: Tensor | None,
        entries: int,
        grid: LevelGrid,
        count: int,
    ) -> Tensor:
        """Take a cotangent (n, count · features) to a table's (entries, features)."""
        ctx.save_for_backward(points, cotangent, along)
        ctx.grid, ctx.count = grid, count
        out = points.new_zeros(entries, cotangent.shape[1] // count)
        kernels.scatter(
            _array(points), _array(cotangent), _along(along, points), *_settings(grid, count), _array(out)
        )
        return out

    @staticmethod
    def backward(ctx: Any, table: Tensor) -> tuple[Tensor | None, ...]:
        """Derivatives by points, cotangent and along."""
        points, cotangent, along = ctx.saved_tensors
        levels = ctx.grid, ctx.count
        by_points = by_cotangent = by_along = None
        if ctx.needs_input_grad[0]:
            by_points = _Gradient.apply(points, table, cotangent, along, *levels)
        if ctx.needs_input_grad[1]:
            by_cotangent = _Gather.apply(points, table, along, *levels)
        if along is not None and ctx.needs_input_grad[2]:
            by_along = _Gradient.apply(points, table, cotangent, None, *levels)
        return by_points, by_cotangent, by_along, None, None, None


class _Gradient(Function):
    """The derivative by the points of cotangent · `_Gather` as an operation."""

    @staticmethod
    def forward(
        ctx: Any,
        points: Tensor,
        table: Tensor,
        cotangent: Tensor,
        along: Tensor | None,
        grid: LevelGrid,
        count: int,
    ) -> Tensor:
        """Take a cotangent (n, count · features) to the points' (n, 3)."""
        ctx.save_for_backward(points, table, cotangent)
        ctx.grid, ctx.count, ctx.second = grid, count, along is not None
        out = torch.zeros_like(points)
        given = _array(points), _array(table), _array(cotangent), _along(along, points)
        kernels.gradient(*given, *_settings(grid, count), _array(out))
        return out

    @staticmethod
    def backward(ctx: Any, along: Tensor) -> tuple[Tensor | None, ...]:
        """Derivatives by points, table and cotangent."""
        if ctx.second:
            raise NotImplementedError(
                "grid encodings have no third derivatives by numba: use encoding.backend=torch"
            )
        points, table, cotangent = ctx.saved_tensors
        levels = ctx.grid, ctx.count
        by_points = by_table = by_cotangent = None
        if ctx.needs_input_grad[0]:
            by_points = _Gradient.apply(points, table, cotangent, along, *levels)
        if ctx.needs_input_grad[1]:
            by_table = _Scatter.apply(points, cotangent, along, len(table), *levels)
        if ctx.needs_input_grad[2]:
            by_cotangent = _Gather.apply(points, table, along, *levels)
        return by_points, by_table, by_cotangent, None, None, None


def _array(tensor: Tensor) -> np.ndarray:
    """The same numbers for a compiled loop, contiguous."""
    return tensor.detach().contiguous().numpy()


def _along(along: Tensor | None, points: Tensor) -> np.ndarray:
    return _array(points[:0] if along is None else along)


def _settings(grid: LevelGrid, count: int) -> tuple[np.ndarray, int, float]:
    return grid.levels[:count].double().numpy(), grid.order + 1, grid.offset
