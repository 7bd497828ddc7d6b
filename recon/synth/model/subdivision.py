"""Loop subdivision of a fixed triangulation as one sparse linear map."""

import numpy as np
import scipy.sparse as sp
from jaxtyping import Int64


def boundary_loops(faces: Int64[np.ndarray, "faces 3"]) -> list[np.ndarray]:
    """Returns the boundary loops of a manifold triangulation.

    Args:
        faces: Triangles with consistent winding.

    Returns:
        Vertex indices of each loop, following the boundary edges in the direction that their faces run
        them; each loop starts at its smallest index, loops are ordered by that index.
    """
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    count = int(faces.max()) + 1
    key = edges[:, 0] * count + edges[:, 1]
    border = edges[~np.isin(key, edges[:, 1] * count + edges[:, 0])]
    following = {int(i): int(j) for i, j in border}
    loops = []
    for start in sorted(following):
        if start not in following:
            continue
        loop, at = [], start
        while at in following:
            loop.append(at)
            at = following.pop(at)
        loops.append(np.array(loop, dtype=np.int64))
    return loops


def loop_subdivision(
    faces: Int64[np.ndarray, "faces 3"], vertex_count: int
) -> tuple[np.ndarray, sp.csr_matrix]:
    """One step of Loop subdivision (Loop 1987) with the usual boundary rules.

    Interior vertices use Loop's own weights, boundary vertices (1, 6, 1) / 8, interior edges (3, 3, 1, 1)
    / 8 and boundary edges their midpoint.

    Args:
        faces: Manifold triangles, each of `vertex_count` vertices used at least once.
        vertex_count: Number of coarse vertices.

    Returns:
        Fine faces (4 per face) and the matrix (fine x coarse) that maps coarse vertices to fine ones; fine
        vertex i is coarse vertex i for i < vertex_count.
    """
    corners = np.concatenate([faces[:, [0, 1, 2]], faces[:, [1, 2, 0]], faces[:, [2, 0, 1]]])
    ends = np.sort(corners[:, :2], axis=1)
    edges, edge_of_corner = np.unique(ends, axis=0, return_inverse=True)
    edge_of_corner = edge_of_corner.reshape(-1)
    sides = np.bincount(edge_of_corner, minlength=len(edges))
    border = sides == 1

    rows, columns, values = [], [], []

    def add(row: np.ndarray, column: np.ndarray, value: np.ndarray | float) -> None:
        rows.append(row)
        columns.append(column)
        values.append(np.broadcast_to(value, row.shape))

    edge_rows = vertex_count + np.arange(len(edges))
    for end in (0, 1):
        add(edge_rows, edges[:, end], np.where(border, 0.5, 0.375))
    opposite = ~border[edge_of_corner]
    add(edge_rows[edge_of_corner[opposite]], corners[opposite, 2], 0.125)

    valence = np.bincount(edges.ravel(), minlength=vertex_count)
    on_border = np.zeros(vertex_count, dtype=bool)
    on_border[edges[border].ravel()] = True
    inner = 3 / 8 + np.cos(2 * np.pi / np.maximum(valence, 1)) / 4
    beta = (5 / 8 - inner**2) / np.maximum(valence, 1)
    every = np.arange(vertex_count)
    add(every, every, np.where(on_border, 0.75, 1 - valence * beta))
    for a, b in ((0, 1), (1, 0)):
        inside = ~on_border[edges[:, a]]
        add(edges[inside, a], edges[inside, b], beta[edges[inside, a]])
        add(edges[border, a], edges[border, b], 0.125)

    matrix = sp.coo_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
        shape=(vertex_count + len(edges), vertex_count),
    ).tocsr()
    return _four_of_each(faces, vertex_count + edge_of_corner.reshape(3, -1)), matrix


def _four_of_each(faces: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Fine faces, three at the corners and one between; `middle` are the vertices on the edges ab, bc, ca."""
    ab, bc, ca = middle
    a, b, c = faces.T
    fine = np.concatenate(
        [
            np.stack([a, ab, ca], axis=1),
            np.stack([b, bc, ab], axis=1),
            np.stack([c, ca, bc], axis=1),
            np.stack([ab, bc, ca], axis=1),
        ]
    )
    return fine.astype(np.int64)
