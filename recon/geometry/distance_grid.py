"""Signed distance fields of closed triangle meshes on regular grids, and meshes from them.

Distances are exact within a narrow band around the surface. The sign is the winding number along rays,
which is right for meshes that overlap themselves: a point is inside where the surface wraps it at least once,
so that the field is the one of the union.
"""

from dataclasses import dataclass

import numpy as np
import trimesh
from jaxtyping import Float, Float32, Int8, Int64
from skimage.measure import marching_cubes

from recon.errors import MeshError
from recon.geometry.distance_kernels import (
    apply_sign,
    count_crossings,
    splat_squared_distance,
    sweep_octants,
    trilinear,
)

# A ray through grid points would meet vertices that lie on grid lines; these shifts are no simple fraction.
_RAY_SHIFT = (0.000313719, 0.000271829)


@dataclass(frozen=True)
class RegularGrid:
    """A regular grid of sample points in a box.

    Attributes:
        origin: Position of sample (0, 0, 0), mm.
        spacing_mm: Distance between neighbouring samples.
        shape: Samples along x, y, z.
    """

    origin: np.ndarray
    spacing_mm: float
    shape: tuple[int, int, int]

    @staticmethod
    def around(low: np.ndarray, high: np.ndarray, spacing_mm: float, margin_mm: float = 0.0) -> "RegularGrid":
        """Returns the grid that covers the box and its margin; samples lie at multiples of the spacing."""
        first = np.floor((np.asarray(low) - margin_mm) / spacing_mm).astype(int)
        last = np.ceil((np.asarray(high) + margin_mm) / spacing_mm).astype(int)
        x, y, z = (int(n) for n in last - first + 1)
        return RegularGrid(first * spacing_mm, spacing_mm, (x, y, z))

    def axis(self, index: int) -> np.ndarray:
        """Returns the sample coordinates along one axis, mm."""
        return self.origin[index] + self.spacing_mm * np.arange(self.shape[index])

    def sample(
        self, values: Float32[np.ndarray, "x y z"], points: Float[np.ndarray, "points 3"]
    ) -> Float[np.ndarray, " points"]:
        """Trilinear interpolation of grid values; points outside take the nearest border value."""
        return trilinear(values, (points - self.origin) / self.spacing_mm)

    def sample_gradient(
        self, values: Float32[np.ndarray, "x y z"], points: Float[np.ndarray, "points 3"]
    ) -> Float[np.ndarray, "points 3"]:
        """Gradient of the interpolated values by central differences of one spacing, per mm."""
        gradient = np.empty((len(points), 3))
        for axis in range(3):
            step = np.zeros(3)
            step[axis] = self.spacing_mm / 2
            gradient[:, axis] = self.sample(values, points + step) - self.sample(values, points - step)
        return gradient / self.spacing_mm


def signed_distance_grid(
    vertices: Float[np.ndarray, "vertices 3"],
    faces: Int64[np.ndarray, "faces 3"],
    grid: RegularGrid,
    band_mm: float,
    extend: bool = False,
) -> Float32[np.ndarray, "x y z"]:
    """Signed distance of a closed mesh at the samples of a grid, negative inside.

    Args:
        vertices: Positions, mm.
        faces: Closed outward triangles; the mesh may overlap itself. Faces off all rows of the grid along
            x may be left out.
        grid: Where to evaluate; the mesh may reach beyond it.
        band_mm: Distances are exact up to here.
        extend: Carry distances on beyond the band to first order (fast sweeping) instead of clamping them
            to the band.
    """
    local = (vertices - grid.origin) / grid.spacing_mm
    band = band_mm / grid.spacing_mm
    field = np.full(grid.shape, np.float32(band * band), dtype=np.float32)
    splat_squared_distance(local, faces, field, band)
    winding = winding_grid(vertices, faces, grid)
    np.sqrt(field, out=field)
    if extend:
        field[field >= np.float32(band)] = np.inf
        sweep_distance(field, np.float32(band))
    apply_sign(field, winding, grid.spacing_mm)
    return field


def winding_grid(
    vertices: Float[np.ndarray, "vertices 3"], faces: Int64[np.ndarray, "faces 3"], grid: RegularGrid
) -> Int8[np.ndarray, "x y z"]:
    """Winding numbers of a closed mesh at a grid's samples: 0 outside, 1 inside, negative where it is inside out."""
    winding = np.zeros(grid.shape, dtype=np.int8)
    count_crossings((vertices - grid.origin) / grid.spacing_mm, faces, winding, *_RAY_SHIFT)
    return winding


def mesh_from_grid(
    field: Float32[np.ndarray, "x y z"], grid: RegularGrid, level: float = 0.0
) -> trimesh.Trimesh:
    """Marching cubes at a level of the field, in mm; outward winding for fields that are negative inside.

    Raises:
        MeshError: The field does not cross the level.
    """
    if not field.min() < level < field.max():
        raise MeshError(f"no surface: the field ranges over [{field.min()}, {field.max()}], level {level}")
    vertices, faces, _, _ = marching_cubes(field, level)
    return trimesh.Trimesh(
        vertices.astype(np.float64) * grid.spacing_mm + grid.origin,
        faces.astype(np.int64),
        process=False,
    )


def sweep_distance(
    field: Float32[np.ndarray, "x y z"],
    known: np.float32,
    keep: np.ndarray | None = None,
    limit: float = np.inf,
) -> Float32[np.ndarray, "x y z"]:
    """Carries distances on from known samples, in grid steps, in place: solves |grad d| = 1 by fast sweeping.

    Args:
        field: Distances in grid steps; infinite where unknown.
        known: Samples below this value are kept.
        keep: Instead of `known`, a mask of the samples to keep.
        limit: Distances beyond one step past this stay infinite, which saves their cost.

    Returns:
        The field that came in.
    """
    fixed = field < known if keep is None else keep
    sweep_octants(field, fixed, np.float32(limit))
    return field
