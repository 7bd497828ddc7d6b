"""Pose of the camera from a map of canonical coordinates: perspective-n-point with the network's own uncertainty.

Every pixel of skin or hair says which point of the mean head it shows. An affine camera through random samples finds
the pose from any side without a start (RANSAC: Fischler and Bolles, 1981); Gauss–Newton steps with robust weights
make it perspective. Profiles and backs of heads have a pose this way too, which landmarks of faces do not give.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation

LEAST_PIXELS = 40
"""Number of pixels with canonical coordinates below which there is no pose."""
MOST_PIXELS = 1500
"""Number of pixels that are used at most, drawn evenly."""
HYPOTHESES, SAMPLE = 256, 6
"""Number of affine cameras that are tried, and of pixels that each goes through."""
FLOOR_MM = 2.0
"""Standard deviation of a coordinate at least: heads differ from the mean head."""
STEPS = 25
INDEPENDENT = 30.0
"""Number of independent errors in a map: those of neighbouring pixels are alike."""
DAMPING = 1e-6
"""Share by which the diagonal of the normal matrix is raised, so that it can be inverted."""


@dataclass(frozen=True, eq=False)
class CanonicalPose:
    """The pose of a camera against the mean head.

    Attributes:
        camera_from_canonical: Rigid map from the canonical frame, mm, to camera axes, mm of the mean head.
        covariance: Covariance of a small turn (radians) and shift (mm) of it in camera axes.
        misfit: Median distance of pixels from where the pose has their points, in standard deviations.
        inliers: Share of the pixels within three of them.
    """

    camera_from_canonical: Float[np.ndarray, "4 4"]
    covariance: Float[np.ndarray, "6 6"]
    misfit: float
    inliers: float


def canonical_pose(
    canonical: Float[np.ndarray, "h w 3"],
    sigma_mm: Float[np.ndarray, "h w 3"],
    shown: Bool[np.ndarray, "h w"],
    intrinsics: Float[np.ndarray, "3 3"],
    *,
    seed: int = 0,
) -> CanonicalPose | None:
    """Finds the pose of the camera that took a photograph of a head.

    Args:
        canonical: Point of the mean head that each pixel shows, mm.
        sigma_mm: Standard deviation of its coordinates.
        shown: Pixels that show skin or hair.
        intrinsics: Of the camera, pixels of the map; pixel centres at + 0.5.
        seed: Of the random samples.

    Returns:
        None where fewer than `LEAST_PIXELS` pixels show the head, or no pose has it before the camera.
    """
    rng = np.random.default_rng(seed)
    rows, columns = np.nonzero(shown)
    if len(rows) < LEAST_PIXELS:
        return None
    if len(rows) > MOST_PIXELS:
        kept = np.sort(rng.choice(len(rows), MOST_PIXELS, replace=False))
        rows, columns = rows[kept], columns[kept]
    points = canonical[rows, columns].astype(np.float64)
    variance = np.maximum(sigma_mm[rows, columns].astype(np.float64), FLOOR_MM) ** 2
    rays = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], axis=1) @ np.linalg.inv(intrinsics).T
    start = _affine_start(points, variance, rays, rng)
    return None if start is None else _refined(start, points, variance, rays, 1.0 / intrinsics[0, 0])


def _affine_start(
    points: Float[np.ndarray, "n 3"],
    variance: Float[np.ndarray, "n 3"],
    rays: Float[np.ndarray, "n 3"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "4 4"] | None:
    """A pose by the affine camera that most pixels agree with; rays are on the plane of depth 1."""
    known = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    sure = 1.0 / variance.mean(axis=1)
    chosen = np.stack(
        [rng.choice(len(points), SAMPLE, replace=False, p=sure / sure.sum()) for _ in range(HYPOTHESES)]
    )
    affine = np.linalg.pinv(known[chosen], rcond=1e-4) @ rays[chosen, :2]  # hypotheses, 4, 2
    length = np.linalg.norm(affine[:, :3], axis=1).mean(axis=1)  # of a millimetre, at depth 1
    apart = np.linalg.norm(np.einsum("nk,hkc->hnc", known, affine) - rays[:, :2], axis=2)
    limit = 3.0 * np.sqrt(variance.mean(axis=1)) * length[:, None]
    cost = np.minimum(apart / np.maximum(limit, 1e-12), 1.0).sum(axis=1)
    best = int(np.argmin(np.where(length > 0, cost, np.inf)))
    agree = apart[best] < limit[best]
    if agree.sum() < LEAST_PIXELS // 2:
        return None
    weight = np.sqrt(sure[agree])[:, None]
    fitted = np.linalg.lstsq(known[agree] * weight, rays[agree, :2] * weight, rcond=None)[0]
    scale = np.linalg.norm(fitted[:3], axis=0).mean()
    pose = np.eye(4)
    rotation = _nearest_rotation(fitted[:3].T)
    pose[:3, :3] = rotation
    depth = 1.0 / max(scale, 1e-12)
    middle = points[agree].mean(axis=0)
    at = fitted[:3].T @ middle + fitted[3]
    pose[:3, 3] = depth * np.array([*at, 1.0]) - rotation @ middle
    return pose if np.isfinite(pose).all() else None


def _nearest_rotation(rows: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "3 3"]:
    """The rotation whose first two rows are nearest to the given ones (Procrustes)."""
    u, _, vt = np.linalg.svd(rows, full_matrices=False)
    two = u @ vt
    return np.concatenate([two, np.cross(two[0], two[1])[None]])


def _refined(
    start: Float[np.ndarray, "4 4"],
    points: Float[np.ndarray, "n 3"],
    variance: Float[np.ndarray, "n 3"],
    rays: Float[np.ndarray, "n 3"],
    pixel: float,
) -> CanonicalPose | None:
    """Gauss–Newton steps on the perspective pose, with Geman–McClure weights whose scale comes down."""
    pose = start
    matrix = np.eye(6)
    scaled = np.zeros(len(points))
    for step in range(STEPS):
        seen = points @ pose[:3, :3].T + pose[:3, 3]
        depth = seen[:, 2]
        if not np.median(depth) > 0:
            return None
        depth = np.maximum(depth, 0.1 * np.median(depth))
        residual = seen[:, :2] / depth[:, None] - rays[:, :2]
        by_seen = np.zeros((len(points), 2, 3))
        by_seen[:, 0, 0] = by_seen[:, 1, 1] = 1.0 / depth
        by_seen[:, :, 2] = -seen[:, :2] / depth[:, None] ** 2
        turned = by_seen @ pose[:3, :3]
        covariance = np.einsum("nij,nj,nkj->nik", turned, variance, turned)
        covariance += 0.25 * pixel**2 * np.eye(2)
        information = np.linalg.inv(covariance)
        square = np.einsum("ni,nij,nj->n", residual, information, residual)
        scaled = np.sqrt(square)
        scale = max(1.0, 1.5 * float(np.median(scaled))) * max(1.0, 4.0 * 0.8**step)
        weight = (1.0 + square / (3.0 * scale) ** 2) ** -2
        jacobian = np.concatenate([-by_seen @ _cross(seen), by_seen], axis=2)
        weighted = np.einsum("nij,njk->nik", information * weight[:, None, None], jacobian)
        matrix = np.einsum("nik,nil->kl", jacobian, weighted)
        gradient = np.einsum("nik,ni->k", weighted, residual)
        damped = matrix + DAMPING * np.diag(np.diag(matrix))
        update = -np.linalg.solve(damped, gradient)
        change = np.eye(4)
        change[:3, :3] = Rotation.from_rotvec(np.clip(update[:3], -0.5, 0.5)).as_matrix()
        change[:3, 3] = update[3:]
        pose = change @ pose
        if np.abs(update[:3]).max() < 1e-9 and np.abs(update[3:]).max() < 1e-6:
            break
    if not np.isfinite(pose).all():
        return None
    more = max(1.0, float(np.median(scaled)) / 1.177) ** 2 * max(1.0, len(points) / INDEPENDENT)
    return CanonicalPose(
        pose, more * np.linalg.inv(matrix), float(np.median(scaled)), float((scaled < 3.0).mean())
    )


def _cross(vectors: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3 3"]:
    """Matrices [v]× of cross products with vectors."""
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)
