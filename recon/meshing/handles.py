"""Removal of small handles of closed meshes: bridges are cut, tunnels are plugged.

On a closed surface of genus g, 2 g edges are outside of a spanning tree of the vertices and of one of the faces, and
each closes a loop that does not divide the surface (tree-cotree decomposition, Eppstein 2003). With shortest
paths as the first tree and greatest loops as the second, these include the shortest such loop through the root
(Erickson and Whittlesey 2005). Cutting the surface along one and closing both rims takes away one handle.
"""

import heapq
import logging

import numpy as np
import trimesh
from jaxtyping import Float, Int, Shaped

from recon.compiled import compiled
from recon.meshing.halfedges import genus, root_of, twins

log = logging.getLogger(__name__)

_ROUNDS = 4  # at most so many decompositions of the whole surface
_ROOTS = 4  # vertices of a loop from which a shorter one is looked for
_REACH = 2.0  # of the longest loop: how far around an anchor loops are looked for
_MOST_STEPS = 15_000  # so that sums are short integers, which are sorted ten times as fast
_FAR = 1e6  # length of edges that no loop shall use
_SMOOTHING = 12  # steps
_RINGS = 3  # of vertices about a rim that are smoothed


def without_handles(mesh: trimesh.Trimesh, longest: float) -> trimesh.Trimesh:
    """Removes handles about which some loop of at most a given length runs, and smooths where they were.

    Args:
        mesh: Closed manifold mesh; others are returned as they are.
        longest: Length of the loops, in the unit of the mesh.

    Returns:
        A mesh whose vertices are those of the given one, then new ones; only those near removed handles have moved.
    """
    vertices, faces = np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64)
    opposite = twins(faces, len(vertices))
    before = left = genus(faces, len(vertices)) if (opposite >= 0).all() else 0
    for _ in range(_ROUNDS if before else 0):
        found = left
        reached = _breadth_first(faces, opposite, len(vertices))
        for anchor in faces.reshape(-1)[_loop_edges(faces, opposite, *reached)]:
            loop = _shortest_loop(vertices, faces, opposite, int(anchor), longest) if left else None
            if loop is not None:
                vertices, faces, opposite = _cut(vertices, faces, opposite, loop)
                left -= 1
        if not left or left == found:
            break
    if before:
        log.info(
            "handles of the surface: %d, of which %d were smaller than %.3g", before, before - left, longest
        )
    return trimesh.Trimesh(vertices, faces, process=False)


def _lengths(
    vertices: Float[np.ndarray, "vertices 3"], faces: Int[np.ndarray, "faces 3"]
) -> Float[np.ndarray, " halfedges"]:
    return np.linalg.norm(vertices[faces] - vertices[faces[:, [1, 2, 0]]], axis=2).reshape(-1)


@compiled
def _breadth_first(
    faces: np.ndarray, opposite: np.ndarray, vertex_count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Number of edges from some vertex of each piece to each vertex, and the half-edge that arrives at it (or -1).

    Fast where lengths need not be exact.
    """
    leaving = _leaving(faces, vertex_count)
    distance, arriving = np.full(vertex_count, -1, dtype=np.int16), np.full(vertex_count, -1, dtype=np.int64)
    queue = np.empty(vertex_count, dtype=np.int64)
    for root in range(vertex_count):
        if leaving[root] < 0 or distance[root] >= 0:
            continue
        queue[0], first, last = root, 0, 1
        distance[root] = 0
        while first < last:
            v = queue[first]
            first += 1
            half = leaving[v]
            while True:
                end = faces[half // 3, (half + 1) % 3]
                if distance[end] < 0:
                    distance[end] = min(distance[v] + 1, _MOST_STEPS)
                    arriving[end] = half
                    queue[last] = end
                    last += 1
                half = opposite[half - 1 if half % 3 > 0 else half + 2]
                if half == leaving[v]:
                    break
    return distance, arriving


@compiled
def _leaving(faces: np.ndarray, vertex_count: int) -> np.ndarray:
    """Some half-edge that starts at each vertex; -1 for unused vertices."""
    leaving = np.full(vertex_count, -1, dtype=np.int64)
    for f in range(len(faces)):
        for k in range(3):
            leaving[faces[f, k]] = 3 * f + k
    return leaving


@compiled
def _shortest_paths(
    faces: np.ndarray, opposite: np.ndarray, lengths: np.ndarray, root: int, vertex_count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Distance of each vertex from the root along edges, and the half-edge that arrives at it (-1 at the root)."""
    leaving = _leaving(faces, vertex_count)
    distance, arriving = np.full(vertex_count, np.inf), np.full(vertex_count, -1, dtype=np.int64)
    distance[root] = 0.0
    heap = [(0.0, root)]
    while len(heap) > 0:
        away, v = heapq.heappop(heap)
        if away > distance[v]:
            continue
        start = leaving[v]
        half = start
        while True:
            end = faces[half // 3, (half + 1) % 3]
            further = away + lengths[half]
            if further < distance[end]:
                distance[end] = further
                arriving[end] = half
                heapq.heappush(heap, (further, end))
            half = opposite[half - 1 if half % 3 > 0 else half + 2]
            if half == start:
                break
    return distance, arriving


def _loop_edges(
    faces: Int[np.ndarray, "faces 3"],
    opposite: Int[np.ndarray, " halfedges"],
    distance: Shaped[np.ndarray, " vertices"],
    arriving: Int[np.ndarray, " vertices"],
) -> Int[np.ndarray, " loops"]:
    """Half-edges outside both trees; the tree of the faces takes the edges of the longest loops first."""
    free, length = _free_edges(faces, opposite, distance, arriving)
    return _outside_tree(free[np.argsort(-length, kind="stable")], opposite, len(faces))


@compiled
def _free_edges(
    faces: np.ndarray, opposite: np.ndarray, distance: np.ndarray, arriving: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Half-edges, one for each edge outside the tree of the vertices, and the distances of their ends together."""
    free = np.empty(len(opposite) // 2, dtype=np.int64)
    length = np.empty(len(free), dtype=distance.dtype)
    n = 0
    for f in range(len(faces)):
        for k in range(3):
            half = 3 * f + k
            other = opposite[half]
            if half < other:
                a, b = faces[f, k], faces[f, (k + 1) % 3]
                if arriving[a] != other and arriving[b] != half:
                    free[n] = half
                    length[n] = distance[a] + distance[b]
                    n += 1
    return free[:n], length[:n]


@compiled
def _outside_tree(edges: np.ndarray, opposite: np.ndarray, face_count: int) -> np.ndarray:
    """Edges that a spanning tree of the faces leaves out when it takes them in their order where it can."""
    parent = np.arange(face_count)
    left = np.empty(len(edges), dtype=np.int64)
    found = 0
    for e in range(len(edges)):
        p, q = root_of(parent, edges[e] // 3), root_of(parent, opposite[edges[e]] // 3)
        if p == q:
            left[found] = edges[e]
            found += 1
        else:
            parent[max(p, q)] = min(p, q)
    return left[:found]


def _shortest_loop(
    vertices: Float[np.ndarray, "vertices 3"],
    faces: Int[np.ndarray, "faces 3"],
    opposite: Int[np.ndarray, " halfedges"],
    anchor: int,
    longest: float,
) -> Int[np.ndarray, " loop"] | None:
    """Vertices of the shortest loop around a handle near a vertex, by shortest loops through vertices of loops found
    before; None where it is longer than allowed.
    """
    near = ((vertices - vertices[anchor]) ** 2).sum(axis=1) < (_REACH * longest) ** 2
    patch, number = _closed_patch(faces, opposite, near, anchor)
    if not len(patch):
        return None
    at = np.concatenate([vertices[number], np.zeros((int(patch.max()) + 1 - len(number), 3))])
    lengths = _lengths(at, patch)
    lengths[(patch >= len(number)).reshape(-1) | (patch[:, [1, 2, 0]] >= len(number)).reshape(-1)] = _FAR
    around = twins(patch, len(at))
    best, size = np.flatnonzero(number == anchor), np.inf
    while True:
        found, least = best, size
        for root in best[:: max(1, len(best) // _ROOTS)]:
            loop, length = _loop_through(patch, around, lengths, int(root), len(at))
            if length < least:
                found, least = loop, length
        if least > 0.95 * size or least >= _FAR:
            return number[best] if size <= longest else None
        best, size = found, least


@compiled
def _closed_patch(
    faces: np.ndarray, opposite: np.ndarray, near: np.ndarray, anchor: int
) -> tuple[np.ndarray, np.ndarray]:
    """Faces about a vertex whose corners are all near, with every rim closed by a fan, and their vertices' numbers.

    What hangs together through one vertex alone is not taken for connected, so that every rim is a simple loop.
    """
    taken = np.zeros(len(faces), dtype=np.bool_)
    first = -1
    for f in range(len(faces)):
        if faces[f, 0] == anchor or faces[f, 1] == anchor or faces[f, 2] == anchor:
            first = f
            break
    stack = [first]
    taken[first] = True
    members = [first]
    while len(stack) > 0:
        f = stack.pop()
        for k in range(3):
            g = opposite[3 * f + k] // 3
            if not taken[g] and near[faces[g, 0]] and near[faces[g, 1]] and near[faces[g, 2]]:
                taken[g] = True
                stack.append(g)
                members.append(g)
    # each corner's vertex, split where the fan about it is cut: one number for every run of faces
    numbers = np.full(3 * len(faces), -1, dtype=np.int64)
    original = [0]
    original.clear()
    for f in members:
        for k in range(3):
            if numbers[3 * f + k] >= 0:
                continue
            start = 3 * f + k
            half = start
            while True:  # back to the first face of the run
                turned = opposite[half]
                turned = turned + 1 if turned % 3 < 2 else turned - 2
                if not taken[turned // 3]:
                    break
                half = turned
                if half == start:
                    break
            begin = half
            while True:
                numbers[half] = len(original)
                half = opposite[half - 1 if half % 3 > 0 else half + 2]
                if not taken[half // 3] or half == begin:
                    break
            original.append(faces[f, k])
    patch = [(0, 0, 0)]
    patch.clear()
    for f in members:
        patch.append((numbers[3 * f], numbers[3 * f + 1], numbers[3 * f + 2]))
    _close_rims(members, opposite, taken, numbers, len(original), patch)
    result = np.empty((len(patch), 3), dtype=np.int64)
    for i in range(len(patch)):
        result[i, 0], result[i, 1], result[i, 2] = patch[i]
    return result, np.array(original)


@compiled
def _close_rims(
    members: list, opposite: np.ndarray, taken: np.ndarray, numbers: np.ndarray, centre: int, patch: list
) -> None:
    """Closes every rim of a patch with a fan about a new vertex."""
    done = np.zeros(3 * len(taken), dtype=np.bool_)
    for f in members:
        for k in range(3):
            start = 3 * f + k
            if done[start] or taken[opposite[start] // 3]:
                continue
            half = start
            while not done[half]:
                done[half] = True
                following = half + 1 if half % 3 < 2 else half - 2
                patch.append((numbers[following], numbers[half], centre))
                half = following
                while taken[opposite[half] // 3]:
                    half = opposite[half]
                    half = half + 1 if half % 3 < 2 else half - 2
            centre += 1


def _loop_through(
    faces: Int[np.ndarray, "faces 3"],
    opposite: Int[np.ndarray, " halfedges"],
    lengths: Float[np.ndarray, " halfedges"],
    root: int,
    vertex_count: int,
) -> tuple[Int[np.ndarray, " loop"], float]:
    """The shortest loop through a root that does not divide the surface, and its length; infinite without one."""
    distance, arriving = _shortest_paths(faces, opposite, lengths, root, vertex_count)
    edges = _loop_edges(faces, opposite, distance, arriving)
    if not len(edges):
        return np.zeros(0, np.int64), np.inf
    corner = faces.reshape(-1)
    start, end = corner[edges], faces[edges // 3, (edges + 1) % 3]
    best = (distance[start] + distance[end] + lengths[edges]).argmin()
    paths = []
    for vertex in (int(start[best]), int(end[best])):
        path = [vertex]
        while arriving[path[-1]] >= 0:
            path.append(int(corner[arriving[path[-1]]]))
        paths.append(path)
    there, back = paths
    while len(there) > 1 and len(back) > 1 and there[-2] == back[-2]:  # the way to it
        there, back = there[:-1], back[:-1]
    length = distance[there[0]] + distance[back[0]] - 2 * distance[there[-1]] + lengths[edges[best]]
    return np.array(there[::-1] + back[:-1]), float(length)


def _cut(
    vertices: Float[np.ndarray, "vertices 3"],
    faces: Int[np.ndarray, "faces 3"],
    opposite: Int[np.ndarray, " halfedges"],
    loop: Int[np.ndarray, " loop"],
) -> tuple[Float[np.ndarray, "more 3"], Int[np.ndarray, "grown 3"], Int[np.ndarray, " more_halfedges"]]:
    """Cuts a surface along a loop, closes both rims by fans, and smooths there; returns its new arrays."""
    faces, count, size = faces.copy(), len(vertices), len(loop)
    copies, centres = count + np.arange(size), (count + size, count + size + 1)
    left = _split(faces, opposite, loop, copies)
    right, following = opposite[left], np.roll(np.arange(size), -1)
    fan = 3 * (len(faces) + np.arange(size))  # first half-edges
    opposite = np.concatenate([opposite, np.empty(6 * size, np.int64)])
    pairs = [
        (left, fan),
        (fan[following] + 1, fan + 2),
        (right, fan + 3 * size),
        (fan + 3 * size + 1, fan[following] + 3 * size + 2),
    ]
    for these, those in pairs:
        opposite[these], opposite[those] = those, these
    fans = [
        np.column_stack([copies[following], copies, np.full(size, centres[0])]),
        np.column_stack([loop, loop[following], np.full(size, centres[1])]),
    ]
    middle = vertices[loop].mean(axis=0)
    vertices = np.concatenate([vertices, vertices[loop], [middle, middle]])
    faces = np.concatenate([faces, *fans])
    return _smoothed(vertices, faces, np.concatenate([loop, copies, centres])), faces, opposite


@compiled
def _split(faces: np.ndarray, opposite: np.ndarray, loop: np.ndarray, copies: np.ndarray) -> np.ndarray:
    """Gives the faces to the left of a loop the copies of its vertices; returns the half-edges of the loop there."""
    size = len(loop)
    leaving = np.full(size, -1, dtype=np.int64)
    place = np.full(faces.max() + 1, -1, dtype=np.int64)
    for i in range(size):
        place[loop[i]] = i
    for f in range(len(faces)):
        for k in range(3):
            i = place[faces[f, k]]
            if i >= 0 and faces[f, (k + 1) % 3] == loop[(i + 1) % size]:
                leaving[i] = 3 * f + k
    for i in range(size):
        half = leaving[i]
        stop = opposite[leaving[i - 1]]  # from this vertex to the one before
        while half != stop:
            faces[half // 3, half % 3] = copies[i]
            half = opposite[half - 1 if half % 3 > 0 else half + 2]
    return leaving


def _smoothed(
    vertices: Float[np.ndarray, "vertices 3"],
    faces: Int[np.ndarray, "faces 3"],
    rim: Int[np.ndarray, " rim"],
) -> Float[np.ndarray, "vertices 3"]:
    """Vertices with those on and about a rim smoothed, so that its two sides part."""
    moving = np.zeros(len(vertices), bool)
    moving[rim] = True
    for _ in range(_RINGS):
        moving[faces[_touching(faces, moving)].reshape(-1)] = True
    some = faces[_touching(faces, moving)]
    used, some = np.unique(some, return_inverse=True)
    some, free = some.reshape(-1, 3), moving[used]
    edges = np.concatenate([some[:, [0, 1]], some[:, [1, 2]], some[:, [2, 0]]])
    points = vertices[used]
    for _ in range(_SMOOTHING):
        total = np.stack(
            [np.bincount(edges[:, 0], points[edges[:, 1], k], len(used)) for k in range(3)], axis=1
        )
        mean = total / np.maximum(np.bincount(edges[:, 0], minlength=len(used)), 1)[:, None]
        points = np.where(free[:, None], (points + mean) / 2, points)
    result = vertices.copy()
    result[used] = points
    return result


@compiled
def _touching(faces: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """Faces with a marked corner."""
    found = np.empty(len(faces), dtype=np.int64)
    n = 0
    for f in range(len(faces)):
        if marked[faces[f, 0]] or marked[faces[f, 1]] or marked[faces[f, 2]]:
            found[n] = f
            n += 1
    return found[:n]
