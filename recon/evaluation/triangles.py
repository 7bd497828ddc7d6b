"""Exact nearest points on triangles, and cylinders that bound groups of them."""

import numpy as np
from jaxtyping import Float, Int

_ROUNDING = 1e-12  # relative: what only rounding puts beyond the bound is looked into all the same
_MERGE = 8  # levels of the tree that are bounded from what they hold itself


def closest_on_triangles(
    points: Float[np.ndarray, "n 3"], triangles: Float[np.ndarray, "n 3 3"]
) -> Float[np.ndarray, "n 3"]:
    """The point of each triangle that is nearest to the point with the same index.

    Over the triangle it is the foot of the perpendicular, elsewhere the nearest point of the three edges.
    """
    a, b, c = triangles.transpose(1, 0, 2)
    ab, ac, ap = b - a, c - a, points - a
    d00, d01, d11 = dot(ab, ab), dot(ab, ac), dot(ac, ac)
    d20, d21 = dot(ap, ab), dot(ap, ac)
    denominator = d00 * d11 - d01**2
    with np.errstate(divide="ignore", invalid="ignore"):
        v = (d11 * d20 - d01 * d21) / denominator
        w = (d00 * d21 - d01 * d20) / denominator
        foot = a + v[:, None] * ab + w[:, None] * ac
        over = (v >= 0) & (w >= 0) & (v + w <= 1)  # false without area, where v and w are nan or infinite
    beside = np.flatnonzero(~over)
    if len(beside):
        foot[beside] = _closest_on_edges(points[beside], triangles[beside])
    return foot


def _closest_on_edges(
    points: Float[np.ndarray, "n 3"], triangles: Float[np.ndarray, "n 3 3"]
) -> Float[np.ndarray, "n 3"]:
    edges = triangles[:, [1, 2, 0]] - triangles
    squares = np.maximum((edges**2).sum(axis=2), np.finfo(float).tiny)
    along = np.clip(((points[:, None] - triangles) * edges).sum(axis=2) / squares, 0, 1)
    feet = triangles + along[:, :, None] * edges
    nearest = ((points[:, None] - feet) ** 2).sum(axis=2).argmin(axis=1)
    return feet[np.arange(len(points)), nearest]


def dot(a: Float[np.ndarray, "n 3"], b: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    """Row-wise scalar product."""
    return np.einsum("nd,nd->n", a, b)


def cylinders_around(
    points: Float[np.ndarray, "n some 3"], normals: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n 9"]:
    """Cylinders that hold groups of points, along given axes.

    Args:
        points: The groups.
        normals: Directions of the axes, of any length.

    Returns:
        Centre (3), unit axis (3), extent along it below and above the centre, radius.
    """
    centre = points.mean(axis=1)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    axis = np.where(length > 0, normals / np.maximum(length, np.finfo(float).tiny), [0.0, 0.0, 1.0])
    offset = points - centre[:, None]
    height = np.einsum("npd,nd->np", offset, axis)
    radius = np.sqrt(np.maximum((offset**2).sum(axis=2) - height**2, 0).max(axis=1))
    return np.column_stack([centre, axis, height.min(axis=1), height.max(axis=1), radius])


def cylinder_squares(
    points: Float[np.ndarray, "n 3"], cylinders: Float[np.ndarray, "n 9"]
) -> Float[np.ndarray, " n"]:
    """Squared distance from each point to the cylinder with the same index, 0 inside."""
    offset = points - cylinders[:, :3]
    height = dot(offset, cylinders[:, 3:6])
    beside = np.sqrt(np.maximum(dot(offset, offset) - height**2, 0)) - cylinders[:, 8]
    above = np.maximum(height - cylinders[:, 7], cylinders[:, 6] - height)
    return np.maximum(above, 0) ** 2 + np.maximum(beside, 0) ** 2


class CylinderTree:
    """A bounding tree over triangles sorted along a Morton curve.

    A patch of surface is nearly flat, so a cylinder along its mean normal fits it closely whichever way it
    faces, and tells a patch from its neighbour even for a query far above both, where boxes and balls do not.
    The tree has no pointers: level l has 2^l cylinders, and the children of i are 2i and 2i + 1; the last
        level has one triangle each.

    Args:
        triangles: Corners, mm.
        normals: Directions of the triangles, as long as they shall weigh.
    """

    def __init__(self, triangles: Float[np.ndarray, "n 3 3"], normals: Float[np.ndarray, "n 3"]) -> None:
        self._order = _morton_order(triangles.mean(axis=1))
        points, axes = triangles[self._order], normals[self._order]
        self._levels = [cylinders_around(points, axes)]
        while len(axes) > 1:
            if (
                len(self._levels) % _MERGE == 0
            ):  # from here on prisms around cylinders stand for what they hold
                points = _prism_corners(self._levels[0])
            points = points.reshape(len(axes) // 2, -1, 3)
            axes = axes.reshape(len(axes) // 2, 2, 3).sum(axis=1)
            self._levels.insert(0, cylinders_around(points, axes))

    def candidates(
        self, queries: Float[np.ndarray, "queries 3"], squares: Float[np.ndarray, " queries"]
    ) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
        """All pairs of query and triangle that are near enough to matter.

        All queries descend together, as arrays of pairs; a pair is dropped when its cylinder is too far away.

        Args:
            queries: Points, mm.
            squares: Squared distance within which triangles are wanted, mm².

        Returns:
            Rows of `queries` in ascending order, and triangles. Some may be further away; none that is nearer
            is left out.
        """
        query, node = np.arange(len(queries)), np.zeros(len(queries), np.int64)
        squares = squares * (1 + _ROUNDING)
        for depth, cylinders in enumerate(self._levels):
            if depth:
                query, node = np.repeat(query, 2), np.repeat(2 * node, 2)
                node[1::2] += 1
            near = cylinder_squares(queries[query], cylinders[node]) <= squares[query]
            query, node = query[near], node[near]
        return query, self._order[node]


def _prism_corners(cylinders: Float[np.ndarray, "n 9"]) -> Float[np.ndarray, "n corners 3"]:
    """The corners of an eight-sided prism around each cylinder."""
    centre, axis, low, high, radius = np.split(cylinders, [3, 6, 7, 8], axis=1)
    helper = np.where(np.abs(axis[:, :1]) < 0.5, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    u = np.cross(axis, helper)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    v = np.cross(axis, u)
    radius = radius / np.cos(np.pi / 8)
    ring = [np.cos(angle) * u + np.sin(angle) * v for angle in np.arange(8) * np.pi / 4]
    return np.stack([centre + h * axis + radius * out for h in (low, high) for out in ring], axis=1)


def _morton_order(points: Float[np.ndarray, "n 3"]) -> Int[np.ndarray, " slots"]:
    """Indices of the points along a Morton curve, the last one repeated up to a power of two."""
    low = points.min(axis=0)
    extent = float((points.max(axis=0) - low).max()) or 1.0
    cells = ((points - low) / extent * 1023).astype(np.int64)
    code = np.zeros(len(points), np.int64)
    for bit in range(10):
        for axis in range(3):
            code |= (cells[:, axis] >> bit & 1) << 3 * bit + axis
    order = np.argsort(code, kind="stable")
    slots = 1 << int(np.ceil(np.log2(len(order))))
    return np.concatenate([order, np.full(slots - len(order), order[-1])])
