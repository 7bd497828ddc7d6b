"""field=hash: signed distance from a multi-resolution hash grid."""

from collections.abc import Sequence

from recon.fields.grid_field import GridField
from recon.fields.hash_grid import HashGrid


class HashField(GridField):
    """A hash grid with a small network (Instant NGP for signed distances); see `GridField` and `HashGrid`.

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
