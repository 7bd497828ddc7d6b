"""The flat base of a bust: straight walls down to one plane, closed by a flat cap, in place of a ragged lower end."""

import logging
from collections.abc import Iterator

import numpy as np
import trimesh
from jaxtyping import Float, Int

from recon.compiled import compiled
from recon.meshing.halfedges import twins, used_only

log = logging.getLogger(__name__)

_SEARCHED_MM = 60.0  # over the lowest vertex
_DOWNWARDS = 0.9  # least cosine between the normals of a floor and the way down
_LEAST_MM2 = 4000.0  # area of a floor
_WALL_MM = 3.0  # least height of the walls over the floor
_OVER_MM = 1.0  # least height of the walls over what is ragged of it
_RINGS = 4  # of faces of the walls
_SMOOTHING = 8  # steps from ring to ring, along it
_MARGINS_MM = 1.0, 2.5  # width of the rings of small faces within the border of the cap


def floor_height(mesh: trimesh.Trimesh, up: Float[np.ndarray, " 3"]) -> tuple[float, float] | None:
    """Height of the floor that a bust ends with, the median over its area, and the height below which it is ragged.

    Args:
        mesh: Closed, outward, mm.
        up: Unit vector.

    Returns:
        Heights along `up`, mm; None where hardly anything at the lower end faces down.
    """
    vertices, faces = np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces)
    along = vertices @ up
    corners = vertices[faces[(along < along.min() + _SEARCHED_MM)[faces[:, 0]]]]
    middle = corners.mean(axis=1) @ up
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) / 2
    area = np.linalg.norm(normal, axis=1)
    floor = normal @ up < -_DOWNWARDS * area
    if area[floor].sum() < _LEAST_MM2:
        return None
    order = np.argsort(middle[floor])
    share = np.cumsum(area[floor][order])
    height, top = np.interp([0.5, 0.95], share / share[-1], middle[floor][order])
    return float(height), float(max(height + _WALL_MM, top + _OVER_MM))


def with_flat_base(
    mesh: trimesh.Trimesh, up: Float[np.ndarray, " 3"]
) -> tuple[trimesh.Trimesh, float | None]:
    """Replaces the lower end of a bust by walls along `up` and a flat cap at the height of its floor.

    Args:
        mesh: Closed manifold mesh, outward, mm.
        up: Unit vector of its upward direction.

    Returns:
        The closed mesh, and the height of its base along `up`; the mesh as it is, and None, where it has no floor.
    """
    found = floor_height(mesh, up)
    faces = np.asarray(mesh.faces, np.int64)
    if found is None:
        return mesh, None
    height, top = found
    vertices, faces = _above(np.asarray(mesh.vertices, np.float64), faces, up, top)
    frame = np.linalg.svd(up[None])[2][1:]  # of the plane, so that x, y, up is right-handed
    frame = frame if np.linalg.det(np.vstack([frame, up])) > 0 else frame[::-1]
    points, added, count = [vertices], [faces], len(vertices)
    for loop in _rims(faces, len(vertices)):
        flat = vertices[loop] @ frame.T
        x, y = flat.T
        if (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() < 0:
            # The rim of a hollow that opens downwards: closed off, it is a piece of its own.
            added.append(loop[::-1][_triangles(flat[::-1].copy())])
            continue
        rim = loop
        for ring, along in _rings(flat, height, top):
            below = count + np.arange(len(loop))
            points.append(ring @ frame + along * up)
            rim_after, below_after = np.roll(rim, -1), np.roll(below, -1)
            added.append(np.column_stack([rim_after, rim, below]))
            added.append(np.column_stack([rim_after, below, below_after]))
            rim, count = below, count + len(loop)
        added.append(rim[_triangles(ring)][:, ::-1])
    log.info(
        "the lower end became flat: cut %.1f mm above the floor of the surface, walls down to it",
        top - height,
    )
    return trimesh.Trimesh(np.concatenate(points), np.concatenate(added), process=False), height


def _rings(
    flat: Float[np.ndarray, "loop 2"], height: float, top: float
) -> Iterator[tuple[Float[np.ndarray, "loop 2"], float]]:
    """Rings from a rim down to the base, ever smoother and more even, then within it; with their heights."""
    for ring in range(1, _RINGS + 1):
        for _ in range(_SMOOTHING):
            flat = flat / 2 + (np.roll(flat, 1, axis=0) + np.roll(flat, -1, axis=0)) / 4
        yield flat, top + (height - top) * ring / _RINGS
    along = np.roll(flat, -2, axis=0) - np.roll(flat, 2, axis=0)
    inwards = np.column_stack([-along[:, 1], along[:, 0]]) / np.linalg.norm(along, axis=1)[:, None].clip(1e-9)
    for margin in _MARGINS_MM:
        yield flat + margin * inwards, height


def _above(
    vertices: Float[np.ndarray, "vertices 3"],
    faces: Int[np.ndarray, "faces 3"],
    up: Float[np.ndarray, " 3"],
    height: float,
) -> tuple[Float[np.ndarray, "kept 3"], Int[np.ndarray, "left 3"]]:
    """The part of a closed mesh above a plane, its rim on the plane."""
    over = vertices @ up - height
    over[np.abs(over) < 1e-6] = 1e-6  # no vertex on the plane itself
    inside = over > 0
    number = _count_inside(faces, inside)
    one, two = faces[number == 1], faces[number == 2]
    # the corner that is alone on its side first
    one = np.take_along_axis(one, (np.argmax(inside[one], axis=1)[:, None] + np.arange(3)) % 3, 1)
    two = np.take_along_axis(two, (np.argmin(inside[two], axis=1)[:, None] + np.arange(3)) % 3, 1)
    edges = np.concatenate([one[:, [0, 1]], one[:, [0, 2]], two[:, [1, 0]], two[:, [2, 0]]])
    # each from inside out
    edges, index = np.unique(edges, axis=0, return_inverse=True)
    p, q, r, s = np.split(len(vertices) + index.reshape(-1), np.cumsum([len(one), len(one), len(two)]))
    share = over[edges[:, 0]] / (over[edges[:, 0]] - over[edges[:, 1]])
    crossing = vertices[edges[:, 0]] + share[:, None] * (vertices[edges[:, 1]] - vertices[edges[:, 0]])
    crossing -= (crossing @ up - height)[:, None] * up
    kept = [
        faces[number == 3],
        np.column_stack([one[:, 0], p, q]),
        np.column_stack([r, two[:, 1], two[:, 2]]),
        np.column_stack([r, two[:, 2], s]),
    ]
    return used_only(np.concatenate([vertices, crossing]), np.concatenate(kept))


@compiled
def _count_inside(faces: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Number of corners of each face that are inside."""
    number = np.empty(len(faces), dtype=np.int8)
    for f in range(len(faces)):
        number[f] = inside[faces[f, 0]] + inside[faces[f, 1]] + inside[faces[f, 2]]
    return number


def _rims(faces: Int[np.ndarray, "faces 3"], vertex_count: int) -> list[Int[np.ndarray, " loop"]]:
    """Vertices of the rims of an open mesh, each in the direction of its faces."""
    open_ = np.flatnonzero(twins(faces, vertex_count) < 0)
    start, end = faces[open_ // 3, open_ % 3], faces[open_ // 3, (open_ + 1) % 3]
    after = dict(zip(start.tolist(), end.tolist(), strict=True))
    loops = []
    while after:
        first, vertex = after.popitem()
        loop = [first]
        while vertex != first:
            loop.append(vertex)
            vertex = after.pop(vertex)
        loops.append(np.array(loop))
    return loops


@compiled
def _triangles(polygon: np.ndarray) -> np.ndarray:
    """Triangles (n - 2, 3) of a simple counterclockwise polygon: ears are cut off, that of the shortest base first."""
    count = len(polygon)
    after, before = np.arange(1, count + 1) % count, np.arange(-1, count - 1) % count
    base = np.empty(count)
    for i in range(count):
        base[i] = _ear_base(polygon, before, after, i)
    result = np.empty((count - 2, 3), dtype=np.int64)
    for n in range(count - 2):
        best = int(np.argmin(base))
        if base[best] == np.inf:  # by rounding, or where the polygon crosses itself: any corner
            best = int(after[result[n - 1, 0]]) if n > 0 else 0
        low, high = before[best], after[best]
        result[n, 0], result[n, 1], result[n, 2] = low, best, high
        after[low], before[high] = high, low
        base[best] = np.inf
        after[best] = -1
        base[low] = _ear_base(polygon, before, after, low)
        base[high] = _ear_base(polygon, before, after, high)
    return result


@compiled
def _ear_base(polygon: np.ndarray, before: np.ndarray, after: np.ndarray, i: int) -> float:
    """Squared length of the side that cutting off a corner would leave; infinite where it is no ear."""
    a, b, c = polygon[before[i]], polygon[i], polygon[after[i]]
    if (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) <= 0.0:
        return np.inf
    p = after[after[i]]
    while p != before[i]:
        x, y = polygon[p]
        if (
            (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]) >= 0.0
            and (c[0] - b[0]) * (y - b[1]) - (c[1] - b[1]) * (x - b[0]) >= 0.0
            and (a[0] - c[0]) * (y - c[1]) - (a[1] - c[1]) * (x - c[0]) >= 0.0
        ):
            return np.inf
        p = after[p]
    return (a[0] - c[0]) ** 2 + (a[1] - c[1]) ** 2
