"""The strict protocol, which measures what the official one forgives.

Rigid alignment run to convergence, no scale, no reflection; distances from point to surface, exact; both
directions; samples spread evenly by area, so neither mesh's vertex density matters; angles between normals,
and F-scores. Its numbers are not comparable with official ones.
"""

import logging
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from recon.errors import EvaluationError
from recon.evaluation.alignment import procrustes
from recon.geometry.frames import transform
from recon.geometry.surface import Closest, Surface, SurfaceTracker

log = logging.getLogger(__name__)

PROTOCOL = "strict 1"
F_SCORE_MM = (1.0, 2.0, 5.0)
SAMPLES = 20_000  # on each surface
ALIGNMENT_SAMPLES = 5_000
_FIRST_SHARE = 10  # the alignment begins with this fraction of them
_SETTLED_MM = 1e-4  # root mean square movement of a step
_MAX_STEPS = 200
_TRACKED_MM = 0.2  # steps that move no point further leave its neighbourhood the same


@dataclass(frozen=True)
class RigidFit:
    """A rigid alignment of the prediction.

    Attributes:
        matrix: 4x4, takes the prediction to the ground truth.
        steps: Steps made.
        converged: Whether the last step moved the points by less than 1e-4 mm.
        rms_mm: Root mean square distance from the ground truth's region to the aligned prediction.
    """

    matrix: Float[np.ndarray, "4 4"]
    steps: int
    converged: bool
    rms_mm: float


@dataclass(frozen=True, eq=False)
class StrictResult:
    """Strict measures of one region.

    Attributes:
        gt_to_pred: Distance from even samples of the ground truth's region to the prediction's surface, mm:
            what is missing.
        pred_to_gt: Distance from even samples of the prediction to the ground truth's surface, mm: what is
            too much. Only those samples whose nearest ground-truth point lies in the region.
        normal_deg: Mean angle between the normals at both ends of these distances, degrees, mean of both
            directions.
        f_score: Harmonic mean of the shares of distances below each threshold in mm.
        fit: The alignment.
    """

    gt_to_pred: Float[np.ndarray, " gt_samples"]
    pred_to_gt: Float[np.ndarray, " pred_samples"]
    normal_deg: float
    f_score: dict[float, float]
    fit: RigidFit

    @property
    def mean_mm(self) -> float:
        """The mean of the two directions' means."""
        return float(self.gt_to_pred.mean() + self.pred_to_gt.mean()) / 2


def rigid_fit(
    gt: Surface,
    pred: Surface,
    faces: Bool[np.ndarray, " gt_faces"] | None,
    start: Float[np.ndarray, "4 4"],
    *,
    samples: int = ALIGNMENT_SAMPLES,
) -> RigidFit:
    """Moves the prediction so that the squared distance from the true region to its surface is least.

    Each step is Gauss-Newton on the distances along the surface normal (Chen and Medioni 1991). Where that
    does not bring the surfaces nearer, it is the least-squares motion onto the nearest points (Besl and McKay
    1992), which always does.

    Args:
        gt: Ground truth, mm.
        pred: Prediction, mm.
        faces: Faces of the ground truth that are fitted; all without it.
        start: 4x4 rigid transform of the prediction to start from.
        samples: Number of points spread over the region.

    Returns:
        The fit. Not converged is logged as a warning.
    """
    # the ground truth is moved the other way, which spares the prediction's search tree
    gt_to_pred, steps, converged, cost = np.linalg.inv(start), 0, False, 0.0
    for count in (
        samples // _FIRST_SHARE,
        samples,
    ):  # few points find the neighbourhood, all of them the place
        fixed, _ = gt.sample(count, faces=faces)
        gt_to_pred, more, converged, cost = _settle(fixed, pred, gt_to_pred)
        steps += more
    if not converged:
        log.warning("the strict alignment still moved after %d steps; a start by landmarks may help", steps)
    return RigidFit(np.linalg.inv(gt_to_pred), steps, converged, float(np.sqrt(cost)))


def _settle(
    fixed: Float[np.ndarray, "n 3"], pred: Surface, matrix: Float[np.ndarray, "4 4"]
) -> tuple[Float[np.ndarray, "4 4"], int, bool, float]:
    """Moves points onto a surface until they rest: transform, steps, whether they rest, mean square."""
    searched: Surface | SurfaceTracker = pred
    points = transform(matrix, fixed)
    near = searched.closest(points)
    cost = float((near.distances**2).mean())
    for step in range(1, _MAX_STEPS + 1):
        motion = _towards_planes(points, near, pred.normals[near.faces])
        moved = transform(motion, points)
        nearer = searched.closest(moved)
        if float((nearer.distances**2).mean()) > cost:
            motion = procrustes(points, near.points, scale=False)
            moved = transform(motion, points)
            nearer = searched.closest(moved)
        new_cost = float((nearer.distances**2).mean())
        if new_cost > cost:  # by rounding alone: this is the bottom
            return matrix, step, True, cost
        movement = np.linalg.norm(moved - points, axis=1)
        matrix, points, near, cost = motion @ matrix, moved, nearer, new_cost
        if np.sqrt((movement**2).mean()) < _SETTLED_MM:
            return matrix, step, True, cost
        if searched is pred and movement.max() < _TRACKED_MM:
            searched = SurfaceTracker(pred, _TRACKED_MM)
    return matrix, _MAX_STEPS, False, cost


def _towards_planes(
    points: Float[np.ndarray, "n 3"], near: Closest, normals: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "4 4"]:
    """The rigid motion that, linearised, takes points nearest to the planes through their nearest ones.

    Off the border of an open surface the nearest point is not at the foot of a normal; there the direction to
    it is used.
    """
    offset = near.points - points
    away = near.distances > 1e-9
    direction = normals.copy()
    direction[away] = offset[away] / near.distances[away, None]
    centre = points.mean(axis=0)
    system = np.concatenate([np.cross(points - centre, direction), direction], axis=1)
    solution, *_ = np.linalg.lstsq(system, (direction * offset).sum(axis=1), rcond=1e-9)
    rotation = _rotation(solution[:3])
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = centre + solution[3:] - rotation @ centre
    return matrix


def _rotation(vector: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """Rotation by a rotation vector (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle == 0:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def strict(
    gt: Surface,
    pred: Surface,
    faces: Bool[np.ndarray, " gt_faces"] | None,
    fit: RigidFit,
    *,
    samples: int = SAMPLES,
) -> StrictResult:
    """Measures an aligned prediction.

    Args:
        gt: Ground truth, mm.
        pred: Prediction as it came, mm.
        faces: Faces of the ground truth that are scored; all without it.
        fit: The alignment of the prediction.
        samples: Points spread over the region, and over the whole prediction.

    Returns:
        Distances and what follows from them.

    Raises:
        EvaluationError: No part of the prediction is nearest to the region.
    """
    back = np.linalg.inv(fit.matrix)
    gt_points, gt_faces = gt.sample(samples, faces=faces)
    to_pred = pred.closest(transform(back, gt_points))
    pred_points, pred_faces = pred.sample(samples, seed=1)
    to_gt = gt.closest(transform(fit.matrix, pred_points))
    inside = np.ones(samples, bool) if faces is None else np.asarray(faces)[to_gt.faces]
    if not inside.any():
        raise EvaluationError(
            "no part of the prediction is near the region: it is missing, or the alignment has failed"
        )
    rotation = fit.matrix[:3, :3]
    angles = (
        _angle(gt.normals[gt_faces], pred.normals[to_pred.faces] @ rotation.T),
        _angle(pred.normals[pred_faces[inside]] @ rotation.T, gt.normals[to_gt.faces[inside]]),
    )
    pred_to_gt = to_gt.distances[inside]
    return StrictResult(
        gt_to_pred=to_pred.distances,
        pred_to_gt=pred_to_gt,
        normal_deg=float(np.mean([angle.mean() for angle in angles])),
        f_score={mm: _f_score(to_pred.distances, pred_to_gt, mm) for mm in F_SCORE_MM},
        fit=fit,
    )


def _angle(a: Float[np.ndarray, "n 3"], b: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    """Degrees between unit vectors, by the half chord: exact for small angles, where arccos is not."""
    return np.degrees(2 * np.arcsin(np.clip(np.linalg.norm(a - b, axis=1) / 2, 0, 1)))


def _f_score(recall: Float[np.ndarray, " a"], precision: Float[np.ndarray, " b"], mm: float) -> float:
    r, p = float((recall < mm).mean()), float((precision < mm).mean())
    return 2 * r * p / (r + p) if r + p else 0.0
