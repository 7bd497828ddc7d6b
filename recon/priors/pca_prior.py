"""prior=pca: a head of a linear shape model whose code, pose and cameras come from least squares, in seconds."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from recon.errors import OutOfDistributionError, PriorError
from recon.fields import FeatureGrid
from recon.fitting import (
    InitialHead,
    InstantFit,
    SDFOffset,
    SDFOffsetSettings,
    SolverSettings,
    fit_sdf_offset,
    initial_head,
    life_size,
    solve,
)
from recon.fitting.observations import Pinhole
from recon.fitting.residuals import MarkedLandmarks, similarity_jacobian
from recon.priors.field import PriorField
from recon.priors.pca.shape import GridShape
from recon.priors.pca.shape_model import PCAShape, PCAShapeModel
from recon.priors.prior import FittedHead, Networks, SceneObservations, Start
from recon.priors.residual import RESIDUALS, ResidualField
from recon.priors.shipped import hash_of, located
from recon.priors.weights import ShapePrior, load_shape_prior
from recon.priors.world_scale import found_life_size, rescaled
from recon.scene.camera import quarter_turns

log = logging.getLogger(__name__)

Settings = TypeVar("Settings", SolverSettings, SDFOffsetSettings)

ESTIMATED_CAMERAS: Mapping[str, Any] = {"camera_turn_sigma_deg": 1.0, "camera_shift_sigma_mm": 5.0}
"""Uncertainty of cameras that calibration estimated."""
AUTO_VIEWS = 2
"""Number of photographs from which on they show more than a linear shape model represents, as measured on
validation heads.
"""

LANDMARKS_APART = 4.0
"""Median distance of a photograph's landmarks from the head's, in their standard deviations, that is warned of."""

CELL_MM = 6.0
"""Size of the cells in which a deviation is computed once: deviations vary slowly over the surface."""

CHEST_MM = 0.0, -150.0, 20.0
"""A point of the body, canonical; where every photograph ignores it, the body is not fitted to anything."""
COLLAR_MM, BODY_SIGMA_MM = -114.0, 19.0
"""Height of the collar in the canonical frame, and how far real bodies are from the shape model's below it: root mean
square over the shoulders of 12 portraits of real people, of whom the head alone was fitted.
"""


class PCAPrior:
    """A linear shape model of heads, fitted to the photographs by Gauss–Newton before any training.

    Args:
        path: File of a linear shape model, made by `headrecon-pretrain prior=pca`.
        sha256: SHA-256 of the file; None for no check, except of shipped files.
        solver: Settings of the solver; `SolverSettings` has the values of those that are not named.
        deviation_scale: Factor of the standard deviations of the fit, measured on validation heads.
        deviation_floor_mm: Standard deviation of what no head of the shape model represents.
        out_of_distribution_mm: Median distance of the outlines of fit and masks above which the head is out of
            distribution; None accepts every head.
        residual: What training adds to the fitted head: "none", or "field" for a correction by the configured field of
            grids.
        sdf_offset: Whether an SDF offset is added to the fitted head, where held-out pixels agree; "auto" where there
            are enough photographs.
        sdf_offset_settings: Settings of the offset; `SDFOffsetSettings` has the values of those that are not named.

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
        residual: str = "none",
        sdf_offset: bool | str = "auto",
        sdf_offset_settings: Mapping[str, object] | None = None,
    ) -> None:
        if sdf_offset not in (True, False, "auto"):
            raise PriorError(f"prior.sdf_offset is true, false or auto, not {sdf_offset!r}")
        if residual not in RESIDUALS:
            raise PriorError(f"prior.residual is {' or '.join(RESIDUALS)}, not {residual!r}")
        self.sdf_offset, self.residual = sdf_offset, residual
        self.out_of_distribution_mm = out_of_distribution_mm
        self.path, self.sha256 = located(path), sha256 or hash_of(path)
        self.deviation_scale, self.deviation_floor_mm = deviation_scale, deviation_floor_mm
        self.settings = _changed(SolverSettings(), solver, "solver")
        self.sdf_offset_settings = _changed(SDFOffsetSettings(), sdf_offset_settings, "sdf_offset_settings")

    def starts(
        self, networks: Networks, observations: SceneObservations, fitted: FittedHead | None = None
    ) -> Mapping[str, Start]:
        """The fitted head as a grid of distances, with fresh networks for the appearance.

        Args:
            networks: Factories of the configured networks.
            observations: The input views.
            fitted: Result of `fit`, which is called here with None.

        Raises:
            ConfigError: The configured field cannot be a residual.
            PriorError: The file cannot be used, or the pose cannot be found.
            OutOfDistributionError: No head of the shape model looks like the masks.
        """
        fitted = fitted or self.fit(observations)
        prior, _, fit, shape = fitted
        canonical_from_unit = fit.canonical_from_world @ observations.world_from_unit
        head = PriorField(shape, networks.feature(), torch.zeros(0), canonical_from_unit, learn_code=False)
        fixed = self.residual == "none"
        start = Start(
            head if fixed else ResidualField(head, networks.sdf()),
            networks.colour(),
            deviation=self._deviation(fitted, observations) if fixed else None,
            cameras=fit.cameras,
            life_size=life_size(fit.canonical_from_world, prior.canonical.radius_mm),
            landmarks=fitted.landmarks(),
            canonical_from_world=fit.canonical_from_world,
        )
        return {self.path.stem: start}

    def fit(self, observations: SceneObservations) -> FittedHead:
        """Fits the head that the photographs show, without networks.

        Raises:
            PriorError: The file cannot be used, or the pose cannot be found.
            OutOfDistributionError: No head of the shape model looks like the masks.
        """
        prior = load_shape_prior(self.path, self.sha256)
        if not isinstance(prior.network, PCAShapeModel):
            raise PriorError(
                f"{self.path} holds a {prior.kind} shape model; prior=pca needs a file that "
                "`headrecon-pretrain prior=pca` made"
            )
        shape_model = prior.network
        begun = self._initial(prior, observations)
        turns = quarter_turns(observations.cameras, begun.initial.up)
        if any(turns):
            # Pictures lie on their side: turned upright, they give what they would give if they had been stored so.
            observations = observations.turned(turns)
            begun = self._initial(prior, observations)
        observations, images, marked = observations.scaled(begun.scale), observations.images(), begun.marked
        fit = solve(
            shape_model,
            observations.cameras,
            observations.masks,
            images,
            observations.world_from_unit[:3, 3],
            prior.canonical.radius_mm,
            self._settings_for(observations),
            ignored=observations.ignored,
            marked=marked,
            initial=begun.initial,
        )
        log.info(
            "fitted: outlines %.2f mm apart, colours %s",
            fit.outline_mm,
            "not compared" if fit.colour_misfit is None else f"{100 * fit.colour_misfit:.1f} % apart",
        )
        _warn_of_landmarks(fit, marked, self.settings)
        if self.out_of_distribution_mm is not None and fit.outline_mm > self.out_of_distribution_mm:
            raise OutOfDistributionError(
                f"no head of {self.path.name} looks like the masks: outlines are {fit.outline_mm:.1f} mm apart "
                f"(limit prior.out_of_distribution_mm={self.out_of_distribution_mm}). A hat, wrong masks, "
                "wrong cameras, or not a head"
            )
        offset = self._sdf_offset(shape_model, fit, observations, images, prior.canonical.radius_mm)
        shape = GridShape.from_code(shape_model, fit.code, offset)
        return FittedHead(prior, shape_model, _as_given(fit, turns, begun.scale), shape)

    def _settings_for(self, observations: SceneObservations) -> SolverSettings:
        """Settings of the solver: cameras that calibration estimated from several photographs are less sure than those
        that are given.
        """
        estimated = observations.canonical_from_world is not None and len(observations.cameras) > 1
        return replace(self.settings, **ESTIMATED_CAMERAS) if estimated else self.settings

    def _initial(self, prior: ShapePrior, observations: SceneObservations) -> "_Begun":
        """Where the fit begins."""
        shape_model, unit_mm = prior.network, prior.canonical.radius_mm
        assert isinstance(shape_model, PCAShapeModel)
        marked = [marked_landmarks(prior, pixels) for pixels in observations.marked]

        def search(scaled: SceneObservations) -> InitialHead:
            return initial_head(
                shape_model,
                scaled.cameras,
                scaled.masks,
                scaled.world_from_unit[:3, 3],
                unit_mm,
                self.settings,
                ignored=scaled.ignored,
                marked=marked,
                start=scaled.canonical_from_world,
            )

        return _Begun(*found_life_size(observations, unit_mm, search), marked)

    def _sdf_offset(
        self,
        shape_model: PCAShapeModel,
        fit: InstantFit,
        observations: SceneObservations,
        images: Sequence[Float[np.ndarray, "_ _ 3"]],
        unit_mm: float,
    ) -> FeatureGrid | None:
        """The SDF offset of the fitted head, if one is wanted."""
        wanted = len(observations.cameras) >= AUTO_VIEWS if self.sdf_offset == "auto" else self.sdf_offset
        if not wanted:
            return None
        found: SDFOffset = fit_sdf_offset(
            shape_model.shape_of(fit.code),
            fit,
            observations.masks,
            images,
            unit_mm,
            self.sdf_offset_settings,
            self.settings,
            ignored=observations.ignored,
        )
        log.info(
            "SDF offset: %.2f mm (root mean square); held-out pixels agree with %.0f %% of it",
            found.rms_mm,
            100 * found.kept,
        )
        return found.offset

    def _deviation(
        self, fitted: FittedHead, observations: SceneObservations
    ) -> Callable[[Float[Tensor, "points 3"]], Float[Tensor, " points"]]:
        prior, shape_model, fit, _ = fitted
        canonical_from_unit = fit.canonical_from_world @ observations.world_from_unit
        scale = float(np.cbrt(np.linalg.det(canonical_from_unit[:3, :3])))
        posterior = Posterior(shape_model, fit, self.deviation_scale)
        floor = self.deviation_floor_mm / prior.canonical.radius_mm
        matrix = torch.from_numpy(canonical_from_unit).float()
        collar = (COLLAR_MM - prior.canonical.centre_mm[1]) / prior.canonical.radius_mm
        body = BODY_SIGMA_MM / prior.canonical.radius_mm if _body_ignored(fitted, observations) else 0.0

        def deviation(points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
            canonical = points.cpu().float() @ matrix[:3, :3].T + matrix[:3, 3]
            cell = CELL_MM / prior.canonical.radius_mm
            at = (canonical / cell).floor().long()
            numbers = (at - at.amin(0)) @ torch.tensor([2**42, 2**21, 1])
            _, place, count = numbers.unique(return_inverse=True, return_counts=True)
            middle = torch.zeros(len(count), 3).index_add(0, place, canonical) / count[:, None]
            invented = body * (middle[:, 1] < collar)
            spread = (posterior.variance(middle) + floor**2 + invented**2).sqrt()
            return (spread[place] / scale).to(points)

        return deviation


class _Begun(NamedTuple):
    """Where a fit begins.

    Attributes:
        initial: The head, in a scaled world.
        scale: By what factor all lengths of that world are longer.
        marked: Landmarks of each photograph; None where there are none.
    """

    initial: InitialHead
    scale: float
    marked: Sequence[MarkedLandmarks | None]


def _as_given(fit: InstantFit, turns: Sequence[int], scale: float) -> InstantFit:
    """A fit to turned pictures in a scaled world, as one to the given pictures in the given world."""
    cameras = fit.cameras
    if any(turns):
        cameras = [camera.turned(-k) for camera, k in zip(cameras, turns, strict=True)]
    if scale == 1.0:
        return replace(fit, cameras=cameras)
    shorter = np.diag([1 / scale, 1 / scale, 1 / scale, 1.0])
    pose = rescaled(fit.canonical_from_world, 1 / scale)
    return replace(
        fit, cameras=[camera.transformed(shorter) for camera in cameras], canonical_from_world=pose
    )


def _body_ignored(fitted: FittedHead, observations: SceneObservations) -> bool:
    """Whether no photograph shows the chest of the fitted head in a pixel that counts, and some ignores it."""
    if not observations.ignored:
        return False
    canonical = fitted.prior.canonical
    mm_from_world = canonical.mm_from_unit @ fitted.fit.canonical_from_world
    chest = np.linalg.inv(mm_from_world) @ np.array([*CHEST_MM, 1.0])
    counts = []
    for camera, ignored in zip(observations.cameras, observations.ignored, strict=True):
        x, y = camera.project(chest[None, :3])[0][0]
        if 0 <= x < camera.width and 0 <= y < camera.height:
            counts.append(not ignored[int(y), int(x)])
    return bool(counts) and not any(counts)


def _warn_of_landmarks(
    fit: InstantFit, marked: Sequence[MarkedLandmarks | None], settings: SolverSettings
) -> None:
    """Warns of photographs whose landmarks are not where the fitted head has them: the outlines did not follow them."""
    for number, (camera, marks) in enumerate(zip(fit.cameras, marked, strict=False), start=1):
        if marks is None:
            continue
        shown, _ = Pinhole.from_camera(camera, fit.canonical_from_world).project(marks.positions(fit.code))
        apart_px = float((shown - marks.pixels).norm(dim=1).median())
        if apart_px > LANDMARKS_APART * settings.landmark_sigma_px * max(camera.width, camera.height) / 512:
            log.warning(
                "photograph %d of %d: its landmarks are %.0f px (median) from those of the head that the outlines "
                "show: they are of another photograph, or left and right are exchanged (they are the subject's)",
                number,
                len(fit.cameras),
                apart_px,
            )


def marked_landmarks(
    prior: ShapePrior, pixels: Mapping[str, Float[np.ndarray, " 2"]]
) -> MarkedLandmarks | None:
    """Landmarks of a linear shape model that are marked in a photograph; None where none are marked.

    Raises:
        PriorError: The shape model has no landmark of such a name.
    """
    shape_model = prior.network
    assert isinstance(shape_model, PCAShapeModel)
    if not pixels:
        return None
    if unknown := [name for name in pixels if name not in shape_model.landmark_names]:
        named = ", ".join(name for name in shape_model.landmark_names if not name.startswith("landmark_"))
        raise PriorError(
            f"a photograph has the landmark {unknown[0]!r}, which the prior does not know; it knows "
            f"{named or 'none'}" + (" and landmark_00 to landmark_67 (Multi-PIE)" if named else "")
        )
    rows = [shape_model.landmark_names.index(name) for name in pixels]
    canonical = prior.canonical
    centre = torch.tensor(canonical.centre_mm)
    return MarkedLandmarks(
        (shape_model.landmark_mean[rows] - centre) / canonical.radius_mm,
        shape_model.landmark_basis[rows] / canonical.radius_mm,
        torch.from_numpy(np.stack(list(pixels.values()))).float(),
    )


@dataclass(frozen=True)
class Posterior:
    """The posterior of a fit, for the uncertainty of its surface.

    Attributes:
        shape_model: The shape model.
        fit: The fit.
        scale: Factor of standard deviations.
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
            # A deformed distance does not grow by one a unit of length.
            basis = head.basis(part) / gradient.norm(dim=1, keepdim=True).clamp_min(0.1)
            rows = torch.cat([basis, similarity_jacobian(part, normal, (normal * part).sum(1))], dim=1)
            parts.append((rows @ self._root).square().sum(1))
        return torch.cat(parts) * self.scale**2

    @cached_property
    def _head(self) -> PCAShape:
        return self.shape_model.shape_of(self.fit.code)

    @cached_property
    def _root(self) -> Float[Tensor, "unknowns unknowns"]:
        return torch.linalg.cholesky(self.fit.covariance).float()


def _changed(settings: Settings, given: Mapping[str, object] | None, name: str) -> Settings:
    """Settings with given values in place of their own; raises a PriorError if one is unknown."""
    try:
        return replace(settings, **(given or {}))  # type: ignore[arg-type]
    except TypeError as error:
        names = ", ".join(settings.__dataclass_fields__)
        raise PriorError(f"prior.{name}: {error}; it knows {names}") from error
