"""A whole head from a few photographs in seconds: Gauss–Newton in the space of a linear family of heads.

The unknowns are the code of the family, the head's similarity and six numbers for each camera; shading that
differs between photographs is eliminated. Silhouettes come first; photographs are compared with each other, from
blurred to sharp, when pose and cameras have settled.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from recon.fitting.observations import SolverSettings, prepared
from recon.fitting.pose import POSE, Expected, fit_head, up_of
from recon.fitting.problem import Problem, State, Step
from recon.fitting.residuals import MarkedLandmarks
from recon.fitting.shape_model import Family
from recon.scene import Camera

ALONE_MM = 20.0
"""How far along its rays a head is from where one photograph alone puts it, standard deviation on validation heads:
size and distance change together, and what the fit takes for perspective is its own shape.
"""


@dataclass(frozen=True)
class InstantFit:
    """A head fitted to photographs.

    Attributes:
        canonical_from_world: Similarity from world mm to canonical unit space.
        code: Of the family.
        cameras: As corrected, world mm.
        covariance: Of code and similarity (a small change in canonical unit space), given everything seen.
        outline_mm: Typical distance between outlines of head and masks.
        colour_misfit: Typical difference of the logarithms of luminance; None without pairs of photographs.
    """

    canonical_from_world: Float[np.ndarray, "4 4"]
    code: Float[Tensor, " latent"]
    cameras: Sequence[Camera]
    covariance: Float[Tensor, "unknowns unknowns"]
    outline_mm: float
    colour_misfit: float | None


def solve(
    family: Family,
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
) -> InstantFit:
    """The head, its pose and the cameras that photographs and masks show.

    Args:
        family: Heads to choose from.
        cameras: World mm.
        masks: One for each camera.
        images: The photographs, sRGB in [0, 1].
        centre_mm: Rough centre of the bust in the world, good to some 40 mm.
        unit_mm: Radius of the family's canonical ball, mm.
        settings: What to do.
        ignored: Pixels that say nothing, for each photograph.
        marked: Landmarks marked in each photograph; None or empty where there are none.
        start: canonical_from_world to begin with, if the pose is known.

    Raises:
        PriorError: The masks have no outline inside the pictures.
    """
    settings = settings or SolverSettings()
    found = fit_head(
        family.rough, cameras, masks, centre_mm, unit_mm, start=start, effort=POSE, ignored=ignored
    )
    views = prepared(cameras, masks, images, ignored, settings)
    expected = Expected(up_of(cameras), np.asarray(centre_mm, dtype=float), unit_mm)
    likeness = family.likeness if settings.likeness else None
    problem = Problem(family, likeness, views, expected, settings, marked)
    rough = replace(problem, family=family.rough)
    state = State(found.canonical_from_world, found.code, [camera.world_from_camera for camera in cameras])
    compared = settings.photometric and len(views) > 1
    steps = _schedule(settings, compared, likeness is not None)
    for number, step in enumerate(steps):
        present = rough if number < len(steps) - settings.fine_steps else problem
        state = present.moved(state, present.linearised(state, step))
    last = problem.linearised(state, steps[-1])
    known = family.latent_size + 7
    covariance = torch.linalg.inv(last.matrix)[:known, :known]
    if len(views) == 1:
        covariance[-7:, -7:] += _along_rays(state, ALONE_MM / unit_mm)
    return InstantFit(
        state.pose,
        state.code,
        [replace(camera, world_from_camera=p) for camera, p in zip(cameras, state.cameras, strict=True)],
        covariance,
        last.outline * unit_mm,
        last.colour,
    )


def _along_rays(state: State, sigma: float) -> Float[Tensor, "7 7"]:
    """Covariance of a similarity that scales about the first camera's centre, which no photograph of it shows.

    Args:
        state: Pose and cameras.
        sigma: Standard deviation of the distance, canonical unit.
    """
    centre = torch.from_numpy(state.pose[:3, :3] @ state.cameras[0][:3, 3] + state.pose[:3, 3])
    scale = sigma / centre.norm()
    change = torch.cat([torch.zeros(3).to(centre), -scale * centre, scale[None]])
    return torch.outer(change, change)


def _schedule(settings: SolverSettings, photographs: bool, likeness: bool) -> list[Step]:
    """Outlines alone, then with what faces look like, then with photographs against each other."""
    steps = [Step()] * settings.silhouette_steps
    if likeness:
        steps += [Step(None, blur) for blur in settings.likeness_blurs_px]
    if photographs or likeness:
        steps += [
            Step(blur if photographs else None, blur if likeness else None) for blur in settings.blurs_px
        ]
    return steps
