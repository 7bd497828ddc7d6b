"""How far a reconstruction can be trusted: what was seen, how the fit agrees with each photograph, and warnings.

It needs the mesh, cameras, photographs and masks only, so it says the same of every method.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from recon.calibration import is_calibrated, photograph_names
from recon.fitting import up_of_pose
from recon.geometry.outlines import Excess, agreement, excess
from recon.geometry.surface import Surface
from recon.rendering import CameraBundle
from recon.rendering.visibility import Visibility, mesh_visibility
from recon.scene import Camera, View
from recon.scene.camera import common_up
from recon.scene.consistency import MaskedView, disagreement_mm
from recon.systems.report.overlays import write_overlay, write_uncertainty
from recon.systems.report.warnings import EXCESS_SHARE, LEAST_PX, OUTLINE_P90_MM, Fitted, warnings
from recon.systems.stages import Run
from recon.threads import mapped

log = logging.getLogger(__name__)

Deviation = Callable[[Float[Tensor, "points 3"]], Float[Tensor, " points"]]
_CHUNK = 65_536


@dataclass(frozen=True, eq=False)
class Diagnostics:
    """What is known of a reconstruction besides its shape.

    Attributes:
        seen: Number of input photographs that show each vertex in a pixel that is not ignored.
        std_mm: Standard deviation of the surface along its normal, or None where the method does not know it.
        seen_share: Share of the surface that some input photograph shows in pixels that are not ignored.
        fitted: Agreement with each input view.
        life_size: Size of the head against the mean head, where known.
        warnings: Plain sentences; empty if all is well.
    """

    seen: UInt8[np.ndarray, " vertices"]
    std_mm: Float[np.ndarray, " vertices"] | None
    seen_share: float
    fitted: Sequence[Fitted]
    life_size: float | None
    warnings: Sequence[str]

    def vertex_data(self) -> dict[str, np.ndarray]:
        """Numbers of the vertices for `recon.meshing.save`."""
        return {"seen": self.seen} if self.std_mm is None else {"std_mm": self.std_mm, "seen": self.seen}

    def std_holds(self, mesh: trimesh.Trimesh, truth: trimesh.Trimesh, points: int = 4000) -> float | None:
        """Share of the surface that is no further from the truth than one standard deviation; 0.68 is as promised.

        Args:
            mesh: The surface, world mm, whose vertices the deviations belong to.
            truth: The true one, world mm.
            points: How many of the vertices are asked, evenly over their order.

        Returns:
            None where no deviation is known.
        """
        if self.std_mm is None:
            return None
        at = np.linspace(0, len(self.std_mm) - 1, min(points, len(self.std_mm))).astype(int)
        distances = Surface(truth).closest(np.asarray(mesh.vertices)[at]).distances
        return _rounded(float((distances <= self.std_mm[at]).mean()))

    def metrics(self) -> dict[str, Any]:
        """What metrics.json takes up; null where something is not known."""
        apart = [f.median_mm for f in self.fitted]
        known = not np.isnan(apart).all()
        return {
            "outline_mm": _rounded(float(np.nanmean(apart))) if known else None,
            "outline_worst_mm": _rounded(float(np.nanmax(apart))) if known else None,
            "outlines_counted": [_rounded(f.outlines.counted) for f in self.fitted],
            "landmark_mm": [None if f.landmark_mm is None else _rounded(f.landmark_mm) for f in self.fitted],
            "seen_share": _rounded(self.seen_share),
            "std_mm": None if self.std_mm is None else _rounded(float(np.median(self.std_mm))),
            "life_size": None if self.life_size is None else _rounded(self.life_size),
            "warnings": list(self.warnings),
        }


def write(run: Run) -> dict[str, Any]:
    """Judge the mesh of a run, write renders/overlay_*.png and renders/uncertainty.png, and log the warnings.

    Input views are seen from the cameras that training left. What is known of each vertex goes to the mesh's
    `vertex_data`.

    Returns:
        `Diagnostics.metrics`, and `std_holds`: how often the predicted deviation holds, null without ground truth or
        deviation.
    """
    assert run.surface is not None
    mesh, scene = run.surface.mesh, run.scene
    ids = list(dict.fromkeys(run.views))
    trained = in_world(run.system.cameras, [scene.views[i].camera for i in run.views], scene.scale_mat)
    std_mm = None
    if run.start.deviation is not None:
        device = run.system.cameras.centres.device
        std_mm = deviation_mm(run.start.deviation, np.asarray(mesh.vertices), scene.scale_mat, device)
    judged = judge(
        mesh,
        run.surface.normals,
        [scene.views[i] for i in ids],
        [trained[run.views.index(i)] for i in ids],
        run.folder / "renders",
        std_mm=std_mm,
        life_size=run.start.life_size,
        front=facing(scene.front(), scene.scale_mat),
        landmarks=run.surface.landmarks,
        names=photograph_names(scene.root) if is_calibrated(scene.root) else {},
        canonical_from_world=run.start.canonical_from_world,
    )
    run.surface.vertex_data |= judged.vertex_data()
    truth = scene.ground_truth if run.cfg.evaluate else None
    return {"std_holds": None if truth is None else judged.std_holds(mesh, truth.mesh()), **judged.metrics()}


def judge(
    mesh: trimesh.Trimesh,
    normals: Float[np.ndarray, "vertices 3"],
    views: Sequence[View],
    cameras: Sequence[Camera],
    folder: Path | None = None,
    *,
    std_mm: Float[np.ndarray, " vertices"] | None = None,
    life_size: float | None = None,
    front: Float[np.ndarray, " 3"] | None = None,
    landmarks: Mapping[str, int] | None = None,
    names: Mapping[int, str] | None = None,
    canonical_from_world: Float[np.ndarray, "4 4"] | None = None,
) -> Diagnostics:
    """Judge a mesh against photographs, without a run.

    Args:
        mesh: World mm, closed.
        normals: Unit vectors out of it, one per vertex.
        views: Input views.
        cameras: Their cameras, as given or as corrected.
        folder: Where the pictures go; None for none.
        std_mm: Standard deviation of the surface along its normal.
        life_size: Size of the head against the mean head.
        front: Where the face looks, world; without it, and without a pose, the pictures look from the mean of the
            cameras.
        canonical_from_world: Pose of the head, where it is known.
        landmarks: Vertices of the mesh that are facial landmarks, by name; they are compared with those of the views.
        names: Files of the photographs by view, as users know them; those of the scene by default.
    """
    looked = partial(_looked, mesh, normals, folder, landmarks or {}, names or {})
    seen, pictured, fitted = (
        np.zeros(len(mesh.vertices), np.uint8),
        np.zeros(len(mesh.vertices), np.uint8),
        [],
    )
    for in_picture, counted, agreed in mapped(looked, list(zip(views, cameras, strict=True))):
        pictured += in_picture
        seen += counted
        fitted.append(agreed)
    fitted = _with_gaps(fitted, mesh, views, cameras)
    if folder is not None:
        axes = frame_of(cameras, np.asarray(mesh.vertices).mean(axis=0), front, canonical_from_world)
        write_uncertainty(folder / "uncertainty.png", mesh, normals, seen, std_mm, axes)
    # What is ignored, such as a body, no further photograph would show: it is not asked for.
    said = warnings(fitted, _share(mesh, pictured), float(np.ptp(mesh.vertices, axis=0).max()), life_size)
    for sentence in said:
        log.warning("%s", sentence)
    return Diagnostics(seen, std_mm, _share(mesh, seen), fitted, life_size, said)


def _looked(
    mesh: trimesh.Trimesh,
    normals: Float[np.ndarray, "vertices 3"],
    folder: Path | None,
    landmarks: Mapping[str, int],
    names: Mapping[int, str],
    pair: tuple[View, Camera],
) -> tuple[Bool[np.ndarray, " vertices"], Bool[np.ndarray, " vertices"], Fitted]:
    """What an input view shows of the mesh, what of it in pixels that count, and how both agree; writes the overlay."""
    view, camera = pair
    found, mask, ignored = mesh_visibility(mesh, normals, camera), view.mask(), view.ignored()
    fitted = _compared(mesh, view, camera, mask, ignored, found, landmarks)
    fitted = replace(fitted, name=names.get(view.index, view.image_path.name))
    if folder is not None:
        write_overlay(
            folder / f"overlay_{view.index:04d}.png",
            view.image().astype(np.float64),
            mask,
            found.silhouette,
            (fitted.label, fitted.sentence()),
            ignored,
        )
    return found.seen, found.seen & ~_ignored_at(mesh, ignored, camera), fitted


def _ignored_at(
    mesh: trimesh.Trimesh, ignored: Bool[np.ndarray, "h w"], camera: Camera
) -> Bool[np.ndarray, " vertices"]:
    """Vertices that a camera sees in ignored pixels of its photograph; those outside of the picture are not."""
    result = np.zeros(len(mesh.vertices), bool)
    if not ignored.any():
        return result
    pixels, depth = camera.project(np.asarray(mesh.vertices, float))
    inside = np.flatnonzero(
        (depth > 0) & ((pixels >= 0) & (pixels < [camera.width, camera.height])).all(axis=1)
    )
    columns, rows = pixels[inside].astype(int).T
    result[inside] = ignored[rows, columns]
    return result


def _with_gaps(
    fitted: Sequence[Fitted], mesh: trimesh.Trimesh, views: Sequence[View], cameras: Sequence[Camera]
) -> list[Fitted]:
    """The agreement with how far the masks agree among themselves, where some view is apart from the surface."""
    if len(views) < 2 or not any(each.apart for each in fitted):
        return list(fitted)
    low, high = np.asarray(mesh.bounds)
    radius = float(np.linalg.norm(high - low)) * 0.6  # the masks may show more than was made
    unit_from_world = np.diag([1 / radius] * 3 + [1.0])
    unit_from_world[:3, 3] = -(low + high) / 2 / radius
    masked = [
        MaskedView.from_mask(camera.transformed(unit_from_world), view.mask(), view.ignored())
        for view, camera in zip(views, cameras, strict=True)
    ]
    gaps = disagreement_mm(masked, radius)
    return [replace(each, gap_mm=float(gap)) for each, gap in zip(fitted, gaps, strict=True)]


def _compared(
    mesh: trimesh.Trimesh,
    view: View,
    camera: Camera,
    mask: Bool[np.ndarray, "h w"],
    ignored: Bool[np.ndarray, "h w"],
    found: Visibility,
    landmarks: Mapping[str, int],
) -> Fitted:
    """Agreement of one view, with where it is apart if it is; a pixel is as wide as on the plane through the middle of
    the mesh.
    """
    depth = float(camera.project(np.asarray(mesh.vertices).mean(axis=0, keepdims=True))[1][0])
    pixel_mm = abs(depth) / float(camera.intrinsics[0, 0])
    silhouette = found.silhouette
    fitted = Fitted(
        view.index,
        agreement(mask, silhouette, ignored),
        pixel_mm,
        landmark_mm=_landmark_mm(mesh, view, camera, landmarks),
    )
    if not fitted.apart:
        return fitted
    limit = max(OUTLINE_P90_MM / pixel_mm, 2 * LEAST_PX)
    return replace(
        fitted,
        mask_beyond=_worth_a_word(excess(mask, silhouette, limit, ignored)),
        head_beyond=_worth_a_word(excess(silhouette, mask, limit, ignored)),
    )


def _worth_a_word(part: Excess | None) -> Excess | None:
    return part if part is not None and part.share > EXCESS_SHARE else None


def _landmark_mm(
    mesh: trimesh.Trimesh, view: View, camera: Camera, landmarks: Mapping[str, int]
) -> float | None:
    """Median distance of the landmarks that a view shows from those of the mesh, across the line of sight."""
    shown = view.landmarks()
    names = [name for name in shown if name in landmarks]
    if not names:
        return None
    pixels, depth = camera.project(np.asarray(mesh.vertices)[[landmarks[name] for name in names]])
    apart = np.linalg.norm(pixels - np.stack([shown[name] for name in names]), axis=1)
    return float(np.median(apart * np.abs(depth)) / camera.intrinsics[0, 0])


def in_world(
    bundle: CameraBundle, given: Sequence[Camera], world_from_unit: Float[np.ndarray, "4 4"]
) -> list[Camera]:
    """The cameras of a bundle, world mm, with the intrinsics and sizes of those that it was made from."""
    rotations = bundle.rotations().detach().cpu().double().numpy()
    centres = bundle.centres.detach().cpu().double().numpy()
    result = []
    for camera, rotation, centre in zip(given, rotations, centres, strict=True):
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = rotation, centre
        in_unit = Camera(camera.intrinsics, pose, camera.width, camera.height)
        result.append(in_unit.transformed(world_from_unit))
    return result


def deviation_mm(
    deviation: Deviation,
    vertices: Float[np.ndarray, "vertices 3"],
    world_from_unit: Float[np.ndarray, "4 4"],
    device: torch.device,
) -> Float[np.ndarray, " vertices"]:
    """Standard deviation in mm at vertices in the world."""
    points = in_unit(vertices, world_from_unit).to(device)

    def of(part: Float[Tensor, "points 3"]) -> Float[np.ndarray, " points"]:
        with torch.no_grad():
            return deviation(part).cpu().double().numpy()

    parts = list(mapped(of, points.split(_CHUNK)))
    return np.concatenate(parts) * np.cbrt(np.linalg.det(world_from_unit[:3, :3]))


def in_unit(
    vertices: Float[np.ndarray, "vertices 3"], world_from_unit: Float[np.ndarray, "4 4"]
) -> Float[Tensor, "vertices 3"]:
    """Points of the world in unit space."""
    inverse = np.linalg.inv(world_from_unit)
    return torch.from_numpy(vertices @ inverse[:3, :3].T + inverse[:3, 3]).float()


def facing(
    front: Float[np.ndarray, " 3"] | None, world_from_unit: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, " 3"] | None:
    """A direction of unit space in the world."""
    return None if front is None else world_from_unit[:3, :3] @ front


def frame_of(
    cameras: Sequence[Camera],
    middle: Float[np.ndarray, " 3"],
    front: Float[np.ndarray, " 3"] | None,
    canonical_from_world: Float[np.ndarray, "4 4"] | None = None,
) -> Float[np.ndarray, "3 3"]:
    """Axes right, down and away of a viewer who looks at the face; down and, without `front`, away are those of the
    posed head where its pose is known, else those that the cameras have in common.
    """
    if canonical_from_world is None:
        down = -common_up(cameras, middle)
    else:
        down = -up_of_pose(canonical_from_world)
        front = canonical_from_world[2, :3] if front is None else front
    if front is None:
        towards = [camera.centre - middle for camera in cameras]
        front = np.mean([t / np.linalg.norm(t) for t in towards], axis=0)
    away = -(front - (front @ down) * down)
    length = float(np.linalg.norm(away))
    if length < 1e-6:  # cameras all around: any side will do
        away, length = np.cross(down, np.eye(3)[int(np.abs(down).argmin())]), 1.0
    away = away / np.linalg.norm(away)
    return np.stack([np.cross(down, away), down, away])


def _share(mesh: trimesh.Trimesh, seen: UInt8[np.ndarray, " vertices"]) -> float:
    """Share of the surface's area that is seen."""
    areas = np.asarray(mesh.area_faces)
    return float((areas * (seen[np.asarray(mesh.faces)] > 0).mean(axis=1)).sum() / areas.sum())


def _rounded(value: float) -> float | None:
    return round(value, 3) if np.isfinite(value) else None
