"""init=instant: the networks of another method start from the head that the linear prior fits in seconds."""

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from recon.errors import ConfigError, OutOfDistributionError, PriorError
from recon.fitting import life_size
from recon.priors.deepsdf import DeepSDFPrior, MeanHeadPrior
from recon.priors.field import PriorField
from recon.priors.pca_prior import FittedHead, PCAPrior
from recon.priors.network import fit_code
from recon.priors.prior import Networks, Prior, SceneObservations, SpherePrior, Start
from recon.priors.regression import Regression, SDFSamples, fit_field, on_surface
from recon.priors.weights import ShapePrior, load_shape_prior

log = logging.getLogger(__name__)

SURFACE_POINTS = 10_000
"""Points of the fitted head that a code is found by, or a network judged at."""


class InstantStart:
    """A prior whose networks start from the fit of the linear prior.

    With `DeepSDFPrior` pose and cameras are those of the fit, and the code is that of the shape model's head closest to
    the fitted one. With `SpherePrior` the network of signed distance learns the fitted head before training.

    Args:
        linear: Fits the head.
        prior: The method's own.
        regression: How a network of signed distance learns the head; `Regression`'s own values for what is not named.
        schedule_offset: `Start.schedule_offset` where a network learned the head: it is no sphere any more, whose
            outline blunt masks must find.
        frozen: `Start.frozen` there.
        geometry_rate: `Start.geometry_rate` there.
        device: Where networks learn the head.

    Raises:
        PriorError: An unknown setting.
    """

    def __init__(
        self,
        linear: PCAPrior,
        prior: Prior,
        regression: Mapping[str, object] | None = None,
        schedule_offset: float = 0.25,
        frozen: float = 0.3,
        geometry_rate: float = 0.04,
        device: torch.device | str = "cpu",
    ) -> None:
        self.linear, self.prior, self.device = linear, prior, device
        self.schedule_offset, self.frozen, self.geometry_rate = schedule_offset, frozen, geometry_rate
        try:
            self.regression = replace(Regression(), **(regression or {}))  # type: ignore[arg-type]
        except TypeError as error:
            known = ", ".join(Regression.__dataclass_fields__)
            raise PriorError(f"init.regression: {error}; it knows {known}") from error

    def starts(self, networks: Networks, observations: SceneObservations) -> Mapping[str, Start]:
        """The method's own networks as the fitted head, named by both priors.

        Raises:
            ConfigError: The method's prior cannot start from a fitted head.
            PriorError: A prior's file cannot be used, the two are of different frames, or the pose cannot be found.
            OutOfDistributionError: No head of the linear shape model looks like the masks.
        """
        prior = self.prior
        if isinstance(prior, DeepSDFPrior) and not isinstance(prior, MeanHeadPrior):
            if prior.pose != "masks":
                raise ConfigError(
                    f"prior.pose={prior.pose} and init=instant both say where the head stands: leave out one"
                )
            shape_model = load_shape_prior(prior.path, prior.sha256)
            head = self._fitted(observations)
            _check_frames(prior.path, shape_model, self.linear.path, head.prior)
            start = _of_family(prior, shape_model, head, networks, observations)
            name = prior.path.stem
        elif isinstance(prior, SpherePrior):
            head = self._fitted(observations)
            start, name = self._of_network(head, networks, observations), "sphere"
        else:
            raise ConfigError(
                f"init=instant starts the networks of prior=deepsdf (method=h3dnet) or prior=sphere (method=idr) from "
                f"a fitted head, not those of {type(prior).__name__}: use init=none, or one of those"
            )
        size = life_size(head.fit.canonical_from_world, head.prior.canonical.radius_mm)
        known = replace(start, cameras=head.fit.cameras, life_size=size, landmarks=head.landmarks())
        return {f"{self.linear.path.stem}+{name}": known}

    def _fitted(self, observations: SceneObservations) -> FittedHead:
        try:
            return self.linear.fit(observations)
        except OutOfDistributionError as error:
            raise OutOfDistributionError(f"{error}. init=none starts without the fit") from error

    def _of_network(self, head: FittedHead, networks: Networks, observations: SceneObservations) -> Start:
        """IDR's networks, the geometry fitted to the head."""
        field, begun = networks.sdf(), time.monotonic()
        posed = _posed(head, observations)
        generator = torch.Generator().manual_seed(0)  # the run's seed is in the field's weights
        samples = SDFSamples.from_sdf(posed.sdf, self.regression.sample_points, generator)
        field.set_progress(self.schedule_offset)  # with what of the field training begins with
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
            time.monotonic() - begun,
        )
        return Start(
            field,
            networks.colour(),
            schedule_offset=self.schedule_offset,
            frozen=self.frozen,
            geometry_rate=self.geometry_rate,
        )


def _of_family(
    prior: DeepSDFPrior,
    shape_model: ShapePrior,
    head: FittedHead,
    networks: Networks,
    observations: SceneObservations,
) -> Start:
    """H3D-Net's networks, posed as the head, with the code of the shape model's head closest to it."""
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
    """The head's distances in the scene's unit space."""
    canonical_from_unit = head.fit.canonical_from_world @ observations.world_from_unit
    return PriorField(head.shape, nn.Identity(), Tensor(), canonical_from_unit, learn_code=False)


def _check_frames(path: Path, prior: ShapePrior, linear_path: Path, linear: ShapePrior) -> None:
    """Raises a PriorError if two shape models do not live in the same canonical frame."""
    if np.allclose(prior.canonical.mm_from_unit, linear.canonical.mm_from_unit, atol=1e-3):
        return
    ours, theirs = (
        f"{p.canonical.radius_mm:g} mm about {tuple(p.canonical.centre_mm)}" for p in (prior, linear)
    )
    raise PriorError(
        f"{path} has a canonical ball of {ours}, {linear_path} one of {theirs}: init=instant needs two priors of the "
        "same frame; train both on the same samples, or use init=none"
    )
