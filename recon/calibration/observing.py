"""Photographs as calibration takes them, and parts of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float

from recon.perception import Face, FaceLandmarks, PhotographObservation
from recon.perception.photograph import FILM_DIAGONAL_MM, WHOLE


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
        warnings: What is wrong with it, as sentences.
        principal_point: Where the optical axis meets it; None for its middle.
        part: What it shows of the upright picture in the file: left, top, right, bottom as shares of its sides.
        original_size: (width, height) of that picture; None for that of this one.
        probability: (h, w) of any person, by a network; None where the mask is the user's, which stays as it is.
        hidden: (h, w) what is before the person, and other persons; None where nothing is known of such.
    """

    name: str
    image: Float[np.ndarray, "height width 3"]
    mask: Bool[np.ndarray, "height width"]
    face: Face | None = None
    landmarks: FaceLandmarks | None = None
    focal_px: float | None = None
    focal_source: str = ""
    ignored: Bool[np.ndarray, "height width"] | None = None
    warnings: tuple[str, ...] = ()
    principal_point: tuple[float, float] | None = None
    part: tuple[float, float, float, float] = WHOLE
    original_size: tuple[int, int] | None = None
    probability: Float[np.ndarray, "height width"] | None = None
    hidden: Bool[np.ndarray, "height width"] | None = None

    @classmethod
    def from_observation(
        cls, seen: PhotographObservation, focal_mm: float | None = None
    ) -> ObservedPhotograph:
        """What perception sees in a photograph.

        Args:
            seen: By perception.
            focal_mm: Focal length as the user gives it, equivalent to that of 35 mm film (by the diagonal); None for
                the file's, if it has one.
        """
        photograph = seen.photograph
        focal_px, source = photograph.focal_px, photograph.focal_source
        if focal_mm is not None:
            diagonal = float(np.hypot(*photograph.original_size)) * photograph.scale[0]
            focal_px, source = focal_mm / FILM_DIAGONAL_MM * diagonal, "given"
        return cls(
            photograph.path.name,
            photograph.image,
            seen.mask.mask,
            seen.face,
            seen.landmarks,
            focal_px,
            source,
            seen.mask.ignore,
            tuple(warning.message for warning in seen.warnings),
            photograph.principal_point,
            photograph.part,
            photograph.original_size,
            seen.mask.probability if seen.mask.source == "network" else None,
            seen.mask.hidden,
        )

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.image.shape[1], self.image.shape[0]

    @property
    def scale(self) -> float:
        """Pixels per pixel of the picture in the file."""
        if self.original_size is None:
            return 1.0
        return self.size[0] / (self.original_size[0] * (self.part[2] - self.part[0]))

    def shares(self, window: Window) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of a window as shares of the sides of the upright picture in the file."""
        low, high = np.array(self.part[:2]), np.array(self.part[2:])
        inner = np.array([window.left, window.top]) / self.size
        outer = np.array([window.left + window.width, window.top + window.height]) / self.size
        left, top = (low + (high - low) * inner).tolist()
        right, bottom = (low + (high - low) * outer).tolist()
        return left, top, right, bottom


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

    def plane(picture: np.ndarray | None) -> np.ndarray | None:
        if picture is None:
            return None
        scaled = _scaled(picture[rows, columns].astype(np.float32)[..., None], window.out)[..., 0]
        return scaled > 0.5 if picture.dtype == bool else scaled

    mask = plane(observed.mask)
    assert mask is not None
    return replace(
        observed,
        image=_scaled(observed.image[rows, columns], window.out),
        mask=mask,
        landmarks=landmarks,
        face=None,
        principal_point=None,
        part=observed.shares(window),
        focal_px=None if observed.focal_px is None else observed.focal_px * scale,
        ignored=plane(observed.ignored),
        probability=plane(observed.probability),
        hidden=plane(observed.hidden),
    )


def _scaled(picture: Float[np.ndarray, "rows columns channels"], out: tuple[int, int]) -> np.ndarray:
    """A picture made smaller, with what lies between pixels averaged."""
    if picture.shape[1::-1] == out:
        return np.ascontiguousarray(picture)
    tensor = torch.from_numpy(np.ascontiguousarray(picture, np.float32)).permute(2, 0, 1)[None]
    small = torch.nn.functional.interpolate(tensor, out[::-1], mode="bilinear", antialias=True)
    return small[0].permute(1, 2, 0).clamp(0, 1).numpy()
