"""From photographs without cameras and masks to a scene in the H3DS layout, with cameras, masks and a check sheet."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from recon.calibration.bundle import BundleSettings
from recon.calibration.check_sheet import write_check_sheet
from recon.calibration.joint import JointFit, joint_fit, without_body, zoomed
from recon.calibration.landmarks import LandmarkModel
from recon.calibration.masks import head_mesh, silhouette, with_head
from recon.calibration.observing import ObservedPhotograph
from recon.calibration.placing import (
    SOLVER_LONG_SIDE,
    PlacedPhotograph,
    bust_window,
    focal_groups,
    has_landmarks,
    placed_by_landmarks,
    placed_by_outlines,
    windowed,
)
from recon.calibration.report import CalibratedScene, PhotographReport, write_report
from recon.perception import PhotographObservation
from recon.priors.pca.shape_model import PCAShapeModel
from recon.priors.weights import ShapePrior
from recon.scene import Camera, h3ds
from recon.scene import open as open_scene
from recon.scene.annotations import write_pixels
from recon.scene.h3ds.layout import PHOTOGRAPHS

log = logging.getLogger(__name__)

SIZE_SIGMA = 0.06
"""Standard deviation of people's sizes about the mean head's (logarithm)."""
SHEET = "calibration.png"


def scene_from_photographs(
    seen: Sequence[PhotographObservation],
    out: Path | str,
    prior: ShapePrior,
    *,
    focal_mm: float | None = None,
    interpupillary_mm: float | None = None,
    long_side: int = 1024,
    bundle: BundleSettings | None = None,
    landmarks: LandmarkModel | None = None,
    overwrite: bool = False,
) -> CalibratedScene:
    """Finds cameras and writes a scene.

    The world is upright, in millimetres, the head at its middle and of the mean head's size, unless a length is given.

    Args:
        seen: Photographs of one person, as perception sees them.
        out: Folder of the scene; the one that holds it becomes an H3DS root.
        prior: A linear shape model with face points, such as the shipped one.
        focal_mm: Focal length of all of them, equivalent to that of 35 mm film; None for what each file tells.
        interpupillary_mm: Distance of the person's pupils, where it is known.
        long_side: Most pixels of the scene's pictures, which show the bust alone.
        bundle: How landmarks are put together.
        landmarks: Landmarks on the prior's heads; made from it by default.
        overwrite: Replace a scene that is there.

    Raises:
        SceneError: No photograph shows a face from before, or the scene exists.
        PriorError: The prior is not a linear one with face points.
    """
    photographs = [ObservedPhotograph.from_observation(each, focal_mm) for each in seen]
    model = landmarks or LandmarkModel.from_prior(prior)
    placed, refused = placed_by_landmarks(photographs, model, bundle or BundleSettings())
    placed, still = placed_by_outlines(photographs, placed, refused, prior, model)
    order = sorted(placed)
    fit = _fitted(photographs, placed, order, prior, model)
    views = [windowed(photographs[index], placed[index].camera, long_side) for index in order]
    cameras = [
        replace(zoomed(camera, factor), world_from_camera=fitted.world_from_camera)
        for fitted, factor, (_, camera) in zip(fit.cameras, fit.focal_factors, views, strict=True)
    ]
    mesh = head_mesh(fit.shape, prior.canonical)
    heads = [silhouette(mesh, camera) for camera in cameras]
    shown = _masked_by_head(views, cameras, heads, fit.outline_mm)
    scale, size = _size(prior, fit, interpupillary_mm)
    world = np.diag([scale, scale, scale, 1.0])
    folder = _write(Path(out), shown, cameras, world, prior, model, fit, overwrite)
    result = CalibratedScene(
        open_scene(folder),
        np.linalg.inv(world @ prior.canonical.mm_from_unit),
        fit.code,
        tuple(_reports(photographs, placed, refused | still, order, cameras)),
        fit.outline_mm,
        size,
    )
    write_report(folder, result, scale)
    write_check_sheet(folder / SHEET, shown, cameras, mesh, heads, result.text())
    return result


def _fitted(
    photographs: Sequence[ObservedPhotograph],
    placed: Mapping[int, PlacedPhotograph],
    order: Sequence[int],
    prior: ShapePrior,
    model: LandmarkModel,
) -> JointFit:
    """The joint fit, on pictures of a size that it needs no more than."""
    views = [windowed(photographs[index], placed[index].camera, SOLVER_LONG_SIDE) for index in order]
    counts = [placed[index].how == "landmarks" for index in order]
    groups = focal_groups([photographs[index] for index in order])
    return joint_fit(
        prior,
        model,
        [view for view, _ in views],
        [camera for _, camera in views],
        counts,
        focal_groups=groups,
    )


def _masked_by_head(
    views: Sequence[tuple[ObservedPhotograph, Camera]],
    cameras: Sequence[Camera],
    heads: Sequence[Bool[np.ndarray, "_ _"]],
    outline_mm: float,
) -> list[ObservedPhotograph]:
    """Photographs with masks judged anew by where the head is seen, and what is below the collar ignored. The fit is
    not made again: it hardly changes with the masks.
    """
    return [
        without_body(with_head(view, camera, head, outline_mm), camera)
        for (view, _), camera, head in zip(views, cameras, heads, strict=True)
    ]


def _size(prior: ShapePrior, fit: JointFit, interpupillary_mm: float | None) -> tuple[float, str]:
    """World mm per canonical mm, and what is known of it."""
    network = prior.network
    assert isinstance(network, PCAShapeModel)
    code = fit.code.astype(np.float32)
    places = network.landmark_mean.numpy() + network.landmark_basis.numpy() @ code
    at = dict(zip(network.landmark_names, places, strict=True))
    right = (at["landmark_36"] + at["right_eye"]) / 2
    left = (at["landmark_45"] + at["left_eye"]) / 2
    apart = float(np.linalg.norm(left - right))
    if interpupillary_mm is None:
        return 1.0, (
            f"the head's size is a guess (± {100 * SIZE_SIGMA:.0f} %): photographs do not tell it; pupils are "
            f"{apart:.0f} mm apart here, say interpupillary_mm= to set it"
        )
    return interpupillary_mm / apart, f"the head's size is set by pupils {interpupillary_mm:g} mm apart"


def _reports(
    photographs: Sequence[ObservedPhotograph],
    placed: Mapping[int, PlacedPhotograph],
    refused: Mapping[int, str],
    order: Sequence[int],
    final: Sequence[Camera],
) -> list[PhotographReport]:
    result = []
    for index, each in enumerate(photographs):
        if index not in placed:
            result.append(
                PhotographReport(each.name, None, refused[index], each.focal_source, remarks=each.warnings)
            )
            continue
        own, camera = placed[index], final[order.index(index)]
        turn = camera.world_from_camera[:3, :3] @ own.camera.world_from_camera[:3, :3].T
        source = (
            each.focal_source if each.focal_px else f"a guess ({each.focal_source or 'nothing tells it'})"
        )
        result.append(
            PhotographReport(
                each.name,
                order.index(index),
                own.how,
                source,
                math.degrees(math.atan2(camera.centre[0], camera.centre[2])),
                own.residual_mm,
                own.uncertainty,
                math.degrees(math.acos(np.clip((np.trace(turn) - 1) / 2, -1, 1))),
                float(np.linalg.norm(camera.centre - own.camera.centre)),
                each.shares(bust_window(own.camera, SOLVER_LONG_SIDE)),
                own.remarks + each.warnings,
            )
        )
    return result


def _write(
    out: Path,
    shown: Sequence[ObservedPhotograph],
    cameras: Sequence[Camera],
    world: Float[np.ndarray, "4 4"],
    prior: ShapePrior,
    model: LandmarkModel,
    fit: JointFit,
    overwrite: bool,
) -> Path:
    """Writes the scene, and returns its folder. Cameras are those of the canonical frame."""
    turns = [abs(math.atan2(camera.centre[0], camera.centre[2])) for camera in cameras]
    frontal_first = sorted(range(len(shown)), key=turns.__getitem__)  # as in the lists of H3DS

    def extras(folder: Path) -> None:
        for index, (view, camera) in enumerate(zip(shown, cameras, strict=True)):
            marks = named_landmarks(view, camera, prior, model, fit.code)
            if marks:
                write_pixels(marks, folder / "landmarks" / f"img_{index:04d}.json")

    return h3ds.write_scene(
        out.parent,
        out.name,
        images=[view.image for view in shown],
        masks=[view.mask for view in shown],
        cameras=[camera.transformed(world) for camera in cameras],
        scale_mat=world @ prior.canonical.mm_from_unit,
        mesh=None,
        ignored={index: view.ignored for index, view in enumerate(shown) if view.ignored is not None},
        default_views={len(shown): frontal_first},
        tags=("photographs",),
        version=f"{PHOTOGRAPHS}-1",
        extras=extras,
        overwrite=overwrite,
    )


def named_landmarks(
    view: ObservedPhotograph,
    camera: Camera,
    prior: ShapePrior,
    model: LandmarkModel,
    code: Float[np.ndarray, " latent"],
    near_mm: float = 4.0,
) -> dict[str, Float[np.ndarray, " 2"]]:
    """Landmarks that the prior has names for, where a photograph shows them: the nearest point that the network saw,
    moved by how far it is from the landmark on the fitted head.

    Args:
        view: The photograph.
        camera: Canonical mm.
        prior: A linear shape model.
        model: The points that the network sees.
        code: Of the head.
        near_mm: Landmarks without a point so near on the mean head are left out.
    """
    if not has_landmarks(view):
        return {}
    assert view.landmarks is not None
    network = prior.network
    assert isinstance(network, PCAShapeModel)
    mean = network.landmark_mean.numpy().astype(float)
    places = mean + network.landmark_basis.numpy() @ code
    offset, _ = model.offset(math.atan2(camera.centre[0], camera.centre[2]))
    seen = model.points_of(code[: model.components]) + offset
    distance = np.linalg.norm(mean[:, None] - model.places[None], axis=2)
    nearest = distance.argmin(axis=1)
    moved = camera.project(places)[0] - camera.project(seen[nearest])[0]
    pixels = view.landmarks.points[nearest] + moved
    inside = ((pixels >= 0) & (pixels <= view.size)).all(axis=1) & (distance.min(axis=1) < near_mm)
    return {
        name: pixels[number]
        for number, name in enumerate(network.landmark_names)
        if inside[number]
        and number > 16  # the first 17 are the outline of the jaw, which is another in every view
    }
