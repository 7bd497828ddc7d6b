"""From photographs without cameras and masks to a scene in the H3DS layout, with cameras, masks and a check sheet."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from recon.calibration.bundle import Bundle, BundleSettings, CameraUncertainty, LandmarkView, bundle_adjust
from recon.calibration.check_sheet import write_check_sheet
from recon.calibration.joint import JointFit, joint_fit, without_body
from recon.calibration.landmarks import LandmarkModel
from recon.calibration.observing import ObservedPhotograph, Window, window_about, within
from recon.calibration.outline_views import (
    BACK_YAWS_DEG,
    LEAST_OVERLAP,
    MOST_OUTLINE_MM,
    PROFILE_YAWS_DEG,
    join_by_outline,
)
from recon.errors import PriorError, SceneError
from recon.files import replacing
from recon.priors.pca.shape_model import PCAShapeModel
from recon.priors.weights import ShapePrior
from recon.scene import Camera, Scene, h3ds
from recon.scene import open as open_scene
from recon.scene.annotations import write_pixels

log = logging.getLogger(__name__)

LEAST_SCORE = 0.9
"""Landmarks of less are not used: they are right or worthless, with little between."""
MOST_RESIDUAL_MM, MOST_OUTLIERS = 5.0, 0.35
"""A photograph whose landmarks fit the common head no better is refused."""
SIZE_SIGMA = 0.06
"""Standard deviation of people's sizes about the mean head's (logarithm)."""
BUST_LOW_MM, BUST_HIGH_MM = (-190.0, -215.0, -140.0), (190.0, 165.0, 135.0)
"""What of the canonical frame a scene's pictures show."""
SOLVER_LONG_SIDE = 640
REPORT, SHEET = "calibration.json", "calibration.png"


@dataclass(frozen=True)
class PhotographReport:
    """What became of one photograph.

    Attributes:
        name: Of the file.
        view: Its number in the scene; None where it was refused.
        how: "landmarks" or "outline"; why not, where it was refused.
        focal_source: What told its focal length.
        yaw_deg: From which side it shows the head, positive on the subject's left.
        landmark_mm: Typical distance of its landmarks from the head's; None without landmarks.
        uncertainty: Of its camera before the joint fit; None without landmarks.
        moved_deg: How far the joint fit turned its camera.
        moved_mm: How far the joint fit shifted its camera.
        remarks: What else is to be said.
    """

    name: str
    view: int | None
    how: str
    focal_source: str = ""
    yaw_deg: float | None = None
    landmark_mm: float | None = None
    uncertainty: CameraUncertainty | None = None
    moved_deg: float | None = None
    moved_mm: float | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class CalibratedScene:
    """A scene made of photographs.

    Attributes:
        scene: As it was written and opened again.
        canonical_from_world: Similarity from the scene's world mm to canonical unit space: where a fit may start.
        code: Of the head that was fitted.
        photographs: What became of each, in the order given.
        outline_mm: Typical distance between the outlines of head and masks.
        size: What is known of the head's size, a sentence.
    """

    scene: Scene
    canonical_from_world: Float[np.ndarray, "4 4"]
    code: Float[np.ndarray, " latent"]
    photographs: tuple[PhotographReport, ...]
    outline_mm: float
    size: str

    def lines(self) -> list[str]:
        """The report as lines of text."""
        result = []
        for each in self.photographs:
            if each.view is None:
                result.append(f"{each.name}: not used, {each.how}")
                continue
            known = f", landmarks {each.landmark_mm:.1f} mm" if each.landmark_mm is not None else ""
            result.append(
                f"{each.name}: view {each.view}, by {each.how}, seen from {each.yaw_deg:+.0f} degrees{known}, "
                f"focal length: {each.focal_source}"
            )
            result += [f"{each.name}: {remark}" for remark in each.remarks]
        return [*result, f"outlines {self.outline_mm:.1f} mm apart", self.size]


def scene_from_photographs(
    photographs: Sequence[ObservedPhotograph],
    out: Path | str,
    prior: ShapePrior,
    *,
    interpupillary_mm: float | None = None,
    long_side: int = 1024,
    bundle: BundleSettings | None = None,
    landmarks: LandmarkModel | None = None,
    overwrite: bool = False,
) -> CalibratedScene:
    """Finds cameras and writes a scene.

    The world is upright, in millimetres, the head at its middle and of the mean head's size, unless a length is given.

    Args:
        photographs: As `observe_photograph` sees them, of one person.
        out: Folder of the scene; the one that holds it becomes an H3DS root.
        prior: A linear shape model with face points, such as the shipped one.
        interpupillary_mm: Distance of the person's pupils, where it is known.
        long_side: Most pixels of the scene's pictures, which show the bust alone.
        bundle: How landmarks are put together.
        landmarks: Landmarks on the prior's heads; made from it by default.
        overwrite: Replace a scene that is there.

    Raises:
        SceneError: No photograph shows a face from before, or the scene exists.
        PriorError: The prior is not a linear one with face points.
    """
    model = landmarks or LandmarkModel.from_prior(prior)
    placed, refused = _by_landmarks(photographs, model, bundle or BundleSettings())
    placed, more = _by_outlines(photographs, placed, refused, prior)
    order = sorted(placed)
    views = [_windowed(photographs[index], placed[index].camera, long_side) for index in order]
    small = [_windowed(photographs[index], placed[index].camera, min(long_side, SOLVER_LONG_SIDE)) for index in order]
    fit = joint_fit(
        prior,
        model,
        [each for each, _ in small],
        [camera for _, camera in small],
        [placed[index].residual_mm is not None for index in order],
    )
    scale, size = _size(prior, fit, interpupillary_mm)
    world = np.diag([scale, scale, scale, 1.0])
    final = [
        _at_resolution(fitted, camera) for fitted, (_, camera) in zip(fit.cameras, views, strict=True)
    ]
    reports = _reports(photographs, placed, refused | more, order, final)
    shown = [without_body(view, camera) for (view, _), camera in zip(views, final, strict=True)]
    folder = _write(
        Path(out), shown, [camera.transformed(world) for camera in final], world, prior, model, fit, overwrite
    )
    result = CalibratedScene(
        open_scene(folder),
        np.linalg.inv(prior.canonical.mm_from_unit) @ np.linalg.inv(world),
        fit.code,
        tuple(reports),
        fit.outline_mm,
        size,
    )
    _write_report(folder, result, scale)
    write_check_sheet(folder / SHEET, shown, final, fit.shape, prior.canonical, [r.name for r in reports if r.view is not None], result.lines())
    for line in result.lines():
        log.info("%s", line)
    return result


@dataclass(frozen=True, eq=False)
class _Placed:
    """A photograph whose camera is known, canonical mm."""

    camera: Camera
    how: str
    residual_mm: float | None = None
    uncertainty: CameraUncertainty | None = None
    remarks: tuple[str, ...] = ()


def _by_landmarks(
    photographs: Sequence[ObservedPhotograph], model: LandmarkModel, settings: BundleSettings
) -> tuple[dict[int, _Placed], dict[int, str]]:
    """Cameras of the photographs that show the face, by bundle adjustment; one that disagrees is left out, and the rest
    adjusted again.
    """
    refused = {}
    usable = []
    for index, each in enumerate(photographs):
        if each.landmarks is None:
            refused[index] = "no face was found in it"
        elif each.landmarks.score < LEAST_SCORE:
            refused[index] = f"its face shows too little for landmarks (score {each.landmarks.score:.2f})"
        else:
            usable.append(index)
    if not usable:
        names = "; ".join(f"{photographs[index].name}: {why}" for index, why in refused.items())
        raise SceneError(
            f"no photograph shows a face from before, so that cameras cannot be found ({names}): add one that does"
        )
    while True:
        found = bundle_adjust(model, [_landmark_view(photographs[index]) for index in usable], settings)
        worst = int(np.argmax(found.residual_mm))
        bad = found.residual_mm[worst] > MOST_RESIDUAL_MM or found.outliers[worst] > MOST_OUTLIERS
        if not bad or len(usable) == 1:
            break
        refused[usable.pop(worst)] = (
            f"its landmarks are {found.residual_mm[worst]:.1f} mm off a head that fits the other photographs: another "
            "person, another expression, or a face that is partly hidden"
        )
    return {index: _placed(found, number) for number, index in enumerate(usable)}, refused


def _placed(found: Bundle, number: int) -> _Placed:
    return _Placed(found.cameras[number], "landmarks", found.residual_mm[number], found.uncertainties[number])


def _landmark_view(photograph: ObservedPhotograph) -> LandmarkView:
    assert photograph.landmarks is not None
    seen = photograph.landmarks
    return LandmarkView(seen.points, seen.sigma_px, *photograph.size, photograph.focal_px)


def _by_outlines(
    photographs: Sequence[ObservedPhotograph],
    placed: Mapping[int, _Placed],
    refused: Mapping[int, str],
    prior: ShapePrior,
) -> tuple[dict[int, _Placed], dict[int, str]]:
    """The other photographs, about the head that those with landmarks show; with why some cannot be used."""
    wanted = [index for index, why in refused.items() if "landmarks are" not in why]
    result, still = dict(placed), {}
    if not wanted:
        return result, still
    model = LandmarkModel.from_prior(prior)
    network = prior.network
    assert isinstance(network, PCAShapeModel)
    order = sorted(placed)
    views = [_windowed(photographs[index], placed[index].camera, SOLVER_LONG_SIDE) for index in order]
    head = joint_fit(prior, model, [v for v, _ in views], [c for _, c in views], [True] * len(order))
    per_pixel = [placed[index].camera.intrinsics[0, 0] / max(photographs[index].size) for index in order]
    for index in wanted:
        each = photographs[index]
        focal = each.focal_px or float(np.median(per_pixel)) * max(each.size)
        yaws = BACK_YAWS_DEG if each.face is None else PROFILE_YAWS_DEG
        try:
            found = join_by_outline(head.shape, prior.canonical, each.mask, each.ignored, focal, yaws)
        except PriorError as error:
            still[index] = f"{refused[index]}, and {error}"
            continue
        if found.outline_mm > MOST_OUTLINE_MM or found.overlap < LEAST_OVERLAP:
            still[index] = (
                f"{refused[index]}, and its outline is {found.outline_mm:.1f} mm off the head of the other photographs "
                f"(overlap {100 * found.overlap:.0f} %)"
            )
            continue
        remarks = (f"{refused[index]}: placed by its outline ({found.outline_mm:.1f} mm)",)
        if found.other_outline_mm is not None and found.other_outline_mm < found.outline_mm + 1.0:
            remarks += (
                f"its outline fits nearly as well from {found.other_yaw_deg:+.0f} degrees: look at the check sheet",
            )
        result[index] = _Placed(found.camera, "outline", remarks=remarks)
    return result, still


def _windowed(
    photograph: ObservedPhotograph, camera: Camera, long_side: int
) -> tuple[ObservedPhotograph, Camera]:
    """The part of a photograph that shows the bust, below the collar ignored, with its camera."""
    corners = np.array(np.meshgrid(*zip(BUST_LOW_MM, BUST_HIGH_MM, strict=True))).reshape(3, -1).T
    pixels, _ = camera.project(corners)
    window = window_about(pixels, camera.width, camera.height, long_side)
    seen = _in_window(camera, window)
    return without_body(within(photograph, window), seen), seen


def _in_window(camera: Camera, window: Window) -> Camera:
    return replace(
        camera, intrinsics=window.matrix @ camera.intrinsics, width=window.out[0], height=window.out[1]
    )


def _at_resolution(fitted: Camera, window: Camera) -> Camera:
    """The fitted pose with the intrinsics of a picture of the scene."""
    return replace(window, world_from_camera=fitted.world_from_camera)


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
    placed: Mapping[int, _Placed],
    refused: Mapping[int, str],
    order: Sequence[int],
    final: Sequence[Camera],
) -> list[PhotographReport]:
    result = []
    for index, each in enumerate(photographs):
        if index not in placed:
            result.append(PhotographReport(each.name, None, refused[index], each.focal_source))
            continue
        own, camera = placed[index], final[order.index(index)]
        turn = camera.world_from_camera[:3, :3] @ own.camera.world_from_camera[:3, :3].T
        source = each.focal_source if each.focal_px else f"a guess ({each.focal_source or 'nothing tells it'})"
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
                own.remarks,
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
    """Writes the scene, and returns its folder."""

    def extras(folder: Path) -> None:
        for index, (view, camera) in enumerate(zip(shown, fit.cameras, strict=True)):
            marks = named_landmarks(view, camera, prior, model, fit.code)
            if marks:
                write_pixels(marks, folder / "landmarks" / f"img_{index:04d}.json")

    return h3ds.write_scene(
        out.parent,
        out.name,
        images=[view.image for view in shown],
        masks=[view.mask for view in shown],
        cameras=list(cameras),
        scale_mat=world @ prior.canonical.mm_from_unit,
        mesh=None,
        ignored={index: view.ignored for index, view in enumerate(shown) if view.ignored is not None},
        default_views={len(shown): list(range(len(shown)))},
        tags=("photographs",),
        version="photographs-1",
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
        camera: Canonical mm, of any resolution.
        prior: A linear shape model.
        model: The points that the network sees.
        code: Of the head.
        near_mm: Landmarks without a point so near on the mean head are left out.
    """
    if view.landmarks is None or view.landmarks.score < LEAST_SCORE:
        return {}
    network = prior.network
    assert isinstance(network, PCAShapeModel)
    camera = camera.resized_to(*view.size)
    mean = network.landmark_mean.numpy().astype(float)
    places = mean + network.landmark_basis.numpy() @ code
    offset, _ = model.offset(math.atan2(camera.centre[0], camera.centre[2]))
    seen = model.at(code[: model.components]) + offset
    distance = np.linalg.norm(mean[:, None] - model.places[None], axis=2)
    nearest = distance.argmin(axis=1)
    moved = camera.project(places)[0] - camera.project(seen[nearest])[0]
    pixels = view.landmarks.points[nearest] + moved
    inside = ((pixels >= 0) & (pixels <= view.size)).all(axis=1) & (distance.min(axis=1) < near_mm)
    return {
        name: pixels[number]
        for number, name in enumerate(network.landmark_names)
        if inside[number] and number > 16  # the first 17 are the outline of the jaw, which is another in every view
    }


def _write_report(folder: Path, result: CalibratedScene, scale: float) -> None:
    table = {
        "photographs": [asdict(each) for each in result.photographs],
        "outline_mm": result.outline_mm,
        "size": result.size,
        "world_mm_per_canonical_mm": scale,
        "canonical_from_world": result.canonical_from_world.tolist(),
        "lines": result.lines(),
    }
    with replacing(folder / REPORT) as temporary:
        temporary.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
