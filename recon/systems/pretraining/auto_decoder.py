"""The auto-decoder of shape priors as a Lightning module: a network and a code for each head."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from recon.geometry.frames import FACE_RADIUS_MM, CanonicalFrame
from recon.priors import FeatureGridSDFNetwork, ShapeNetwork
from recon.priors.data.batches import Batch, DistanceBatch, LatticeBatch, SurfaceBatch
from recon.systems.bad_steps import BadGradients


@dataclass(frozen=True)
class ShapeObjective:
    """Losses of a shape prior. Distances in canonical unit space unless the name says mm.

    Attributes:
        clamp: Distances: value at which they are clamped (DeepSDF's δ).
        face_weight: Distances: factor of the loss of a point near the face.
        latent_weight: Weight of the mean length of the codes in the batch.
        eikonal_weight: Weight of mean (‖∇F‖ − 1)².
        normal_weight: Surface: weight of mean ‖∇F − n‖.
        lattice_reach_mm: Lattice: distance at which the weight of a node for a head is halved.
    """

    clamp: float = 0.1
    face_weight: float = 2.0
    latent_weight: float = 1e-4
    eikonal_weight: float = 0.0
    normal_weight: float = 1.0
    lattice_reach_mm: float = 12.0


@dataclass(frozen=True)
class Rates:
    """Learning rates of Adam; each part of the training goes down to `final` of them along a cosine.

    Attributes:
        grids: Rate of feature grids.
        layers: Rate of layers and basis.
        codes: Rate of codes.
        samples: Factor of all rates in the part that trains on samples, where lattices came before.
        final: Share of a rate that is left at the end of a part.
        betas: Coefficients of Adam's moments.
    """

    grids: float = 1e-2
    layers: float = 2e-3
    codes: float = 1e-3
    samples: float = 0.3
    final: float = 0.02
    betas: tuple[float, float] = (0.9, 0.99)


class Pretraining(pl.LightningModule):
    """A shape model of heads and the codes of the heads that it is trained on.

    Args:
        network: The shape model.
        codes: Initial codes, one row for each head.
        canonical: CanonicalFrame frame.
        objective: Losses.
        rates: Learning rates.
        steps: Number of steps of the whole training.
        lattice_steps: Number of the first steps, which train on lattices.
    """

    def __init__(
        self,
        network: ShapeNetwork,
        codes: Float[Tensor, "heads latent"],
        canonical: CanonicalFrame,
        objective: ShapeObjective,
        rates: Rates,
        steps: int,
        lattice_steps: int = 0,
    ) -> None:
        super().__init__()
        self.network, self.codes = network, nn.Parameter(codes.clone())
        self.canonical, self.objective, self.rates = canonical, objective, rates
        self.steps, self.lattice_steps = steps, lattice_steps
        self._bad_gradients = BadGradients("try lower size.rates")

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step on a batch of any kind; the logged loss is the mean over all processes."""
        terms = self.losses(batch)
        total = sum(terms.values(), torch.zeros((), device=self.device))
        shown = {"loss": total, **terms} | {"code_norm": self.codes.norm(dim=1).mean()}
        self.log_dict(
            {name: value.detach() for name, value in shown.items()},
            on_step=True,
            on_epoch=False,
            sync_dist=self.trainer.world_size > 1,
        )
        return total

    def losses(self, batch: Batch) -> Mapping[str, Tensor]:
        """The weighted terms of the loss."""
        if isinstance(batch, LatticeBatch):
            return self._lattice(batch)
        if isinstance(batch, DistanceBatch):
            return self._distances(batch)
        assert isinstance(batch, SurfaceBatch)
        return self._surface(batch)

    def _lattice(self, batch: LatticeBatch) -> Mapping[str, Tensor]:
        """All heads at the same nodes: smooth L1 in mm, which counts less far from a surface."""
        assert isinstance(self.network, FeatureGridSDFNetwork)
        mm = self.canonical.radius_mm
        weight = 1 / (1 + (batch.distances * (mm / self.objective.lattice_reach_mm)).square())
        found = self.network.all_codes(batch.points, self.codes)
        error = functional.smooth_l1_loss(found * mm, batch.distances * mm, beta=1.0, reduction="none")
        return {"loss_lattice": (weight * error).mean()}

    def _distances(self, batch: DistanceBatch) -> Mapping[str, Tensor]:
        """|clamp(F) − clamp(d)| (DeepSDF, equation 4)."""
        objective = self.objective
        points, codes = batch.points.flatten(0, 1), self._codes(batch.heads, batch.points.shape[1])
        if objective.eikonal_weight > 0:
            sdf, gradient = self._sdf_and_gradient(points, codes)
        else:
            sdf, gradient = self.network(points, codes), None
        low, high = -objective.clamp, objective.clamp
        error = (sdf.clamp(low, high) - batch.distances.flatten().clamp(low, high)).abs()
        error = torch.where(self._near_face(points), objective.face_weight, 1.0) * error
        terms = {"loss_distance": error.mean(), "loss_latent": self._latent(batch.heads)}
        if gradient is not None:
            terms["loss_eikonal"] = objective.eikonal_weight * _eikonal(gradient)
        return terms

    def _surface(self, batch: SurfaceBatch) -> Mapping[str, Tensor]:
        """|F| and ‖∇F − n‖ on the surface, eikonal off it (IGR, equations 2 and 3)."""
        objective = self.objective
        on = self._codes(batch.heads, batch.points.shape[1])
        off = self._codes(batch.heads, batch.off_surface.shape[1])
        sdf, gradient = self._sdf_and_gradient(batch.points.flatten(0, 1), on)
        _, off_gradient = self._sdf_and_gradient(batch.off_surface.flatten(0, 1), off)
        turned = (gradient - batch.normals.flatten(0, 1)).norm(dim=1)
        return {
            "loss_surface": sdf.abs().mean(),
            "loss_normal": objective.normal_weight * turned.mean(),
            "loss_eikonal": objective.eikonal_weight * _eikonal(off_gradient),
            "loss_latent": self._latent(batch.heads),
        }

    def _codes(self, heads: Tensor, points: int) -> Float[Tensor, "all latent"]:
        return self.codes[heads].repeat_interleave(points, dim=0)

    def _latent(self, heads: Tensor) -> Tensor:
        return self.objective.latent_weight * self.codes[heads].norm(dim=1).mean()

    def _near_face(self, points: Float[Tensor, "points 3"]) -> Tensor:
        nose = points.new_tensor(self.canonical.landmarks_mm["nose_tip"])
        nose = (nose - points.new_tensor(self.canonical.centre_mm)) / self.canonical.radius_mm
        return (points - nose).norm(dim=1) < FACE_RADIUS_MM / self.canonical.radius_mm

    def _sdf_and_gradient(self, points: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        points = points.requires_grad_(True)
        sdf = self.network(points, codes)
        (gradient,) = torch.autograd.grad(sdf.sum(), points, create_graph=True)
        return sdf, gradient

    @torch.no_grad()
    def standardised(self) -> ShapeNetwork:
        """A copy of the shape model in which the codes of the training heads have mean 0 and variance 1.

        A component that is the same for all heads has no effect in it.
        """
        network = copy.deepcopy(self.network).eval()
        scale = self.codes.std(dim=0, correction=0)
        network.absorb(self.codes.mean(dim=0), torch.where(scale > 1e-4, scale, 0.0))
        return network

    def standard_codes(self) -> Float[Tensor, "heads latent"]:
        """The codes of the training heads for the shape model of `standardised`."""
        codes = self.codes.detach()
        scale = codes.std(dim=0, correction=0)
        return torch.where(scale > 1e-4, (codes - codes.mean(dim=0)) / scale.clamp_min(1e-4), 0.0)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Zero gradients that are not finite; too many such steps in a row end the run."""
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        finite = bool(torch.isfinite(torch.stack([g.sum() for g in gradients]).sum()))
        if not finite:
            for gradient in gradients:
                gradient.zero_()
        self._bad_gradients.count(finite, self.global_step)

    def configure_optimizers(self) -> Any:
        """Adam with a rate for grids, layers and codes each."""
        rates = self.rates
        named = [(n, p) for n, p in self.network.named_parameters() if p.requires_grad]
        groups = [
            {"params": [p for n, p in named if n.startswith(("grids.", "mean."))], "lr": rates.grids},
            {"params": [p for n, p in named if not n.startswith(("grids.", "mean."))], "lr": rates.layers},
            {"params": [self.codes], "lr": rates.codes},
        ]
        optimizer = torch.optim.Adam([g for g in groups if g["params"]], betas=rates.betas, fused=True)
        # LambdaLR would pickle a bound method into the checkpoint.
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.rate_factor(step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def rate_factor(self, step: int) -> float:
        """Factor of the learning rates at a step."""
        if step < self.lattice_steps:
            return self._cosine(step / self.lattice_steps)
        length = max(self.steps - self.lattice_steps, 1)
        first = self.rates.samples if self.lattice_steps else 1.0
        return first * self._cosine(min((step - self.lattice_steps) / length, 1.0))

    def _cosine(self, part: float) -> float:
        final = self.rates.final
        return final + (1 - final) * (1 + math.cos(math.pi * part)) / 2


def _eikonal(gradient: Float[Tensor, "points 3"]) -> Tensor:
    return (gradient.norm(dim=1) - 1).square().mean()
