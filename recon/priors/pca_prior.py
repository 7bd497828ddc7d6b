"""The linear prior and its fit: a head whose code, pose and cameras come from least squares, in seconds."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from recon.errors import OutOfDistributionError, PriorError
from recon.fields import FeatureGrid
from recon.fitting import InstantFit, SolverSettings, life_size, solve
from recon.fitting.residuals import MarkedLandmarks, similarity_jacobian
from recon.fitting.sdf_offset import Residual, SDFOffsetSettings, fit_sdf_offset
from recon.priors.field import PriorField
from recon.priors.pca.shape import GridShape
from recon.priors.pca.shape_model import PCAShape, PCAShapeModel
from recon.priors.prior import Networks, SceneObservations, Start
from recon.priors.residual import RESIDUALS, ResidualField
from recon.priors.shipped import hash_of
from recon.priors.weights import ShapePrior, load_shape_prior

log = logging.getLogger(__name__)

Settings = TypeVar("Settings", SolverSettings, SDFOffsetSettings)

AUTO_VIEWS = 2
"""From so many photographs on there is more to see than a linear shape model can say, as measured on validation
heads.
"""

CELL_MM = 6.0
"""Deviations are computed once in every cell of this size: they vary slowly over the surface."""


class PCAPrior:
    """A linear shape model of heads, fitted to the photographs by Gauss–Newton before any training.

    Args:
        path: File of a linear shape model, `scripts/pretrain_prior.py prior=linear`.
        sha256: What it must hash to; that of a shipped file is known.
        solver: What the solver does; `SolverSettings`' own values for what is not named.
        deviation_scale: What standard deviations of the fit are multiplied by, measured on validation heads.
        deviation_floor_mm: Standard deviation of what no head of the shape model can follow.
        out_of_distribution_mm: A head whose outlines the fit comes no closer to than this is none of the shape model;
            None takes every head.
        residual: Whether what photographs show beyond the shape model is added to the fitted head; "auto" where there
            are photographs enough.
        residual_settings: What may be added; `SDFOffsetSettings`' own values for what is not named.
        learned: What training adds: "none", or "field" for a correction by the configured field of grids.

    Raises:
        PriorError: An unknown setting.
    """

    def __init__(
        self,
        path: str,
        sha256: str | None = None,
        solver: Mapping[str, object] | None = None,
        deviation_scale: float = 1.2,
        deviation_floor_mm: float = 1.1,
        out_of_distribution_mm: float | None = 4.8,
        residual: bool | str = "auto",
        residual_settings: Mapping[str, object] | None = None,
        learned: str = "none",
    ) -> None:
        if residual not in (True, False, "auto"):
            raise PriorError(f"prior.residual is true, false or auto, not {residual!r}")
        if learned not in RESIDUALS:
            raise PriorError(f"prior.learned is {' or '.join(RESIDUALS)}, not {learned!r}")
        self.residual, self.learned = residual, learned
        self.out_of_distribution_mm = out_of_distribution_mm
        self.path, self.sha256 = Path(path), sha256 or hash_of(path)
        self.deviation_scale, self.deviation_floor_mm = deviation_scale, deviation_floor_mm
        self.settings = _changed(SolverSettings(), solver, "solver")
        self.residual_settings = _changed(SDFOffsetSettings(), residual_settings, "residual_settings")

    def starts(self, networks: Networks, observations: SceneObservations) -> Mapping[str, Start]:
        """The fitted head as a grid of distances, with fresh networks for the appearance.

        Raises:
            ConfigError: The field that is configured cannot be learned over it.
            PriorError: The file cannot be used, or the pose cannot be found.
            OutOfDistributionError: No head of the shape model looks like the masks.
        """
        fitted = self.fit(observations)
        prior, shape_model, fit, shape = fitted
        canonical_from_unit = fit.canonical_from_world @ observations.world_from_unit
        head = PriorField(shape, networks.feature(), torch.zeros(0), canonical_from_unit, learn_code=False)
        fixed = self.learned == "none"
        start = Start(
            head if fixed else ResidualField(head, networks.sdf()),
            networks.colour(),
            deviation=self._deviation(prior, shape_model, fit, canonical_from_unit) if fixed else None,
            cameras=fit.cameras,
            life_size=life_size(fit.canonical_from_world, prior.canonical.radius_mm),
            landmarks=fitted.landmarks(),
        )
        return {self.path.stem: start}

    def fit(self, observations: SceneObservations) -> "FittedHead":
        """The head that the photographs show, without networks.

        Raises:
            PriorError: The file cannot be used, or the pose cannot be found.
            OutOfDistributionError: No head of the shape model looks like the masks.
        """
        prior = load_shape_prior(self.path, self.sha256)
        if not isinstance(prior.network, PCAShapeModel):
            raise PriorError(
                f"{self.path} holds a {prior.kind} shape model; the instant method needs prior=linear's"
            )
        shape_model, images = prior.network, observations.images()
        fit = solve(
            shape_model,
            observations.cameras,
            observations.masks,
            images,
            observations.world_from_unit[:3, 3],
            prior.canonical.radius_mm,
            self.settings,
            ignored=observations.ignored,
            marked=[marked_landmarks(prior, marks) for marks in observations.marked],
        )
        log.info(
            "fitted: outlines %.2f mm apart, colours %s",
            fit.outline_mm,
            "not compared" if fit.colour_misfit is None else f"{100 * fit.colour_misfit:.1f} % apart",
        )
        if self.out_of_distribution_mm is not None and fit.outline_mm > self.out_of_distribution_mm:
            raise OutOfDistributionError(
                f"no head of {self.path.name} looks like the masks: outlines are {fit.outline_mm:.1f} mm apart "
                f"(limit prior.out_of_distribution_mm={self.out_of_distribution_mm}). A hat, wrong masks, "
                f"wrong cameras, another unit than "
                "millimetres, or not a head"
            )
        change = self._residual(shape_model, fit, observations, images, prior.canonical.radius_mm)
        return FittedHead(prior, shape_model, fit, GridShape.from_code(shape_model, fit.code, change))

    def _residual(
        self,
        shape_model: PCAShapeModel,
        fit: InstantFit,
        observations: SceneObservations,
        images: Sequence[Float[np.ndarray, "_ _ 3"]],
        unit_mm: float,
    ) -> FeatureGrid | None:
        """What the photographs show beyond the shape model, if that is wanted."""
        wanted = len(observations.cameras) >= AUTO_VIEWS if self.residual == "auto" else self.residual
        if not wanted:
            return None
        found: Residual = fit_sdf_offset(
            shape_model.shape_of(fit.code),
            fit,
            observations.masks,
            images,
            unit_mm,
            self.residual_settings,
            self.settings,
            ignored=observations.ignored,
        )
        log.info(
            "beyond the shape model: %.2f mm (root mean square); held-out pixels agree with %.0f %% of it",
            found.rms_mm,
            100 * found.kept,
        )
        return found.change

    def _deviation(
        self, prior: ShapePrior, shape_model: PCAShapeModel, fit: InstantFit, canonical_from_unit: np.ndarray
    ) -> Callable[[Float[Tensor, "points 3"]], Float[Tensor, " points"]]:
        scale = float(np.cbrt(np.linalg.det(canonical_from_unit[:3, :3])))
        posterior = Posterior(shape_model, fit, self.deviation_scale)
        floor = self.deviation_floor_mm / prior.canonical.radius_mm
        matrix = torch.from_numpy(canonical_from_unit).float()

        def deviation(points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
            canonical = points.cpu().float() @ matrix[:3, :3].T + matrix[:3, 3]
            cell = CELL_MM / prior.canonical.radius_mm
            at = (canonical / cell).floor().long()
            numbers = (at - at.amin(0)) @ torch.tensor([2**42, 2**21, 1])
            _, place, count = numbers.unique(return_inverse=True, return_counts=True)
            middle = torch.zeros(len(count), 3).index_add(0, place, canonical) / count[:, None]
            spread = (posterior.variance(middle) + floor**2).sqrt()
            return (spread[place] / scale).to(points)

        return deviation


def marked_landmarks(
    prior: ShapePrior, pixels: Mapping[str, Float[np.ndarray, " 2"]]
) -> MarkedLandmarks | None:
    """Landmarks of a linear shape model that are marked in a photograph; None where none are.

    Raises:
        PriorError: The shape model has no landmark of such a name.
    """
    shape_model = prior.network
    assert isinstance(shape_model, PCAShapeModel)
    if not pixels:
        return None
    if unknown := [name for name in pixels if name not in shape_model.landmark_names]:
        known = ", ".join(name for name in shape_model.landmark_names if not name.startswith("landmark_"))
        raise PriorError(
            f"a photograph has the landmark {unknown[0]!r}, which the prior does not know; it knows "
            f"{known or 'none'}" + (" and landmark_00 to landmark_67 (Multi-PIE)" if known else "")
        )
    rows = [shape_model.landmark_names.index(name) for name in pixels]
    canonical = prior.canonical
    centre = torch.tensor(canonical.centre_mm)
    return MarkedLandmarks(
        (shape_model.landmark_mean[rows] - centre) / canonical.radius_mm,
        shape_model.landmark_basis[rows] / canonical.radius_mm,
        torch.from_numpy(np.stack(list(pixels.values()))).float(),
    )


class FittedHead(NamedTuple):
    """A head of a linear shape model, fitted to photographs.

    Attributes:
        prior: What the file holds.
        shape_model: Its network.
        fit: Code, pose and cameras.
        shape: The head's distances, canonical unit space.
    """

    prior: ShapePrior
    shape_model: PCAShapeModel
    fit: InstantFit
    shape: GridShape

    def landmarks(self) -> Mapping[str, Float[np.ndarray, " 3"]]:
        """Where its landmarks are, world mm."""
        world_from_mm = np.linalg.inv(self.prior.canonical.mm_from_unit @ self.fit.canonical_from_world)
        places = self.shape_model.landmarks(self.fit.code).double().numpy()
        places = places @ world_from_mm[:3, :3].T + world_from_mm[:3, 3]
        return dict(zip(self.shape_model.landmark_names, places, strict=True))


@dataclass(frozen=True)
class Posterior:
    """How uncertain the surface of a fit is.

    Attributes:
        shape_model: The shape model.
        fit: The fit.
        scale: What standard deviations are multiplied by.
    """

    shape_model: PCAShapeModel
    fit: InstantFit
    scale: float = 1.0

    def variance(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
        """Variance of the surface along its normal at points on it, canonical unit space squared."""
        head, parts = self._head, []
        for part in points.split(8192):
            _, gradient = head.sdf_and_gradient(part)
            normal = normalize(gradient, dim=1)
            rows = torch.cat(
                [head.basis(part), similarity_jacobian(part, normal, (normal * part).sum(1))], dim=1
            )
            parts.append((rows @ self._root).square().sum(1))
        return torch.cat(parts) * self.scale**2

    @cached_property
    def _head(self) -> PCAShape:
        return self.shape_model.shape_of(self.fit.code)

    @cached_property
    def _root(self) -> Float[Tensor, "unknowns unknowns"]:
        return torch.linalg.cholesky(self.fit.covariance).float()


def _changed(settings: Settings, given: Mapping[str, object] | None, name: str) -> Settings:
    """Settings with those given in place of their own; PriorError if one is unknown."""
    try:
        return replace(settings, **(given or {}))  # type: ignore[arg-type]
    except TypeError as error:
        known = ", ".join(settings.__dataclass_fields__)
        raise PriorError(f"prior.{name}: {error}; it knows {known}") from error
