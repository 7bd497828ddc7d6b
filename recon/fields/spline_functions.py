"""The loops of `recon.fields.spline_kernels` for PyTorch: `FeatureGrid` on a CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from recon.fields import spline_kernels as kernels

if TYPE_CHECKING:
    from recon.fields.grid import FeatureGrid


class Interpolate(Function):
    """Features of points, of a grid whose values do not learn."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, grid: FeatureGrid) -> Tensor:
        """Points (n, 3) → (n, channels)."""
        ctx.save_for_backward(points)
        ctx.grid = grid
        return interpolated(points, grid, grid.values)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
        """The derivative by the points; where it has to be differentiated itself, by plain operations."""
        (points,) = ctx.saved_tensors
        if not torch.is_grad_enabled():
            return slope(points, ctx.grid, ctx.grid.values, cotangent)[1], None
        plain = ctx.grid.gather(*ctx.grid.taps(points))
        (gradient,) = torch.autograd.grad(plain, points, cotangent, create_graph=True)
        return gradient, None


def interpolated(points: Tensor, grid: FeatureGrid, values: Tensor) -> Tensor:
    """Features at points (n, 3), of values (nodes, channels) on the box and cells of a grid."""
    out = points.new_empty(len(points), values.shape[1])
    kernels.interpolate(_array(points), *_lattice(grid, points), _array(values), _array(out))
    return out


def slope(points: Tensor, grid: FeatureGrid, values: Tensor, cotangent: Tensor) -> tuple[Tensor, Tensor]:
    """Cotangent · features (n,) at points, with its derivative by the points (n, 3)."""
    value, gradient = points.new_empty(len(points)), torch.empty_like(points)
    kernels.slope(_array(points), *_lattice(grid, points), *map(_array, (values, cotangent, value, gradient)))
    return value, gradient


def _lattice(grid: FeatureGrid, points: Tensor) -> tuple[np.ndarray, ...]:
    """Corner, cell and numbers of cells in the precision of the points, and numbers of values."""
    box = (_array(each.to(points.dtype)) for each in (grid.low, grid.cell, grid.cells))
    return (*box, np.array(grid.shape))


def _array(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().contiguous().numpy()
    return array
