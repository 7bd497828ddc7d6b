"""Steps from an extracted mesh to one for a file: cleaning, and the move to the world."""

import logging

import numpy as np
import trimesh
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from recon.compiled import compiled
from recon.errors import MeshError
from recon.meshing.halfedges import pieces, used_only

log = logging.getLogger(__name__)


def clean(mesh: trimesh.Trimesh, *, largest_only: bool = True) -> trimesh.Trimesh:
    """Joins the ends of collapsed edges, drops the faces that had them, and keeps the largest component.

    A triangle whose corners are distinct but collinear is kept: removing it would open the surface.

    Args:
        mesh: Any unit.
        largest_only: Keep only the connected component of the largest area.

    Returns:
        A new mesh, without unused vertices, winding as before.

    Raises:
        MeshError: Nothing is left.
    """
    vertices, faces = _without_collapsed(
        np.asarray(mesh.vertices, float), np.asarray(mesh.faces).astype(np.int64)
    )
    if largest_only and len(faces):
        count, label = pieces(faces, len(vertices))
        if count > 1:
            areas = np.bincount(label[faces[:, 0]], weights=_areas(vertices, faces))
            share = 1 - areas.max() / areas.sum()
            log.info("kept the largest of %d pieces; the others were %.2g %% of the area", count, 100 * share)
            faces = faces[label[faces[:, 0]] == areas.argmax()]
    if not len(faces):
        raise MeshError(
            f"a mesh of {len(mesh.vertices)} vertices and {len(mesh.faces)} faces has no face with an area"
        )
    return trimesh.Trimesh(*used_only(vertices, faces), process=False)


def to_world(mesh: trimesh.Trimesh, scale_mat: Float[np.ndarray, "4 4"]) -> trimesh.Trimesh:
    """Moves a mesh from unit space to the world.

    Args:
        mesh: Unit space.
        scale_mat: Similarity that takes unit to world (mm).

    Returns:
        A new mesh in mm, same faces.

    Raises:
        MeshError: `scale_mat` is no similarity, or mirrors.
    """
    linear = np.asarray(scale_mat, float)[:3, :3]
    scale = np.cbrt(np.linalg.det(linear))
    if not scale > 0 or not np.allclose(linear.T @ linear, scale**2 * np.eye(3), atol=1e-4 * scale**2):
        raise MeshError(
            "scale_mat must be a rotation times a positive scale, with a shift; "
            f"its linear part is {linear.tolist()}"
        )
    vertices = np.asarray(mesh.vertices, float) @ linear.T + np.asarray(scale_mat, float)[:3, 3]
    return trimesh.Trimesh(vertices, np.array(mesh.faces), process=False)


def _areas(
    vertices: Float[np.ndarray, "vertices 3"], faces: Int[np.ndarray, "faces 3"]
) -> Float[np.ndarray, " faces"]:
    a, b, c = vertices[faces].transpose(1, 0, 2)
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


@compiled
def _coincident(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Edges whose ends coincide, (edges, 2), each from one of its faces or both."""
    found = [(0, 0)]
    found.clear()
    for f in range(len(faces)):
        for k in range(3):
            a, b = faces[f, k], faces[f, (k + 1) % 3]
            if (
                vertices[a, 0] == vertices[b, 0]
                and vertices[a, 1] == vertices[b, 1]
                and vertices[a, 2] == vertices[b, 2]
            ):
                found.append((a, b))
    result = np.empty((len(found), 2), dtype=np.int64)
    for i in range(len(found)):
        result[i, 0], result[i, 1] = found[i]
    return result


def _without_collapsed(
    vertices: Float[np.ndarray, "vertices 3"], faces: Int[np.ndarray, "faces 3"]
) -> tuple[Float[np.ndarray, "joined 3"], Int[np.ndarray, "kept 3"]]:
    """Joins the ends of edges of zero length in float32, the type of the files, and drops faces that collapse."""
    short = _coincident(vertices.astype(np.float32), faces)
    if len(short):
        graph = coo_matrix((np.ones(len(short), bool), short.T), shape=(len(vertices),) * 2)
        label = connected_components(graph, directed=False)[1]
        _, first = np.unique(label, return_index=True)
        vertices, faces = vertices[first], label[faces].astype(np.int64)
    a, b, c = faces.T
    distinct = (a != b) & (b != c) & (c != a)
    return vertices, faces if distinct.all() else faces[distinct]
