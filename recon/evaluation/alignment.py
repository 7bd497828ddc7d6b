"""Least-squares alignment of point pairs, and the ICP of the published H3DS evaluator."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from recon.errors import EvaluationError
from recon.geometry.frames import transform
from recon.geometry.nearest import NearestTracker, PointSet

log = logging.getLogger(__name__)

MAX_ITERATIONS = 20  # both are the defaults of trimesh.registration.icp, which the published evaluator uses
THRESHOLD = 1e-5
SIDES, OTHER = re.compile("left|right"), {"left": "right", "right": "left"}
"""The words for sides in names of landmarks."""
ODD_MM, EXPLAINED = 5.0, 0.5
"""Distance of landmarks after their alignment from which an exchange of sides is looked for, and what share of it the
exchange may leave."""


def procrustes(
    source: Float[np.ndarray, "points 3"],
    target: Float[np.ndarray, "points 3"],
    *,
    scale: bool = True,
    reflection: bool = False,
) -> Float[np.ndarray, "4 4"]:
    """Computes the transform that brings `source` onto `target`, point by point: step 1 of the published protocol.

    The rotation is the least-squares one (Kabsch 1976). The scale is the ratio of the root-mean-square
    distances from the centroids, as trimesh has it. That is not the least-squares scale, which
    `recon.geometry.frames.similarity` computes: with noisy pairs it is larger.

    Args:
        source: At least three points, not all the same.
        target: As many.
        scale: Whether to scale; without, the transform is rigid.
        reflection: Whether the orthogonal part may mirror.

    Returns:
        4x4 similarity.

    Raises:
        EvaluationError: Fewer than three pairs, or all points of one side coincide.
    """
    if len(source) < 3:
        raise EvaluationError(f"an alignment needs at least three pairs of points; got {len(source)}")
    share = np.full(len(source), 1 / len(source))
    source_mean, target_mean = share @ source, share @ target  # faster than means over the first axis
    a, b = source - source_mean, target - target_mean
    a_radius, b_radius = np.sqrt(np.vdot(a, a) / len(a)), np.sqrt(np.vdot(b, b) / len(b))
    if not a_radius > 0 or not b_radius > 0:
        raise EvaluationError("an alignment needs points that differ; all points of one side coincide")
    u, _, vt = np.linalg.svd((b / b_radius).T @ (a / a_radius))
    if not reflection and np.linalg.det(u @ vt) < 0:
        u = u * [1.0, 1.0, -1.0]
    matrix = np.eye(4)
    matrix[:3, :3] = u @ vt * (b_radius / a_radius if scale else 1.0)
    matrix[:3, 3] = target_mean - matrix[:3, :3] @ source_mean
    return matrix


def check_sides(
    truth: Mapping[str, Float[np.ndarray, "3"]], found: Mapping[str, Float[np.ndarray, "3"]], name: str
) -> None:
    """Warns of landmarks of which left and right are exchanged on one side: no similarity but a mirrored one fits them.

    Args:
        truth: Landmarks of the ground truth, mm.
        found: Those of the prediction, by the same names; others are passed over.
        name: How the message calls the prediction.
    """
    shared = [each for each in truth if each in found]
    exchanged = [SIDES.sub(lambda match: OTHER[match[0]], each) for each in shared]
    if len(shared) < 4 or exchanged == shared or not set(exchanged) <= set(found):
        return
    target = np.array([truth[each] for each in shared], float)
    as_given, with_exchange = (
        _misfit(np.array([found[each] for each in names], float), target) for names in (shared, exchanged)
    )
    if as_given > ODD_MM and with_exchange < EXPLAINED * as_given:
        log.warning(
            "%s: its landmarks have left and right exchanged, or it is mirrored: they are %.1f mm from those of the "
            "ground truth after alignment, and %.1f mm with the names exchanged. left_ and right_ are the subject's",
            name,
            as_given,
            with_exchange,
        )


def _misfit(source: Float[np.ndarray, "points 3"], target: Float[np.ndarray, "points 3"]) -> float:
    """Root-mean-square distance that the alignment of pairs leaves, in the unit of the target."""
    left = transform(procrustes(source, target), source) - target
    return float(np.sqrt((left**2).sum(axis=1).mean()))


@dataclass(frozen=True)
class IcpResult:
    """The result of `similarity_icp`.

    Attributes:
        matrix: 4x4, takes the moving points to the target.
        iterations: Steps made.
        capped: Whether it stopped at the cap on steps and not because the cost had settled.
        cost: Mean squared distance after the last step, mm².
    """

    matrix: Float[np.ndarray, "4 4"]
    iterations: int
    capped: bool
    cost: float


def similarity_icp(
    moving: Float[np.ndarray, "points 3"],
    target: PointSet,
    *,
    max_iterations: int = MAX_ITERATIONS,
    threshold: float = THRESHOLD,
    cost_divisor: float = 1.0,
) -> IcpResult:
    """Runs point-to-point ICP with free scale and reflection: step 2 of the published protocol.

    Args:
        moving: Points of the ground truth's region, mm.
        target: All vertices of the prediction.
        max_iterations: Cap on steps.
        threshold: Stops when the mean squared distance decreases by less, mm².
        cost_divisor: 1 for trimesh 4.6 and later; 3 reproduces earlier versions, which stop a little sooner.

    Returns:
        The transform from moving to target and how it was reached.
    """
    points, total, old_cost = moving, np.eye(4), np.inf
    tracker = NearestTracker(target)
    for iteration in range(1, max_iterations + 1):
        matched = target.points[tracker.nearest(points)]
        step = procrustes(points, matched, scale=True, reflection=True)
        points = transform(step, points)
        total = step @ total
        left = points - matched
        cost = float(np.vdot(left, left)) / len(left) / cost_divisor
        if old_cost - cost < threshold:
            return IcpResult(total, iteration, False, cost * cost_divisor)
        old_cost = cost
    return IcpResult(total, max_iterations, True, old_cost * cost_divisor)
