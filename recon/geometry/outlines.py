"""Outlines of masks as smooth curves, and measures of how far apart two masks are.

These are whole closed curves, for pictures and for comparing silhouettes. `recon.fitting.contours` draws a fixed number
of evenly spaced points from an outline instead, unsmoothed and away from ignored pixels, as rays to fit to.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import binary_erosion, gaussian_filter
from scipy.spatial import cKDTree
from skimage.measure import find_contours

from recon.errors import EvaluationError

_SMOOTH_PX = 0.8  # takes the stairs off an outline and moves it by less than 0.05 px at a head's curvature
_MARGIN_PX = 3  # an outline so near to ignored pixels may be the edge of these
_AROUND = 0.35  # length of the mean of unit vectors towards points below which these lie on all sides
_CORNER = 0.38  # sine of the angle from an axis, 22.5°, from which on a direction is named by both axes


@dataclass(frozen=True)
class Agreement:
    """How well a fitted silhouette agrees with a mask.

    Attributes:
        median_px: Median distance between the outlines, both ways; infinite if one of them has none, NaN if none of it
            counts.
        p90_px: 90th percentile of the same.
        iou: Intersection over union of the areas that count.
        counted: Share of the mask's outline that counts.
    """

    median_px: float
    p90_px: float
    iou: float
    counted: float = 1.0


@dataclass(frozen=True)
class Excess:
    """A part of one mask's outline that lies far beyond another mask.

    Attributes:
        px: How far: the 90th percentile over that part.
        share: That part's share of both outlines that count.
        direction: Mean of unit vectors (right, down) towards it from the middle of the other mask; short where it lies
            on all sides.
    """

    px: float
    share: float
    direction: tuple[float, float]

    @property
    def around(self) -> bool:
        """Whether it lies on all sides."""
        return float(np.hypot(*self.direction)) < _AROUND

    @property
    def place(self) -> str:
        """Where it is in the picture, in words."""
        if self.around:
            return "all around"
        x, y = np.array(self.direction) / np.hypot(*self.direction)
        across = "" if abs(x) < _CORNER else "left" if x < 0 else "right"
        along = "" if abs(y) < _CORNER else "upper" if y < 0 else "lower"
        if across and along:
            return f"at the {along} {across}"
        if across:
            return f"on the {across}"
        return "at the top" if along == "upper" else "at the bottom"


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

    Outlines are compared both ways, so that a part that only one of them has counts too. Where pixels are ignored, an
    outline does not count, nor does the edge between what is ignored and what is not.

    Args:
        shown: The mask.
        fitted: The silhouette.
        ignored: Pixels that say nothing; None where all count.
    """
    counted = _counted(ignored, shown)
    a, b = (inner(mask_outlines(mask), mask.shape) for mask in (shown, fitted))
    iou = mask_iou(fitted & counted, shown & counted) if ((fitted | shown) & counted).any() else float("nan")
    if not len(a) or not len(b):
        return Agreement(float("inf"), float("inf"), iou)
    of_a, of_b = (_at(counted, points) for points in (a, b))
    if not of_a.any() and not of_b.any():
        return Agreement(float("nan"), float("nan"), iou, 0.0)
    apart = np.concatenate([cKDTree(b).query(a[of_a])[0], cKDTree(a).query(b[of_b])[0]])
    median, p90 = np.percentile(apart, [50, 90])
    return Agreement(float(median), float(p90), iou, float(of_a.mean()))


def excess(
    mask: Bool[np.ndarray, "h w"],
    other: Bool[np.ndarray, "h w"],
    least_px: float,
    ignored: Bool[np.ndarray, "h w"] | None = None,
) -> Excess | None:
    """Where a mask reaches beyond another one: its outline lies outside of the other, or the other's within it.

    Args:
        mask: The mask whose outline is looked at.
        other: The mask that it is compared with.
        least_px: What reaches no further does not count.
        ignored: Pixels that say nothing; None where all count.

    Returns:
        None where it reaches nowhere so far, or one of the two has no outline.
    """
    points, target = (inner(mask_outlines(each), each.shape) for each in (mask, other))
    if not len(points) or not len(target):
        return None
    counted = _counted(ignored, mask)
    middle = (target.min(axis=0) + target.max(axis=0)) / 2
    of_points, of_target = _at(counted, points), _at(counted, target)
    away = np.concatenate(
        [cKDTree(target).query(points[of_points])[0], cKDTree(points).query(target[of_target])[0]]
    )
    outside = np.concatenate([~_at(other, points[of_points]), _at(mask, target[of_target])])
    beyond = (away > least_px) & outside
    if not beyond.any():
        return None
    points = np.concatenate([points[of_points], target[of_target]])
    offsets = points[beyond] - middle
    x, y = (offsets / np.maximum(np.linalg.norm(offsets, axis=1, keepdims=True), 1e-9)).mean(axis=0)
    return Excess(float(np.percentile(away[beyond], 90)), float(beyond.mean()), (float(x), float(y)))


def _counted(
    ignored: Bool[np.ndarray, "h w"] | None, like: Bool[np.ndarray, "h w"]
) -> Bool[np.ndarray, "h w"]:
    """Pixels that count: those that are not ignored, with a margin about these."""
    if ignored is None or not ignored.any():
        return np.ones_like(like)
    counted: np.ndarray = binary_erosion(~ignored, iterations=_MARGIN_PX, border_value=1)
    return counted


def _at(
    pixels: Bool[np.ndarray, "h w"], points: Float[np.ndarray, "points 2"]
) -> Bool[np.ndarray, " points"]:
    """Values of the pixels that hold some points, (x, y)."""
    column, row = np.floor(points).astype(int).T
    height, width = pixels.shape
    values: np.ndarray = pixels[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
    return values
