"""Exact nearest points on triangles."""

import numpy as np
from jaxtyping import Float


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
