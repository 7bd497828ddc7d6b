"""Steps from an extracted mesh to one for a file: cleaning, and the move to the world."""

import logging

import numpy as np
import trimesh
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from recon.errors import MeshError

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
    vertices, faces = _without_collapsed(np.asarray(mesh.vertices, float), np.asarray(mesh.faces))
    if largest_only and len(faces):
        label = _components(len(vertices), faces[:, :2], faces[:, 1:])
        areas = np.bincount(label[faces[:, 0]], weights=_areas(vertices, faces))
        kept = label[faces[:, 0]] == areas.argmax()
        pieces = np.unique(label[faces[:, 0]])
        if len(pieces) > 1:
            share = 1 - areas.max() / areas.sum()
            log.info(
                "kept the largest of %d pieces; the others were %.2g %% of the area", len(pieces), 100 * share
            )
        faces = faces[kept]
    if not len(faces):
        raise MeshError(
            f"a mesh of {len(mesh.vertices)} vertices and {len(mesh.faces)} faces has no face with an area"
        )
    used, faces = np.unique(faces, return_inverse=True)
    return trimesh.Trimesh(vertices[used], faces.reshape(-1, 3), process=False)


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


def _components(count: int, *edges: Int[np.ndarray, "edges 2"]) -> Int[np.ndarray, " vertices"]:
    start, end = np.concatenate(edges).T
    graph = coo_matrix((np.ones(len(start), bool), (start, end)), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def _without_collapsed(
    vertices: Float[np.ndarray, "vertices 3"], faces: Int[np.ndarray, "faces 3"]
) -> tuple[Float[np.ndarray, "joined 3"], Int[np.ndarray, "kept 3"]]:
    """Joins the ends of edges of zero length in float32, the type of the files, and drops faces that collapse."""
    edges = np.concatenate([faces[:, :2], faces[:, 1:], faces[:, ::2]])
    stored = vertices.astype(np.float32)
    short = edges[(stored[edges[:, 0]] == stored[edges[:, 1]]).all(axis=1)]
    if len(short):
        label = _components(len(vertices), short)
        _, first = np.unique(label, return_index=True)
        vertices, faces = vertices[first], label[faces]
    a, b, c = faces.T
    return vertices, faces[(a != b) & (b != c) & (c != a)]
