"""Single hairs as curves, and what brows, lashes and strands share: tangents, arc lengths, scattered roots."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

POINTS = 7
"""Points of a short hair."""


@dataclass(frozen=True)
class Curves:
    """Thin hairs of one kind.

    Attributes:
        label: BROW, LASH or HAIR.
        vertices: Positions, mm.
        segments: Consecutive vertices of the same hair.
        width_mm: Thickness of the segments; it may be below a real hair's.
        tangent: Unit direction, root to tip.
        anchor: Index of the vertex of the surface that lends light, normal and canonical coordinates.
        scalars: Further attributes of the vertices.
    """

    label: int
    vertices: Float[np.ndarray, "v 3"]
    segments: Int[np.ndarray, "s 2"]
    width_mm: Float[np.ndarray, " s"]
    tangent: Float[np.ndarray, "v 3"]
    anchor: Int[np.ndarray, " v"]
    scalars: dict[str, np.ndarray] = field(default_factory=dict)


def surface_normals(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> Float[np.ndarray, "v 3"]:
    """Area-weighted unit vertex normals; vertices without faces get +Z."""
    cross = np.cross(
        vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]]
    )
    normals = np.zeros_like(vertices)
    for corner in range(3):
        for axis in range(3):
            normals[:, axis] += np.bincount(faces[:, corner], cross[:, axis], minlength=len(vertices))
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 1e-12, normals / np.maximum(length, 1e-12), [0.0, 0.0, 1.0])


def arc_lengths(
    points: Float[np.ndarray, "points 3"], offsets: Int[np.ndarray, " strands_plus_one"]
) -> Float[np.ndarray, " points"]:
    """Computes the arc length from the root at every point of every strand, mm."""
    step = np.zeros(len(points))
    step[1:] = np.linalg.norm(np.diff(points, axis=0), axis=1)
    step[offsets[:-1]] = 0.0
    total = np.cumsum(step)
    return total - np.repeat(total[offsets[:-1]], np.diff(offsets))


def ramp(low: float, high: float, value: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Smooth step: 0 below `low`, 1 above `high`."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def scatter(
    rng: np.random.Generator,
    vertices: Float[np.ndarray, "v 3"],
    corners: Int[np.ndarray, "f 3"],
    per_mm2: float,
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"], Int[np.ndarray, " n"]]:
    """Scatters points over triangles by area: places, barycentric weights, triangle of each."""
    triangles = vertices[corners]
    cross = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    area = 0.5 * np.linalg.norm(cross, axis=1)
    chosen = rng.choice(len(corners), size=max(round(per_mm2 * area.sum()), 1), p=area / area.sum())
    weights = rng.dirichlet([1.0, 1.0, 1.0], size=len(chosen))
    return np.einsum("nk,nkc->nc", weights, triangles[chosen]), weights, chosen


def strand_tangents(
    points: Float[np.ndarray, "points 3"], offsets: Int[np.ndarray, " strands_plus_one"]
) -> Float[np.ndarray, "points 3"]:
    """Unit direction to the next point of the strand; the last point takes that of the one before."""
    tangent = np.zeros_like(points)
    tangent[:-1] = points[1:] - points[:-1]
    last = offsets[1:] - 1
    tangent[last] = tangent[np.maximum(last - 1, 0)]
    return tangent / np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)


def as_curves(
    label: int,
    points: Float[np.ndarray, "hairs points 3"],
    widths: Float[np.ndarray, " segments"],
    anchors: Float[np.ndarray, "v 3"] | None,
) -> Curves:
    """Makes curves of hairs with equally many points, each anchored to the nearest of `anchors` at its root (or 0)."""
    count, length, _ = points.shape
    first = np.arange(count)[:, None] * length + np.arange(length - 1)
    segments = np.stack([first.ravel(), first.ravel() + 1], axis=1)
    tangent = np.gradient(points, axis=1)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=2, keepdims=True), 1e-9)
    anchor = np.zeros(count, np.int64) if anchors is None else cKDTree(anchors).query(points[:, 0])[1]
    return Curves(
        label,
        points.reshape(-1, 3),
        segments,
        np.tile(widths, count),
        tangent.reshape(-1, 3),
        np.repeat(anchor, length),
    )
