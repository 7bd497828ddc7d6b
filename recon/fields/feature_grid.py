"""A dense grid of features, interpolated by quadratic B-splines, and the distance of points to its box.

On a CPU compiled loops take the place of PyTorch's operations where no second derivative is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from scipy.ndimage import spline_filter
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

from recon.fields import half_kernels
from recon.fields import spline_kernels as kernels
from recon.threads import mapped, slices

ROWS_AT_A_TIME, POINTS_AT_A_TIME = 2**16, 2**10
"""Numbers of rows, and of weighted sums of rows, that a thread computes at a time."""


class FeatureGrid(nn.Module):
    """Features on a regular grid over a box, interpolated by quadratic B-splines.

    The interpolant has a continuous gradient, so that normals of a surface that follows the grid show no cells,
    and can be differentiated twice with respect to points and values. A point outside the box takes the
    features of the nearest point of the box.

    Args:
        low: Lower corner of the box, in the unit of the points.
        high: Upper corner.
        shape: Cells along x, y, z; there is one value more than that in every direction, plus a border.
        channels: Features of each value.
        scale: Standard deviation of the initial values; 0 starts from zero.
    """

    low: Tensor
    cell: Tensor
    cells: Tensor
    strides: Tensor
    offsets: Tensor

    def __init__(
        self,
        low: Sequence[float],
        high: Sequence[float],
        shape: Sequence[int],
        channels: int,
        scale: float = 0.0,
    ) -> None:
        super().__init__()
        self.shape = tuple(int(n) + 2 for n in shape)
        x, y, z = self.shape
        self.channels = channels
        size = torch.tensor(high, dtype=torch.float64) - torch.tensor(low, dtype=torch.float64)
        three = torch.arange(3)
        offsets = ((three[:, None, None] * y + three[:, None]) * z + three).flatten()
        constants = {
            "low": torch.tensor(low, dtype=torch.float32),
            "cell": (size / torch.tensor(shape)).float(),
            "cells": torch.tensor(shape, dtype=torch.float32),
            "strides": torch.tensor([y * z, z, 1], dtype=torch.float32),
            "offsets": offsets.int(),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)
        self.values = nn.Parameter(torch.randn(x * y * z, channels) * scale)

    def extra_repr(self) -> str:
        """Shape and channels."""
        return f"{self.shape}, channels={self.channels}"

    def forward(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points channels"]:
        """Features at points."""
        graph = torch.is_grad_enabled()
        if not _compiled(points) or (graph and self.values.requires_grad):
            return self.gather(*self.taps(points))
        if graph and points.requires_grad:
            result: Tensor = _Interpolate.apply(points, self)
            return result
        return self.interpolated(points, self.values)

    @torch.no_grad()
    def interpolated(
        self, points: Float[Tensor, "points 3"], values: Float[Tensor, "nodes channels"]
    ) -> Float[Tensor, "points channels"]:
        """Features at points with other values than the grid's own, without a graph."""
        if _compiled(points):
            return _compiled_values(points, self, values)
        return weighted_sums(*self.taps(points), values)

    @torch.no_grad()
    def value_and_gradient(
        self, points: Float[Tensor, "points 3"], values: Float[Tensor, "nodes 1"]
    ) -> tuple[Float[Tensor, " points"], Float[Tensor, "points 3"]]:
        """The only feature at points with its derivative by the point, with other values than the grid's own."""
        return self.projected_gradient(points, values, points.new_ones(len(points), 1))

    @torch.no_grad()
    def projected_gradient(
        self,
        points: Float[Tensor, "points 3"],
        values: Float[Tensor, "nodes channels"],
        direction: Float[Tensor, "points channels"],
    ) -> tuple[Float[Tensor, " points"], Float[Tensor, "points 3"]]:
        """Products of the features at points with directions, and their derivatives by the point.

        Args:
            points: Points.
            values: Values that take the place of the grid's own.
            direction: Factors of the features of each point.
        """
        if _compiled(points):
            return _compiled_value_and_gradient(points, self, values, direction)
        with torch.enable_grad():
            points = points.detach().requires_grad_(True)
            index, weight = self.taps(points)
            value = (torch.einsum("nt,ntc->nc", weight, values.detach()[index]) * direction).sum(1)
            (gradient,) = torch.autograd.grad(value.sum(), points)
        return value.detach(), gradient

    def gather(
        self, index: Int[Tensor, "points 27"], weight: Float[Tensor, "points 27"]
    ) -> Float[Tensor, "points channels"]:
        """Features at the points of some taps; grids of the same box and shape can share them."""
        if torch.is_grad_enabled() and (weight.requires_grad or self.values.requires_grad):
            # Plain operations can be differentiated twice; the fused one below cannot.
            return torch.einsum("nt,ntc->nc", weight, self.values[index])
        return weighted_sums(index, weight, self.values)

    @property
    def nodes(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    def cell_centres(self) -> list[Float[Tensor, " cells"]]:
        """Coordinates of the middles of cells along x, y, z, where the inner values sit."""
        return [
            self.low[axis] + self.cell[axis] * (torch.arange(count - 2, device=self.low.device) + 0.5)
            for axis, count in enumerate(self.shape)
        ]

    @torch.no_grad()
    def filled(self, values: Float[Tensor, "nodes channels"]) -> FeatureGrid:
        """A grid of the same box and cells with given values."""
        high = self.low + self.cell * self.cells
        shape = [n - 2 for n in self.shape]
        grid = FeatureGrid(self.low.tolist(), high.tolist(), shape, values.shape[1])
        grid.values.copy_(values)
        return grid

    def taps(
        self, points: Float[Tensor, "points 3"]
    ) -> tuple[Int[Tensor, "points 27"], Float[Tensor, "points 27"]]:
        """Indices and weights of the 27 values that a point depends on."""
        local = ((points - self.low) / self.cell).clamp_min(0).minimum(self.cells)
        # Value i of the inner grid sits in the middle of cell i; the nearest one is the middle tap.
        first = local.detach().floor().minimum(self.cells - 1)
        t = local - first
        rest = 1 - t
        weights = torch.stack([rest * rest / 2, 0.5 + t * rest, t * t / 2], dim=1)
        x, y, z = weights.unbind(2)
        weight = (x[:, :, None, None] * (y[:, :, None] * z[:, None, :])[:, None]).flatten(1)
        origin = (first @ self.strides.to(first.dtype)).int()
        return origin[:, None] + self.offsets, weight


def spline_values(
    centres: Float[np.ndarray, "x y z"],
) -> Float32[np.ndarray, "x2 y2 z2"]:
    """Computes the values of a `FeatureGrid` whose interpolant takes given values at the centres of its cells.

    Args:
        centres: Wanted values.

    Returns:
        The values, with one more at every side that continues linearly.
    """
    wide = np.pad(centres.astype(np.float64), 1, mode="reflect", reflect_type="odd")
    return spline_filter(wide, order=2, mode="mirror").astype(np.float32)


def distance_to_box(
    points: Float[Tensor, "points 3"], low: Float[Tensor, " 3"], high: Float[Tensor, " 3"]
) -> Float[Tensor, " points"]:
    """Distance of points to a box, 0 inside it; its gradient is finite everywhere."""
    square = (points - points.maximum(low).minimum(high)).square().sum(1)
    outside = square > 0
    # The square root has no gradient at 0.
    return torch.where(outside, square, 1.0).sqrt() * outside


class _Interpolate(Function):
    """The features of points as a differentiable operation, for a grid whose values do not learn."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, grid: FeatureGrid) -> Tensor:
        """Points (n, 3) → (n, channels)."""
        ctx.save_for_backward(points)
        ctx.grid = grid
        return _compiled_values(points, grid, grid.values)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
        """Compute the derivative by the points; by plain operations where it has to be differentiated itself."""
        (points,) = ctx.saved_tensors
        if not torch.is_grad_enabled():
            return _compiled_value_and_gradient(points, ctx.grid, ctx.grid.values, cotangent)[1], None
        plain = ctx.grid.gather(*ctx.grid.taps(points))
        (gradient,) = torch.autograd.grad(plain, points, cotangent, create_graph=True)
        return gradient, None


def _compiled_values(points: Tensor, grid: FeatureGrid, values: Tensor) -> Tensor:
    """Features at points (n, 3), of values (nodes, channels) on the box and cells of a grid."""
    out = points.new_empty(len(points), values.shape[1])
    kernels.interpolate(_array(points), *_lattice(grid, points), _array(values), _array(out))
    return out


def _compiled_value_and_gradient(
    points: Tensor, grid: FeatureGrid, values: Tensor, cotangent: Tensor
) -> tuple[Tensor, Tensor]:
    """Cotangent · features (n,) at points, with its derivative by the points (n, 3)."""
    value, gradient = points.new_empty(len(points)), torch.empty_like(points)
    kernels.value_and_gradient(
        _array(points), *_lattice(grid, points), *map(_array, (values, cotangent, value, gradient))
    )
    return value, gradient


def _lattice(grid: FeatureGrid, points: Tensor) -> tuple[np.ndarray, ...]:
    """Corner, cell and numbers of cells in the precision of the points, and numbers of values."""
    box = (_array(each.to(points.dtype)) for each in (grid.low, grid.cell, grid.cells))
    return (*box, np.array(grid.shape))


def _array(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().contiguous().numpy()
    return array


def _compiled(points: Tensor) -> bool:
    """Whether loops compiled for the CPU may take the place of PyTorch's operations."""
    return points.device.type == "cpu"


def weighted_sums(
    index: Int[Tensor, "points taps"],
    weight: Float[Tensor, "points taps"],
    values: Float[Tensor, "nodes channels"],
) -> Float[Tensor, "points channels"]:
    """Weighted sums of values, fused, without a graph, in the precision of the weights; values may be in half
    precision.
    """
    if values.dtype == torch.float16 and _compiled(values):
        return _sums_of_half(index, weight, values)
    # Detached, since for a table that could need a gradient it saves indices even without a graph.
    taken = functional.embedding_bag(
        index, values.detach(), per_sample_weights=weight.detach().to(values.dtype), mode="sum"
    )
    return taken.to(weight.dtype)


def rows_times(rows: Float[Tensor, "rows channels"], code: Float[Tensor, " first"]) -> Float[Tensor, " rows"]:
    """Products of rows with a code, in the precision of the code; rows may be in half precision.

    Args:
        rows: The rows.
        code: Factors of the first channels; the others do not count.
    """
    result = torch.empty(len(rows), dtype=code.dtype, device=rows.device)
    if rows.dtype == torch.float16 and _compiled(rows):
        bits, factors, out = _bits(rows), _array(code * half_kernels.SCALE), _array(result)

        def multiply(part: slice) -> None:
            half_kernels.rows_times(bits[part], factors, out[part])

        for _ in mapped(multiply, slices(len(rows), ROWS_AT_A_TIME)):
            pass
        return result
    for part, into in zip(rows.split(ROWS_AT_A_TIME), result.split(ROWS_AT_A_TIME), strict=True):
        torch.mv(part[:, : len(code)].to(code.dtype), code, out=into)
    return result


def _sums_of_half(
    index: Int[Tensor, "points taps"],
    weight: Float[Tensor, "points taps"],
    rows: Float[Tensor, "nodes channels"],
) -> Float[Tensor, "points channels"]:
    """Weighted sums of rows in half precision, on a CPU."""
    result = torch.empty(len(index), rows.shape[1], dtype=weight.dtype)
    taps, factors, bits, out = _array(index), _array(weight), _bits(rows), _array(result)
    scale = out.dtype.type(half_kernels.SCALE)

    def add(part: slice) -> None:
        half_kernels.weighted_sums(taps[part], factors[part], bits, scale, out[part])

    for _ in mapped(add, slices(len(index), POINTS_AT_A_TIME)):
        pass
    return result


def _bits(rows: Tensor) -> np.ndarray:
    """The bits of a contiguous table in half precision."""
    return _array(rows.detach().view(torch.int16))
