"""The watertight truth: the union of a subject's closed parts, remeshed from its signed distance field."""

from collections.abc import Mapping, Sequence

import numpy as np
import trimesh
from jaxtyping import Float, Float32, Int64
from scipy.spatial import cKDTree

from recon.errors import MeshError
from recon.geometry.distance_grid import RegularGrid, mesh_from_grid, signed_distance_grid
from recon.geometry.frames import FACE_RADIUS_MM
from recon.geometry.tidy import enclosed_volume, largest_component, taubin_smooth
from recon.synth.parts import BEARD, EYE, Part

Solid = tuple[Float[np.ndarray, "_ 3"], Int64[np.ndarray, "_ 3"]]
"""Vertices (mm) and outward faces of one closed mesh."""

_TRANSFER_MM = 6.0
"""How far a vertex of the truth may lie from the nearest vertex of a part and still belong to it."""


def union_field(
    solids: Sequence[Solid], spacing_mm: float
) -> tuple[RegularGrid, Float32[np.ndarray, "x y z"]]:
    """Computes the signed distance of the union of closed meshes, in the band that marching cubes reads.

    Samples on both ends of a crossed grid edge are at most one step from the surface.

    Args:
        solids: The meshes; they may overlap.
        spacing_mm: Spacing of the grid.

    Returns:
        The grid and the field, clamped to a little over one step, negative inside.
    """
    low = np.min([v.min(axis=0) for v, _ in solids], axis=0)
    high = np.max([v.max(axis=0) for v, _ in solids], axis=0)
    band = 1.1 * spacing_mm
    grid = RegularGrid.around(low, high, spacing_mm, 3 * spacing_mm)
    union = np.full(grid.shape, np.float32(band), dtype=np.float32)
    for vertices, faces in solids:
        own = RegularGrid.around(vertices.min(axis=0), vertices.max(axis=0), spacing_mm, 2.0 * spacing_mm)
        field = signed_distance_grid(vertices, faces, own, band)
        first = np.round((own.origin - grid.origin) / spacing_mm).astype(int)
        box = tuple(slice(f, f + n) for f, n in zip(first, own.shape, strict=True))
        np.minimum(union[box], field, out=union[box])
    return grid, union


def union_mesh(
    solids: Sequence[Solid],
    spacing_mm: float = 1.5,
    smoothing_steps: int = 1,
) -> trimesh.Trimesh:
    """Meshes one watertight outward component around closed, overlapping meshes, mm.

    Hollows inside and bits that touch nothing are dropped.

    Args:
        solids: As for `union_field`.
        spacing_mm: Spacing of the grid.
        smoothing_steps: Steps of Taubin smoothing, which take the grid's facets off creases.

    Raises:
        MeshError: The result is not watertight.
    """
    grid, field = union_field(solids, spacing_mm)
    mesh = largest_component(mesh_from_grid(field, grid))
    faces = np.asarray(mesh.faces, dtype=np.int64)
    vertices = taubin_smooth(np.asarray(mesh.vertices), faces, smoothing_steps)
    result = trimesh.Trimesh(vertices, faces, process=False)
    if not result.is_watertight or enclosed_volume(vertices, faces) <= 0:
        raise MeshError(
            "the union of the subject's parts is not a closed outward surface; are its parts closed?"
        )
    return result


def nearest_vertices(
    vertices: Float[np.ndarray, "vertices 3"], points: Mapping[str, Float[np.ndarray, "3"]]
) -> dict[str, int]:
    """Finds the vertex nearest to each named point."""
    return {name: int(np.linalg.norm(vertices - point, axis=1).argmin()) for name, point in points.items()}


def mark_regions(
    vertices: Float[np.ndarray, "vertices 3"], parts: Sequence[Part], nose_tip: Float[np.ndarray, "3"]
) -> dict[str, Int64[np.ndarray, " region"]]:
    """Marks the H3DS regions and the ears on a mesh of a subject's surface.

    A vertex belongs to a region where the nearest vertex of any part does: the skin says so by its scalars
    "face", "nose" and "ear", and eyes and beard count as face. Ears that hair covers are no ears.

    Args:
        vertices: Vertices of the mesh, mm.
        parts: The subject's parts.
        nose_tip: The landmark, mm.

    Returns:
        Ascending vertex indices of "face", "face_sphere", "nose" and "ears".
    """
    face, nose, ear = [], [], []
    for part in parts:
        none = np.zeros(len(part.vertices), dtype=bool)
        whole = none | (part.label in (EYE, BEARD))
        face.append(part.scalars["face"] > 0.5 if "face" in part.scalars else whole)
        nose.append(part.scalars["nose"] > 0.5 if "nose" in part.scalars else none)
        ear.append(part.scalars["ear"] > 0.5 if "ear" in part.scalars else none)
    source = np.concatenate([part.vertices for part in parts])
    member, in_nose, in_ear = np.concatenate(face), np.concatenate(nose), np.concatenate(ear)
    marked = source[member | in_ear]
    low, high = marked.min(axis=0) - _TRANSFER_MM, marked.max(axis=0) + _TRANSFER_MM
    near = np.flatnonzero(((vertices >= low) & (vertices <= high)).all(axis=1))
    gap, index = cKDTree(source).query(vertices[near], distance_upper_bound=_TRANSFER_MM)
    found = np.isfinite(gap)
    near, index = near[found], index[found]
    return {
        "face": near[member[index]].astype(np.int64),
        "face_sphere": sphere_region(vertices, nose_tip),
        "nose": near[in_nose[index]].astype(np.int64),
        "ears": near[in_ear[index]].astype(np.int64),
    }


def sphere_region(
    vertices: Float[np.ndarray, "vertices 3"],
    centre: Float[np.ndarray, "3"],
    radius_mm: float = FACE_RADIUS_MM,
) -> Int64[np.ndarray, " region"]:
    """Indices of the vertices within a radius of a point."""
    return np.flatnonzero(np.linalg.norm(vertices - centre, axis=1) <= radius_mm).astype(np.int64)
