"""What is known of a head's pose before any photograph is looked at."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from recon.scene import Camera

SCALE_SIGMA = 0.06
UPRIGHT_SIGMA = 0.1
CENTRE_SIGMA_MM = 40.0
"""Standard deviations of a head's size against life (logarithm), of its tilt (radians) and of its distance from the
given centre, without which one photograph leaves the depth open.
"""


@dataclass(frozen=True)
class Expected:
    """A weak prior on canonical_from_world: upright, about life-size, near a given centre.

    Attributes:
        up: What is up, a unit vector of the world.
        centre_mm: Where the head is, world.
        unit_mm: Radius of the canonical ball of a life-size head.
    """

    up: Float[np.ndarray, " 3"]
    centre_mm: Float[np.ndarray, " 3"]
    unit_mm: float

    def pull(self, pose: Float[np.ndarray, "4 4"]) -> tuple[Float[np.ndarray, " 7"], Float[np.ndarray, " 7"]]:
        """Diagonal of the prior's matrix and its gradient, for a small rotation, translation and log scale that
        act on canonical space.
        """
        per_world = np.cbrt(np.linalg.det(pose[:3, :3]))
        upright = pose[:3, :3] @ self.up / per_world
        centre = pose[:3, :3] @ self.centre_mm + pose[:3, 3]
        tilt, size, near = UPRIGHT_SIGMA**-2, SCALE_SIGMA**-2, (self.unit_mm / CENTRE_SIGMA_MM) ** 2
        matrix = np.array([tilt, 1.0, tilt, near, near, near, size])
        scale = np.log(per_world * self.unit_mm) * size
        return matrix, np.concatenate([[upright[2] * tilt, 0.0, -upright[0] * tilt], centre * near, [scale]])


def up_of(cameras: Sequence[Camera]) -> Float[np.ndarray, " 3"]:
    """What is up in the mean of the cameras, a unit vector of the world."""
    up = -np.mean([camera.world_from_camera[:3, 1] for camera in cameras], axis=0)
    return up / max(np.linalg.norm(up), 1e-9)


def life_size(canonical_from_world: Float[np.ndarray, "4 4"], unit_mm: float) -> float:
    """Size of a posed head against the mean head, whose canonical ball has a radius of `unit_mm`."""
    return float(1 / (np.cbrt(np.linalg.det(canonical_from_world[:3, :3])) * unit_mm))


def small_similarity(twist: Float[np.ndarray, " 7"]) -> Float[np.ndarray, "4 4"]:
    """The similarity of a rotation vector, a translation and a logarithm of scale, in this order."""
    change = np.eye(4)
    change[:3, :3] = np.exp(twist[6]) * Rotation.from_rotvec(twist[:3]).as_matrix()
    change[:3, 3] = twist[3:6]
    return change
