"""The priors of H3D-Net: a learned shape model of heads whose code is optimised, and its mean head alone."""

import logging
import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from recon.errors import OutOfDistributionError, PriorError
from recon.fields import Field
from recon.fitting import HeadFit, fit_head, life_size
from recon.fitting.residuals import MarkedLandmarks
from recon.geometry.frames import similarity
from recon.priors.field import PriorField
from recon.priors.prior import FittedHead, Networks, SceneObservations, Start
from recon.priors.residual import RESIDUALS, ResidualField
from recon.priors.shipped import hash_of, located
from recon.priors.weights import ShapePrior, load_shape_prior
from recon.priors.world_scale import found_life_size, rescaled

log = logging.getLogger(__name__)

POSES = ("masks", "landmarks")
CODES = ("masks", "mean")
MULTI_PIE = re.compile(r"landmark_\d\d").fullmatch
LANDMARK_SIGMA_PX = 8.0
"""Standard deviation of a marked landmark about that of the mean head, in pictures 512 pixels wide: a mark is good to 5
pixels, and heads differ by some 5 mm, which are about as many.
"""


class DeepSDFPrior:
    """A shape model of heads F(x; z) whose code is optimised with the photographs (H3D-Net, section 3).

    Args:
        path: File that `save_shape_prior` wrote.
        sha256: SHA-256 of the file; None for no check, except of shipped files.
        pose: Initial pose of the head: "masks" finds it by silhouettes of the shape model itself, "landmarks" by the
            landmarks of the ground truth.
        code: Initial code: "masks" takes it from the same silhouettes, "mean" takes zero.
        out_of_distribution_mm: Median distance of the outlines of head and masks above which the head is out of
            distribution; None accepts every head.
        residual: What training adds to the shape model: "none", or "field" for a correction by the configured field
            of grids.

    Raises:
        PriorError: An unknown choice.
    """

    learn_code = True

    def __init__(
        self,
        path: str,
        sha256: str | None = None,
        pose: str = "masks",
        code: str = "masks",
        out_of_distribution_mm: float | None = 2.2,
        residual: str = "none",
    ) -> None:
        given = {"pose": (pose, POSES), "code": (code, CODES), "residual": (residual, RESIDUALS)}
        for option, (choice, choices) in given.items():
            if choice not in choices:
                raise PriorError(f"prior.{option} is {' or '.join(choices)}; not {choice!r}")
        self.path, self.sha256, self.pose, self.code = located(path), sha256 or hash_of(path), pose, code
        self.out_of_distribution_mm, self.residual = out_of_distribution_mm, residual

    def starts(
        self, networks: Networks, observations: SceneObservations, fitted: FittedHead | None = None
    ) -> Mapping[str, Start]:
        """The shape model in the pose that the masks show, with fresh networks for the appearance.

        No fitted head is used.

        Raises:
            PriorError: The file cannot be used, or the pose cannot be found.
            OutOfDistributionError: No head of the shape model matches the masks.
        """
        prior = load_shape_prior(self.path, self.sha256)
        fit = self._fit(prior, observations)
        if self.out_of_distribution_mm is not None and fit.outline_mm > self.out_of_distribution_mm:
            raise OutOfDistributionError(
                f"no head of {self.path.name} looks like the masks: outlines are {fit.outline_mm:.1f} mm apart in the "
                f"median (limit prior.out_of_distribution_mm={self.out_of_distribution_mm}). A hat, wrong "
                "masks, wrong cameras, or not a head"
            )
        canonical_from_unit = fit.canonical_from_world @ observations.world_from_unit
        code = fit.code if self.code == "masks" and self.learn_code else torch.zeros_like(fit.code)
        field = self.field(prior, networks, code, canonical_from_unit)
        pose = fit.canonical_from_world
        size = life_size(pose, prior.canonical.radius_mm)
        start = Start(field, networks.colour(), life_size=size, canonical_from_world=pose)
        return {self.path.stem: start}

    def field(
        self,
        prior: ShapePrior,
        networks: Networks,
        code: Float[Tensor, " latent"],
        canonical_from_unit: Float[np.ndarray, "4 4"],
    ) -> Field:
        """The posed head of a code as geometry, with a residual where `prior.residual=field`.

        Raises:
            ConfigError: The field that is configured cannot be a residual.
        """
        head = PriorField(
            prior.network.train(), networks.feature(), code, canonical_from_unit, learn_code=self.learn_code
        )
        return head if self.residual == "none" else ResidualField(head, networks.sdf())

    def _fit(self, prior: ShapePrior, observations: SceneObservations) -> HeadFit:
        unit_mm = prior.canonical.radius_mm
        marked = [_marked_landmarks(prior, pixels) for pixels in observations.marked]

        def search(scaled: SceneObservations) -> HeadFit:
            by_truth = self.pose == "landmarks"
            return fit_head(
                prior.network,
                scaled.cameras,
                scaled.masks,
                scaled.world_from_unit[:3, 3],
                unit_mm,
                start=_pose_by_landmarks(prior, scaled) if by_truth else scaled.canonical_from_world,
                ignored=scaled.ignored,
                marked=marked,
                landmark_sigma_px=LANDMARK_SIGMA_PX,
            )

        found, scale = found_life_size(observations, unit_mm, search)
        return replace(found, canonical_from_world=rescaled(found.canonical_from_world, 1 / scale))


class MeanHeadPrior(DeepSDFPrior):
    """The mean head of a shape model: a shape to start from, without a code.

    Args:
        path: File that `save_shape_prior` wrote.
        sha256: As for `DeepSDFPrior`.
        pose: As for `DeepSDFPrior`.
        out_of_distribution_mm: As for `DeepSDFPrior`.
        residual: As for `DeepSDFPrior`.
    """

    learn_code = False

    def __init__(
        self,
        path: str,
        sha256: str | None = None,
        pose: str = "masks",
        out_of_distribution_mm: float | None = 2.2,
        residual: str = "none",
    ) -> None:
        super().__init__(path, sha256, pose, "mean", out_of_distribution_mm, residual)


def _marked_landmarks(
    prior: ShapePrior, pixels: Mapping[str, Float[np.ndarray, " 2"]]
) -> MarkedLandmarks | None:
    """Landmarks marked in a photograph, placed on the mean head: how they move with the code is not known. Those of
    Multi-PIE that have no name in H3DS are left out; None where none are left.

    Raises:
        PriorError: A landmark of an unknown name.
    """
    canonical = prior.canonical
    if unknown := [name for name in pixels if name not in canonical.landmarks_mm and not MULTI_PIE(name)]:
        raise PriorError(
            f"a photograph has the landmark {unknown[0]!r}, which the prior does not know; it knows "
            f"{', '.join(sorted(canonical.landmarks_mm)) or 'none'}"
        )
    names = [name for name in pixels if name in canonical.landmarks_mm]
    if not names:
        return None
    places = np.array([canonical.landmarks_mm[name] for name in names]) - np.array(canonical.centre_mm)
    return MarkedLandmarks(
        torch.from_numpy(places / canonical.radius_mm).float(),
        torch.zeros(len(names), 3, prior.network.latent_size),
        torch.from_numpy(np.stack([pixels[name] for name in names])).float(),
    )


def _pose_by_landmarks(prior: ShapePrior, observations: SceneObservations) -> Float[np.ndarray, "4 4"]:
    """canonical_from_world by the landmarks that scene and shape model have in common."""
    given, canonical = observations.landmarks(), prior.canonical.landmarks_mm
    shared = sorted(set(given) & set(canonical))
    if len(shared) < 3:
        raise PriorError(
            f"prior.pose=landmarks needs three of {', '.join(sorted(canonical))}; the scene has "
            f"{', '.join(sorted(given)) or 'none'}: use prior.pose=masks"
        )
    world = np.stack([given[name] for name in shared])
    mm = np.stack([np.asarray(canonical[name], dtype=float) for name in shared])
    return np.linalg.inv(prior.canonical.mm_from_unit) @ similarity(world, mm)
