"""Multi-resolution hash grids in plain PyTorch (Müller et al., Instant Neural Graphics Primitives, 2022, section 3)."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

PRIMES = (1, 2_654_435_761, 805_459_861)


class HashGrid(nn.Module):
    """Features of several grids over the cube [-1, 1]³, interpolated trilinearly; can be differentiated twice.

    A grid with more corners than its table has entries shares them by a hash of the corner (equation 4); a
    coarser one has an entry for each. Points outside the cube take what its border has.

    Args:
        levels: Number of grids.
        features: Of each entry.
        log2_size: Logarithm of the most entries of a table.
        coarsest: Cells of the first grid along a side.
        finest: Cells of the last; those between grow by one factor (equations 2 and 3).
        scale: The entries begin uniform in ± this.
    """

    resolution: Tensor
    first: Tensor
    dense: Tensor
    corners: Tensor

    def __init__(
        self,
        levels: int = 8,
        features: int = 2,
        log2_size: int = 16,
        coarsest: int = 16,
        finest: int = 256,
        scale: float = 1e-4,
    ) -> None:
        super().__init__()
        growth = (finest / coarsest) ** (1 / max(levels - 1, 1))
        cells = [math.floor(coarsest * growth**level + 1e-6) for level in range(levels)]
        self.mask = 2**log2_size - 1
        sizes = [min((n + 1) ** 3, 2**log2_size) for n in cells]
        self.out_features = levels * features
        constants = {
            "resolution": torch.tensor(cells),
            "first": torch.tensor([0, *sizes[:-1]]).cumsum(0),
            "dense": torch.tensor([(n + 1) ** 3 <= 2**log2_size for n in cells]),
            "corners": torch.cartesian_prod(*[torch.arange(2)] * 3),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)
        self.table = nn.Parameter((torch.rand(sum(sizes), features) * 2 - 1) * scale)

    def extra_repr(self) -> str:
        """Resolutions and size."""
        return f"cells={self.resolution.tolist()}, entries={len(self.table)}"

    def forward(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points features"]:
        """Features at points, coarsest grid first."""
        unit = ((points + 1) / 2).clamp(0, 1)
        local = unit[:, None] * self.resolution[:, None].to(unit.dtype)  # (points, levels, 3)
        cell = local.detach().floor().minimum(self.resolution[:, None].to(unit.dtype) - 1)
        part = local - cell
        sides = torch.stack([1 - part, part], dim=-1)  # (points, levels, axis, side)
        x, y, z = sides.unbind(2)
        weight = (x[..., :, None, None] * y[..., None, :, None] * z[..., None, None, :]).flatten(2)
        entries = self.table[self._entries(cell.long())]  # (points, levels, 8, features)
        return (weight[..., None] * entries).sum(2).flatten(1)

    def _entries(self, cell: Int[Tensor, "points levels 3"]) -> Int[Tensor, "points levels 8"]:
        """Places in the table of the corners of cells."""
        corner = cell[:, :, None] + self.corners
        x, y, z = corner.unbind(-1)
        side = (self.resolution + 1)[:, None]
        plain = (x * side + y) * side + z
        hashed = (x * PRIMES[0]) ^ (y * PRIMES[1]) ^ (z * PRIMES[2])
        return torch.where(self.dense[:, None], plain, hashed & self.mask) + self.first[:, None]


class HashFeature(nn.Module):
    """A feature for the rendering network from a hash grid: learns local colour in a few steps.

    Args:
        grid: The hash grid.
        feature_size: Size of the feature.
    """

    def __init__(self, grid: HashGrid, feature_size: int) -> None:
        super().__init__()
        self.grid = grid
        self.mix = nn.Linear(grid.out_features, feature_size)

    def forward(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points features"]:
        """Features at points of unit space."""
        features: Tensor = self.mix(self.grid(points))
        return features
