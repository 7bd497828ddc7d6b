"""Which views to use when only their number is given: views spread around the face.

The rule, for scenes in any frame:

1. Up is what the cameras have upwards in common, after quarter turns for pictures that are stored lying on
   their side (`recon.scene.camera.common_up`); the middle of the head is the origin of unit space. Each camera
   has an azimuth around that axis.
2. Front is a direction that the scene knows: from the middle of the other landmarks to nose_tip, else to the
   first view of its shortest default list (in H3DS the frontal one). Without either it is the direction in
   which the cameras stand densest.
3. Targets stand symmetrically around the front, 45 degrees apart, closer when that many would not fit on the
   circle. If the cameras cover an arc only, the targets are squeezed into it.
4. Each target gets a camera of its own so that the sum of the angles between them is smallest (an assignment
   problem). The answer starts with the most frontal view and goes outwards. Nothing is random.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from recon.scene.camera import Camera, common_up

SPACING_DEG = 45.0
# A gap between neighbouring cameras wider than this is the end of an arc, not a hole in a circle.
GAP_DEG = 75.0
# Width of the kernel that measures how densely cameras stand in a direction.
DENSITY_DEG = 30.0


def spread(cameras: Sequence[Camera], count: int, front: Float[np.ndarray, " 3"] | None = None) -> list[int]:
    """Choose `count` different cameras spread evenly around the face.

    Args:
        cameras: Cameras in unit space, at least `count`.
        count: How many, at least 1.
        front: Direction in unit space from the middle of the head to where it faces, of any length.

    Returns:
        Positions in `cameras`, the most frontal first.
    """
    azimuth, elevation = _angles(cameras, front)
    targets = _targets(np.rad2deg(azimuth), count)
    level = elevation[np.abs(azimuth).argmin()]
    wanted = _directions(np.deg2rad(targets), np.full(count, level))
    cost = np.arccos(np.clip(wanted @ _directions(azimuth, elevation).T, -1, 1))
    rows, columns = linear_sum_assignment(cost)
    order = sorted(range(count), key=lambda i: (round(abs(targets[rows[i]]), 6), targets[rows[i]]))
    return [int(columns[i]) for i in order]


def _angles(cameras: Sequence[Camera], front: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Azimuth from the front in (-pi, pi] and elevation of each camera, in radians."""
    centres = np.stack([camera.centre for camera in cameras])
    directions = centres / np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
    up = common_up(cameras, np.zeros(3))
    # Any direction that is not along the axis serves as the zero of azimuth until the front is known.
    right = np.cross(up, np.eye(3)[int(np.abs(up).argmin())])
    right /= max(float(np.linalg.norm(right)), 1e-12)
    forward = np.cross(right, up)
    azimuth = np.arctan2(directions @ right, directions @ forward)
    elevation = np.arcsin(np.clip(directions @ up, -1, 1))
    if front is None:
        apart = _wrap(azimuth[:, None] - azimuth[None, :])
        density = np.exp(-0.5 * (apart / np.deg2rad(DENSITY_DEG)) ** 2).sum(axis=1)
        zero = azimuth[int(np.round(density, 9).argmax())]
    else:
        zero = np.arctan2(front @ right, front @ forward)
    return _wrap(azimuth - zero), elevation


def _targets(azimuth_deg: np.ndarray, count: int) -> np.ndarray:
    """Target azimuths in degrees, ascending, given where cameras stand."""
    spacing = min(SPACING_DEG, 360.0 / count)
    targets = (np.arange(count) - (count - 1) / 2) * spacing
    around = np.sort(azimuth_deg)
    gaps = np.diff(np.append(around, around[0] + 360.0))
    widest = int(gaps.argmax())
    if gaps[widest] <= GAP_DEG:
        return targets
    low = around[(widest + 1) % len(around)]
    high = low + 360.0 - gaps[widest]
    if low > 0 and high >= 360.0:  # the arc passes the front after a full turn
        low, high = low - 360.0, high - 360.0
    if targets[0] >= low and targets[-1] <= high:
        return targets
    return np.linspace(max(low, targets[0]), min(high, targets[-1]), count)


def _directions(azimuth: np.ndarray, elevation: np.ndarray) -> np.ndarray:
    """Unit vectors (n, 3) of angles in radians."""
    flat = np.cos(elevation)
    return np.stack([flat * np.sin(azimuth), np.sin(elevation), flat * np.cos(azimuth)], axis=1)


def _wrap(angle: np.ndarray) -> np.ndarray:
    """The same angles within (-pi, pi]."""
    return np.pi - np.mod(np.pi - angle, 2 * np.pi)
