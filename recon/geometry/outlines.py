"""Outlines of masks as smooth curves, and measures of how far apart two masks are.

These are whole closed curves, for pictures and for comparing silhouettes. `recon.fitting.contours` draws a fixed number
of evenly spaced points from an outline instead, unsmoothed and away from ignored pixels, as rays to fit to.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.spatial import cKDTree
from skimage.measure import find_contours

from recon.errors import EvaluationError

_SMOOTH_PX = 0.8  # takes the stairs off an outline and moves it by less than 0.05 px at a head's curvature


@dataclass(frozen=True)
class Agreement:
    """How well a fitted silhouette agrees with a mask.

    Attributes:
        median_px: Median distance between the outlines, both ways; infinite if one of them has none.
        p90_px: 90th percentile of the same.
        iou: Intersection over union of the areas.
    """

    median_px: float
    p90_px: float
    iou: float


def mask_outlines(mask: Bool[np.ndarray, "h w"]) -> list[Float[np.ndarray, "points 2"]]:
    """Finds closed curves around a mask's pieces and holes: (x, y) about a pixel apart, pixel centres at +0.5."""
    soft = gaussian_filter(np.pad(mask, 4).astype(np.float32), _SMOOTH_PX)
    return [piece[:, ::-1] - 3.5 for piece in find_contours(soft, 0.5)]


def inner(
    curves: Sequence[Float[np.ndarray, "_ 2"]], shape: tuple[int, int], border: float = 4.0
) -> Float[np.ndarray, "points 2"]:
    """Returns the points of curves away from the picture's border, where the picture ends and not the head."""
    points = np.concatenate([np.zeros((0, 2)), *curves])
    return points[((points > border) & (points < np.array(shape[::-1]) - border)).all(axis=1)]


def mask_iou(pred: Bool[np.ndarray, "_ _"], target: Bool[np.ndarray, "_ _"]) -> float:
    """Intersection over union of two masks.

    Raises:
        EvaluationError: The shapes differ, or both masks are empty.
    """
    if pred.shape != target.shape:
        raise EvaluationError(f"the masks differ in shape: {pred.shape} against {target.shape}")
    union = int((pred | target).sum())
    if not union:
        raise EvaluationError("both masks are empty: their overlap means nothing")
    return int((pred & target).sum()) / union


def agreement(
    shown: Bool[np.ndarray, "h w"],
    fitted: Bool[np.ndarray, "h w"],
    ignored: Bool[np.ndarray, "h w"] | None = None,
) -> Agreement:
    """Compares a photograph's mask with the silhouette of what was fitted to it.

    Outlines are compared both ways, so that a part that only one of them has counts too.

    Args:
        shown: The mask.
        fitted: The silhouette.
        ignored: Pixels that do not count; where they cut both off, the outlines agree of necessity and do not count.
    """
    counted = np.ones_like(shown) if ignored is None else ~ignored
    curves = [inner(mask_outlines(mask & counted), mask.shape) for mask in (shown, fitted)]
    iou = mask_iou(fitted & counted, shown & counted)
    a, b = curves
    if ignored is not None and ignored.any():  # where all is next to it, all that is left counts
        a, b = (away if len(away := _away(each, ignored)) else each for each in curves)
    if not len(a) or not len(b):
        return Agreement(float("inf"), float("inf"), iou)
    apart = np.concatenate([cKDTree(curves[1]).query(a)[0], cKDTree(curves[0]).query(b)[0]])
    median, p90 = np.percentile(apart, [50, 90])
    return Agreement(float(median), float(p90), iou)


def _away(
    points: Float[np.ndarray, "points 2"], ignored: Bool[np.ndarray, "h w"], reach_px: int = 3
) -> Float[np.ndarray, "_ 2"]:
    """Points that are not next to ignored pixels."""
    near = maximum_filter(ignored.view(np.uint8), 2 * reach_px + 1)
    columns, rows = points.astype(int).T
    kept: np.ndarray = points[near[rows, columns] == 0]
    return kept
