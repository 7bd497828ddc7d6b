"""Signed distance fields of multi-resolution grids and a small network; coarse levels fade in first.

`GridField` takes any grid; `DenseField` and `HashField` make theirs from plain options.
"""

from collections.abc import Hashable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from recon.fields.field import Field, FieldSample
from recon.fields.level_grid import DenseGrid, HashGrid, LevelGrid

SMOOTH = 1e-6
"""Square of the radius about the origin within which a sphere's distance is smoothed, in unit space."""


class GridField(Field):
    """The signed distance ‖x‖ − radius + m(x, fade · grid(x)), with a feature for the colour network.

    The correction m of the sphere starts at zero, so the whole starts as the sphere, as IDR's network does. Levels of
    the grid fade in from coarse to fine as training goes on, without which few photographs tear the surface
    (Neuralangelo, section 3.2; InstantAvatar, section on progressive levels). How far they are in is a function of the
    progress alone; a field that nobody trains has all of them.

    Args:
        grid: Of features.
        width: Units of each hidden layer.
        depth: Hidden layers; 0 adds the features up, which is the fastest and asks of the grid to be smooth.
        feature_size: Size of the feature for the colour network; 0 for none.
        radius: Of the initial sphere, in unit space.
        beta: Sharpness of the softplus.
        first: Levels that are in from the start.
        fade: Progress at which the next level begins to come in, and at which the last is in; fractions of the
            training. All come at once where the second is no later than the first.

    Raises:
        ValueError: `first` or `fade` is not one of these.
    """

    def __init__(
        self,
        grid: LevelGrid,
        width: int,
        depth: int,
        feature_size: int,
        radius: float,
        beta: float,
        first: int,
        fade: Sequence[float],
    ) -> None:
        super().__init__()
        begin, end = fade
        if not 0 <= first <= len(grid.levels) or not (0 <= begin <= 1 and 0 <= end <= 1):
            raise ValueError(
                f"of {len(grid.levels)} levels first={first} cannot be in from the start and the others follow in the "
                f"part fade={list(fade)} of the training: expected first in 0…{len(grid.levels)}, and two fractions"
            )
        self.grid, self.radius, self.beta = grid, radius, beta
        self.first, self.begin, self.end = first, float(begin), float(max(begin, end))
        self.progress = 1.0
        self.register_buffer("faded", torch.ones(len(grid.levels), dtype=torch.float64), persistent=False)
        sizes = [3 + grid.out_features] + [width] * depth + [1 + feature_size]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        with torch.no_grad():
            last = self.layers[-1]
            assert isinstance(last, nn.Linear)
            last.weight[0], last.bias[0] = 0.0, 0.0
            if depth == 0:
                last.weight[0, 3:] = 1.0
                grid.table.zero_()

    faded: Tensor

    def set_progress(self, progress: float) -> None:
        """Fade the levels in; `faded` holds `fades` on the device of the field."""
        before, self.progress = self.fades(), progress
        for level, (old, new) in enumerate(zip(before, self.fades(), strict=True)):
            if new != old:
                # In place, and without a copy for which a device would have to wait.
                self.faded[level].fill_(new)

    def shape_of_progress(self) -> Hashable:
        """How many levels are in, and whether one of them only partly."""
        fades = [fade for fade in self.fades() if fade > 0]
        return len(fades), bool(fades) and fades[-1] < 1

    def fades(self) -> Sequence[float]:
        """How far each level is in, in [0, 1]."""
        rest = len(self.grid.levels) - self.first
        span = self.end - self.begin
        passed = (self.progress - self.begin) / span if span > 0 else float(self.progress >= self.end)
        return [1.0] * self.first + [min(max(passed * rest - level, 0.0), 1.0) for level in range(rest)]

    def forward(self, points: Float[Tensor, "points 3"]) -> FieldSample:
        """Signed distance and feature at points of unit space; differentiable twice."""
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        output = _linear(self._hidden(points), last.weight, last.bias)
        return FieldSample(self._sphere(points) + output[:, 0], output[:, 1:])

    def sdf(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
        """Signed distance alone: does not compute the feature."""
        return self._sphere(points) + self.correction(points)

    def correction(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
        """The correction m of the sphere; zero to begin with."""
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        return _linear(self._hidden(points), last.weight[:1], last.bias[:1])[:, 0]

    def _sphere(self, points: Tensor) -> Tensor:
        return (points.square().sum(1) + SMOOTH).sqrt() - self.radius

    def _hidden(self, points: Tensor) -> Tensor:
        fades = [fade for fade in self.fades() if fade > 0]
        hidden = points
        if fades:
            features = self.grid(points, len(fades))
            if fades[-1] < 1:
                each = (
                    self.faded[: len(fades), None].expand(-1, self.grid.features).flatten().to(points.dtype)
                )
                features = features * each
            hidden = torch.cat([points, features], dim=1)
        for layer in self.layers[:-1]:
            assert isinstance(layer, nn.Linear)
            hidden = functional.softplus(_linear(hidden, layer.weight, layer.bias), beta=self.beta)
        return hidden


def _linear(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A linear layer of which the last inputs, those of levels that are not in yet, may be missing."""
    return functional.linear(inputs, weight[:, : inputs.shape[1]], bias)


class DenseField(GridField):
    """A field of dense grids with a small network; see `GridField` and `DenseGrid`.

    Args:
        levels: Grids.
        features: Of each value.
        coarsest: Cells of the first grid along a side of the cube about the unit sphere.
        finest: Cells of the last.
        order: 1 interpolates linearly, 2 smoothly.
        width: Units of each hidden layer.
        depth: Hidden layers.
        feature_size: Size of the feature for the colour network; 0 for none.
        radius: Of the initial sphere, in unit space.
        beta: Sharpness of the softplus.
        first: Levels that are in from the start.
        fade: Progress at which the next level begins to come in, and at which the last is in.
        backend: Of the grids: `auto`, `torch`, `numba`.
    """

    def __init__(
        self,
        levels: int = 4,
        features: int = 4,
        coarsest: int = 8,
        finest: int = 64,
        order: int = 2,
        width: int = 64,
        depth: int = 1,
        feature_size: int = 64,
        radius: float = 0.6,
        beta: float = 100.0,
        first: int = 2,
        fade: Sequence[float] = (0.0, 0.5),
        backend: str = "auto",
    ) -> None:
        grid = DenseGrid(levels, features, coarsest, finest, order, backend=backend)
        super().__init__(grid, width, depth, feature_size, radius, beta, first, fade)


class HashField(GridField):
    """A field of hash grids with a small network (Instant NGP for signed distances); see `GridField`, `HashGrid`.

    Args:
        levels: Grids.
        features: Of each entry.
        log2_size: Logarithm of the most entries of a grid.
        coarsest: Cells of the first grid along a side of the cube about the unit sphere.
        finest: Cells of the last.
        width: Units of each hidden layer.
        depth: Hidden layers.
        feature_size: Size of the feature for the colour network; 0 for none.
        radius: Of the initial sphere, in unit space.
        beta: Sharpness of the softplus.
        first: Levels that are in from the start.
        fade: Progress at which the next level begins to come in, and at which the last is in.
        backend: Of the grid: `auto`, `torch`, `numba`, `tinycudann`.
    """

    def __init__(
        self,
        levels: int = 8,
        features: int = 2,
        log2_size: int = 16,
        coarsest: int = 8,
        finest: int = 128,
        width: int = 64,
        depth: int = 1,
        feature_size: int = 64,
        radius: float = 0.6,
        beta: float = 100.0,
        first: int = 4,
        fade: Sequence[float] = (0.0, 0.5),
        backend: str = "auto",
    ) -> None:
        grid = HashGrid(levels, features, log2_size, coarsest, finest, backend=backend)
        super().__init__(grid, width, depth, feature_size, radius, beta, first, fade)
