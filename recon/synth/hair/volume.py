"""The closed surface of hair: the union of locks, closed over the gaps between them, and meshed."""

import numpy as np
import trimesh
from jaxtyping import Float, Float32
from scipy import ndimage

from recon.compiled import compiled
from recon.geometry.distance_grid import RegularGrid, mesh_from_grid, sweep_distance
from recon.geometry.tidy import drop_small_components

_UNDERCOAT_RADIUS_MM = 2.4
_CRUMB_MM3 = 150.0


def hair_surface(
    strands: Float[np.ndarray, "strands points 3"],
    radius_mm: float,
    undercoat: Float[np.ndarray, "stubs 2 3"] | None = None,
    spacing_mm: float = 1.75,
    closing_mm: float = 5.0,
    inset_mm: float = 0.6,
    smoothing: float = 0.6,
) -> trimesh.Trimesh:
    """Meshes the closed surface of hair.

    The union of the locks is closed morphologically (gaps narrower than twice `closing_mm` and all hollows
    are filled); the filling lies `inset_mm` deeper than the locks, so that their relief stays.

    Args:
        strands: Strands, mm.
        radius_mm: Radius of a lock at its root; it thins to half at the tip.
        undercoat: Short segments standing on the scalp, mm, that keep skin from showing between the locks.
        spacing_mm: Spacing of the grid.
        closing_mm: Radius of the closing.
        inset_mm: Depth of the filling below the locks.
        smoothing: Standard deviation of the final smoothing in grid steps.

    Returns:
        Closed outward mesh, mm.
    """
    low, high = strands.min(axis=(0, 1)), strands.max(axis=(0, 1))
    grid = RegularGrid.around(low, high, spacing_mm, closing_mm + radius_mm + 3 * spacing_mm)
    band = 2.0
    locks = np.full(grid.shape, np.float32(np.inf), dtype=np.float32)
    local = ((strands - grid.origin) / spacing_mm).astype(np.float64)
    radii = np.linspace(1.0, 0.5, strands.shape[1]) * strand_density(strands) * radius_mm / spacing_mm
    _splat_locks(local, radii, locks, band)
    if undercoat is not None:
        stubs = ((undercoat - grid.origin) / spacing_mm).astype(np.float64)
        _splat_locks(stubs, np.full(stubs.shape[:2], _UNDERCOAT_RADIUS_MM / spacing_mm), locks, band)
    filled = _close(locks, closing_mm / spacing_mm, band)
    field = np.minimum(locks, filled + np.float32(inset_mm / spacing_mm))
    field = ndimage.gaussian_filter(np.clip(field, -band, band), smoothing)
    return drop_small_components(mesh_from_grid(field, grid), _CRUMB_MM3)


def _close(locks: Float32[np.ndarray, "x y z"], radius: float, band: float) -> Float32[np.ndarray, "x y z"]:
    """Field of the closing of a union of locks, in grid steps; negative inside, hollows filled."""
    distance = sweep_distance(np.maximum(locks, -band), np.float32(band - 1.0), limit=radius + 1)
    outside, _ = ndimage.label(distance > radius)
    outside = outside == outside[0, 0, 0]
    # inside the dilated union, the distance back to its outer border
    depth = np.where(outside, 0.0, np.inf).astype(np.float32)
    rim = ~outside & ndimage.binary_dilation(outside)
    depth[rim] = np.clip(radius - distance[rim], 0.0, 1.0)
    depth = sweep_distance(depth, np.float32(1e-6), keep=rim | outside, limit=radius + 1)
    return np.where(outside, distance - radius, -depth).astype(np.float32) + np.float32(radius)


def strand_density(
    strands: Float[np.ndarray, "strands points 3"], cell_mm: float = 4.0
) -> Float[np.ndarray, "strands points"]:
    """Measures how far points of strands are among others: 0 for a stray hair, which no scan shows, 1 in a lock."""
    cell = np.floor((strands.reshape(-1, 3) - strands.min(axis=(0, 1))) / cell_mm).astype(np.int64)
    shape = tuple(cell.max(axis=0) + 1)
    index = np.ravel_multi_index(tuple(cell.T), shape)
    crowd = np.bincount(index, minlength=int(np.prod(shape))).reshape(shape).astype(np.float32)
    crowd = 27 * ndimage.uniform_filter(crowd, 3, mode="constant")
    # one strand leaves as many points in a neighbourhood as its own steps are short
    step = np.linalg.norm(np.diff(strands, axis=1), axis=2).mean(axis=1)
    own = np.repeat(np.clip(3 * cell_mm / np.maximum(step, 0.5), 1.0, strands.shape[1]), strands.shape[1])
    share = crowd.reshape(-1)[index] / own
    return np.clip((share - 1.5) / 2.0, 0.0, 1.0).reshape(strands.shape[:2])


@compiled
def _splat_locks(strands: np.ndarray, radii: np.ndarray, field: np.ndarray, band: float) -> None:
    """Lowers field to the distance of every segment less its radius, within the band, in steps."""
    nx, ny, nz = field.shape
    count, points, _ = strands.shape
    for s in range(count):
        for k in range(points - 1):
            a, b = strands[s, k], strands[s, k + 1]
            ra, rb = radii[s, k], radii[s, k + 1]
            if ra <= 0.0 and rb <= 0.0:
                continue
            reach = max(ra, rb) + band
            x0 = max(int(np.ceil(min(a[0], b[0]) - reach)), 0)
            x1 = min(int(np.floor(max(a[0], b[0]) + reach)), nx - 1)
            y0 = max(int(np.ceil(min(a[1], b[1]) - reach)), 0)
            y1 = min(int(np.floor(max(a[1], b[1]) + reach)), ny - 1)
            z0 = max(int(np.ceil(min(a[2], b[2]) - reach)), 0)
            z1 = min(int(np.floor(max(a[2], b[2]) + reach)), nz - 1)
            ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
            squared = max(ux * ux + uy * uy + uz * uz, 1e-12)
            for x in range(x0, x1 + 1):
                px = x - a[0]
                for y in range(y0, y1 + 1):
                    py = y - a[1]
                    for z in range(z0, z1 + 1):
                        pz = z - a[2]
                        t = min(max((px * ux + py * uy + pz * uz) / squared, 0.0), 1.0)
                        dx, dy, dz = px - t * ux, py - t * uy, pz - t * uz
                        d = np.sqrt(dx * dx + dy * dy + dz * dz) - (ra + t * (rb - ra))
                        if d < field[x, y, z] and d < band:
                            field[x, y, z] = d
