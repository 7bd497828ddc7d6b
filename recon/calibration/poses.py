"""Poses of known points from their pixels in closed form: where a bundle adjustment starts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class StartPose:
    """A pose that pixels suggest.

    Attributes:
        pose: camera_from_world, OpenCV axes, the length unit of the points.
        scale: Pixels per unit of length at the points' middle.
    """

    pose: Float[np.ndarray, "4 4"]
    scale: float


def starts(
    points: Float[np.ndarray, "points 3"], pixels: Float[np.ndarray, "points 2"], focal_px: float
) -> list[StartPose]:
    """Poses of points, in the order of likelihood: by scaled orthography, by a linear transform with perspective where
    that is a pose, and the one that scaled orthography mistakes for the first (Necker's reversal).

    Args:
        points: Not in one plane.
        pixels: Where they are seen, from the principal point.
        focal_px: Focal length in pixels.
    """
    first, reversed_ = _scaled_orthography(points, pixels, focal_px)
    linear = _direct_linear_transform(points, pixels, focal_px)
    return [first, *([linear] if linear is not None else []), reversed_]


def _scaled_orthography(
    points: np.ndarray, pixels: np.ndarray, focal_px: float
) -> tuple[StartPose, StartPose]:
    """Least squares of pixels ≈ s R₂ x + t, where R₂ is the first two rows of a rotation."""
    middle, seen = points.mean(axis=0), pixels.mean(axis=0)
    rows = np.linalg.lstsq(points - middle, pixels - seen, rcond=None)[0].T
    u, stretch, vt = np.linalg.svd(rows, full_matrices=False)
    scale = float(stretch.mean())
    two = u @ vt
    rotation = np.stack([two[0], two[1], np.cross(two[0], two[1])])
    # The third axis is where the camera looks; seen from before and behind, scaled orthography is the same when
    # depths change sign: a reflection in the picture's plane, brought back to a rotation by one through the points.
    spread = np.linalg.svd(points - middle, full_matrices=False)[2][2]
    mirror = np.eye(3) - 2 * np.outer(spread, spread)
    other = np.diag([1.0, 1.0, -1.0]) @ rotation @ mirror
    return tuple(  # type: ignore[return-value]
        StartPose(_posed(each, middle, np.append(seen / scale, focal_px / scale)), scale)
        for each in (rotation, other)
    )


def _direct_linear_transform(points: np.ndarray, pixels: np.ndarray, focal_px: float) -> StartPose | None:
    """The pose of the 3x4 matrix that takes points to pixels with the least algebraic error; None where its depths are
    not positive.
    """
    middle = points.mean(axis=0)
    unit = float(np.linalg.norm(points - middle, axis=1).mean())
    own = np.c_[(points - middle) / unit, np.ones(len(points))]
    x, y = (pixels / focal_px).T
    nothing = np.zeros_like(own)
    rows = np.concatenate([np.c_[own, nothing, -x[:, None] * own], np.c_[nothing, own, -y[:, None] * own]])
    matrix = np.linalg.svd(rows, full_matrices=False)[2][-1].reshape(3, 4)
    matrix = matrix * np.sign(np.linalg.det(matrix[:, :3]) or 1.0)
    u, stretch, vt = np.linalg.svd(matrix[:, :3])
    rotation = u @ vt
    shift = matrix[:, 3] / stretch.mean() * unit
    if shift[2] <= unit:
        return None
    return StartPose(_posed(rotation, middle, shift), focal_px / float(shift[2]))


def _posed(
    rotation: np.ndarray, middle: np.ndarray, seen: Float[np.ndarray, " 3"]
) -> Float[np.ndarray, "4 4"]:
    """The rigid matrix that turns points and takes their middle to a place before the camera."""
    pose = np.eye(4)
    pose[:3, :3] = rotation
    pose[:3, 3] = seen - rotation @ middle
    return pose
