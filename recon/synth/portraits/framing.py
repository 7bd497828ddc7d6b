"""Cameras of portraits: from all sides, near and far, the head anywhere in the photograph and the crop about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from recon.scene import Camera
from recon.synth.datasets.cameras import look_at

HEAD_MM = 240.0
"""Height of a head from chin to crown."""
FOCAL_MM, FILM_MM = (24.0, 135.0), 36.0
"""Focal lengths equivalent to film of that width."""
MOST_PITCH_DEG, MOST_ROLL_DEG = 35.0, 30.0
NEAREST_MM, FARTHEST_MM = 330.0, 4500.0


@dataclass(frozen=True, eq=False)
class Framing:
    """The camera of one portrait.

    Attributes:
        camera: The camera, the person's frame.
        yaw_deg: Azimuth of the camera about the head: 0 in front, positive to the subject's left.
        pitch_deg: Height of the camera about the head, positive above.
        roll_deg: Turn of the camera about its axis.
        focal_mm: Focal length equivalent to 35 mm film of the photograph that the portrait is cut from.
    """

    camera: Camera
    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    focal_mm: float


def draw_framing(rng: np.random.Generator, aim: Float[np.ndarray, " 3"], size: int) -> Framing:
    """Draws a camera.

    Args:
        rng: Generator, consumed.
        aim: Middle of the head, the person's frame, mm.
        size: Side of the picture, pixels.
    """
    yaw = draw_yaw(rng)
    pitch = float(np.clip(rng.normal(0.0, 14.0), -MOST_PITCH_DEG, MOST_PITCH_DEG))
    roll = float(np.clip(rng.normal(0.0, 11.0), -MOST_ROLL_DEG, MOST_ROLL_DEG))
    focal = float(np.exp(rng.uniform(*np.log(FOCAL_MM))))
    share = float(
        np.exp(rng.uniform(np.log(0.12), np.log(0.8)))
    )  # of the photograph's width that the head takes
    distance = float(np.clip(focal * HEAD_MM / (share * FILM_MM), NEAREST_MM, FARTHEST_MM))
    share = focal * HEAD_MM / (distance * FILM_MM)
    fill = float(
        np.exp(rng.uniform(np.log(0.34), np.log(0.85)))
    )  # of the portrait's height that the head takes
    focal_px = fill * size * distance / HEAD_MM
    # The head is off the photograph's middle by up to a third of it, which the crop then looks at askew.
    reach = max(0.5 - 0.5 * share, 0.0) * 0.7 * FILM_MM / focal
    off = rng.uniform(-reach, reach, 2)
    place = size * np.array([0.5 + rng.normal(0, 0.06), 0.47 + rng.normal(0, 0.06)])
    pose = look_at(aim, yaw, pitch, distance, roll)
    pose[:3, :3] = pose[:3, :3] @ _to_direction(np.array([*off, 1.0])).T
    middle = place - focal_px * off
    intrinsics = np.array([[focal_px, 0.0, middle[0]], [0.0, focal_px, middle[1]], [0.0, 0.0, 1.0]])
    return Framing(Camera(intrinsics, pose, size, size), yaw, pitch, roll, focal)


def draw_yaw(rng: np.random.Generator) -> float:
    """Draws an azimuth of the whole circle, about five times denser in front than behind, degrees."""
    kind = rng.uniform()
    if kind < 0.35:
        yaw = float(rng.normal(0.0, 35.0))
    elif kind < 0.60:
        yaw = float(rng.uniform(-110.0, 110.0))
    else:
        yaw = float(rng.uniform(-180.0, 180.0))
    return (yaw + 180.0) % 360.0 - 180.0


def _to_direction(direction: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "3 3"]:
    """The smallest rotation that takes the optical axis to a direction."""
    d = direction / np.linalg.norm(direction)
    axis = np.cross([0.0, 0.0, 1.0], d)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    result: np.ndarray = np.eye(3) + cross + cross @ cross / (1.0 + d[2])
    return result
