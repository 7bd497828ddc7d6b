"""Repairs and measures of closed meshes: components, volume, vertex normals, Taubin smoothing."""

import numpy as np
import scipy.sparse as sp
import trimesh
from jaxtyping import Int64

from recon.errors import MeshError
from recon.meshing.halfedges import pieces, used_only


def enclosed_volume(vertices: np.ndarray, faces: Int64[np.ndarray, "faces 3"]) -> float:
    """Signed volume of a closed mesh, positive for outward winding."""
    return float(_six_volumes(vertices, faces).sum() / 6)


def _six_volumes(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    result: np.ndarray = np.einsum("ij,ij->i", a, np.cross(b, c))
    return result


def largest_component(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """Returns the component that encloses the largest volume, without unused vertices.

    Raises:
        MeshError: The mesh has no faces.
    """
    return _components(mesh, None)


def drop_small_components(mesh: trimesh.Trimesh, volume_mm3: float) -> trimesh.Trimesh:
    """Returns the outward components that enclose more than a volume; hollows inside are dropped too.

    Raises:
        MeshError: The mesh has no faces, or only crumbs.
    """
    return _components(mesh, volume_mm3)


def _components(mesh: trimesh.Trimesh, least: float | None) -> trimesh.Trimesh:
    faces = np.asarray(mesh.faces, dtype=np.int64)
    if len(faces) == 0:
        raise MeshError("expected a mesh with faces, got an empty one")
    vertices = np.asarray(mesh.vertices)
    count, label = pieces(faces, len(vertices))
    own = label[faces[:, 0]]
    enclosed = np.bincount(own, _six_volumes(vertices, faces) / 6, minlength=count)
    kept = faces[own == enclosed.argmax()] if least is None else faces[enclosed[own] > least]
    if len(kept) == 0:
        raise MeshError(f"no part of the mesh encloses more than {least} mm³")
    return trimesh.Trimesh(*used_only(vertices, kept), process=False)


def vertex_normals(vertices: np.ndarray, faces: Int64[np.ndarray, "faces 3"]) -> np.ndarray:
    """Area-weighted unit vertex normals; zero where a vertex has no faces."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    face_normal = np.cross(b - a, c - a)
    normals = np.empty_like(vertices, dtype=np.float64)
    index = faces.ravel(order="F")
    for axis in range(3):
        normals[:, axis] = np.bincount(index, np.tile(face_normal[:, axis], 3), minlength=len(vertices))
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return normals / np.maximum(length, 1e-30)


def taubin_smooth(
    vertices: np.ndarray, faces: Int64[np.ndarray, "faces 3"], steps: int, shrink: float = 0.5
) -> np.ndarray:
    """Smooths without shrinking (Taubin 1995): a Laplacian step, then a slightly larger inverse one."""
    i = np.concatenate([faces[:, k] for k in (0, 1, 2, 1, 2, 0)])
    j = np.concatenate([faces[:, k] for k in (1, 2, 0, 0, 1, 2)])
    graph = sp.coo_matrix((np.ones(len(i)), (i, j)), shape=(len(vertices),) * 2).tocsr()
    graph.data[:] = 1.0
    mean = sp.diags(1.0 / np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1.0)) @ graph
    smooth = vertices
    for _ in range(steps):
        for factor in (shrink, -shrink * 1.06):
            smooth = smooth + factor * (mean @ smooth - smooth)
    return smooth
