"""The canonical frame of heads, and similarities between frames.

The canonical frame is that of the mean head of the head model, mm: +Y up, +Z out of the face, +X the subject's left,
origin between the ears a little below the eyes. A head comes into it by the similarity that takes its landmarks closest
to those of the mean head. Training samples, shape priors and fits to photographs all use it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

UNIT_CENTRE_MM, UNIT_RADIUS_MM = (0.0, -25.0, -5.0), 330.0
"""Centre and radius of the ball that holds every bust: the unit ball of networks where no file says otherwise."""

BOX_LOW_MM, BOX_HIGH_MM = (-222.0, -252.0, -144.0), (222.0, 180.0, 150.0)
"""Corners of the box that holds every bust with a margin: lattices of distances cover it."""

LANDMARKS_MM = {
    "right_eye": (-18.4849, 32.4797, 91.9895),
    "left_eye": (18.4867, 32.4826, 91.9880),
    "nose_tip": (0.0, 4.0234, 130.5224),
    "nose_base": (0.0, -11.8983, 115.7451),
    "right_lips": (-25.4386, -35.2768, 101.8614),
    "left_lips": (25.4386, -35.2768, 101.8614),
}
"""The six landmarks of H3DS on the mean head."""

FACE_RADIUS_MM = 95.0
"""Radius of the H3DS region `face_sphere` about the tip of the nose."""

EARS_MM, EAR_RADIUS_MM = ((-76.0, 16.0, 0.0), (76.0, 16.0, 0.0)), 42.0
"""Middles of the ears of the mean head, and how far from them ears reach."""


@dataclass(frozen=True)
class CanonicalFrame:
    """The canonical frame with the unit ball and the landmarks that a shape model was made with.

    Attributes:
        centre_mm: Centre of the ball that is the unit ball of the networks.
        radius_mm: Its radius.
        landmarks_mm: The mean head's facial landmarks by H3DS name.
    """

    centre_mm: tuple[float, float, float]
    radius_mm: float
    landmarks_mm: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)

    @property
    def mm_from_unit(self) -> Float[np.ndarray, "4 4"]:
        """Matrix from canonical unit space to canonical mm."""
        matrix = np.diag([self.radius_mm] * 3 + [1.0])
        matrix[:3, 3] = self.centre_mm
        return matrix


def in_face_or_ears(canonical_mm: Float[np.ndarray, "points 3"]) -> Bool[np.ndarray, " points"]:
    """Whether points, canonical mm, are in the regions whose details count: near the tip of the nose or an ear."""
    return _depth_in_face_or_ears(canonical_mm) > 0


def face_and_ears_window(
    canonical_mm: Float[np.ndarray, "points 3"], width_mm: float = 24.0
) -> Float[np.ndarray, " points"]:
    """Smooth window of those regions: 1 inside and 0 outside, with a smooth step across their border.

    Args:
        canonical_mm: Points, canonical mm.
        width_mm: Width of the step.
    """
    step = np.clip(_depth_in_face_or_ears(canonical_mm) / width_mm + 0.5, 0.0, 1.0)
    result: np.ndarray = step * step * (3 - 2 * step)
    return result


def _depth_in_face_or_ears(canonical_mm: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, " points"]:
    """Depth of points in the nearest of those balls, mm; negative outside."""
    balls = [(LANDMARKS_MM["nose_tip"], FACE_RADIUS_MM), *((ear, EAR_RADIUS_MM) for ear in EARS_MM)]
    depths = [radius - np.linalg.norm(canonical_mm - np.array(middle), axis=1) for middle, radius in balls]
    result: np.ndarray = np.max(depths, axis=0)
    return result


def transform(
    matrix: Float[np.ndarray, "4 4"], points: Float[np.ndarray, "*n 3"]
) -> Float[np.ndarray, "*n 3"]:
    """Applies an affine 4x4 matrix to points."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def similarity_scale(matrix: Float[np.ndarray, "4 4"]) -> float | None:
    """Scale of a similarity without reflection; None if the linear part of a matrix is none."""
    linear = np.asarray(matrix, dtype=np.float64)[:3, :3]
    scale = float(np.cbrt(np.linalg.det(linear)))
    even = scale > 0 and np.allclose(linear.T @ linear, scale**2 * np.eye(3), atol=1e-5 * scale**2)
    return scale if even else None


def similarity(
    source: Float[np.ndarray, "n 3"], target: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "4 4"]:
    """Computes the least-squares similarity (rotation, one scale, translation) from source to target (Umeyama 1991).

    The scale is the least-squares one, unlike that of `recon.evaluation.alignment.procrustes`, which follows the
    published evaluator.

    Args:
        source: At least three points that are not on one line.
        target: The point that each shall be taken to.

    Returns:
        A 4x4 matrix for column points; never a reflection.

    Raises:
        ValueError: The source points coincide.
    """
    a, b = source.mean(axis=0), target.mean(axis=0)
    spread = ((source - a) ** 2).sum()
    if not spread > 1e-12:
        raise ValueError("the points to be placed all coincide")
    u, stretch, vt = np.linalg.svd((target - b).T @ (source - a))
    flip = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * flip) @ vt
    scale = (stretch * flip).sum() / spread
    matrix = np.eye(4)
    matrix[:3, :3] = scale * rotation
    matrix[:3, 3] = b - scale * rotation @ a
    return matrix
