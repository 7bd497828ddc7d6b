"""Simplification of a closed mesh by quadric edge collapse (Garland and Heckbert 1997).

Collapses keep the surface a closed manifold (the link condition) and turn no triangle over.
"""

import heapq

import numpy as np
import trimesh
from jaxtyping import Bool

from recon.compiled import compiled
from recon.errors import MeshError
from recon.meshing.halfedges import twins, used_only

_MIN_COSINE = 0.3
"""A collapse may turn no triangle's normal by more than the angle of this cosine."""


def decimate(
    mesh: trimesh.Trimesh,
    vertex_count: int,
    *,
    fixed: Bool[np.ndarray, " vertices"] | None = None,
    evenness: float = 0.0,
) -> trimesh.Trimesh:
    """Returns a mesh of about `vertex_count` vertices close to a closed one.

    Args:
        mesh: Closed manifold mesh.
        vertex_count: Vertices to keep, at least 4; more are kept where no collapse is allowed.
        fixed: Vertices that stay as they are, with the faces between them; none without it.
        evenness: Cost of an edge of length 1, in which it enters by the fourth power; costs are areas times squared
            distances from the planes of the faces. With 0 flat places keep hardly a vertex.

    Raises:
        MeshError: The mesh is not closed.
    """
    faces = np.ascontiguousarray(mesh.faces, dtype=np.int64).copy()
    vertices = np.ascontiguousarray(mesh.vertices, dtype=np.float64).copy()
    if not len(faces) or (twins(faces, len(vertices)) < 0).any():
        raise MeshError("only a closed mesh can be simplified; this one has open edges")
    first, following = _incidence(faces, len(vertices))
    fixed = np.zeros(len(vertices), np.bool_) if fixed is None else np.ascontiguousarray(fixed)
    alive = _collapse(vertices, faces, first, following, max(int(vertex_count), 4), fixed, float(evenness))
    return trimesh.Trimesh(*used_only(vertices, faces[alive]), process=False)


@compiled
def _incidence(faces: np.ndarray, vertex_count: int) -> tuple[np.ndarray, np.ndarray]:
    """For every vertex a ring of its corners (3 * face + place): its first; the next of each corner."""
    first = np.full(vertex_count, -1, dtype=np.int64)
    last = np.full(vertex_count, -1, dtype=np.int64)
    following = np.empty(3 * len(faces), dtype=np.int64)
    for corner in range(3 * len(faces)):
        vertex = faces[corner // 3, corner % 3]
        if first[vertex] < 0:
            first[vertex] = corner
        else:
            following[last[vertex]] = corner
        last[vertex] = corner
        following[corner] = first[vertex]
    return first, following


@compiled
def _plane_quadrics(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Sum of the area-weighted plane quadrics of each vertex: 10 entries of the symmetric 4x4 matrix."""
    quadrics = np.zeros((len(vertices), 10))
    for f in range(len(faces)):
        a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
        ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        length = np.sqrt(nx * nx + ny * ny + nz * nz)
        if length == 0.0:
            continue
        x, y, z = nx / length, ny / length, nz / length
        d = -(x * a[0] + y * a[1] + z * a[2])
        w = length / 2
        entries = (x * x, x * y, x * z, x * d, y * y, y * z, y * d, z * z, z * d, d * d)
        for k in range(3):
            for e in range(10):
                quadrics[faces[f, k], e] += w * entries[e]
    return quadrics


@compiled
def _error(q: np.ndarray, x: float, y: float, z: float) -> float:
    value = q[0] * x * x + q[4] * y * y + q[7] * z * z + q[9]
    return value + 2 * (q[1] * x * y + q[2] * x * z + q[5] * y * z + q[3] * x + q[6] * y + q[8] * z)


@compiled
def _best_place(q: np.ndarray, a: np.ndarray, b: np.ndarray, out: np.ndarray) -> float:
    """Writes where the joined vertex of an edge costs least and returns the cost."""
    mx, my, mz = (a[0] + b[0]) / 2, (a[1] + b[1]) / 2, (a[2] + b[2]) / 2
    # a weak pull to the middle keeps flat places well posed and triangles even
    pull = 1e-3 * (q[0] + q[4] + q[7]) + 1e-12
    a00, a11, a22 = q[0] + pull, q[4] + pull, q[7] + pull
    a01, a02, a12 = q[1], q[2], q[5]
    r0, r1, r2 = pull * mx - q[3], pull * my - q[6], pull * mz - q[8]
    c00, c01, c02 = a11 * a22 - a12 * a12, a02 * a12 - a01 * a22, a01 * a12 - a02 * a11
    determinant = a00 * c00 + a01 * c01 + a02 * c02
    x, y, z = mx, my, mz
    if abs(determinant) > 1e-300:
        c11, c12, c22 = a00 * a22 - a02 * a02, a01 * a02 - a00 * a12, a00 * a11 - a01 * a01
        x = (c00 * r0 + c01 * r1 + c02 * r2) / determinant
        y = (c01 * r0 + c11 * r1 + c12 * r2) / determinant
        z = (c02 * r0 + c12 * r1 + c22 * r2) / determinant
        span = (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2
        if (x - mx) ** 2 + (y - my) ** 2 + (z - mz) ** 2 > span:
            x, y, z = mx, my, mz
    out[0], out[1], out[2] = x, y, z
    span = (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2
    return max(_error(q, x, y, z), 0.0) + 1e-6 * span


@compiled
def _turns_over(
    vertices: np.ndarray,
    faces: np.ndarray,
    alive: np.ndarray,
    first: np.ndarray,
    following: np.ndarray,
    moving: int,
    other: int,
    place: np.ndarray,
) -> bool:
    """Whether moving a vertex turns over a triangle that survives the collapse."""
    corner = first[moving]
    p = vertices[moving]
    while True:
        f, k = corner // 3, corner % 3
        if alive[f]:
            i, j = faces[f, (k + 1) % 3], faces[f, (k + 2) % 3]
            if i != other and j != other:
                u, v = vertices[i], vertices[j]
                ax, ay, az = u[0] - p[0], u[1] - p[1], u[2] - p[2]
                bx, by, bz = v[0] - p[0], v[1] - p[1], v[2] - p[2]
                n0, n1, n2 = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
                ax, ay, az = u[0] - place[0], u[1] - place[1], u[2] - place[2]
                bx, by, bz = v[0] - place[0], v[1] - place[1], v[2] - place[2]
                m0, m1, m2 = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
                dot = n0 * m0 + n1 * m1 + n2 * m2
                sizes = (n0 * n0 + n1 * n1 + n2 * n2) * (m0 * m0 + m1 * m1 + m2 * m2)
                if m0 * m0 + m1 * m1 + m2 * m2 < 1e-18 or (dot < _MIN_COSINE * np.sqrt(sizes)):
                    return True
        corner = following[corner]
        if corner == first[moving]:
            return False


@compiled
def _neighbours(
    faces: np.ndarray,
    alive: np.ndarray,
    first: np.ndarray,
    following: np.ndarray,
    vertex: int,
    out: np.ndarray,
) -> int:
    """Writes the vertices around one and returns how many; -1 where there are more than `out` holds."""
    count = 0
    corner = first[vertex]
    while True:
        f, k = corner // 3, corner % 3
        if alive[f]:
            # in a closed fan every neighbour is the next corner of exactly one triangle
            if count == len(out):
                return -1
            out[count] = faces[f, (k + 1) % 3]
            count += 1
        corner = following[corner]
        if corner == first[vertex]:
            return count


@compiled
def _join(
    faces: np.ndarray, alive: np.ndarray, first: np.ndarray, following: np.ndarray, a: int, b: int
) -> None:
    """Vertex b joins a: its corners take a's index, the two triangles between them die, the rings become one."""
    corner = first[b]
    while True:
        f = corner // 3
        if alive[f]:
            if faces[f, 0] == a or faces[f, 1] == a or faces[f, 2] == a:
                alive[f] = False
            else:
                faces[f, corner % 3] = a
        corner = following[corner]
        if corner == first[b]:
            break
    following[first[a]], following[first[b]] = following[first[b]], following[first[a]]


@compiled
def _edges(
    vertices: np.ndarray, faces: np.ndarray, quadrics: np.ndarray, fixed: np.ndarray, evenness: float
) -> tuple[np.ndarray, np.ndarray]:
    """Ends (edges, 2) and costs of the edges that may collapse."""
    ends, costs = np.empty((3 * len(faces) // 2, 2), dtype=np.int64), np.empty(3 * len(faces) // 2)
    both, place, count = np.empty(10), np.empty(3), 0
    for f in range(len(faces)):
        for k in range(3):
            a, b = faces[f, k], faces[f, (k + 1) % 3]
            if a < b and not fixed[a] and not fixed[b]:
                ends[count, 0], ends[count, 1] = a, b
                costs[count] = _cost(quadrics, vertices, a, b, evenness, both, place)
                count += 1
    return ends[:count], costs[:count]


@compiled
def _cost(
    quadrics: np.ndarray,
    vertices: np.ndarray,
    a: int,
    b: int,
    evenness: float,
    both: np.ndarray,
    place: np.ndarray,
) -> float:
    """Cost of an edge; writes the sum of its quadrics and where the joined vertex goes."""
    for e in range(10):
        both[e] = quadrics[a, e] + quadrics[b, e]
    cost = _best_place(both, vertices[a], vertices[b], place)
    if evenness > 0.0:
        u, v = vertices[a], vertices[b]
        cost += evenness * ((u[0] - v[0]) ** 2 + (u[1] - v[1]) ** 2 + (u[2] - v[2]) ** 2) ** 2
    return cost


@compiled
def _collapse(
    vertices: np.ndarray,
    faces: np.ndarray,
    first: np.ndarray,
    following: np.ndarray,
    target: int,
    fixed: np.ndarray,
    evenness: float,
) -> np.ndarray:
    """Collapses edges in order of cost until `target` vertices are left; returns which faces live."""
    quadrics = _plane_quadrics(vertices, faces)
    alive = np.ones(len(faces), dtype=np.bool_)
    version = np.zeros(len(vertices), dtype=np.int64)
    both, place = np.empty(10), np.empty(3)
    around_a, around_b = np.empty(64, dtype=np.int64), np.empty(64, dtype=np.int64)
    left = (first >= 0).sum()
    ends, costs = _edges(vertices, faces, quadrics, fixed, evenness)
    heap = [(0.0, 0, 0, 0, 0)]
    heap.clear()
    limit = -1.0  # edges that cost more do not wait in the heap yet
    while left > target:
        if len(heap) == 0 or heap[0][0] > limit:
            if limit == np.inf and len(heap) == 0:
                break
            if limit < np.inf:
                limit = _filled(heap, ends, costs, version, limit, 3 * (left - target))
                continue
        _, a, b, version_a, version_b = heapq.heappop(heap)
        if version[a] != version_a or version[b] != version_b:
            continue
        count_a = _neighbours(faces, alive, first, following, a, around_a)
        count_b = _neighbours(faces, alive, first, following, b, around_b)
        if not _closed_after(around_a, count_a, around_b, count_b):
            continue
        _cost(quadrics, vertices, a, b, 0.0, both, place)
        if _turns_over(vertices, faces, alive, first, following, a, b, place):
            continue
        if _turns_over(vertices, faces, alive, first, following, b, a, place):
            continue
        _join(faces, alive, first, following, a, b)
        vertices[a] = place
        quadrics[a] = both
        version[a] += 1
        version[b] = -1
        left -= 1
        count_a = _neighbours(faces, alive, first, following, a, around_a)
        for i in range(max(count_a, 0)):
            n = around_a[i]
            if not fixed[n]:
                cost = _cost(quadrics, vertices, a, n, evenness, both, place)
                heapq.heappush(heap, (cost, a, n, version[a], version[n]))
    return alive


@compiled
def _filled(
    heap: list, ends: np.ndarray, costs: np.ndarray, version: np.ndarray, limit: float, more: int
) -> float:
    """Puts edges that cost more than a limit into the heap, about so many; returns the new limit."""
    waiting = costs[costs > limit]
    higher = np.partition(waiting, more)[more] if more < len(waiting) else np.inf
    for e in range(len(costs)):
        a, b = ends[e]
        if limit < costs[e] <= higher and version[a] == 0 and version[b] == 0:
            heap.append((costs[e], a, b, 0, 0))
    heapq.heapify(heap)
    return higher


@compiled
def _closed_after(around_a: np.ndarray, count_a: int, around_b: np.ndarray, count_b: int) -> bool:
    """Whether the surface stays a closed manifold when two vertices with such neighbours join (the link condition)."""
    if count_a < 0 or count_b < 0:
        return False
    shared = 0
    for i in range(count_a):
        for j in range(count_b):
            shared += around_a[i] == around_b[j]
    return shared == 2 and count_a + count_b - 4 >= 3
