"""Pose and rough shape of a head from masks, and from landmarks where there are any, by Gauss–Newton, and the prior of
the pose.

Along the ray through a point of the outline of a mask, the least signed distance of the head must be zero. Each such
residual depends on the surface at one point, so it is linear in the code of a linear shape model and nearly so in the
pose (silhouettes as in the implicit differentiation of IDR, section 3).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from recon.errors import PriorError
from recon.fitting.contours import Contours, contour_rays
from recon.fitting.landmark_pose import landmark_poses
from recon.fitting.least_squares import geman_mcclure_weight
from recon.fitting.observations import Pinhole
from recon.fitting.residuals import Layout, MarkedLandmarks, landmarks, similarity_jacobian, small_similarity
from recon.fitting.shape_model import ShapeModel
from recon.fitting.tracing import closest_approach
from recon.scene import Camera
from recon.scene.camera import up_of
from recon.threads import mapped

log = logging.getLogger(__name__)

SCALE_SIGMA = 0.06
UPRIGHT_SIGMA = 0.1
CENTRE_SIGMA_MM = 40.0
"""Standard deviations of the size of a head against the mean head (logarithm), of its tilt (radians) and of its
distance from the given centre, without which one photograph leaves the depth open.
"""


@dataclass(frozen=True)
class PosePrior:
    """A weak prior of canonical_from_world: upright, about life-size, near a given centre.

    Attributes:
        up: Upward direction, a unit vector of the world.
        centre_mm: Rough centre of the head, world mm.
        unit_mm: Radius of the canonical ball of a life-size head.
        upright_sigma: Standard deviation of the tilt, radians.
    """

    up: Float[np.ndarray, " 3"]
    centre_mm: Float[np.ndarray, " 3"]
    unit_mm: float
    upright_sigma: float = UPRIGHT_SIGMA

    def precision_and_gradient(
        self, pose: Float[np.ndarray, "4 4"]
    ) -> tuple[Float[np.ndarray, " 7"], Float[np.ndarray, " 7"]]:
        """Diagonal of the prior's precision matrix and gradient of its cost, for a small rotation, translation and
        logarithm of scale that act on canonical space.
        """
        per_world = np.cbrt(np.linalg.det(pose[:3, :3]))
        upright = pose[:3, :3] @ self.up / per_world
        centre = pose[:3, :3] @ self.centre_mm + pose[:3, 3]
        tilt, size, near = self.upright_sigma**-2, SCALE_SIGMA**-2, (self.unit_mm / CENTRE_SIGMA_MM) ** 2
        matrix = np.array([tilt, 1.0, tilt, near, near, near, size])
        scale = np.log(per_world * self.unit_mm) * size
        return matrix, np.concatenate([[upright[2] * tilt, 0.0, -upright[0] * tilt], centre * near, [scale]])


def up_of_pose(canonical_from_world: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, " 3"]:
    """Upward direction of a posed head, a unit vector of the world."""
    up = canonical_from_world[1, :3]
    return up / np.linalg.norm(up)


def life_size(canonical_from_world: Float[np.ndarray, "4 4"], unit_mm: float) -> float:
    """Ratio of the size of a posed head to that of the mean head, whose canonical ball has a radius of `unit_mm`."""
    return float(1 / (np.cbrt(np.linalg.det(canonical_from_world[:3, :3])) * unit_mm))


YAWS = 24
ROLLED_YAWS = 12
"""Number of headings that are tried about the mean cameras' up, and about each other direction."""
FITS_MM = 10.0
"""Cost (`_cost_mm`) of the first stages above which the search goes on. Of nine heads with one to three photographs it
was 2.1 to 6.3 about the right direction, and at least 20 about directions a quarter turn away.
"""
BETTER = 0.7
"""What a later search finds must cost so much less than what was found before."""
ROLLED_SIGMA, SNAP_DEG = 1.0, 20.0
"""Standard deviation of the tilt about a direction that is only tried, radians, and how far the head's own direction
may be from the cameras' that are turned by quarter turns.
"""
NECK_UNIT = -0.27
"""Outlines below this height of the canonical unit frame count little: clothes vary more than heads do."""


@dataclass(frozen=True)
class HeadFit:
    """A head fitted to masks.

    Attributes:
        canonical_from_world: Similarity from world mm to canonical unit space.
        code: Code of the shape model.
        up: Upward direction of the world about which the pose was found, a unit vector.
        overlap: Intersection over union of head and masks on the test pixels.
        outline_mm: Median distance between the head's and the masks' outlines above the shoulders, mm of a life-size
            head.
        misfit_mm: Mean distance between all of the outlines, each clamped at 20 mm, likewise.
    """

    canonical_from_world: Float[np.ndarray, "4 4"]
    code: Float[Tensor, " latent"]
    up: Float[np.ndarray, " 3"]
    overlap: float
    outline_mm: float
    misfit_mm: float


@dataclass(frozen=True)
class _Evidence:
    """What a head is fitted to.

    Attributes:
        shape_model: Heads to choose from.
        cameras: World mm.
        contours: Rays through the outlines of the masks.
        marked: Landmarks of each photograph; None or empty where there are none.
        landmark_sigma_px: Standard deviation of a mark in pictures 512 pixels wide.
    """

    shape_model: ShapeModel
    cameras: Sequence[Camera]
    contours: Contours
    marked: Sequence[MarkedLandmarks | None]
    landmark_sigma_px: float


_Start = tuple[Float[np.ndarray, "4 4"], PosePrior]
"""An initial canonical_from_world, and the prior that is fitted with."""


def fit_head(
    shape_model: ShapeModel,
    cameras: Sequence[Camera],
    masks: Sequence[Bool[np.ndarray, "_ _"]],
    centre_mm: Float[np.ndarray, " 3"],
    unit_mm: float,
    *,
    start: Float[np.ndarray, "4 4"] | None = None,
    effort: "Effort | None" = None,
    ignored: Sequence[Bool[np.ndarray, "_ _"]] | None = None,
    marked: Sequence[MarkedLandmarks | None] = (),
    landmark_sigma_px: float = 5.0,
) -> HeadFit:
    """Fits pose and code of the head that the masks show.

    The search begins at a given start, else at the poses that landmarks suggest, else in all headings of a life-size
    head that is upright in the mean of the cameras. Where what it finds does not fit the outlines, and no start is
    given, the next of these is tried, and at last heads that are upright in the cameras turned by quarter turns, as
    pictures are that were stored lying on their side.

    Args:
        shape_model: Heads to choose from.
        cameras: World mm.
        masks: One for each camera.
        centre_mm: Rough centre of the bust in the world, good to some 40 mm.
        unit_mm: Radius of the shape model's canonical ball, mm: the scale of a life-size head.
        start: Initial canonical_from_world, if the pose is known.
        effort: Number of iterations; THOROUGH by default.
        ignored: Pixels for which the masks are not valid, for each mask; none or empty where every pixel is valid.
        marked: Landmarks marked in each photograph; None or empty where there are none.
        landmark_sigma_px: Standard deviation of a mark in pictures 512 pixels wide.

    Raises:
        PriorError: The masks have no outline inside the pictures.
    """
    contours = contour_rays(cameras, masks, ignored)
    if len(contours.origins) < 20:
        raise PriorError(
            "the masks show no outline of the head away from the pictures' borders, so its pose cannot be found; "
            "give landmarks, or photographs that show the whole head"
        )
    prior = PosePrior(up_of(cameras), np.asarray(centre_mm, dtype=float), unit_mm)
    evidence = _Evidence(shape_model, cameras, contours, marked, landmark_sigma_px)
    plain, effort = replace(evidence, marked=()), effort or THOROUGH
    if start is not None:
        found, _ = _search(evidence, [(start, replace(prior, up=_up_near(start, cameras)))], effort)
    else:
        known = landmark_poses(cameras, marked, centre_mm, unit_mm, landmark_sigma_px) if marked else []
        if known:
            found, cost = _search(evidence, [(p, replace(prior, up=up_of_pose(p))) for p in known], effort)
            if cost > FITS_MM:
                found = _better(found, _searched_by_outlines(plain, prior, effort), cameras)
        else:
            found = _searched_by_outlines(plain, prior, effort)
    log.info(
        "head found: overlaps the masks by %.1f %%, outlines %.1f mm apart (median)",
        100 * found.overlap,
        found.outline_mm,
    )
    return found


def _searched_by_outlines(evidence: _Evidence, prior: PosePrior, effort: "Effort") -> HeadFit:
    """The head among all headings about the mean cameras' up; where it does not fit, about other directions too."""
    cameras = evidence.cameras
    found, cost = _search(evidence, _headings(cameras[0], prior), effort)
    if cost <= FITS_MM:
        return found
    starts: list[_Start] = []
    pose = cameras[0].world_from_camera
    for axis in (-pose[:3, 1], pose[:3, 0], pose[:3, 1], -pose[:3, 0]):
        up = up_of(cameras, axis)
        if np.degrees(np.arccos(np.clip(up @ prior.up, -1, 1))) > SNAP_DEG:
            rolled = replace(prior, up=up, upright_sigma=ROLLED_SIGMA)
            starts += _headings(cameras[0], rolled, ROLLED_YAWS)
    rolled_head, _ = _search(evidence, starts, effort)
    if _better(found, rolled_head, cameras) is found:
        return found
    log.info("the head lies on its side in the photographs: turned by quarter turns or more, it fits")
    return replace(rolled_head, up=_up_near(rolled_head.canonical_from_world, cameras))


def _up_near(pose: Float[np.ndarray, "4 4"], cameras: Sequence[Camera]) -> Float[np.ndarray, " 3"]:
    """Mean upward direction of the cameras, turned by the quarter turns that bring each nearest to that of a posed
    head; the head's own where they are far from it.
    """
    own = up_of_pose(pose)
    up = up_of(cameras, own)
    return up if np.degrees(np.arccos(np.clip(up @ own, -1, 1))) <= SNAP_DEG else own


def _better(found: HeadFit, later: HeadFit, cameras: Sequence[Camera]) -> HeadFit:
    """The later one of two heads if it fits much better."""
    return later if _cost_mm(later, cameras) < BETTER * _cost_mm(found, cameras) else found


def _search(evidence: _Evidence, starts: Sequence[_Start], effort: "Effort") -> tuple[HeadFit, float]:
    """The head that fits best among those that are refined from starts, and the least cost after the first stages."""
    coarse = replace(evidence, contours=_thinned(evidence.contours, 4))
    mean = torch.zeros(evidence.shape_model.latent_size)
    first = list(mapped(lambda start: _refine(coarse, start[0], mean, effort.coarse, start[1]), starts))
    costs = [_cost_mm(fit, evidence.cameras) for fit in first]
    order = np.argsort(costs, kind="stable")[: effort.finalists]
    best = mapped(
        lambda i: _refine(evidence, first[i].canonical_from_world, mean, effort.fine, starts[i][1]),
        [int(i) for i in order],
    )
    return min(best, key=lambda fit: _cost_mm(fit, evidence.cameras)), min(costs)


@dataclass(frozen=True)
class _Stage:
    """Iterations with one standard deviation of an outline (mm), one number of free components of the code, and one
    choice whether outliers such as a hat are discarded.
    """

    iterations: int
    sigma_mm: float
    components: int
    discards: bool = False


@dataclass(frozen=True)
class Effort:
    """The iterations of a fit.

    Attributes:
        coarse: Stages from every heading.
        fine: Stages from the best results of those.
        finalists: Number of those results.
    """

    coarse: Sequence[_Stage]
    fine: Sequence[_Stage]
    finalists: int


THOROUGH = Effort(
    (_Stage(3, 40.0, 0), _Stage(3, 15.0, 0), _Stage(2, 8.0, 4)),
    (_Stage(3, 10.0, 4), _Stage(3, 5.0, 16), _Stage(8, 2.5, 10_000), _Stage(5, 2.5, 10_000, True)),
    5,
)
POSE = Effort((_Stage(3, 40.0, 0), _Stage(2, 15.0, 16)), (_Stage(3, 10.0, 64), _Stage(3, 5.0, 10_000)), 2)
"""Enough for an initial pose of the full solver. Many components are free early: a mean head that must explain big
hair becomes too large, and stays so.
"""


def _refine(
    evidence: _Evidence,
    pose: Float[np.ndarray, "4 4"],
    code: Float[Tensor, " latent"],
    stages: Sequence[_Stage],
    pose_prior: PosePrior,
) -> HeadFit:
    for stage in stages:
        for _ in range(stage.iterations):
            pose, code = _step(evidence, pose, code, stage, pose_prior)
    return _judged(evidence, pose, code, pose_prior)


def _step(
    evidence: _Evidence,
    pose: Float[np.ndarray, "4 4"],
    code: Float[Tensor, " latent"],
    stage: _Stage,
    pose_prior: PosePrior,
) -> tuple[Float[np.ndarray, "4 4"], Float[Tensor, " latent"]]:
    """One step of Gauss–Newton over rotation, translation, log scale and the first components of the code."""
    shape_model, contours = evidence.shape_model, evidence.contours
    origins, directions = _canonical_rays(pose, contours.origins, contours.directions)
    head = shape_model.shape_of(code)
    points = closest_approach(head, origins, directions)
    sdf, normal = head.sdf_and_gradient(points)
    basis = head.basis(points)
    free = min(stage.components, len(code))
    # x moves by ω × x + t + s x when the pose is changed by a small similarity in the canonical frame.
    moved_by = similarity_jacobian(points, normal, (normal * points).sum(1) - sdf)
    jacobian = torch.cat([moved_by, basis[:, :free]], dim=1).double().numpy()
    sigma = stage.sigma_mm / pose_prior.unit_mm
    residual = sdf.double().numpy() / sigma
    weight = np.minimum(2.0 / np.maximum(np.abs(residual), 2.0), 1.0)  # Huber's
    if stage.discards:
        weight = 1.0 / (1.0 + (residual / 4.0) ** 2) ** 2  # Geman and McClure's
    weight *= np.where(points[:, 1].numpy() < NECK_UNIT, 0.1, 1.0)
    # Neighbouring outline points share their errors; about every fourth counts.
    weight *= min(1.0, 60.0 * max(1, len(residual) // 240) / len(residual))
    jacobian /= sigma

    precision, gradient = pose_prior.precision_and_gradient(pose)
    prior = np.concatenate([precision, np.ones(free)])
    prior_gradient = np.concatenate([gradient, code[:free].double().numpy()])
    normal_matrix = (jacobian * weight[:, None]).T @ jacobian + np.diag(prior)
    total = jacobian.T @ (weight * residual) + prior_gradient
    for marks, by_unknown in _landmark_rows(evidence, pose, code, free):
        normal_matrix += by_unknown.T @ by_unknown
        total += by_unknown.T @ marks
    update = -np.linalg.solve(normal_matrix, total)
    update[:7] = np.clip(update[:7], -0.15, 0.15)

    moved = code.clone()
    moved[:free] += torch.from_numpy(update[7:]).to(code.dtype)
    return small_similarity(update[:7]) @ pose, moved


def _landmark_rows(
    evidence: _Evidence, pose: Float[np.ndarray, "4 4"], code: Float[Tensor, " latent"], free: int
) -> list[tuple[Float[np.ndarray, " rows"], Float[np.ndarray, "rows unknowns"]]]:
    """Residuals of the landmarks of each photograph, in standard deviations times the root of their robust weights, and
    their derivatives by pose and the free components of the code. The other components count as their uncertainty.
    """
    found = []
    layout = Layout(len(code), len(evidence.cameras))
    for index, (camera, marks) in enumerate(zip(evidence.cameras, evidence.marked, strict=False)):
        if marks is None:
            continue
        pinhole = Pinhole.from_camera(camera, pose)
        rows = landmarks(marks.positions(code), marks.basis, pinhole, index, marks.pixels, layout)
        mark_px = evidence.landmark_sigma_px * max(camera.width, camera.height) / 512
        sigma = (rows.jacobian[:, free : layout.latent].square().sum(1) + mark_px**2).sqrt()
        scaled = geman_mcclure_weight(rows.residual / sigma).sqrt() / sigma
        columns = torch.cat([rows.jacobian[:, layout.similarity], rows.jacobian[:, :free]], dim=1)
        found.append(
            ((rows.residual * scaled).double().numpy(), (columns * scaled[:, None]).double().numpy())
        )
    return found


def _judged(
    evidence: _Evidence,
    pose: Float[np.ndarray, "4 4"],
    code: Float[Tensor, " latent"],
    pose_prior: PosePrior,
) -> HeadFit:
    """Measures how well a pose and code agree with the masks."""
    head, contours = evidence.shape_model.shape_of(code), evidence.contours
    least, above = [], []
    for rays in (
        (contours.inside_origins, contours.inside_directions),
        (contours.origins, contours.directions),
    ):
        origins, directions = _canonical_rays(pose, *rays)
        points = closest_approach(head, origins, directions)
        least.append(head.sdf(points).double().numpy())
        above.append(points[:, 1].numpy() > NECK_UNIT)
    inside, shown = least[0] < 0, contours.inside
    overlap = float((inside & shown).sum() / max((inside | shown).sum(), 1))
    distance_mm = np.abs(least[1]) * pose_prior.unit_mm
    upper = distance_mm[above[1]] if above[1].any() else distance_mm
    misfit_mm = float(np.minimum(distance_mm, 20.0).mean())
    return HeadFit(pose, code, pose_prior.up, overlap, float(np.median(upper)), misfit_mm)


def _canonical_rays(
    pose: Float[np.ndarray, "4 4"], origins: np.ndarray, directions: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Rays in canonical unit space, directions of length 1."""
    turned = directions @ pose[:3, :3].T
    turned /= np.linalg.norm(turned, axis=1, keepdims=True)
    moved = origins @ pose[:3, :3].T + pose[:3, 3]
    return torch.from_numpy(moved).float(), torch.from_numpy(turned).float()


def _headings(camera: Camera, pose_prior: PosePrior, count: int = YAWS) -> list[_Start]:
    """Upright poses, life-size, at the given centre, in all headings; the first looks towards the camera."""
    up, centre_mm = pose_prior.up, pose_prior.centre_mm
    towards = camera.centre - centre_mm
    front = towards - (towards @ up) * up
    if np.linalg.norm(front) < 1e-3 * np.linalg.norm(towards):  # the camera looks down on the head
        front = np.cross(up, np.eye(3)[int(np.abs(up).argmin())])
    front /= np.linalg.norm(front)
    side = np.cross(up, front)
    poses = []
    for yaw in np.arange(count) * (2 * np.pi / count):
        forward = np.cos(yaw) * front + np.sin(yaw) * side
        axes = np.stack([np.cross(up, forward), up, forward])  # canonical x, y, z in the world
        pose = np.eye(4)
        pose[:3, :3] = axes / pose_prior.unit_mm
        pose[:3, 3] = -pose[:3, :3] @ centre_mm
        poses.append((pose, pose_prior))
    return poses


def _cost_mm(fit: HeadFit, cameras: Sequence[Camera]) -> float:
    """The cost by which headings are compared: outlines, overlap, and whether some camera sees the face from the front.

    An outline is nearly the same from the front and from behind, and people photograph faces.
    """
    pose = fit.canonical_from_world
    centres = np.stack([camera.centre for camera in cameras]) @ pose[:3, :3].T + pose[:3, 3]
    frontal = float((centres[:, 2] / np.linalg.norm(centres, axis=1)).max())
    return fit.misfit_mm + 20.0 * (1 - fit.overlap) + (1 - frontal) + (20.0 if frontal < 0 else 0.0)


def _thinned(contours: Contours, step: int) -> Contours:
    return replace(
        contours,
        origins=contours.origins[::step],
        directions=contours.directions[::step],
        inside_origins=contours.inside_origins[::step],
        inside_directions=contours.inside_directions[::step],
        inside=contours.inside[::step],
    )
