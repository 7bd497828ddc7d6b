"""Named zones of the neutral head, as functions of its points: nose, ears, lips, brows, beard, H3DS face.

`recon.synth.model.face_map` has the smooth maps that only colours depend on.
"""

import numpy as np
from jaxtyping import Bool, Float

from recon.synth.model.head_model import HeadModel

EAR_OUTLINE_MM = np.array(
    [[8, -18], [20, -18], [31, -13], [38, -4], [38, 4], [31, 12], [22, 13], [14, 12], [8, 17], [0, 20], [-12, 20],
     [-21, 19], [-23, 14], [-19, 4], [-12, -7], [0, -15]], dtype=np.float64
)  # fmt: skip
"""Outline of an auricle seen from the side, one millimetre or two outside of it: y and z of each corner."""
_EAR_ROOT = np.array([68.3, 0.218, 0.105])
"""Side of the skull around an ear as a plane: |x| = a + b y + c z, which is within 2 mm of it, mm."""
_EAR_ABOVE_MM = 1.5
"""Height above that plane from which skin is the auricle's; in the bowl of the concha less, but not in the canal."""
_CONCHA_ABOVE_MM = -1.0


def ear_zone(canonical: Float[np.ndarray, "points 3"]) -> Bool[np.ndarray, " points"]:
    """The auricles, front and back, with the concha and without the canal."""
    across, (y, z) = np.abs(canonical[:, 0]), canonical[:, 1:].T
    above = across - np.stack([np.ones_like(y), y, z], axis=1) @ _EAR_ROOT
    concha = (y > -5.0) & (y < 28.0) & (z > -6.0) & (z < 13.0)
    auricle = above > np.where(concha, _CONCHA_ABOVE_MM, _EAR_ABOVE_MM)
    near = np.flatnonzero(auricle & (np.abs(y) < 50.0) & (np.abs(z) < 30.0) & (above < 60.0))
    result = np.zeros(len(canonical), dtype=bool)
    result[near] = _signed_polygon_distance(canonical[near, 1:], EAR_OUTLINE_MM) > 0
    return result


def nose_zone(canonical: Float[np.ndarray, "points 3"]) -> Bool[np.ndarray, " points"]:
    """The outer nose, from the root between the eyes to the base, wings included."""
    x, y, z = canonical.T
    half_width = np.interp(y, [-15.0, -4.0, 12.0, 40.0], [19.0, 21.0, 15.0, 8.0])
    result: np.ndarray = (y > -15.0) & (y < 40.0) & (np.abs(x) < half_width) & (z > 90.0)
    return result


def face_zone(
    canonical: Float[np.ndarray, "points 3"], in_face: Bool[np.ndarray, " points"], inside_mm: np.ndarray
) -> Bool[np.ndarray, " points"]:
    """The H3DS face region: frontal face, ears and neck, without the scalp.

    Args:
        canonical: Points of the neutral skin, mm.
        in_face: Whether they belong to the model's face region.
        inside_mm: Distance from the hairline, positive on the scalp.
    """
    neck = (canonical[:, 1] < -40.0) & (canonical[:, 1] > -150.0) & (canonical[:, 2] > -40.0)
    result: np.ndarray = (in_face | neck) & (inside_mm < 0) & (canonical[:, 1] > -150.0)
    return result


def lip_mask(model: HeadModel, canonical: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, " points"]:
    """Soft mask of the lips: inside the outer lip contour of the landmarks, seen from the front."""
    outline = model.refinement.canonical[model.landmarks[48:60]][:, :2]
    inside = _signed_polygon_distance(canonical[:, :2], outline)
    front = canonical[:, 2] > outline_depth(model)
    return np.clip(inside / 1.5 + 0.5, 0, 1) * front


def outline_depth(model: HeadModel) -> float:
    """Z behind which a point cannot be lip, mm."""
    return float(model.refinement.canonical[model.landmarks[48:60], 2].min() - 8.0)


def brow_mask(model: HeadModel, canonical: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, " points"]:
    """Soft mask of the eyebrows along landmarks 17-26, thicker towards the nose."""
    landmarks = model.refinement.canonical[model.landmarks]
    mask = np.zeros(len(canonical))
    for arch in (landmarks[17:22], landmarks[26:21:-1]):
        along, across = _polyline_distance(canonical[:, :2], arch[:, :2] - [0.0, 1.0])
        half = np.interp(along, [0.0, 0.25, 0.75, 1.0], [0.8, 3.0, 4.6, 4.0])
        soft = np.clip((half - across) / 2.5 + 0.5, 0, 1)
        ends = np.clip(np.minimum(along, 1 - along) * 12, 0, 1)
        mask = np.maximum(mask, soft * (0.3 + 0.7 * ends))
    return mask * (canonical[:, 2] > 40.0)


def beard_distance_mm(
    model: HeadModel, canonical: Float[np.ndarray, "points 3"]
) -> Float[np.ndarray, " points"]:
    """Distance to the border of the beard area, positive inside; lips and their surround are outside."""
    x, y, z = canonical.T
    azimuth = np.degrees(np.arctan2(np.abs(x), z))
    upper = np.interp(
        azimuth,
        [0.0, 8.0, 16.0, 24.0, 34.0, 48.0, 60.0, 68.0, 76.0],
        [-16.0, -15.0, -19.0, -34.0, -40.0, -32.0, -18.0, 4.0, 4.0],
    )
    lower = np.interp(azimuth, [0.0, 30.0, 50.0, 65.0, 76.0], [-102.0, -98.0, -80.0, -55.0, -20.0])
    band = np.minimum(upper - y, y - lower)
    side = (74.0 - azimuth) * 85.0 * np.pi / 180
    outline = model.refinement.canonical[model.landmarks[48:60]][:, :2]
    lips = np.where(
        z > outline_depth(model), -_signed_polygon_distance(canonical[:, :2], outline) - 2.0, 99.0
    )
    return np.minimum(np.minimum(band, side), lips)


def _polyline_distance(points: np.ndarray, line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the place along a polyline in [0, 1] and the distance from it, for 2D points."""
    start, step = line[:-1], np.diff(line, axis=0)
    t = ((points[:, None] - start) * step).sum(-1) / (step * step).sum(-1)
    t = np.clip(t, 0, 1)
    gap = np.linalg.norm(points[:, None] - start - t[..., None] * step, axis=-1)
    nearest = gap.argmin(axis=1)
    row = np.arange(len(points))
    return (nearest + t[row, nearest]) / len(step), gap[row, nearest]


def _signed_polygon_distance(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Distance of 2D points to a closed polygon, positive inside."""
    start, end = polygon, np.roll(polygon, -1, axis=0)
    _, gap = _polyline_distance(points, np.concatenate([polygon, polygon[:1]]))
    x, y = points[:, :1], points[:, 1:]
    crosses = (start[:, 1] > y) != (end[:, 1] > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = start[:, 0] + (y - start[:, 1]) / (end[:, 1] - start[:, 1]) * (end[:, 0] - start[:, 0])
    inside = (crosses & (x < at)).sum(axis=1) % 2 == 1
    result: np.ndarray = np.where(inside, gap, -gap)
    return result
