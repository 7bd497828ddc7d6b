"""Stand-ins for the networks, in closed form, for synthetic pictures: a face is a region of skin's colours before a
plain backdrop. They show what a network must have, and test what is built on them where MediaPipe's cannot be had.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from recon.perception.landmark_noise import sigma_mm
from recon.perception.networks import AVERAGE_POINTS_MM, Face, FaceLandmarks
from recon.perception.photograph import Photograph

LEAST_SHARE = 0.002
"""Of the picture that a face covers."""
BACKDROP = 0.12
"""Distance in colour from the backdrop at which the probability of a person is 1/2."""
FACE_MM = 150.0


class SkinColourDetector:
    """Finds regions of skin's colours; every face is frontal and upright."""

    def detect(self, photograph: Photograph) -> list[Face]:
        """All faces, the largest first."""
        labels, _ = ndimage.label(ndimage.binary_opening(_skin(photograph.image), iterations=2))
        faces = []
        for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
            if (labels == number).sum() < LEAST_SHARE * labels.size:
                continue
            x, y = (columns.start + columns.stop) / 2, (rows.start + rows.stop) / 2
            size = float(max(columns.stop - columns.start, rows.stop - rows.start))
            points = AVERAGE_POINTS_MM[:, :2] * size / FACE_MM + [x, y]
            faces.append(Face(np.array([x, y, x, y]) + np.array([-1, -1, 1, 1]) * size / 2, points, 1.0))
        return sorted(faces, key=lambda face: -face.size)


class GridLandmarker:
    """468 points in rows over the face."""

    def landmarks(self, photograph: Photograph, face: Face) -> FaceLandmarks:
        """Its points."""
        places = np.stack(np.divmod(np.arange(468), 26), axis=1)[:, ::-1] / [25, 17] - 0.5
        scale = face.size / FACE_MM
        return FaceLandmarks(
            places * face.size + face.centre, np.zeros(468), 1.0, sigma_mm(0.0) * scale, 0.0, scale
        )


class BackdropSegmenter:
    """Takes for a person whatever differs from the mean colour of the picture's upper border."""

    def mask(self, photograph: Photograph, face: Face | None) -> Float[np.ndarray, "height width"]:
        """(height, width) float32 probability of a person."""
        distance = np.linalg.norm(photograph.image - photograph.image[0].mean(axis=0), axis=2)
        result: np.ndarray = (1 / (1 + np.exp(-(distance / BACKDROP - 1) * 8))).astype(np.float32)
        return result


def _skin(image: Float[np.ndarray, "height width 3"]) -> Bool[np.ndarray, "height width"]:
    red, green, blue = np.moveaxis(image, 2, 0)
    result: np.ndarray = (red > green + 0.05) & (green > blue) & (red > 0.35) & (red < green + 0.35)
    return result
