"""A rasteriser of projected triangles in double precision: the front triangle of every pixel, depth and weights.

Visibility and pictures of meshes use it: one sample a pixel, no pixel lost between neighbours, depth linear on the
screen. The photographs of synthetic subjects need curves, several samples a pixel and perspective-correct weights;
`recon.synth.render.zbuffer` has them, in single precision.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from recon.compiled import compiled

_EDGE = 1e-9  # slack: a pixel on the common edge of two triangles is never lost between them


@dataclass(frozen=True, eq=False)
class Fragments:
    """The front triangle of each pixel.

    Attributes:
        face: Index of the front triangle, -1 where there is none.
        weights: Barycentric coordinates within it.
        depth: Depth of the surface there, infinity where there is none.
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
        height: Rows of the image.
        width: Columns of the image.
    """
    depth = np.full((height, width), np.inf)
    face = np.full((height, width), -1, np.int64)
    weights = np.zeros((height, width, 3))
    _draw(np.ascontiguousarray(points, np.float64), np.ascontiguousarray(faces), _EDGE, depth, face, weights)
    return Fragments(face, weights, depth)


@compiled
def _draw(points, faces, slack, depth, face, weights):  # type: ignore[no-untyped-def]
    """Writes the nearest triangle at every pixel centre. One that is seen from the edge has no area and is left out."""
    rows, columns = depth.shape
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, az = points[a, 0], points[a, 1], points[a, 2]
        ux, uy, uz = points[b, 0] - ax, points[b, 1] - ay, points[b, 2] - az
        vx, vy, vz = points[c, 0] - ax, points[c, 1] - ay, points[c, 2] - az
        # Most triangles of a dense mesh lie between centres. The limits keep numbers small before they are cut.
        left = np.ceil(max(ax + min(ux, vx, 0.0) - 0.5, 0.0))
        right = np.floor(min(ax + max(ux, vx, 0.0) - 0.5, columns - 1.0))
        top = np.ceil(max(ay + min(uy, vy, 0.0) - 0.5, 0.0))
        bottom = np.floor(min(ay + max(uy, vy, 0.0) - 0.5, rows - 1.0))
        area = ux * vy - uy * vx
        if not (left <= right and top <= bottom) or area == 0.0:
            continue
        inverse = 1.0 / area
        for y in range(int(top), int(bottom) + 1):
            for x in range(int(left), int(right) + 1):
                dx, dy = x + 0.5 - ax, y + 0.5 - ay
                v, w = (dx * vy - dy * vx) * inverse, (dy * ux - dx * uy) * inverse
                z = az + v * uz + w * vz
                if v >= -slack and w >= -slack and v + w <= 1 + slack and z < depth[y, x]:
                    depth[y, x], face[y, x] = z, f
                    weights[y, x, 0], weights[y, x, 1], weights[y, x, 2] = 1 - v - w, v, w
