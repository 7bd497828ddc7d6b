"""Fewer triangles for the same shape: edge collapse by quadric error (Garland and Heckbert 1997).

Edges are collapsed in rounds. A round takes the cheaper edges in order of cost and collapses those whose
neighbourhoods do not touch one collapsed before in the round; that keeps every round a few array operations
and one short loop. A collapse must keep the surface a closed manifold (the two ends share exactly two
neighbours) and must not flip a triangle.
"""

import numpy as np
import trimesh
from jaxtyping import Float, Int

from recon.errors import MeshError
from recon.synth.compiled import compiled

CHEAPEST, FLIP_COSINE, PULL = 0.35, 0.2, 1e-3


def simplify(mesh: trimesh.Trimesh, vertices: int) -> trimesh.Trimesh:
    """A closed mesh with at most `vertices` vertices.

    Args:
        mesh: closed manifold; not changed.
        vertices: the target.

    Returns:
        A closed manifold of the same topology; `mesh` itself where it is small enough.

    Raises:
        MeshError: the mesh is not closed, or no further edge can be collapsed.
    """
    if len(mesh.vertices) <= vertices:
        return mesh
    if not mesh.is_watertight:
        raise MeshError("simplify needs a closed mesh: this one has open or non-manifold edges")
    points = np.array(mesh.vertices, np.float64)
    faces = np.array(mesh.faces, np.int64)
    quadrics = _quadrics(points, faces)
    while len(points) > vertices:
        before = len(points)
        points, faces, quadrics = _round(points, faces, quadrics, vertices)
        if len(points) == before:
            raise MeshError(f"simplify stopped at {before} vertices, {vertices} were asked for")
    return trimesh.Trimesh(points, faces, process=False)


def _quadrics(points: np.ndarray, faces: np.ndarray) -> Float[np.ndarray, "v 4 4"]:
    """Sum of squared distances to the planes of the faces around a vertex, weighted by area."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    cross = np.cross(b - a, c - a)
    area = np.linalg.norm(cross, axis=1, keepdims=True)
    normal = cross / np.maximum(area, 1e-12)
    plane = np.concatenate([normal, -np.einsum("ij,ij->i", normal, a)[:, None]], axis=1)
    outer = (plane[:, :, None] * plane[:, None, :]) * area[:, :, None]
    total = np.zeros((len(points), 16))
    for corner in range(3):
        for entry in range(16):
            total[:, entry] += np.bincount(faces[:, corner], outer.reshape(-1, 16)[:, entry], len(points))
    return total.reshape(-1, 4, 4)


def _round(
    points: np.ndarray, faces: np.ndarray, quadrics: np.ndarray, target: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    keys = np.unique(edges[:, 0] * len(points) + edges[:, 1])
    edges = np.stack([keys // len(points), keys % len(points)], axis=1)
    together = quadrics[edges[:, 0]] + quadrics[edges[:, 1]]
    place, cost = _best_place(points, edges, together)
    order = np.argsort(cost, kind="stable")[: max(int(CHEAPEST * len(edges)), 64)]
    starts, around = _faces_around(faces, len(points))
    merged = np.arange(len(points))
    moved = points.copy()
    _collapse(edges[order], place[order], points, faces, starts, around, moved, merged, len(points) - target)
    chosen = merged != np.arange(len(points))
    summed = quadrics.copy()
    np.add.at(summed, merged[chosen], quadrics[chosen])
    faces = merged[faces]
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (a != c)]
    number = np.cumsum(~chosen) - 1
    return moved[~chosen], number[faces], summed[~chosen]


def _best_place(
    points: np.ndarray, edges: Int[np.ndarray, "e 2"], quadrics: Float[np.ndarray, "e 4 4"]
) -> tuple[Float[np.ndarray, "e 3"], Float[np.ndarray, " e"]]:
    """Where each edge would collapse to (pulled to its middle, which decides on flat parts), and the cost."""
    middle = 0.5 * (points[edges[:, 0]] + points[edges[:, 1]])
    weight = PULL * np.trace(quadrics[:, :3, :3], axis1=1, axis2=2) + 1e-9
    system = quadrics[:, :3, :3] + weight[:, None, None] * np.eye(3)
    right = -quadrics[:, :3, 3] + weight[:, None] * middle
    place = np.linalg.solve(system, right[:, :, None])[:, :, 0]
    homogeneous = np.concatenate([place, np.ones((len(place), 1))], axis=1)
    error = np.einsum("ei,eij,ej->e", homogeneous, quadrics, homogeneous)
    return place, error + weight * ((place - middle) ** 2).sum(axis=1)


def _faces_around(faces: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Faces of every vertex: those of vertex v are around[starts[v]:starts[v + 1]]."""
    order = np.argsort(faces.ravel(), kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(faces.ravel(), minlength=count))])
    return starts, order // 3


@compiled
def _flips(i, j, place, points, faces, starts, around):  # type: ignore[no-untyped-def]
    for v in (i, j):
        for k in range(starts[v], starts[v + 1]):
            f = around[k]
            a, b, c = faces[f]
            if (a == i or b == i or c == i) and (a == j or b == j or c == j):
                continue
            pa, pb, pc = points[a], points[b], points[c]
            qa = place if a == v else pa
            qb = place if b == v else pb
            qc = place if c == v else pc
            old = np.cross(pb - pa, pc - pa)
            new = np.cross(qb - qa, qc - qa)
            size = np.sqrt((old * old).sum() * (new * new).sum())
            if (old * new).sum() <= FLIP_COSINE * size:
                return True
    return False


@compiled
def _collapse(edges, place, points, faces, starts, around, moved, merged, wanted):  # type: ignore[no-untyped-def]
    touched = np.zeros(len(points), np.bool_)
    mark = np.full(len(points), -1, np.int64)
    done = 0
    for e in range(len(edges)):
        if done >= wanted:
            break
        i, j = edges[e]
        free = True
        for v in (i, j):
            for k in range(starts[v], starts[v + 1]):
                for corner in range(3):
                    free = free and not touched[faces[around[k], corner]]
        if not free:
            continue
        # Neighbours of i carry the mark e; those of j that carry it too are shared.
        shared = 0
        for k in range(starts[i], starts[i + 1]):
            for corner in range(3):
                mark[faces[around[k], corner]] = e
        mark[i], mark[j] = -1, -1
        for k in range(starts[j], starts[j + 1]):
            for corner in range(3):
                v = faces[around[k], corner]
                if mark[v] == e:
                    mark[v] = -1
                    shared += 1
        if shared != 2 or _flips(i, j, place[e], points, faces, starts, around):
            continue
        for v in (i, j):
            for k in range(starts[v], starts[v + 1]):
                for corner in range(3):
                    touched[faces[around[k], corner]] = True
        merged[j] = i
        moved[i] = place[e]
        done += 1
