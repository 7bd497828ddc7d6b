"""The priors of H3D-Net: a learned shape model of heads, and its mean head alone."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from recon.errors import OutOfDistributionError, PriorError
from recon.fields import Field
from recon.fitting import HeadFit, fit_head, life_size
from recon.geometry.frames import similarity
from recon.priors.field import PriorField
from recon.priors.prior import Networks, SceneObservations, Start
from recon.priors.residual import RESIDUALS, ResidualField
from recon.priors.shipped import hash_of
from recon.priors.weights import ShapePrior, load_shape_prior

log = logging.getLogger(__name__)

POSES = ("masks", "landmarks")
CODES = ("masks", "mean")


class DeepSDFPrior:
    """A shape model of heads F(x; z), its code to be found with the photographs (H3D-Net, section 3).

    Args:
        path: File that `save_shape_prior` wrote.
        sha256: What it must hash to; that of a shipped file is known.
        pose: Where the head stands to begin with: "masks" finds it by silhouettes of the shape model itself,
            "landmarks" by those of the ground truth.
        code: The first code: "masks" takes it from the same silhouettes, "mean" takes zero.
        out_of_distribution_mm: A head whose outline no head of the shape model comes closer to than this, in the
            median, is none of the shape model; None takes every head.

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
        for option, (choice, known) in given.items():
            if choice not in known:
                raise PriorError(f"prior.{option} is {' or '.join(known)}; not {choice!r}")
        self.path, self.sha256, self.pose, self.code = Path(path), sha256 or hash_of(path), pose, code
        self.out_of_distribution_mm, self.residual = out_of_distribution_mm, residual

    def starts(self, networks: Networks, observations: SceneObservations) -> Mapping[str, Start]:
        """The shape model where the evidence puts it, with fresh networks for the appearance.

        Raises:
            PriorError: The file cannot be used, or the pose cannot be found.
            OutOfDistributionError: No head of the shape model looks like the masks.
        """
        prior = load_shape_prior(self.path, self.sha256)
        fit = self._fit(prior, observations)
        if self.out_of_distribution_mm is not None and fit.outline_mm > self.out_of_distribution_mm:
            raise OutOfDistributionError(
                f"no head of {self.path.name} looks like the masks: outlines are {fit.outline_mm:.1f} mm apart in the "
                f"median (limit prior.out_of_distribution_mm={self.out_of_distribution_mm}). A hat, wrong "
                f"masks, wrong cameras, another unit "
                "than millimetres, or not a head"
            )
        canonical_from_unit = fit.canonical_from_world @ observations.world_from_unit
        code = fit.code if self.code == "masks" and self.learn_code else torch.zeros_like(fit.code)
        field = self.field(prior, networks, code, canonical_from_unit)
        size = life_size(fit.canonical_from_world, prior.canonical.radius_mm)
        return {self.path.stem: Start(field, networks.colour(), life_size=size)}

    def field(
        self,
        prior: ShapePrior,
        networks: Networks,
        code: Float[Tensor, " latent"],
        canonical_from_unit: Float[np.ndarray, "4 4"],
    ) -> Field:
        """The posed head of a code as geometry, with the residual where one is wanted.

        Raises:
            ConfigError: The field that is configured cannot be a residual.
        """
        head = PriorField(
            prior.network.train(), networks.feature(), code, canonical_from_unit, learn_code=self.learn_code
        )
        return head if self.residual == "none" else ResidualField(head, networks.sdf())

    def _fit(self, prior: ShapePrior, observations: SceneObservations) -> HeadFit:
        start = _pose_by_landmarks(prior, observations) if self.pose == "landmarks" else None
        return fit_head(
            prior.network,
            observations.cameras,
            observations.masks,
            observations.world_from_unit[:3, 3],
            prior.canonical.radius_mm,
            start=start,
            ignored=observations.ignored,
        )


class MeanHeadPrior(DeepSDFPrior):
    """The mean head of a shape model: a shape to start from, without a code.

    Args:
        path: File that `save_shape_prior` wrote.
        sha256: What it must hash to.
        pose: As for `DeepSDFPrior`.
        out_of_distribution_mm: Likewise.
        residual: Likewise.
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


def _pose_by_landmarks(prior: ShapePrior, observations: SceneObservations) -> Float[np.ndarray, "4 4"]:
    """canonical_from_world by the landmarks that scene and shape model share."""
    given, known = observations.landmarks(), prior.canonical.landmarks_mm
    shared = sorted(set(given) & set(known))
    if len(shared) < 3:
        raise PriorError(
            f"prior.pose=landmarks needs three of {', '.join(sorted(known))}; the scene has "
            f"{', '.join(sorted(given)) or 'none'}: use prior.pose=masks"
        )
    world = np.stack([given[name] for name in shared])
    mm = np.stack([np.asarray(known[name], dtype=float) for name in shared])
    return np.linalg.inv(prior.canonical.mm_from_unit) @ similarity(world, mm)
