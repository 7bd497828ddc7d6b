"""A small software rasteriser: triangles to a buffer of which triangle is in front, all pixels at once."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

_CHUNK = 4_000_000  # candidate pixels at a time
_EDGE = 1e-9  # slack: a pixel on the common edge of two triangles is never lost between them


@dataclass(frozen=True, eq=False)
class Fragments:
    """What each pixel sees.

    Attributes:
        face: Index of the front triangle, -1 where there is none.
        weights: Barycentric coordinates within it.
        depth: Of the surface there, infinity where there is none.
    """

    face: Int[np.ndarray, "height width"]
    weights: Float[np.ndarray, "height width 3"]
    depth: Float[np.ndarray, "height width"]


def rasterise(
    points: Float[np.ndarray, "vertices 3"], faces: Int[np.ndarray, "faces 3"], height: int, width: int
) -> Fragments:
    """Draws triangles with a depth buffer.

    Every triangle is tested against the pixel centres of its bounding box, which is exact and, for the small
    triangles of a scan, hardly more than its own pixels.

    Args:
        points: Pixel coordinates x to the right, y down (pixel centres at +0.5), and depth; the smallest is
            in front.
        faces: Corners of the triangles; both sides are drawn.
        height: Of the image.
        width: Of the image.
    """
    x, y = np.ascontiguousarray(points.T[:2])
    left, right = _pixels(x, faces, width)
    top, bottom = _pixels(y, faces, height)
    columns, rows = np.maximum(right - left, 0), np.maximum(bottom - top, 0)
    order = np.flatnonzero((columns > 0) & (rows > 0))  # most triangles of a dense mesh lie between centres
    columns, left, top = columns[order], left[order], top[order]
    count = columns * rows[order]
    depth = np.full(height * width, np.inf)
    face = np.full(height * width, -1, np.int64)
    weights = np.zeros((height * width, 3))
    table = _planes(points[faces[order]])
    cuts = np.searchsorted(np.cumsum(count), np.arange(_CHUNK, count.sum(), _CHUNK))
    for part in np.split(np.arange(len(order)), cuts):
        owner = np.repeat(part, count[part])
        within = np.arange(len(owner)) - np.repeat(np.cumsum(count[part]) - count[part], count[part])
        y, x = np.divmod(within, columns[owner])
        x, y = x + left[owner], y + top[owner]
        with np.errstate(invalid="ignore"):  # triangles seen from the edge
            v, w, z = (
                table[i, 0][owner] * (x + 0.5) + table[i, 1][owner] * (y + 0.5) + table[i, 2][owner]
                for i in range(3)
            )
        pixel = y * width + x
        nearer = np.flatnonzero((v >= -_EDGE) & (w >= -_EDGE) & (v + w <= 1 + _EDGE) & (z < depth[pixel]))
        # of several in one pixel the last assignment stays: the nearest
        nearer = nearer[np.argsort(-z[nearer])]
        hit = pixel[nearer]
        depth[hit], face[hit] = z[nearer], order[owner[nearer]]
        weights[hit] = np.stack([1 - v[nearer] - w[nearer], v[nearer], w[nearer]], axis=1)
    shape = (height, width)
    return Fragments(face.reshape(shape), weights.reshape(*shape, 3), depth.reshape(shape))


def _pixels(
    along: Float[np.ndarray, " vertices"], faces: Int[np.ndarray, "faces 3"], size: int
) -> tuple[Int[np.ndarray, " faces"], Int[np.ndarray, " faces"]]:
    """First pixel whose centre lies within each triangle's extent along one axis, and the one after the last."""
    a, b, c = (along[faces[:, corner]] for corner in range(3))
    low, high = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
    first, last = np.ceil(low - 0.5), np.floor(high - 0.5) + 1
    return np.clip(first, 0, size).astype(np.int64), np.clip(last, 0, size).astype(np.int64)


def _planes(corners: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, "3 3 n"]:
    """Two barycentric coordinates and the depth of each triangle as functions a x + b y + c of the pixel.

    Triangles seen from the edge have no area and get values that are not finite, which no test passes.
    """
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = corners.transpose(1, 2, 0)
    ux, uy, vx, vy = bx - ax, by - ay, cx - ax, cy - ay
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1 / (ux * vy - uy * vx)
        v = np.stack([vy * inverse, -vx * inverse, (vx * ay - vy * ax) * inverse])
        w = np.stack([-uy * inverse, ux * inverse, (uy * ax - ux * ay) * inverse])
        z = v * (bz - az) + w * (cz - az)
    z[2] += az
    return np.stack([v, w, z])
