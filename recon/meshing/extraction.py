"""Extraction of a closed triangle mesh from a signed distance function: marching cubes on a narrow band."""

import logging

import numpy as np
import torch
import trimesh
from jaxtyping import Float, Int
from torch import Tensor

from recon.errors import MeshError
from recon.meshing.lattice import BoundedDistance, Level, Sdf, narrow_band, unique_keys
from recon.meshing.tables import EDGE_AXES, EDGE_CORNERS, triangle_table

log = logging.getLogger(__name__)

_EDGE_MARGIN = 1e-3  # of an edge: keeps vertices of one cell apart, so that no triangle is degenerate


def extract(
    sdf: Sdf,
    *,
    resolution: int = 256,
    bound: float = 1.0,
    coarse: int = 64,
    lipschitz: float = 1.5,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    chunk: int = 65536,
) -> trimesh.Trimesh:
    """Extracts the zero level of a signed distance function: marching cubes (Lorensen, Cline 1987) on a band.

    Only cells near the surface are evaluated (see `recon.meshing.lattice`), so memory and time grow with
    the square of the resolution. The mesh is watertight: vertices are welded by the lattice edge that they
    lie on, and where the surface reaches the bounding sphere it is closed with a piece of that sphere.

    Args:
        sdf: Signed distances (negative inside) of points in unit space, shape (points, 3) to (points,).
            Called without gradients, on `device`, at most `chunk` points at a time. It need not be an exact
            distance, see `lipschitz`.
        resolution: Cells per diameter of the bounding sphere; `resolution_for` turns millimetres into it.
        bound: Radius of the bounding sphere around the origin, unit space.
        coarse: Resolution at which no piece of the surface is lost that the Lipschitz bound allows. Pieces
            that are apart from everything else and smaller than a cell of this size can be missed.
        lipschitz: Upper bound of the gradient's norm near the surface. A trained network has about 1; 1.5
            leaves room.
        device: Where the points are created.
        dtype: Type of the points.
        chunk: Points per call of `sdf`.

    Returns:
        The mesh in unit space, float64, outward winding. `metadata["evaluations"]` counts the points
        evaluated.

    Raises:
        MeshError: There is no surface inside the sphere, or the sdf returns the wrong shape or values that
            are not finite.
    """
    if resolution < 4 or bound <= 0:
        raise MeshError(
            f"resolution must be at least 4 and bound positive; got resolution={resolution}, bound={bound}"
        )
    margin = 2 * np.sqrt(3) * bound / resolution
    distance = BoundedDistance(sdf, bound, margin, torch.device(device), dtype, chunk)
    level = narrow_band(distance, resolution=resolution, coarse=coarse, lipschitz=lipschitz)
    active = level.active()
    if not active.any() or distance.largest < 0:
        raise MeshError(_no_surface(distance))
    vertices, faces = polygonise(level, level.cells[active], level.corners[active])
    log.info(
        "surface at resolution %d: %d vertices from %d evaluations (%.2f a vertex)",
        resolution,
        len(vertices),
        distance.evaluations,
        distance.evaluations / len(vertices),
    )
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    mesh.metadata["evaluations"] = distance.evaluations
    return mesh


def polygonise(
    level: Level, cells: Int[np.ndarray, "cells 3"], corners: Float[np.ndarray, "cells 8"]
) -> tuple[Float[np.ndarray, "vertices 3"], Int[np.ndarray, "faces 3"]]:
    """Marching cubes over a list of cells.

    Args:
        level: The lattice.
        cells: Cells with corners on both sides of the surface.
        corners: Signed distances at their corners.

    Returns:
        Vertices in unit space, each once, and faces, counter-clockwise seen from outside.
    """
    case = ((corners < 0) << np.arange(8)).sum(axis=1)
    triangles = triangle_table()[case]
    owner, slot = np.nonzero(triangles[..., 0] >= 0)
    edges = triangles[owner, slot]  # (faces, 3) edge numbers within the owner
    starts = level.point_keys(cells[:, None] + _corner_offsets(EDGE_CORNERS[:, 0]))  # (cells, 12)
    used, first, faces = unique_keys((starts[owner[:, None], edges] * 3 + EDGE_AXES[edges]).reshape(-1))
    cell, edge = np.repeat(owner, 3)[first], edges.reshape(-1)[first]
    low, high = corners[cell, EDGE_CORNERS[edge, 0]], corners[cell, EDGE_CORNERS[edge, 1]]
    along = np.clip(low / (low - high), _EDGE_MARGIN, 1 - _EDGE_MARGIN)
    vertices = level.position(level.point_indices(used // 3))
    vertices[np.arange(len(used)), used % 3] += along * level.size
    return vertices, faces.reshape(-1, 3).astype(np.int64)


def _corner_offsets(corners: Int[np.ndarray, " n"]) -> Int[np.ndarray, "n 3"]:
    return np.stack([corners & 1, corners >> 1 & 1, corners >> 2 & 1], axis=1)


def _no_surface(distance: BoundedDistance) -> str:
    """The message for a distance without a zero level."""
    found = (
        f"the sdf lies between {distance.smallest:.4g} and {distance.largest:.4g} "
        f"inside the sphere of radius {distance.bound:g}"
    )
    if distance.largest < 0:
        return (
            f"no surface to extract: {found}, so everything is inside. The field is not trained, "
            "its sign is flipped (negative must be inside), or the object is larger than the sphere."
        )
    return (
        f"no surface to extract: {found}, so nothing is inside. The field is not trained or has lost its surface: "
        "look at the masks, at the mask loss, and whether the object lies inside the unit sphere."
    )


def resolution_for(voxel_mm: float, scale_mat: Float[np.ndarray, "4 4"], *, bound: float = 1.0) -> int:
    """The resolution at which a cell has an edge of `voxel_mm` in the world.

    Args:
        voxel_mm: Edge of a cell, mm.
        scale_mat: Similarity from unit to world (mm).
        bound: As in `extract`.

    Returns:
        Cells per diameter of the bounding sphere, rounded up.

    Raises:
        MeshError: `voxel_mm` is not positive.
    """
    if not voxel_mm > 0:
        raise MeshError(f"the cell edge must be positive; got voxel_mm={voxel_mm}")
    mm_per_unit = float(np.cbrt(abs(np.linalg.det(scale_mat[:3, :3]))))
    return max(4, int(np.ceil(2 * bound * mm_per_unit / voxel_mm - 1e-9)))


def sdf_normals(
    sdf: Sdf,
    points: Float[np.ndarray, "points 3"],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    chunk: int = 65536,
) -> Float[np.ndarray, "points 3"]:
    """Unit normals from the gradient of the distance, pointing outwards.

    Args:
        sdf: A distance that autograd can differentiate with respect to its points.
        points: Unit space.
        device: Where the points are created.
        dtype: Type of the points.
        chunk: Points per call.

    Returns:
        Normals in unit space; a similarity without rotation, as `scale_mat` is, leaves them as they are.

    Raises:
        MeshError: The sdf is not differentiable.
    """
    normals = np.empty((len(points), 3))
    for start in range(0, len(points), chunk):
        x = torch.as_tensor(points[start : start + chunk], dtype=dtype, device=device).requires_grad_(True)
        with torch.enable_grad():
            out = sdf(x)
        if not out.requires_grad:
            raise MeshError(
                "normals need a differentiable sdf, but its output carries no gradient: "
                "call it without torch.no_grad"
            )
        (gradient,) = torch.autograd.grad(out.sum(), x)
        normals[start : start + chunk] = _unit(gradient).cpu().numpy()
    return normals


def _unit(vectors: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
    return torch.nn.functional.normalize(vectors.detach().double(), dim=1)
