"""A map of the face for painting: lips, brows, cheeks, ears and beard as smooth functions of canonical coordinates.

`recon.synth.model.regions` has the zones that recipes, regions of H3DS and growth of beards depend on.

The landmark positions are those of the public ICT-FaceKit Light neutral head (MIT, © 2020 USC Institute for
Creative Technologies), in mm, right half only (x < 0 is the subject's right); the head is symmetric.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy import ndimage
from scipy.interpolate import CubicSpline
from skimage.draw import polygon

EYE_CENTRE = np.array([30.94, 36.14, 78.4])
"""Centre of the left eyeball; its radius is 15 mm and its axis is +Z."""

_OUTER_LIP = [
    (-25.3, -35.2), (-17.0, -27.8), (-7.3, -24.2), (0.0, -24.8), (7.3, -24.2), (17.0, -27.8),
    (25.3, -35.2), (18.0, -40.6), (10.3, -43.0), (0.0, -43.8), (-10.3, -43.0), (-18.0, -40.6),
]  # fmt: skip
_MAP_MM, _MAP_X, _MAP_Y = 0.2, (-36.0, 36.0), (-56.0, -12.0)


def lips(canonical: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    """1 inside the red of the lips, 0 outside, with a soft rim of about 1.5 mm."""
    return _smooth(-1.0, 0.9, _lip_depth(canonical))


def blob(
    canonical: Float[np.ndarray, "n 3"], centre: tuple[float, float, float], sigma: tuple[float, float, float]
) -> Float[np.ndarray, " n"]:
    """Gaussian bump, mirrored to both sides when the centre is off the middle."""
    position = np.array(canonical, np.float32)
    if centre[0] != 0.0:
        position[:, 0] = np.abs(position[:, 0])
    scaled = (position - np.array(centre, np.float32)) / np.array(sigma, np.float32)
    return np.exp(-0.5 * (scaled**2).sum(axis=1)).astype(np.float32)


def flushed(canonical: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    """Where blood shows: cheeks, tip and wings of the nose, ears, chin."""
    total = 0.9 * blob(canonical, (43.0, -4.0, 88.0), (19.0, 17.0, 30.0))
    total += 0.8 * blob(canonical, (0.0, 2.0, 128.0), (11.0, 9.0, 16.0))
    total += 0.6 * blob(canonical, (14.0, -4.0, 112.0), (6.0, 7.0, 10.0))
    total += 0.35 * blob(canonical, (0.0, -66.0, 106.0), (14.0, 10.0, 14.0))
    total += 0.9 * ears(canonical)
    total += 0.35 * blob(canonical, (31.0, 47.0, 96.0), (14.0, 5.0, 14.0))
    return total


def ears(canonical: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    """1 on the outer ears."""
    x, y, z = np.abs(canonical[:, 0]), canonical[:, 1], canonical[:, 2]
    side = _smooth(73.0, 80.0, x) * _smooth(-38.0, -30.0, z) * _smooth(24.0, 14.0, z)
    return side * _smooth(-28.0, -18.0, y) * _smooth(56.0, 44.0, y)


def shaded(canonical: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    """Where skin is darker: under the eyes, beside the nose, around the lids."""
    total = 0.8 * blob(canonical, (29.0, 24.0, 94.0), (12.0, 5.0, 18.0))
    total += 0.6 * blob(canonical, (17.0, 33.0, 94.0), (4.0, 6.0, 12.0))
    total += 0.5 * blob(canonical, (31.0, 44.0, 96.0), (13.0, 4.0, 16.0))
    total += 0.3 * blob(canonical, (18.0, -2.0, 108.0), (3.5, 6.0, 10.0))
    return total


def beard(canonical: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    """1 where a beard grows: upper lip, chin, jaw, upper neck; 0 on the lips."""
    x, y, z = np.abs(canonical[:, 0]), canonical[:, 1], canonical[:, 2]
    upper = -14.0 - 14.0 * np.exp(-(((x - 34.0) / 14.0) ** 2)) + 0.55 * np.maximum(x - 44.0, 0.0)
    zone = _smooth(4.0, -5.0, y - upper)
    zone *= _smooth(12.0, 30.0, z) * _smooth(-104.0, -84.0, y)
    below_lip = blob(canonical, (10.0, -49.0, 110.0), (6.0, 4.0, 20.0))
    return zone * (1.0 - lips(canonical)) * (1.0 - 0.55 * below_lip)


def folds(canonical: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    """Relief of an old face, mm, negative in the folds: forehead, between the brows, round eyes and mouth.

    The depth is that of a face of about 80 years; younger ones take a share of it.
    """
    x, y, z = np.abs(canonical[:, 0]), canonical[:, 1], canonical[:, 2]
    front = _smooth(45.0, 75.0, z)
    # Forehead: lines that rise a little to the sides, unevenly spaced.
    along = y - 0.0016 * x**2 + 1.6 * np.sin(0.11 * canonical[:, 0] + 0.7)
    lines = np.clip(np.sin(2 * np.pi * along / 10.5 + 0.6 * np.sin(along / 9.0)), 0.0, 1.0) ** 3
    height = -0.55 * lines * _smooth(46.0, 26.0, x) * _smooth(66.0, 73.0, y) * _smooth(104.0, 94.0, y)
    frown = np.exp(-(((x - 5.5 - 0.06 * (y - 60.0)) / 1.1) ** 2))
    height -= 0.5 * frown * _smooth(52.0, 56.0, y) * _smooth(74.0, 66.0, y)
    for start, end, depth, width in (
        ((15.5, -2.0), (29.0, -34.0), 1.1, 2.0),
        ((28.5, -38.0), (31.0, -52.0), 0.6, 1.8),
        ((19.0, 29.0), (33.0, 20.5), 0.7, 1.8),
        ((33.0, 20.5), (45.0, 25.0), 0.5, 1.8),
        ((50.0, 37.0), (63.0, 44.0), 0.45, 0.9),
        ((50.5, 34.5), (64.0, 35.0), 0.45, 0.9),
        ((50.0, 32.0), (62.0, 26.0), 0.45, 0.9),
    ):
        height -= depth * _groove(x, y, np.array(start), np.array(end), width)
    return (height * front).astype(np.float32)


def _groove(x: np.ndarray, y: np.ndarray, start: np.ndarray, end: np.ndarray, width: float) -> np.ndarray:
    """1 on a line in the frontal plane, falling off to the sides and towards its ends."""
    way = end - start
    length = float(np.linalg.norm(way))
    t = ((x - start[0]) * way[0] + (y - start[1]) * way[1]) / length**2
    # Bowed outward by a tenth of its length.
    bow = 0.1 * length * 4.0 * np.clip(t * (1.0 - t), 0.0, 0.25)
    across = ((x - start[0]) * -way[1] + (y - start[1]) * way[0]) / length - bow
    return np.exp(-((across / width) ** 2)) * _smooth(-0.15, 0.2, t) * _smooth(1.15, 0.75, t)


def brow_line() -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, " n"]]:
    """Middle line of the left brow from the nose outwards, mm, and its half height there."""
    line = np.array(
        [(10.5, 55.2, 107.5), (17.0, 57.6, 106.5), (24.1, 59.6, 104.8), (37.9, 60.6, 98.3),
         (49.3, 57.6, 89.9), (57.0, 51.5, 80.0)]
    )  # fmt: skip
    half = np.array([4.2, 4.6, 4.4, 3.4, 2.2, 1.0])
    t = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    fine = np.linspace(0.0, t[-1], 60)
    return CubicSpline(t, line)(fine), np.interp(fine, t, half)


def brows(canonical: Float[np.ndarray, "n 3"]) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Density of brow hair, 0 to 1, and the position along the brow, 0 near the nose to 1 outside."""
    line, half = brow_line()
    x = np.abs(canonical[:, 0])
    t = np.interp(x, line[:, 0], np.linspace(0.0, 1.0, len(line)))
    across = np.abs(canonical[:, 1] - np.interp(x, line[:, 0], line[:, 1])) / np.interp(x, line[:, 0], half)
    density = _smooth(1.15, 0.55, across) * _smooth(8.5, 13.0, x) * _smooth(58.5, 53.0, x)
    return density * (canonical[:, 2] > 60.0), t


def _lip_depth(canonical: np.ndarray) -> np.ndarray:
    """Signed distance in mm to the outline of the lips in the frontal plane, positive inside."""
    grid = _lip_map()
    column = (canonical[:, 0] - _MAP_X[0]) / _MAP_MM
    row = (canonical[:, 1] - _MAP_Y[0]) / _MAP_MM
    depth = ndimage.map_coordinates(grid, [row, column], order=1, mode="nearest")
    return np.where(canonical[:, 2] > 70.0, depth, -9.0).astype(np.float32)


@lru_cache(maxsize=1)
def _lip_map() -> np.ndarray:
    outline = np.array([*_OUTER_LIP, _OUTER_LIP[0]])
    t = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(outline, axis=0), axis=1))])
    curve = CubicSpline(t, outline, bc_type="periodic")(np.linspace(0.0, t[-1], 400))
    shape = (
        round((_MAP_Y[1] - _MAP_Y[0]) / _MAP_MM) + 1,
        round((_MAP_X[1] - _MAP_X[0]) / _MAP_MM) + 1,
    )
    inside = np.zeros(shape, bool)
    rows, columns = polygon((curve[:, 1] - _MAP_Y[0]) / _MAP_MM, (curve[:, 0] - _MAP_X[0]) / _MAP_MM, shape)
    inside[rows, columns] = True
    within = ndimage.distance_transform_edt(inside)
    beyond = ndimage.distance_transform_edt(~inside)
    return ((within - beyond) * _MAP_MM).astype(np.float32)


def _smooth(low: float, high: float, value: np.ndarray) -> np.ndarray:
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return (t * t * (3.0 - 2.0 * t)).astype(np.float32)
