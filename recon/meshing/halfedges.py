"""Half-edges of triangle meshes: neighbours across edges, connected pieces, and genus by Euler's formula.

Half-edge 3 * f + k runs from corner k of face f to its next corner.
"""

import numpy as np
from jaxtyping import Bool, Int

from recon.compiled import compiled


@compiled
def twins(faces: np.ndarray, vertex_count: int) -> np.ndarray:
    """The half-edge that runs the other way along the edge of each; -1 where there is not exactly one of each.

    Args:
        faces: (faces, 3), consistently wound.
        vertex_count: Number of vertices.

    Returns:
        Array of 3 * faces half-edges.
    """
    starts = np.zeros(vertex_count + 1, dtype=np.int64)
    for f in range(len(faces)):
        for k in range(3):
            starts[faces[f, k] + 1] += 1
    for v in range(vertex_count):
        starts[v + 1] += starts[v]
    fill = starts[:-1].copy()
    leaving = np.empty((3 * len(faces), 2), dtype=np.int64)  # by their first vertex: half-edge, last vertex
    for f in range(len(faces)):
        for k in range(3):
            v = faces[f, k]
            leaving[fill[v]] = 3 * f + k, faces[f, k - 2]
            fill[v] += 1
    result = np.full(3 * len(faces), -1, dtype=np.int64)
    for a in range(vertex_count):
        for n in range(starts[a], starts[a + 1]):
            half, b = leaving[n]
            if b < a and result[half] >= 0:
                continue  # its twin was looked at before
            same, found, back = 0, 0, -1
            for m in range(starts[a], starts[a + 1]):
                same += leaving[m, 1] == b
            for m in range(starts[b], starts[b + 1]):
                if leaving[m, 1] == a:
                    found += 1
                    back = leaving[m, 0]
            if same == 1 and found == 1:
                result[half] = back
                result[back] = half
    return result


@compiled
def root_of(parent: np.ndarray, node: int) -> int:
    """Root of a node in a forest of disjoint sets; the way there is halved."""
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@compiled
def pieces(faces: np.ndarray, vertex_count: int) -> tuple[int, np.ndarray]:
    """Number of pieces that are connected through vertices, and the piece of each vertex; -1 for unused vertices."""
    parent = np.arange(vertex_count)
    for f in range(len(faces)):
        root = root_of(parent, faces[f, 0])
        for k in range(1, 3):
            other = root_of(parent, faces[f, k])
            if other < root:
                parent[root] = other
                root = other
            else:
                parent[other] = root
    label = np.full(vertex_count, -1, dtype=np.int64)
    for f in range(len(faces)):
        for k in range(3):
            label[faces[f, k]] = 0
    count = 0
    for v in range(vertex_count):  # a root is the least vertex of its piece
        if label[v] == 0:
            root = root_of(parent, v)
            if root == v:
                label[v] = count
                count += 1
            else:
                label[v] = label[root]
    return count, label


def used_only(
    vertices: np.ndarray, faces: Int[np.ndarray, "faces 3"]
) -> tuple[np.ndarray, Int[np.ndarray, "faces 3"]]:
    """Vertices that faces use, in their order, and the faces with their new indices."""
    used = used_vertices(faces, len(vertices))
    number = np.cumsum(used) - 1
    return vertices[used], number[faces]


def used_vertices(faces: Int[np.ndarray, "faces 3"], vertex_count: int) -> Bool[np.ndarray, " vertices"]:
    """Whether some face uses each vertex."""
    used = np.zeros(vertex_count, np.bool_)
    used[faces.reshape(-1)] = True
    return used


def genus(faces: Int[np.ndarray, "faces 3"], vertex_count: int) -> int:
    """Number of handles of a closed mesh, all pieces together: V - E + F = 2 (pieces - genus)."""
    count, _ = pieces(faces, vertex_count)
    used = int(used_vertices(faces, vertex_count).sum())
    return int(count) - (used - len(faces) // 2) // 2
