"""init=instant: the networks of another method start from the head that prior=pca fits in seconds."""

import logging
import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from recon.errors import ConfigError, OutOfDistributionError, PriorError
from recon.fitting import life_size
from recon.priors.deepsdf import DeepSDFPrior, MeanHeadPrior
from recon.priors.field import PriorField
from recon.priors.network import fit_code
from recon.priors.pca_prior import PCAPrior
from recon.priors.prior import FittedHead, Networks, Prior, SceneObservations, SpherePrior, Start
from recon.priors.regression import Regression, SDFSamples, fit_field, on_surface
from recon.priors.weights import ShapePrior, load_shape_prior, read_description

log = logging.getLogger(__name__)

SURFACE_POINTS = 10_000
"""Number of points of the fitted head by which a code is found, or at which a network is judged."""


class InstantStart:
    """A prior whose networks start from the fit of a `PCAPrior`.

    With `DeepSDFPrior` pose and cameras are those of the fit, and the code is that of the shape model's head closest to
    the fitted one. With `SpherePrior` the network of signed distance learns the fitted head before training.

    Args:
        pca: Prior that fits the head.
        prior: Prior of the method.
        regression: Settings by which a network of signed distance learns the head; `Regression` has the values of those
            that are not named.
        schedule_offset: `Start.schedule_offset` where a network learned the head: a soft mask loss, which helps a
            sphere to find the outlines, is not needed.
        frozen: `Start.frozen` where a network learned the head.
        geometry_rate: `Start.geometry_rate` where a network learned the head.
        device: Device on which networks learn the head.

    Raises:
        PriorError: An unknown setting.
    """

    def __init__(
        self,
        pca: PCAPrior,
        prior: Prior,
        regression: Mapping[str, object] | None = None,
        schedule_offset: float = 0.25,
        frozen: float = 0.3,
        geometry_rate: float = 0.04,
        device: torch.device | str = "cpu",
    ) -> None:
        self.pca, self.prior, self.device = pca, prior, device
        self.schedule_offset, self.frozen, self.geometry_rate = schedule_offset, frozen, geometry_rate
        try:
            self.regression = replace(Regression(), **(regression or {}))  # type: ignore[arg-type]
        except TypeError as error:
            names = ", ".join(Regression.__dataclass_fields__)
            raise PriorError(f"init.regression: {error}; it knows {names}") from error

    def fit(self, observations: SceneObservations) -> FittedHead:
        """Fits the head by the PCA prior, once it is known that the method's prior can start from it.

        Raises:
            ConfigError: The method's prior cannot start from a fitted head.
            PriorError: A prior's file cannot be used, the two are of different frames, or the pose cannot be found.
            OutOfDistributionError: No head of the linear shape model matches the masks.
        """
        self._check()
        try:
            return self.pca.fit(observations)
        except OutOfDistributionError as error:
            raise OutOfDistributionError(f"{error}. init=none starts without the fit") from error

    def starts(
        self, networks: Networks, observations: SceneObservations, fitted: FittedHead | None = None
    ) -> Mapping[str, Start]:
        """The method's own networks as the fitted head, named by both priors.

        Args:
            networks: Factories of the configured networks.
            observations: The input views.
            fitted: Result of `fit`, which is called here with None.

        Raises:
            ConfigError: The method's prior cannot start from a fitted head.
            PriorError: A prior's file cannot be used, the two are of different frames, or the pose cannot be found.
            OutOfDistributionError: No head of the linear shape model matches the masks.
        """
        head = fitted or self.fit(observations)
        if isinstance(self.prior, DeepSDFPrior):
            shape_model = load_shape_prior(self.prior.path, self.prior.sha256)
            start = _closest_shape(self.prior, shape_model, head, networks, observations)
            name = self.prior.path.stem
        else:
            start, name = self._trained_network(head, networks, observations), "sphere"
        pose = head.fit.canonical_from_world
        start = replace(
            start,
            cameras=head.fit.cameras,
            life_size=life_size(pose, head.prior.canonical.radius_mm),
            landmarks=head.landmarks(),
            canonical_from_world=pose,
        )
        return {f"{self.pca.path.stem}+{name}": start}

    def _check(self) -> None:
        """Refuses a prior that cannot start from a fitted head, before seconds are spent on the fit."""
        prior = self.prior
        if isinstance(prior, SpherePrior):
            return
        if not isinstance(prior, DeepSDFPrior) or isinstance(prior, MeanHeadPrior):
            raise ConfigError(
                f"init=instant starts the networks of prior=deepsdf (method=h3dnet) or prior=sphere (method=idr) from "
                f"a fitted head, not those of {type(prior).__name__}: use init=none, or one of those"
            )
        if prior.pose != "masks":
            raise ConfigError(
                f"prior.pose={prior.pose} and init=instant both say where the head stands: leave out one"
            )
        ours, theirs = (read_description(each.path, each.sha256).canonical for each in (prior, self.pca))
        if not np.allclose(ours.mm_from_unit, theirs.mm_from_unit, atol=1e-3):
            raise PriorError(
                f"{prior.path} has a canonical ball of {ours.radius_mm:g} mm about {tuple(ours.centre_mm)}, "
                f"{self.pca.path} one of {theirs.radius_mm:g} mm about {tuple(theirs.centre_mm)}: init=instant needs "
                "two priors of the same frame; train both on the same samples, or use init=none"
            )

    def _trained_network(
        self, head: FittedHead, networks: Networks, observations: SceneObservations
    ) -> Start:
        """IDR's networks, with the geometry trained on the head."""
        field, started = networks.sdf(), time.monotonic()
        posed = _posed(head, observations)
        generator = torch.Generator().manual_seed(0)  # the run's seed is in the field's weights
        samples = SDFSamples.from_sdf(posed.sdf, self.regression.sample_points, generator)
        field.set_progress(self.schedule_offset)  # the levels of the field that training begins with
        fit_field(field, samples, self.regression, generator, self.device)
        points = on_surface(posed.sdf, SURFACE_POINTS, generator)
        with torch.no_grad():
            error_mm = field.sdf(points).abs() * float(
                np.cbrt(np.linalg.det(observations.world_from_unit[:3, :3]))
            )
        log.info(
            "the network learned the fitted head to %.2f mm (95 %% of the surface to %.2f mm) in %.1f s",
            error_mm.mean(),
            error_mm.quantile(0.95),
            time.monotonic() - started,
        )
        return Start(
            field,
            networks.colour(),
            schedule_offset=self.schedule_offset,
            frozen=self.frozen,
            geometry_rate=self.geometry_rate,
        )


def _closest_shape(
    prior: DeepSDFPrior,
    shape_model: ShapePrior,
    head: FittedHead,
    networks: Networks,
    observations: SceneObservations,
) -> Start:
    """H3D-Net's networks in the pose of the head, with the code of the closest head of the shape model."""
    posed = _posed(head, observations)
    points = on_surface(posed.sdf, SURFACE_POINTS, torch.Generator().manual_seed(0))
    linear, offset = (t.detach() for t in posed.canonical_from_unit())
    canonical = points @ linear.T + offset
    code = torch.zeros(shape_model.network.latent_size)
    if prior.code == "masks":
        code = fit_code(shape_model.network, canonical)
    error_mm = shape_model.network.shape_of(code).sdf(canonical).abs() * shape_model.canonical.radius_mm
    log.info(
        "the shape model's closest head is %.2f mm from the fitted one (95 %% of the surface within %.2f mm)",
        error_mm.mean(),
        error_mm.quantile(0.95),
    )
    canonical_from_unit = head.fit.canonical_from_world @ observations.world_from_unit
    return Start(prior.field(shape_model, networks, code, canonical_from_unit), networks.colour())


def _posed(head: FittedHead, observations: SceneObservations) -> PriorField:
    """The distances of the head in the scene's unit space."""
    canonical_from_unit = head.fit.canonical_from_world @ observations.world_from_unit
    return PriorField(head.shape, nn.Identity(), Tensor(), canonical_from_unit, learn_code=False)
