"""What networks see in a photograph, put together for calibration."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import uniform_filter

from recon.perception.mediapipe import (
    MediaPipeFaceDetector,
    MediaPipeFaceLandmarker,
    MediaPipePersonSegmenter,
)
from recon.perception.networks import Face, FaceDetector, FaceLandmarker, FaceLandmarks, PersonSegmenter
from recon.perception.photograph import Photograph

FILTER_FACES, FILTER_EPSILON = 0.06, 1e-4
"""Radius of the guided filter in sizes of the face, and its regularisation."""


@dataclass(frozen=True, eq=False)
class PhotographNetworks:
    """The networks that look at photographs.

    Attributes:
        detector: Finds faces.
        landmarker: Finds points on a face.
        segmenter: Tells persons from what is behind them.
    """

    detector: FaceDetector = field(default_factory=MediaPipeFaceDetector)
    landmarker: FaceLandmarker = field(default_factory=MediaPipeFaceLandmarker)
    segmenter: PersonSegmenter = field(default_factory=MediaPipePersonSegmenter)


@dataclass(frozen=True, eq=False)
class ObservedPhotograph:
    """A photograph with what is seen in it.

    Attributes:
        name: Of the file, for messages.
        image: (h, w, 3) sRGB in [0, 1], upright.
        mask: (h, w) the person.
        face: The face; None where none was found.
        landmarks: Of the face; None where no face was found.
        focal_px: Focal length where something tells it; None where it is to be guessed.
        focal_source: What tells it, or why nothing does.
        ignored: (h, w) pixels that say nothing of the head; None where all count.
    """

    name: str
    image: Float[np.ndarray, "height width 3"]
    mask: Bool[np.ndarray, "height width"]
    face: Face | None = None
    landmarks: FaceLandmarks | None = None
    focal_px: float | None = None
    focal_source: str = ""
    ignored: Bool[np.ndarray, "height width"] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.image.shape[1], self.image.shape[0]


def observe_photograph(
    photograph: Photograph,
    networks: PhotographNetworks,
    *,
    person: int = 1,
    mask: Bool[np.ndarray, "height width"] | None = None,
    focal_px: float | None = None,
) -> ObservedPhotograph:
    """Looks at a photograph.

    Args:
        photograph: The photograph.
        networks: What looks.
        person: Which of several faces, 1 is the largest.
        mask: The user's mask, which wins; None to find one.
        focal_px: The user's focal length, in pixels of the photograph; None for that of the file, if it has one.
    """
    faces = networks.detector.detect(photograph)
    face = faces[person - 1] if len(faces) >= person else None
    landmarks = networks.landmarker.landmarks(photograph, face) if face is not None else None
    if mask is None:
        probability = networks.segmenter.mask(photograph, face)
        size = face.size if face is not None else min(photograph.size) / 3
        mask = guided(photograph.image, probability, FILTER_FACES * size) > 0.5
    focal, source = (focal_px, "given") if focal_px else (photograph.focal_px, photograph.focal_source)
    return ObservedPhotograph(photograph.path.name, photograph.image, mask, face, landmarks, focal, source)


def guided(
    image: Float[np.ndarray, "height width 3"], values: Float[np.ndarray, "height width"], radius_px: float
) -> Float[np.ndarray, "height width"]:
    """Values as a linear function of the image's luminance in every window (guided filter, He et al. 2013)."""
    side = 2 * max(1, round(radius_px)) + 1
    guide = image.mean(axis=2, dtype=np.float32)

    def mean(picture: np.ndarray) -> np.ndarray:
        smooth: np.ndarray = uniform_filter(picture, side)
        return smooth

    middle, level = mean(guide), mean(values)
    slope = (mean(guide * values) - middle * level) / (mean(guide * guide) - middle**2 + FILTER_EPSILON)
    result: np.ndarray = mean(slope) * guide + mean(level - slope * middle)
    return result


@dataclass(frozen=True)
class Window:
    """A part of a photograph at another scale.

    Attributes:
        left: First column.
        top: First row.
        width: Columns.
        height: Rows.
        out: (width, height) that the part is scaled to.
    """

    left: int
    top: int
    width: int
    height: int
    out: tuple[int, int]

    @property
    def matrix(self) -> Float[np.ndarray, "3 3"]:
        """Homogeneous pixels of the part from those of the photograph."""
        x, y = self.out[0] / self.width, self.out[1] / self.height
        return np.array([[x, 0, -x * self.left], [0, y, -y * self.top], [0, 0, 1.0]])


def window_about(points: Float[np.ndarray, "points 2"], width: int, height: int, long_side: int) -> Window:
    """The part of a photograph that holds some points, no longer than `long_side` pixels; it is never enlarged."""
    low = np.clip(np.floor(points.min(axis=0)), 0, [width - 2, height - 2]).astype(int)
    high = np.clip(np.ceil(points.max(axis=0)), low + 2, [width, height]).astype(int)
    size = high - low
    factor = min(1.0, long_side / size.max())
    out = (max(2, round(size[0] * factor)), max(2, round(size[1] * factor)))
    return Window(int(low[0]), int(low[1]), int(size[0]), int(size[1]), out)


def within(observed: ObservedPhotograph, window: Window) -> ObservedPhotograph:
    """The part of a photograph in a window; its focal length is that of the window's pixels, its landmarks too."""
    rows = slice(window.top, window.top + window.height)
    columns = slice(window.left, window.left + window.width)
    scale = window.out[0] / window.width
    landmarks = observed.landmarks
    if landmarks is not None:
        points = landmarks.points @ window.matrix[:2, :2].T + window.matrix[:2, 2]
        landmarks = replace(
            landmarks,
            points=points,
            sigma_px=landmarks.sigma_px * scale,
            px_per_mm=landmarks.px_per_mm * scale,
        )
    ignored = observed.ignored
    return replace(
        observed,
        image=_scaled(observed.image[rows, columns], window.out),
        mask=_scaled(observed.mask[rows, columns].astype(np.float32)[..., None], window.out)[..., 0] > 0.5,
        landmarks=landmarks,
        face=None,
        focal_px=None if observed.focal_px is None else observed.focal_px * scale,
        ignored=None
        if ignored is None
        else _scaled(ignored[rows, columns].astype(np.float32)[..., None], window.out)[..., 0] > 0.5,
    )


def _scaled(picture: Float[np.ndarray, "rows columns channels"], out: tuple[int, int]) -> np.ndarray:
    """A picture made smaller, with what lies between pixels averaged."""
    if picture.shape[1::-1] == out:
        return np.ascontiguousarray(picture)
    tensor = torch.from_numpy(np.ascontiguousarray(picture, np.float32)).permute(2, 0, 1)[None]
    small = torch.nn.functional.interpolate(tensor, out[::-1], mode="bilinear", antialias=True)
    return small[0].permute(1, 2, 0).clamp(0, 1).numpy()
