"""The published H3DS protocol (docs/results/evaluation.md), with the diagnostics that the published package lacks.

What it measures: the mean over ground-truth vertices of the distance to the nearest predicted *vertex*, after
an ICP with free scale and reflection. It rewards dense predictions and forgives a wrong scale;
the page shows by how much.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from recon.errors import EvaluationError
from recon.evaluation.alignment import IcpResult, procrustes, similarity_icp
from recon.geometry.frames import transform
from recon.geometry.nearest import PointSet

PROTOCOL = "H3DS 0.4.0 official"
SETTLING_STEPS = 200
"""Further steps of the ICP that tell what its cap leaves open; those of good predictions settle within 60."""


@dataclass(frozen=True, eq=False)
class OfficialResult:
    """The distances that the published `evaluate_scene` returns, with the alignment behind them.

    Attributes:
        distances_gt: From each (kept) vertex of the ground truth to the nearest vertex of the prediction, mm.
            The headline number is its mean.
        aligned: Vertices of the prediction after alignment, mm.
        icp: How the ICP went.
        scale: Scale applied to the prediction in all, by landmarks and ICP.
        reflected: Whether the ICP mirrored the prediction.
        settled_mm: What the headline number would be if the ICP had gone on until it settled: the number itself where
            it did, and not a number of the protocol.
    """

    distances_gt: Float[np.ndarray, " gt_vertices"]
    aligned: Float[np.ndarray, "pred_vertices 3"]
    icp: IcpResult
    scale: float
    reflected: bool
    settled_mm: float
    kept_gt: PointSet = field(repr=False)

    @cached_property
    def distances_pred(self) -> Float[np.ndarray, " pred_vertices"]:
        """From each aligned predicted vertex to the nearest (kept) ground-truth vertex, mm; not scored."""
        return self.kept_gt.distances(self.aligned)

    @property
    def mean_mm(self) -> float:
        """The headline number."""
        return float(self.distances_gt.mean())


def official(
    gt: PointSet,
    pred: PointSet,
    region: Int[np.ndarray, " region"],
    *,
    kept: PointSet | None = None,
    coarse_scale: float = 1.0,
    cost_divisor: float = 1.0,
) -> OfficialResult:
    """Aligns and measures as the published package does, after the coarse alignment.

    Args:
        gt: All vertices of the ground truth, mm.
        pred: All vertices of the prediction, after `coarse_alignment` where there are landmarks.
        region: Indices of the ground-truth vertices that the ICP fits: the scored region, or `face` for the
            whole head.
        kept: The ground-truth vertices that are scored, where they are not all.
        coarse_scale: Scale that the coarse alignment applied, for the diagnostics.
        cost_divisor: See `similarity_icp`.

    Returns:
        Distances and diagnostics.

    Raises:
        EvaluationError: The region has fewer than three points, or the ICP collapses the prediction to a
            point.
    """
    kept = gt if kept is None else kept
    icp = similarity_icp(gt.points[region], pred, cost_divisor=cost_divisor)
    determinant = float(np.linalg.det(icp.matrix[:3, :3]))
    gt_to_pred_scale = float(np.cbrt(abs(determinant)))
    if not gt_to_pred_scale > 0:
        raise EvaluationError(
            "the alignment collapsed: the prediction has hardly any extent near the ground truth"
        )
    distances_gt = _distances(kept, pred, icp.matrix)
    return OfficialResult(
        distances_gt=distances_gt,
        aligned=transform(np.linalg.inv(icp.matrix), pred.points),
        icp=icp,
        scale=coarse_scale / gt_to_pred_scale,
        reflected=determinant < 0,
        settled_mm=_settled_mm(gt.points[region], kept, pred, icp)
        if icp.capped
        else float(distances_gt.mean()),
        kept_gt=kept,
    )


def _distances(
    gt: PointSet, pred: PointSet, gt_to_pred: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, " gt_vertices"]:
    """Distance of each true vertex to the nearest predicted one after alignment, in the truth's unit.

    The published code moves the prediction onto the ground truth and builds its kd-tree again. A similarity scales all
    distances alike: moving the ground truth the other way serves with the tree that is there.
    """
    scale = float(np.cbrt(abs(float(np.linalg.det(gt_to_pred[:3, :3])))))
    distances: np.ndarray = pred.distances(transform(gt_to_pred, gt.points)) / scale
    return distances


def _settled_mm(
    region: Float[np.ndarray, "region 3"], kept: PointSet, pred: PointSet, icp: IcpResult
) -> float:
    """The number that further steps of the ICP lead to, mm; infinite where they collapse the prediction."""
    try:
        further = similarity_icp(transform(icp.matrix, region), pred, max_iterations=SETTLING_STEPS)
    except EvaluationError:
        return float("inf")
    matrix = further.matrix @ icp.matrix
    return float(_distances(kept, pred, matrix).mean()) if np.linalg.det(matrix[:3, :3]) else float("inf")


def coarse_alignment(
    gt_landmarks: Mapping[str, Float[np.ndarray, "3"]], pred_landmarks: Mapping[str, Float[np.ndarray, "3"]]
) -> Float[np.ndarray, "4 4"]:
    """Computes the similarity from predicted to true landmarks, by name: step 1 of the published protocol.

    Args:
        gt_landmarks: Points of the ground truth, mm. Every one of them is used.
        pred_landmarks: Points of the prediction, by the same names; further ones are ignored.

    Returns:
        4x4 similarity without reflection.

    Raises:
        EvaluationError: A landmark is missing on the prediction, or they do not determine a similarity.
    """
    missing = sorted(set(gt_landmarks) - set(pred_landmarks))
    if missing:
        raise EvaluationError(
            f"the prediction lacks the landmarks {', '.join(missing)}; "
            f"it has {', '.join(sorted(pred_landmarks)) or 'none'}. "
            "Give all of the ground truth's, or no landmarks at all."
        )
    source = np.array([pred_landmarks[name] for name in gt_landmarks], float)
    target = np.array([gt_landmarks[name] for name in gt_landmarks], float)
    return procrustes(source, target, scale=True, reflection=False)
