"""The portrait network as a Lightning module: losses, learning rate, and a moving average of the weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from recon.perception.portrait import PortraitNetwork, PortraitOutput
from recon.perception.portrait_maps import PARTS
from recon.systems.bad_steps import BadGradients
from recon.systems.pretraining.portrait.targets import IGNORED, PortraitBatch

RARE = {"eyes": 2.0, "lips": 1.5, "brows": 2.0, "ear": 1.5, "eyewear": 2.0, "beard": 1.5}
"""Weights of parts that cover few pixels; those of the others are 1."""
TERMS = ("parts", "alpha", "normals", "canonical", "strand", "depth")


@dataclass(frozen=True)
class PortraitObjective:
    """Weights of the losses; 0 leaves a head untrained.

    Attributes:
        parts: Cross-entropy of parts.
        alpha: Binary cross-entropy and Dice loss of alpha.
        normals: Negative log-likelihood of normals (von Mises–Fisher), and the angle's 1 − cos.
        canonical: Negative log-likelihood of canonical coordinates (Laplace), and their error in units of 20 mm.
        strand: 1 − cos of directions of hair.
        depth: Error of the depth of hair in units of 20 mm.
    """

    parts: float = 1.0
    alpha: float = 1.0
    normals: float = 0.5
    canonical: float = 0.3
    strand: float = 0.5
    depth: float = 0.1

    def terms(self, output: PortraitOutput, batch: PortraitBatch) -> Mapping[str, Tensor]:
        """The weighted losses of a batch, by the names of the heads."""
        found = {
            "parts": _parts(output, batch),
            "alpha": _alpha(output, batch),
            "normals": _normals(output, batch),
            "canonical": _canonical(output, batch),
            "strand": _mean(1 - _cosine(output.strand, batch.strand), batch.hair_weight),
            "depth": _mean((output.depth - batch.depth).abs().clamp_max(300) / 20, batch.hair_weight),
        }
        return {name: getattr(self, name) * value for name, value in found.items() if getattr(self, name) > 0}


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / weight.sum().clamp_min(1.0)


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=1)


def _parts(output: PortraitOutput, batch: PortraitBatch) -> Tensor:
    weight = torch.tensor([RARE.get(name, 1.0) for name in PARTS], device=output.parts.device)
    return functional.cross_entropy(output.parts, batch.parts, weight, ignore_index=IGNORED)


def _alpha(output: PortraitOutput, batch: PortraitBatch) -> Tensor:
    known = (batch.parts != IGNORED).float()
    entropy = functional.binary_cross_entropy_with_logits(output.alpha, batch.alpha, reduction="none")
    found = output.alpha.sigmoid() * known
    both = (found * batch.alpha).sum(dim=(1, 2))
    dice = 1 - (2 * both + 1) / (found.sum(dim=(1, 2)) + (batch.alpha * known).sum(dim=(1, 2)) + 1)
    return _mean(entropy, known) + 0.5 * dice.mean()


def _normals(output: PortraitOutput, batch: PortraitBatch) -> Tensor:
    apart = 1 - _cosine(output.normals, batch.normals)
    kappa = output.concentration
    likelihood = kappa * apart - kappa.log() + torch.log1p(-torch.exp(-2 * kappa))
    return _mean(2 * apart + 0.1 * likelihood, batch.normal_weight)


def _canonical(output: PortraitOutput, batch: PortraitBatch) -> Tensor:
    error = (output.canonical - batch.canonical).abs()
    likelihood = (error / output.scale + output.scale.log()).mean(dim=1)
    return _mean(0.5 * likelihood + error.mean(dim=1) / 20, batch.canonical_weight)


class PortraitTrainingModule(pl.LightningModule):
    """The network in training and the moving average of its weights, which is what is kept.

    Args:
        network: To train.
        objective: Losses.
        steps: Of the whole training.
        learning_rate: Greatest rate of AdamW, after a short rise and before its fall along a cosine.
        weight_decay: Of AdamW, for weights of convolutions.
        average: Decay of the moving average at the end; less in the beginning.
    """

    def __init__(
        self,
        network: PortraitNetwork,
        objective: PortraitObjective,
        steps: int,
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-2,
        average: float = 0.999,
    ) -> None:
        super().__init__()
        self.network, self.averaged = network, copy.deepcopy(network).requires_grad_(False)
        self.objective, self.steps = objective, steps
        self.learning_rate, self.weight_decay, self.average = learning_rate, weight_decay, average
        self._bad_gradients = BadGradients("try a lower portrait.learning_rate")

    def training_step(self, batch: PortraitBatch, batch_idx: int) -> Tensor:
        """One step; the logged losses are means over all processes."""
        output = self.network(batch.pictures)
        terms = self.objective.terms(output, batch)
        total = sum(terms.values(), torch.zeros((), device=self.device))
        shown = {"loss": total, **{f"loss_{name}": value for name, value in terms.items()}}
        self.log_dict(
            {name: value.detach() for name, value in shown.items()},
            on_step=True,
            on_epoch=False,
            sync_dist=self.trainer.world_size > 1,
        )
        return total

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, and follow the weights with their average, before any callback saves them."""
        super().optimizer_step(*args, **kwargs)
        decay = min(self.average, (1 + self.global_step) / (10 + self.global_step))
        with torch.no_grad():
            pairs = zip(self.averaged.state_dict().values(), self.network.state_dict().values(), strict=True)
            for mean, value in pairs:
                if mean.is_floating_point():
                    mean.lerp_(value, 1 - decay)
                else:
                    mean.copy_(value)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Bound the gradient, and leave out one that is not finite; too many such in a row end the run."""
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        finite = bool(torch.isfinite(norm))
        if not finite:
            for parameter in self.network.parameters():
                parameter.grad = None
        self._bad_gradients.count(finite, self.global_step)

    def configure_optimizers(self) -> Any:
        """AdamW; norms and biases do not decay."""
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.learning_rate, betas=(0.9, 0.98), fused=True)
        # LambdaLR would pickle a bound method into the checkpoint
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.rate_factor(step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def rate_factor(self, step: int) -> float:
        """Factor of the learning rate at a step."""
        rise = max(min(500, self.steps // 20), 1)
        if step < rise:
            return (step + 1) / rise
        part = min((step - rise) / max(self.steps - rise, 1), 1.0)
        return 0.01 + 0.99 * (1 + math.cos(math.pi * part)) / 2


def angle_deg(a: Float[Tensor, "batch n h w"], b: Float[Tensor, "batch n h w"]) -> Float[Tensor, "batch h w"]:
    """Angle between unit vectors, degrees."""
    return torch.rad2deg(torch.atan2((a - b).norm(dim=1), (a + b).norm(dim=1)) * 2)
