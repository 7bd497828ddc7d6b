"""The instant fit: a head from a few photographs in seconds, by Gauss–Newton in the space of a linear shape model.

The unknowns are the code of the shape model, the head's similarity and six numbers for each camera; shading that
differs between photographs is eliminated. Silhouettes come first; photographs are compared with each other, from
blurred to sharp, when pose and cameras have settled.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from recon.fitting.observations import SolverSettings, observe_views
from recon.fitting.pose import POSE, PosePrior, fit_head, up_of_pose
from recon.fitting.problem import GaussNewtonProblem, StepConfig, Variables
from recon.fitting.residuals import MarkedLandmarks
from recon.fitting.shape_model import ShapeModel
from recon.scene import Camera

ALONE_MM = 20.0
"""Standard deviation, on validation heads, of the depth of a head that is fitted to one photograph alone: size and
distance change together, and perspective is confused with shape.
"""


@dataclass(frozen=True)
class InstantFit:
    """A head fitted to photographs.

    Attributes:
        canonical_from_world: Similarity from world mm to canonical unit space.
        code: Code of the shape model.
        cameras: Corrected cameras, world mm.
        covariance: Posterior covariance of code and similarity (a small change in canonical unit space).
        outline_mm: Median distance between the outlines of head and masks.
        colour_misfit: Median difference of the logarithms of luminance; None without pairs of photographs.
    """

    canonical_from_world: Float[np.ndarray, "4 4"]
    code: Float[Tensor, " latent"]
    cameras: Sequence[Camera]
    covariance: Float[Tensor, "unknowns unknowns"]
    outline_mm: float
    colour_misfit: float | None


@dataclass(frozen=True)
class InitialHead:
    """Where a fit begins.

    Attributes:
        canonical_from_world: Similarity from world mm to canonical unit space.
        code: Code of the shape model.
        up: Upward direction of the world that the prior of the pose takes, a unit vector.
    """

    canonical_from_world: Float[np.ndarray, "4 4"]
    code: Float[Tensor, " latent"]
    up: Float[np.ndarray, " 3"]


def initial_head(
    shape_model: ShapeModel,
    cameras: Sequence[Camera],
    masks: Sequence[Bool[np.ndarray, "_ _"]],
    centre_mm: Float[np.ndarray, " 3"],
    unit_mm: float,
    settings: SolverSettings | None = None,
    *,
    ignored: Sequence[Bool[np.ndarray, "_ _"]] | None = None,
    marked: Sequence[MarkedLandmarks | None] = (),
    start: Float[np.ndarray, "4 4"] | None = None,
) -> InitialHead:
    """The pose from which `solve` begins, whose arguments these are; with a rough head where outlines were used."""
    if start is not None and any(marks is not None for marks in marked):
        # Landmarks hold the pose; outlines alone could turn the head away, where hair hides its shape.
        return InitialHead(start, torch.zeros(shape_model.latent_size), up_of_pose(start))
    found = fit_head(
        shape_model.coarse_level, cameras, masks, centre_mm, unit_mm, start=start, effort=POSE, ignored=ignored,
        marked=marked, landmark_sigma_px=(settings or SolverSettings()).landmark_sigma_px,
    )  # fmt: skip
    return InitialHead(found.canonical_from_world, found.code, found.up)


def solve(
    shape_model: ShapeModel,
    cameras: Sequence[Camera],
    masks: Sequence[Bool[np.ndarray, "_ _"]],
    images: Sequence[Float[np.ndarray, "_ _ 3"]],
    centre_mm: Float[np.ndarray, " 3"],
    unit_mm: float,
    settings: SolverSettings | None = None,
    *,
    ignored: Sequence[Bool[np.ndarray, "_ _"]] | None = None,
    marked: Sequence[MarkedLandmarks | None] = (),
    start: Float[np.ndarray, "4 4"] | None = None,
    initial: InitialHead | None = None,
) -> InstantFit:
    """Fits the head, its pose and the cameras to photographs and masks.

    Args:
        shape_model: Heads to choose from.
        cameras: World mm.
        masks: One for each camera.
        images: The photographs, sRGB in [0, 1].
        centre_mm: Rough centre of the bust in the world, good to some 40 mm.
        unit_mm: Radius of the shape model's canonical ball, mm.
        settings: Settings of the solver.
        ignored: Pixels that are not valid, for each photograph.
        marked: Landmarks marked in each photograph; None or empty where there are none.
        start: Initial canonical_from_world, if the pose is known. With landmarks it is kept until they count;
            without, it is refined by outlines first.
        initial: What `initial_head` found with the same arguments; None to call it here.

    Raises:
        PriorError: The masks have no outline inside the pictures.
    """
    settings = settings or SolverSettings()
    begun = initial or initial_head(
        shape_model, cameras, masks, centre_mm, unit_mm, settings, ignored=ignored, marked=marked, start=start
    )
    views = observe_views(cameras, masks, images, ignored, settings)
    pose_prior = PosePrior(begun.up, np.asarray(centre_mm, dtype=float), unit_mm)
    brightness_model = shape_model.brightness_model if settings.brightness else None
    problem = GaussNewtonProblem(shape_model, brightness_model, views, pose_prior, settings, marked)
    variables = problem.start(begun.canonical_from_world, begun.code)
    steps = _schedule(settings, settings.photometric and len(views) > 1, brightness_model is not None)
    levels = {False: replace(problem, shape_model=shape_model.coarse_level), True: problem}
    for number, step in enumerate(steps):
        level = levels[number >= len(steps) - settings.fine_steps]
        variables = level.moved(variables, level.linearised(variables, step))
    last = problem.linearised(variables, steps[-1])
    return InstantFit(
        variables.pose,
        variables.code,
        problem.cameras(variables),
        _covariance(last.matrix, variables, ALONE_MM / unit_mm),
        last.outline * unit_mm,
        last.colour,
    )


def _covariance(matrix: Float[Tensor, "_ _"], variables: Variables, depth: float) -> Float[Tensor, "_ _"]:
    """Covariance of code and pose; a photograph alone does not show how far away the head is.

    Args:
        matrix: Normal matrix of the last step: code, pose, cameras.
        variables: What was solved for.
        depth: Standard deviation of the depth where there is one photograph, canonical unit.
    """
    count = len(variables.code) + 7
    covariance = torch.linalg.inv(matrix)[:count, :count]
    if len(variables.cameras) == 1:
        covariance[-7:, -7:] += _along_rays(variables, depth)
    return covariance


def _along_rays(variables: Variables, sigma: float) -> Float[Tensor, "7 7"]:
    """Covariance of a scaling about the centre of the first camera, which its photograph does not show.

    Args:
        variables: Pose and cameras.
        sigma: Standard deviation of the depth, canonical unit.
    """
    centre = torch.from_numpy(variables.pose[:3, :3] @ variables.cameras[0][:3, 3] + variables.pose[:3, 3])
    scale = sigma / centre.norm()
    change = torch.cat([torch.zeros(3).to(centre), -scale * centre, scale[None]])
    return torch.outer(change, change)


def _schedule(settings: SolverSettings, photographs: bool, brightness_model: bool) -> list[StepConfig]:
    """The steps of a fit: outlines alone, then with the brightness model, then with photographs against each other."""
    steps = [StepConfig()] * settings.silhouette_steps
    if brightness_model:
        steps += [StepConfig(None, blur) for blur in settings.brightness_blurs_px]
    if photographs or brightness_model:
        steps += [
            StepConfig(blur if photographs else None, blur if brightness_model else None)
            for blur in settings.blurs_px
        ]
    return steps
