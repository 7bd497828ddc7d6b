"""Photographs without usable landmarks (profiles, backs of heads): cameras from the outline of a head that is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from recon.errors import PriorError
from recon.fitting import HeadFit, Shape, fit_head
from recon.fitting.pose import POSE, THOROUGH, Effort
from recon.fitting.shape_model import ShapeModel
from recon.geometry.frames import CanonicalFrame
from recon.scene import Camera

PROFILE_YAWS_DEG = (60.0, 80.0, 100.0)
BACK_YAWS_DEG = (75.0, 100.0, 130.0, 160.0, 180.0)
"""From which sides, left and right, the search begins where a face was found without landmarks, and where none was."""
BUST_SHARE = 0.55
"""A head's height as a share of the mask's of a bust, for the first guess of its distance."""
HEAD_MM, CROWN_MM = 260.0, 120.0
"""Height of a head with its neck, and of its crown in the canonical frame."""
FINALISTS = 3
"""So many of the best starts are refined."""
OTHER_SIDE_DEG = 25.0
"""Sides that are further apart are different answers."""
MOST_OUTLINE_MM, LEAST_OVERLAP = 4.0, 0.9
"""What a photograph must reach to be accepted."""


@dataclass(frozen=True)
class FixedHead:
    """A shape model of one head, so that a fit finds nothing but its pose.

    Attributes:
        shape: The head.
    """

    shape: Shape
    latent_size: int = 0
    brightness_model: None = None

    @property
    def coarse_level(self) -> FixedHead:
        """Itself."""
        return self

    def shape_of(self, code: Float[Tensor, " 0"]) -> FixedHead:
        """The head."""
        return self

    def sdf(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
        """Signed distance at points."""
        return self.shape.sdf(points)

    def sdf_and_gradient(
        self, points: Float[Tensor, "points 3"]
    ) -> tuple[Float[Tensor, " points"], Float[Tensor, "points 3"]]:
        """Signed distance at points with its derivative by the point."""
        return self.shape.sdf_and_gradient(points)

    def basis(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points 0"]:
        """Derivative by a code of no components."""
        return torch.zeros(len(points), 0, dtype=points.dtype)


@dataclass(frozen=True, eq=False)
class OutlineView:
    """A camera found by an outline.

    Attributes:
        camera: In the head's canonical frame, mm.
        outline_mm: Median distance of the outlines of mask and head.
        overlap: Intersection over union of both.
        yaw_deg: From which side it looks, positive on the subject's left.
        other_yaw_deg: The side of the best of the other starts that ended elsewhere; None where none did.
        other_outline_mm: How far apart the outlines are there.
    """

    camera: Camera
    outline_mm: float
    overlap: float
    yaw_deg: float
    other_yaw_deg: float | None
    other_outline_mm: float | None


def join_by_outline(
    head: Shape,
    canonical: CanonicalFrame,
    mask: Bool[np.ndarray, "height width"],
    ignored: Bool[np.ndarray, "height width"] | None,
    focal_px: float,
    yaws_deg: Sequence[float],
    principal_point: tuple[float, float] | None = None,
) -> OutlineView:
    """The camera from which a head has a mask's outline.

    The mask is taken to be upright. Scale is free in the search and taken out afterwards: the camera is the one that
    sees the head at its own size.

    Args:
        head: Canonical unit space.
        canonical: Its frame.
        mask: The person.
        ignored: Pixels that say nothing.
        focal_px: Focal length.
        yaws_deg: Where to begin, on both sides.
        principal_point: Where the optical axis meets the photograph; None for its middle.

    Raises:
        PriorError: The mask shows no outline.
    """
    height, width = mask.shape
    axis_x, axis_y = principal_point or (width / 2, height / 2)
    rows, columns = np.nonzero(mask)
    if len(rows) == 0:
        raise PriorError("no person is seen in it")
    top = rows.min()
    tall = max(BUST_SHARE * (rows.max() - top), 16.0)
    distance = focal_px * HEAD_MM / tall
    intrinsics = np.array([[focal_px, 0, axis_x], [0, focal_px, axis_y], [0, 0, 1.0]])
    camera = Camera(intrinsics, np.eye(4), width, height)
    upper = columns[rows < top + 0.6 * tall]
    crown = np.array([upper.mean() - axis_x, top - axis_y, focal_px]) * distance / focal_px
    centre = crown + np.array([0.0, CROWN_MM - canonical.centre_mm[1], 0.0])
    model: ShapeModel = FixedHead(head)  # type: ignore[assignment]
    unknown = None if ignored is None else [ignored]

    def fitted(start: Float[np.ndarray, "4 4"], effort: Effort) -> HeadFit:
        arguments = model, [camera], [mask], centre, canonical.radius_mm
        return fit_head(*arguments, start=start, effort=effort, ignored=unknown)

    angles = sorted({side * yaw for yaw in yaws_deg for side in (-1, 1)})
    found = [fitted(_facing(yaw, centre, canonical.radius_mm), POSE) for yaw in angles]
    found.sort(key=_cost_mm)
    best = min((fitted(fit.canonical_from_world, THOROUGH) for fit in found[:FINALISTS]), key=_cost_mm)
    seen = _camera_about(best, canonical, camera)
    yaw = _yaw_deg(seen)
    others = [(fit.outline_mm, _yaw_deg(_camera_about(fit, canonical, camera))) for fit in found[1:]]
    others = [each for each in others if abs((each[1] - yaw + 180) % 360 - 180) > OTHER_SIDE_DEG]
    near, side = min(others) if others else (None, None)
    return OutlineView(seen, best.outline_mm, best.overlap, yaw, side, near)


def _facing(yaw_deg: float, centre: np.ndarray, unit_mm: float) -> Float[np.ndarray, "4 4"]:
    """canonical_from_camera of an upright head of which the camera sees a side."""
    yaw = np.radians(yaw_deg)
    # Rows: canonical x, y, z in the camera's axes (x right, y down, z forward); at yaw 0 the face looks at the camera.
    across = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
    face = np.array([-np.sin(yaw), 0.0, -np.cos(yaw)])
    axes = np.stack([across, [0.0, -1.0, 0.0], face])
    pose = np.eye(4)
    pose[:3, :3] = axes / unit_mm
    pose[:3, 3] = -pose[:3, :3] @ centre
    return pose


def _cost_mm(fit: HeadFit) -> float:
    """By what sides are compared."""
    return fit.misfit_mm + 20 * (1 - fit.overlap)


def _camera_about(fit: HeadFit, canonical: CanonicalFrame, camera: Camera) -> Camera:
    """The camera in the head's canonical frame, mm."""
    return camera.transformed(canonical.mm_from_unit @ fit.canonical_from_world)


def _yaw_deg(camera: Camera) -> float:
    return float(np.degrees(np.arctan2(camera.centre[0], camera.centre[2])))
