"""What is asked of networks that look at photographs. Whatever has these methods can take a network's place: name it in
a file of `conf/perception/`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from recon.perception.photograph import Photograph

AVERAGE_POINTS_MM = np.array(
    [[-31, -40, 38], [31, -40, 38], [0, 0, 0], [0, 34, 18], [-70, -25, 110], [70, -25, 110]], np.float64
)
"""The six points of `Face.points` on an average head: x to the subject's left, y down, z into the head."""
MEDIAPIPE_468 = "mediapipe468"


@dataclass(frozen=True, eq=False)
class Face:
    """A face that was found, in pixels of the photograph.

    Attributes:
        box: (left, top, right, bottom) of a square about brows, ears and chin; turned by `roll` about its middle it
            fits.
        points: (6, 2) right eye, left eye, nose tip, middle of the mouth, right ear, left ear; right and left are the
            subject's.
        score: Probability that it is a face.
    """

    box: Float[np.ndarray, " 4"]
    points: Float[np.ndarray, "6 2"]
    score: float

    @property
    def centre(self) -> Float[np.ndarray, " 2"]:
        """Middle of the box."""
        return (self.box[:2] + self.box[2:]) / 2

    @property
    def place(self) -> tuple[float, float]:
        """Middle of the box, (x, y)."""
        return float(self.centre[0]), float(self.centre[1])

    @property
    def size(self) -> float:
        """The longer side of the box, pixels; about 150 mm of a grown-up's face."""
        return float(max(self.box[2] - self.box[0], self.box[3] - self.box[1]))

    @property
    def roll(self) -> float:
        """The head's turn in the picture, radians, clockwise as it is seen; 0 is upright."""
        down = self._rotation[:, 1]
        return math.atan2(-down[0], down[1])

    @property
    def yaw_deg(self) -> float:
        """The head's turn about its vertical axis; 0 is frontal, positive towards the picture's right side.

        On synthetic heads it is right to 5 degrees up to 50, and short by 10 from 70 to 100 degrees.
        """
        forward = -self._rotation[:, 2]
        across = forward[0] * math.cos(self.roll) + forward[1] * math.sin(self.roll)
        return math.degrees(math.atan2(across, -forward[2]))

    @property
    def down(self) -> Float[np.ndarray, " 2"]:
        """Unit vector in the picture from brows to chin."""
        return np.array([-math.sin(self.roll), math.cos(self.roll)])

    @property
    def chin(self) -> float:
        """Where the chin ends, pixels along `down` from the picture's corner: the lower side of the box."""
        return float(self.centre @ self.down) + self.size / 2

    @cached_property
    def _rotation(self) -> Float[np.ndarray, "3 3"]:
        """camera_from_head, by a scaled orthographic fit of the six points of an average head."""
        head, seen = (
            AVERAGE_POINTS_MM - AVERAGE_POINTS_MM.mean(axis=0),
            self.points - self.points.mean(axis=0),
        )
        u, _, vt = np.linalg.svd(np.linalg.lstsq(head, seen, rcond=None)[0].T, full_matrices=False)
        rows = u @ vt
        return np.vstack([rows, np.cross(rows[0], rows[1])])


@dataclass(frozen=True, eq=False)
class FaceLandmarks:
    """Points on a face, in pixels of the photograph.

    Attributes:
        points: (points, 2).
        depth: (points,) away from the camera, pixels, about the face's middle; nan where a network does not tell.
        score: Probability that the points lie on a face; they are worthless below 0.5.
        sigma_px: (points,) standard deviation of a point across the picture.
        yaw_deg: The face's turn about its vertical axis, 0 is frontal, positive towards the picture's right side.
        px_per_mm: Scale of the face, by its size as an average one.
        topology: What the points are: `mediapipe468` is MediaPipe's face mesh.
    """

    points: Float[np.ndarray, "points 2"]
    depth: Float[np.ndarray, " points"]
    score: float
    sigma_px: Float[np.ndarray, " points"]
    yaw_deg: float
    px_per_mm: float
    topology: str = MEDIAPIPE_468


@runtime_checkable
class FaceDetector(Protocol):
    """A network that finds faces."""

    def detect(self, photograph: Photograph) -> list[Face]:
        """All faces, the largest first; each once."""


@runtime_checkable
class FaceLandmarker(Protocol):
    """A network that finds points on a face."""

    def landmarks(self, photograph: Photograph, face: Face) -> FaceLandmarks:
        """Its points, whatever their score."""


@runtime_checkable
class PersonSegmenter(Protocol):
    """A network that tells persons from what is behind them."""

    def mask(self, photograph: Photograph, face: Face | None) -> Float[np.ndarray, "height width"]:
        """(height, width) float32 probability of a person, about a face or in the whole picture."""


@runtime_checkable
class HandSegmenter(Protocol):
    """A network that finds hands, or whatever else hides a head."""

    def hands(self, photograph: Photograph, face: Face | None) -> Bool[np.ndarray, "height width"]:
        """(height, width) pixels of hands about a face or in the whole picture."""
