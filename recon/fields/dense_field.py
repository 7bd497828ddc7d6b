"""field=dense: signed distance from dense multi-resolution grids."""

from collections.abc import Sequence

from recon.fields.grid_field import GridField
from recon.fields.hash_grid import DenseGrid


class DenseField(GridField):
    """Dense grids with a small network; see `GridField` and `DenseGrid`.

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
