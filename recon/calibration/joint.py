"""The last step of calibration: head and cameras together from outlines, photographs and landmarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float

from recon.calibration.landmarks import LandmarkModel
from recon.calibration.observing import ObservedPhotograph
from recon.fitting import Shape, SolverSettings, solve
from recon.fitting.residuals import MarkedLandmarks
from recon.geometry.frames import CanonicalFrame
from recon.priors.pca.shape_model import PCAShapeModel
from recon.priors.pca_prior import COLLAR_MM
from recon.priors.weights import ShapePrior
from recon.scene import Camera

NECK_DEPTH_MM = 20.0
"""Depth of the neck's axis in the canonical frame; below the collar, `COLLAR_MM`, clothes and bodies differ."""
MOST_NOISE = 1.5
"""Landmarks that are noisier than the middle one by more do not count."""
SETTINGS = SolverSettings(
    camera_turn_sigma_deg=3.0,
    camera_shift_sigma_mm=40.0,
    focal_sigma=0.15,
    landmark_sigma_px=10.0,
    blurs_px=(4.0, 4.0, 3.0, 3.0, 2.0, 2.0, 1.4, 1.0),
    fine_steps=4,
)
"""Cameras are freer than the bundle adjustment is good to: on synthetic heads the fit then ends nearer the truth."""
ONE_VIEW = replace(SETTINGS, camera_turn_sigma_deg=0.1, camera_shift_sigma_mm=0.5)
"""With one photograph the head's own pose says all that a camera's could."""


@dataclass(frozen=True, eq=False)
class JointFit:
    """A head with the cameras that see it, in its canonical frame.

    Attributes:
        shape: The head, canonical unit space.
        code: Of it.
        cameras: Canonical mm.
        outline_mm: Typical distance between the outlines of head and masks.
        focal_factors: How much longer the focal length of each camera is than the one that was given.
    """

    shape: Shape
    code: Float[np.ndarray, " latent"]
    cameras: tuple[Camera, ...]
    outline_mm: float
    focal_factors: tuple[float, ...]


def joint_fit(
    prior: ShapePrior,
    landmarks: LandmarkModel,
    photographs: Sequence[ObservedPhotograph],
    cameras: Sequence[Camera],
    with_landmarks: Sequence[bool],
    settings: SolverSettings | None = None,
    focal_groups: Sequence[int | None] = (),
) -> JointFit:
    """The head and the cameras that photographs show, about cameras that are nearly right.

    Args:
        prior: A linear shape model.
        landmarks: The points that networks see, on its heads.
        photographs: With masks.
        cameras: Of them, canonical mm.
        with_landmarks: For each photograph whether its landmarks count.
        focal_groups: For each photograph the number of its group, whose focal length is not known, or None.
        settings: Of the solver; `SETTINGS`, or `ONE_VIEW` of a single photograph, by default.

    Raises:
        PriorError: The masks have no outline inside the pictures.
    """
    settings = settings or (SETTINGS if len(photographs) > 1 else ONE_VIEW)
    network, canonical = prior.network, prior.canonical
    assert isinstance(network, PCAShapeModel)
    marked = [
        _marked(landmarks, photograph, camera, canonical, network.latent_size) if counts else None
        for photograph, camera, counts in zip(photographs, cameras, with_landmarks, strict=True)
    ]
    ignored = [np.zeros_like(each.mask) if each.ignored is None else each.ignored for each in photographs]
    fit = solve(
        network,
        cameras,
        [each.mask for each in photographs],
        [each.image for each in photographs],
        np.array(canonical.centre_mm),
        canonical.radius_mm,
        replace(settings, focal_groups=tuple(focal_groups)),
        ignored=ignored,
        marked=marked,
        start=np.linalg.inv(canonical.mm_from_unit),
    )
    to_canonical = canonical.mm_from_unit @ fit.canonical_from_world
    return JointFit(
        network.shape_of(fit.code),
        fit.code.double().numpy(),
        tuple(camera.transformed(to_canonical) for camera in fit.cameras),
        fit.outline_mm,
        tuple(
            float(found.intrinsics[0, 0] / given.intrinsics[0, 0])
            for found, given in zip(fit.cameras, cameras, strict=True)
        ),
    )


def zoomed(camera: Camera, factor: float) -> Camera:
    """The camera with another focal length."""
    intrinsics = camera.intrinsics.copy()
    intrinsics[:2, :2] *= factor
    return replace(camera, intrinsics=intrinsics)


def _marked(
    model: LandmarkModel,
    photograph: ObservedPhotograph,
    camera: Camera,
    canonical: CanonicalFrame,
    latent: int,
) -> MarkedLandmarks | None:
    """Landmarks of a photograph as the solver takes them: about as many as count independently, the bias put into
    their places.
    """
    if photograph.landmarks is None:
        return None
    yaw = float(np.arctan2(camera.centre[0], camera.centre[2]))
    offset, _ = model.offset(yaw)
    chosen = spread_points(model.places, model.noise(yaw) < MOST_NOISE)
    places = (model.places + offset - np.array(canonical.centre_mm)) / canonical.radius_mm
    basis = np.zeros((len(chosen), 3, latent))
    basis[..., : model.components] = model.basis[chosen] / canonical.radius_mm
    return MarkedLandmarks(
        torch.from_numpy(places[chosen]).float(),
        torch.from_numpy(basis).float(),
        torch.from_numpy(photograph.landmarks.points[chosen]).float(),
    )


def spread_points(
    places: Float[np.ndarray, "points 3"], allowed: Bool[np.ndarray, " points"], count: int = 60
) -> np.ndarray:
    """Numbers of points spread over the face, each the farthest from those before; the first is the foremost."""
    candidates = np.flatnonzero(allowed)
    at = places[candidates]
    chosen = [int(at[:, 2].argmax())]
    nearest = np.full(len(at), np.inf)
    while len(chosen) < min(count, len(at)):
        nearest = np.minimum(nearest, np.linalg.norm(at - at[chosen[-1]], axis=1))
        chosen.append(int(nearest.argmax()))
    return np.sort(candidates[chosen])


def below_collar(camera: Camera, collar_mm: float = COLLAR_MM) -> Bool[np.ndarray, "height width"]:
    """Pixels whose rays pass the neck's axis below the collar, for a camera in the canonical frame, mm."""
    # Directions are linear in the pixel; their length does not matter here.
    by_pixel = camera.world_from_camera[:3, :3] @ np.linalg.inv(camera.intrinsics)
    columns, rows = np.arange(camera.width) + 0.5, np.arange(camera.height)[:, None] + 0.5
    x, y, z = (row[0] * columns + row[1] * rows + row[2] for row in by_pixel)
    centre = camera.centre
    along = (z * (NECK_DEPTH_MM - centre[2]) - x * centre[0]) / np.maximum(x * x + z * z, 1e-9)
    below: np.ndarray = centre[1] + along * y < collar_mm
    return below


def without_body(photograph: ObservedPhotograph, camera: Camera) -> ObservedPhotograph:
    """The photograph with what lies below the collar ignored."""
    below = below_collar(camera)
    ignored = below if photograph.ignored is None else photograph.ignored | below
    return replace(photograph, ignored=ignored)
