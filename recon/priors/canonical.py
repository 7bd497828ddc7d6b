"""The canonical frame of heads: shape models and their training data live in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

BOX_LOW_MM, BOX_HIGH_MM = (-222.0, -252.0, -144.0), (222.0, 180.0, 150.0)
"""The box of the canonical frame that holds every bust with a margin, and that lattices cover."""

LANDMARKS_MM = {
    "right_eye": (-18.4849, 32.4797, 91.9895),
    "left_eye": (18.4867, 32.4826, 91.9880),
    "nose_tip": (0.0, 4.0234, 130.5224),
    "nose_base": (0.0, -11.8983, 115.7451),
    "right_lips": (-25.4386, -35.2768, 101.8614),
    "left_lips": (25.4386, -35.2768, 101.8614),
}
"""H3DS's landmarks of the mean head, canonical mm."""

UNIT_CENTRE_MM, UNIT_RADIUS_MM = (0.0, -25.0, -5.0), 330.0
"""The ball of the canonical frame that is the unit ball of the networks, where no manifest says otherwise."""

FACE_RADIUS_MM = 95.0
"""Radius about the tip of the nose within which a point counts as face."""


@dataclass(frozen=True)
class Canonical:
    """The canonical frame of a shape model: mm of the mean head, +Y up, +Z out of the face, +X the subject's left.

    Attributes:
        centre_mm: Centre of the ball that is the unit ball of the networks.
        radius_mm: Radius of that ball.
        landmarks_mm: Facial landmarks of the mean head by H3DS name.
    """

    centre_mm: tuple[float, float, float]
    radius_mm: float
    landmarks_mm: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)

    @property
    def mm_from_unit(self) -> Float[np.ndarray, "4 4"]:
        """Canonical unit space to canonical mm."""
        matrix = np.diag([self.radius_mm] * 3 + [1.0])
        matrix[:3, 3] = self.centre_mm
        return matrix
