"""Multi-resolution grids: hashed (Müller et al., Instant Neural Graphics Primitives, 2022, section 3) and dense."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recon.fields.level_grid import LevelGrid


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
    """A feature for the rendering network from a grid: learns local colour in a few steps.

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
