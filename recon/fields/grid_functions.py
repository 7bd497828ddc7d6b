"""Grid encodings for autograd on a CPU: three sums by compiled loops, each the derivative of another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from recon.fields import grid_kernels as kernels

if TYPE_CHECKING:
    from recon.fields.level_grid import LevelGrid


class Gather(Function):
    """Features of points; or, with `along`, their derivatives by the points in these directions."""

    @staticmethod
    def forward(
        ctx: Any, points: Tensor, table: Tensor, along: Tensor | None, grid: LevelGrid, count: int
    ) -> Tensor:
        """Points (n, 3), table (entries, features), along (n, 3) → (n, count · features)."""
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
        at = ctx.grid, ctx.count
        by_points = by_table = by_along = None
        if ctx.needs_input_grad[0]:
            by_points = Slope.apply(points, table, cotangent, along, *at)
        if ctx.needs_input_grad[1]:
            by_table = Scatter.apply(points, cotangent, along, len(table), *at)
        if along is not None and ctx.needs_input_grad[2]:
            by_along = Slope.apply(points, table, cotangent, None, *at)
        return by_points, by_table, by_along, None, None


class Scatter(Function):
    """The derivative by the table of cotangent · `Gather`."""

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
        """Cotangent (n, count · features) → (entries, features)."""
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
        at = ctx.grid, ctx.count
        by_points = by_cotangent = by_along = None
        if ctx.needs_input_grad[0]:
            by_points = Slope.apply(points, table, cotangent, along, *at)
        if ctx.needs_input_grad[1]:
            by_cotangent = Gather.apply(points, table, along, *at)
        if along is not None and ctx.needs_input_grad[2]:
            by_along = Slope.apply(points, table, cotangent, None, *at)
        return by_points, by_cotangent, by_along, None, None, None


class Slope(Function):
    """The derivative by the points of cotangent · `Gather`."""

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
        """Cotangent (n, count · features) → (n, 3)."""
        ctx.save_for_backward(points, table, cotangent)
        ctx.grid, ctx.count, ctx.second = grid, count, along is not None
        out = torch.zeros_like(points)
        given = _array(points), _array(table), _array(cotangent), _along(along, points)
        kernels.slope(*given, *_settings(grid, count), _array(out))
        return out

    @staticmethod
    def backward(ctx: Any, along: Tensor) -> tuple[Tensor | None, ...]:
        """Derivatives by points, table and cotangent."""
        if ctx.second:
            raise NotImplementedError(
                "grid encodings have no third derivatives by numba: use encoding.backend=torch"
            )
        points, table, cotangent = ctx.saved_tensors
        at = ctx.grid, ctx.count
        by_points = by_table = by_cotangent = None
        if ctx.needs_input_grad[0]:
            by_points = Slope.apply(points, table, cotangent, along, *at)
        if ctx.needs_input_grad[1]:
            by_table = Scatter.apply(points, cotangent, along, len(table), *at)
        if ctx.needs_input_grad[2]:
            by_cotangent = Gather.apply(points, table, along, *at)
        return by_points, by_table, by_cotangent, None, None, None


def _array(tensor: Tensor) -> np.ndarray:
    """The same numbers for a compiled loop, which wants rows without gaps."""
    return tensor.detach().contiguous().numpy()


def _along(along: Tensor | None, points: Tensor) -> np.ndarray:
    return _array(points[:0] if along is None else along)


def _settings(grid: LevelGrid, count: int) -> tuple[np.ndarray, int, float]:
    return grid.levels[:count].double().numpy(), grid.order + 1, grid.offset
