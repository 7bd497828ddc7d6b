"""Poses of the mean head by landmarks that are marked in photographs with cameras, found without any start."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation

from recon.fitting.residuals import MarkedLandmarks
from recon.scene import Camera

LEAST_LANDMARKS = 3
"""Number of different landmarks that fix a pose, given about how large a head is and where it stands."""
SIZE_SIGMA, CENTRE_SIGMA_MM = 0.1, 60.0
"""Standard deviations of the logarithm of the head's size and of its distance from the given centre."""
ANNEALING = (16.0,) * 8 + (8.0,) * 4 + (4.0,) * 4 + (2.0,) * 4 + (1.0,) * 10
"""Factor of the standard deviations in each step: outliers lose their weight once the others agree."""
AWAY_COST = 40.0
"""Cost of a landmark that would be seen through the head, as a sum of squares in standard deviations."""
FINALISTS, FINALIST_COST, FINALIST_ANGLE_DEG = 3, 12.0, 15.0
"""Largest number of poses, by how much their cost may exceed the least one, and how far apart their rotations are."""


@dataclass(frozen=True)
class _Marks:
    """Landmarks of all photographs in one list.

    Attributes:
        places: On the mean head, canonical unit space.
        spread: Standard deviation of each coordinate of a place among heads, canonical unit.
        pixels: In the photograph.
        projection: Projection matrix of the photograph's camera, world mm to homogeneous pixels.
        centres: Centre of that camera, world mm.
        focal: Focal length of that camera, pixels.
        sigma_px: Standard deviation of a mark, pixels.
    """

    places: Float[np.ndarray, "marks 3"]
    spread: Float[np.ndarray, " marks"]
    pixels: Float[np.ndarray, "marks 2"]
    projection: Float[np.ndarray, "marks 3 4"]
    centres: Float[np.ndarray, "marks 3"]
    focal: Float[np.ndarray, " marks"]
    sigma_px: Float[np.ndarray, " marks"]


def enough_landmarks(marked: Sequence[MarkedLandmarks | None]) -> bool:
    """Whether so many different landmarks are marked that they fix a pose."""
    places = [np.round(marks.places.numpy(), 6) for marks in marked if marks is not None]
    return bool(places) and len(np.unique(np.concatenate(places), axis=0)) >= LEAST_LANDMARKS


def landmark_poses(
    cameras: Sequence[Camera],
    marked: Sequence[MarkedLandmarks | None],
    centre_mm: Float[np.ndarray, " 3"],
    unit_mm: float,
    sigma_px: float,
) -> list[Float[np.ndarray, "4 4"]]:
    """Similarities canonical_from_world that explain the landmarks, the best one first.

    Gauss–Newton over rotation, translation and size from the 24 rotations of a cube, with the weights of Geman and
    McClure; no direction is taken to be up.

    Args:
        cameras: World mm.
        marked: Landmarks of each photograph; None where there are none.
        centre_mm: Rough centre of the head, world mm.
        unit_mm: Radius of the canonical ball of a life-size head.
        sigma_px: Standard deviation of a mark in pictures 512 pixels wide.

    Returns:
        Several where the landmarks leave a choice; none where there are too few of them.
    """
    if not enough_landmarks(marked):
        return []
    marks = _gathered(cameras, marked, sigma_px)
    rotation = Rotation.create_group("O").as_matrix()
    place = np.repeat(np.asarray(centre_mm, dtype=float)[None], len(rotation), axis=0)
    size = np.zeros(len(rotation))
    for factor in ANNEALING:
        residual, jacobian, _ = _linearised(marks, rotation, place, size, unit_mm)
        weight = (1.0 + (residual / (3.0 * factor)) ** 2) ** -2 / factor**2
        matrix = np.einsum("sri,sr,srj->sij", jacobian, weight, jacobian)
        gradient = np.einsum("sri,sr->si", jacobian, weight * residual)
        precision = np.array([1e-3] * 3 + [CENTRE_SIGMA_MM**-2] * 3 + [SIZE_SIGMA**-2])
        gradient[:, 3:6] += (place - centre_mm) * precision[3]
        gradient[:, 6] += size * precision[6]
        step = -np.linalg.solve(matrix + np.diag(precision), gradient[..., None])[..., 0]
        turn = step[:, :3] / np.maximum(np.linalg.norm(step[:, :3], axis=1, keepdims=True) / 0.5, 1.0)
        rotation = Rotation.from_rotvec(turn).as_matrix() @ rotation
        place = place + np.clip(step[:, 3:6], -60.0, 60.0)
        size = np.clip(size + np.clip(step[:, 6], -0.1, 0.1), -0.5, 0.5)
    residual, _, away = _linearised(marks, rotation, place, size, unit_mm)
    square = residual**2
    cost = (square / (1.0 + square / 9.0)).sum(axis=1) + AWAY_COST * away.sum(axis=1)
    cost += (((place - centre_mm) / CENTRE_SIGMA_MM) ** 2).sum(axis=1) + (size / SIZE_SIGMA) ** 2
    return [_pose(rotation[i], place[i], unit_mm * np.exp(size[i])) for i in _finalists(cost, rotation)]


def _gathered(cameras: Sequence[Camera], marked: Sequence[MarkedLandmarks | None], sigma_px: float) -> _Marks:
    parts = []
    for camera, marks in zip(cameras, marked, strict=True):
        if marks is None:
            continue
        count = len(marks.pixels)
        spread = marks.basis.square().sum(dim=(1, 2)).div(3).sqrt()
        parts.append(
            (
                marks.places.double().numpy(),
                spread.double().numpy(),
                marks.pixels.double().numpy(),
                np.repeat(camera.projection[None], count, axis=0),
                np.repeat(camera.centre[None], count, axis=0),
                np.full(count, camera.intrinsics[0, 0]),
                np.full(count, sigma_px * max(camera.width, camera.height) / 512),
            )
        )
    return _Marks(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _linearised(
    marks: _Marks,
    rotation: Float[np.ndarray, "starts 3 3"],
    place: Float[np.ndarray, "starts 3"],
    size: Float[np.ndarray, " starts"],
    unit_mm: float,
) -> tuple[
    Float[np.ndarray, "starts rows"], Float[np.ndarray, "starts rows 7"], Bool[np.ndarray, "starts marks"]
]:
    """Residuals in standard deviations, their derivatives by rotation, translation and logarithm of size, and which
    landmarks would be seen from behind.
    """
    scale = unit_mm * np.exp(size)[:, None, None]
    arm = scale * np.einsum("sij,nj->sni", rotation, marks.places)
    points = arm + place[:, None]
    local = np.einsum("nij,snj->sni", marks.projection[..., :3], points) + marks.projection[..., 3]
    depth = np.maximum(local[..., 2], 1.0)
    pixels = local[..., :2] / depth[..., None]
    sigma = np.hypot(marks.sigma_px, marks.spread * scale[..., 0] * marks.focal / depth)
    by_point = (marks.projection[None, :, :2, :3] - pixels[..., None] * marks.projection[None, :, 2:, :3]) / (
        depth * sigma
    )[..., None, None]
    turned = np.cross(arm[:, :, None], by_point)
    jacobian = np.concatenate(
        [turned, by_point, (by_point * arm[:, :, None]).sum(-1, keepdims=True)], axis=-1
    )
    residual = (pixels - marks.pixels) / sigma[..., None]
    # A landmark of the face points out of the middle of the head, near which the canonical origin is.
    away = (arm * (marks.centres - points)).sum(-1) < 0
    rows = residual.shape[1] * 2
    return residual.reshape(len(size), rows), jacobian.reshape(len(size), rows, 7), away


def _finalists(cost: Float[np.ndarray, " starts"], rotation: Float[np.ndarray, "starts 3 3"]) -> list[int]:
    """Numbers of the poses of least cost that differ from each other."""
    chosen: list[int] = []
    for index in np.argsort(cost):
        traces = [np.trace(rotation[index].T @ rotation[other]) for other in chosen]
        apart = np.degrees(np.arccos(np.clip((np.array(traces) - 1) / 2, -1, 1)))
        if len(chosen) < FINALISTS and cost[index] <= cost.min() + FINALIST_COST:
            if not len(apart) or apart.min() > FINALIST_ANGLE_DEG:
                chosen.append(int(index))
    return chosen


def _pose(
    rotation: Float[np.ndarray, "3 3"], place: Float[np.ndarray, " 3"], size_mm: float
) -> Float[np.ndarray, "4 4"]:
    """canonical_from_world of a head of that rotation, place and size."""
    pose = np.eye(4)
    pose[:3, :3] = rotation.T / size_mm
    pose[:3, 3] = -pose[:3, :3] @ place
    return pose
