"""Where the cameras of photographs stand about a head: by landmarks, and for the others by outlines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recon.calibration.bundle import Bundle, BundleSettings, CameraUncertainty, LandmarkView, bundle_adjust
from recon.calibration.identity import other_persons
from recon.calibration.joint import joint_fit, without_body
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
from recon.priors.weights import ShapePrior
from recon.scene import Camera

LEAST_SCORE = 0.9
"""Landmarks of less are not used: they are right or worthless, with little between."""
MOST_RESIDUAL_MM, MOST_OUTLIERS = 5.0, 0.35
"""A photograph whose landmarks fit the common head no better is refused."""
BUST_LOW_MM, BUST_HIGH_MM = (-190.0, -215.0, -140.0), (190.0, 165.0, 135.0)
"""What of the canonical frame a scene's pictures show."""
SOLVER_LONG_SIDE = 640


@dataclass(frozen=True, eq=False)
class PlacedPhotograph:
    """A photograph whose camera is known.

    Attributes:
        camera: Of the whole photograph, canonical mm.
        how: "landmarks" or "outline".
        residual_mm: Typical distance of its landmarks from the head's; None without landmarks.
        uncertainty: Of its camera; None without landmarks.
        remarks: What else is to be said, as sentences.
    """

    camera: Camera
    how: str
    residual_mm: float | None = None
    uncertainty: CameraUncertainty | None = None
    remarks: tuple[str, ...] = ()


def has_landmarks(photograph: ObservedPhotograph) -> bool:
    """Whether a photograph's landmarks are good enough to be used."""
    return photograph.landmarks is not None and photograph.landmarks.score >= LEAST_SCORE


def placed_by_landmarks(
    photographs: Sequence[ObservedPhotograph], model: LandmarkModel, settings: BundleSettings
) -> tuple[dict[int, PlacedPhotograph], dict[int, str]]:
    """Cameras of the photographs that show the face, by bundle adjustment; one that disagrees is left out, and the rest
    adjusted again.
    """
    refused = {}
    usable = []
    for index, each in enumerate(photographs):
        if has_landmarks(each):
            usable.append(index)
        elif each.landmarks is not None:
            refused[index] = f"its face shows too little for landmarks (score {each.landmarks.score:.2f})"
        elif each.face is not None:
            refused[index] = "its face, a profile, covered or blurred, has no landmarks"
        else:
            refused[index] = "no face was found in it"
    if not usable:
        names = "; ".join(f"{photographs[index].name}: {why}" for index, why in refused.items())
        raise SceneError(
            f"no photograph shows a face from before, so that cameras cannot be found ({names}): add one that does"
        )
    while True:
        views = [landmark_view(photographs[index]) for index in usable]
        found = bundle_adjust(model, views, settings)
        worst = int(np.argmax(found.residual_mm))
        bad = found.residual_mm[worst] > MOST_RESIDUAL_MM or found.outliers[worst] > MOST_OUTLIERS
        if not bad or len(usable) == 1:
            break
        refused[usable.pop(worst)] = (
            f"its landmarks are {found.residual_mm[worst]:.1f} mm off a head that fits the other photographs: another "
            "person, another expression, or a face that is partly hidden"
        )
    labels = [photographs[index].name for index in usable]
    remarks = _about_persons(labels, other_persons(model, views, found, settings))
    placed = {index: _placed(found, number, remarks.get(number)) for number, index in enumerate(usable)}
    return placed, refused


def _placed(found: Bundle, number: int, remark: str | None) -> PlacedPhotograph:
    remarks = () if remark is None else (remark,)
    return PlacedPhotograph(
        found.cameras[number], "landmarks", found.residual_mm[number], found.uncertainties[number], remarks
    )


def _about_persons(names: Sequence[str], others: Sequence[int]) -> dict[int, str]:
    """Sentences about photographs that show another person, by their positions."""
    rest = ", ".join(name for number, name in enumerate(names) if number not in others)
    return {
        number: f"{names[number]}: its face seems to be another person's than in {rest}, or has quite another "
        "expression: landmarks fit a head of their own much better than one of all, so that the head will be a "
        "mixture. Leave it out if so"
        for number in others
    }


def focal_groups(photographs: Sequence[ObservedPhotograph], shared: bool = True) -> list[int | None]:
    """For each photograph the number of its unknown focal length, None where something tells it; photographs of one
    size are taken to share it, as `BundleSettings.shared` says.
    """
    keys: list[object] = []
    groups: list[int | None] = []
    for number, each in enumerate(photographs):
        if each.focal_px is not None:
            groups.append(None)
            continue
        key = (each.original_size or each.size) if shared else number
        if key not in keys:
            keys.append(key)
        groups.append(keys.index(key))
    return groups


def landmark_view(photograph: ObservedPhotograph) -> LandmarkView:
    """Landmarks of a photograph that has them, as bundle adjustment takes them."""
    assert photograph.landmarks is not None
    seen = photograph.landmarks
    return LandmarkView(
        seen.points,
        seen.sigma_px,
        *photograph.size,
        photograph.focal_px,
        photograph.principal_point,
        photograph.original_size,
        photograph.scale,
    )


def placed_by_outlines(
    photographs: Sequence[ObservedPhotograph],
    placed: Mapping[int, PlacedPhotograph],
    refused: Mapping[int, str],
    prior: ShapePrior,
    model: LandmarkModel,
) -> tuple[dict[int, PlacedPhotograph], dict[int, str]]:
    """The other photographs, about the head that those with landmarks show; with why some cannot be used."""
    # One whose landmarks disagree with the others is no better by its outline.
    wanted = [index for index in refused if not has_landmarks(photographs[index])]
    result, still = dict(placed), dict[int, str]()
    if not wanted:
        return result, still
    order = sorted(placed)
    views = [windowed(photographs[index], placed[index].camera, SOLVER_LONG_SIDE) for index in order]
    groups = focal_groups([photographs[index] for index in order])
    counts = [True] * len(order)
    head = joint_fit(prior, model, [v for v, _ in views], [c for _, c in views], counts, focal_groups=groups)
    per_pixel = [placed[index].camera.intrinsics[0, 0] / _long_side(photographs[index]) for index in order]
    for index in wanted:
        each = photographs[index]
        focal = each.focal_px or float(np.median(per_pixel)) * _long_side(each)
        yaws = BACK_YAWS_DEG if each.face is None else PROFILE_YAWS_DEG
        try:
            found = join_by_outline(
                head.shape, prior.canonical, each.mask, each.ignored, focal, yaws, each.principal_point
            )
        except PriorError as error:
            still[index] = f"{refused[index]}, and {error}"
            continue
        if found.outline_mm > MOST_OUTLINE_MM or found.overlap < LEAST_OVERLAP:
            still[index] = (
                f"{refused[index]}, and its outline is {found.outline_mm:.1f} mm off the head of the other photographs "
                f"(overlap {100 * found.overlap:.0f} %)"
            )
            continue
        remarks: tuple[str, ...] = (
            f"{each.name}: {refused[index]}, so it is placed by its outline ({found.outline_mm:.1f} mm)",
        )
        if found.other_outline_mm is not None and found.other_outline_mm < found.outline_mm + 1.0:
            remarks += (
                f"{each.name}: its outline fits nearly as well from {found.other_yaw_deg:+.0f} degrees: look at the "
                "check sheet",
            )
        result[index] = PlacedPhotograph(found.camera, "outline", remarks=remarks)
    return result, still


def _long_side(photograph: ObservedPhotograph) -> float:
    """The longer side of the whole picture, in pixels of what is looked at of it."""
    return max(photograph.original_size or photograph.size) * photograph.scale


def windowed(
    photograph: ObservedPhotograph, camera: Camera, long_side: int
) -> tuple[ObservedPhotograph, Camera]:
    """The part of a photograph that shows the bust, below the collar ignored, with its camera."""
    window = bust_window(camera, long_side)
    seen = _in_window(camera, window)
    return without_body(within(photograph, window), seen), seen


def bust_window(camera: Camera, long_side: int) -> Window:
    """The part of a camera's photograph that shows the bust."""
    corners = np.array(np.meshgrid(*zip(BUST_LOW_MM, BUST_HIGH_MM, strict=True))).reshape(3, -1).T
    pixels, _ = camera.project(corners)
    return window_about(pixels, camera.width, camera.height, long_side)


def _in_window(camera: Camera, window: Window) -> Camera:
    return replace(
        camera, intrinsics=window.matrix @ camera.intrinsics, width=window.out[0], height=window.out[1]
    )
