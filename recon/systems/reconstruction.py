"""IDR as a Lightning module: one training step is rays in, losses out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from recon.errors import ReconError
from recon.fields import Field
from recon.losses import colour_loss, eikonal_loss, mask_loss
from recon.priors import Start
from recon.rendering import CameraBundle, RayBatch, SurfaceBatch, TracingSettings, render_rays, seeded
from recon.systems.products import coarse_products
from recon.systems.schedules import stepped

MAX_BAD_STEPS = 20


@dataclass(frozen=True)
class Objective:
    """Weights and schedules of the losses and of Adam. Milestones are fractions of the whole training.

    The defaults are IDR's: of 2000 epochs, α doubles at 250, 500, … 1250, and the learning rate halves at
    1000 and 1500.

    With a prior, training has two phases (H3D-Net, section 3): first the prior's networks are frozen and only
    code, pose and appearance learn, then everything does.

    Attributes:
        mask_weight: of the mask loss.
        eikonal_weight: of the eikonal loss.
        code_weight: of the squared length of the latent code, where there is one.
        alpha: initial sharpness of the mask loss.
        alpha_factor: what it is multiplied by at each milestone.
        alpha_milestones: when.
        frozen: fraction of the training in which the geometry does not learn.
        learning_rate: of the networks.
        geometry_learning_rate: of the geometry alone; None for the same.
        code_learning_rate: of the latent code.
        pose_learning_rate: of the head's similarity.
        learning_rate_factor: what it is multiplied by at each milestone.
        learning_rate_milestones: when.
        camera_learning_rate: of the cameras, where they are refined; constant.
    """

    mask_weight: float = 100.0
    eikonal_weight: float = 0.1
    code_weight: float = 0.0
    alpha: float = 50.0
    alpha_factor: float = 2.0
    alpha_milestones: Sequence[float] = (0.125, 0.25, 0.375, 0.5, 0.625)
    frozen: float = 0.0
    learning_rate: float = 1e-4
    geometry_learning_rate: float | None = None
    code_learning_rate: float = 1e-2
    pose_learning_rate: float = 1e-4
    learning_rate_factor: float = 0.5
    learning_rate_milestones: Sequence[float] = (0.5, 0.75)
    camera_learning_rate: float = 1e-4


@dataclass(frozen=True)
class StepTerms:
    """A step's losses and the figures shown of it."""

    total: Tensor
    shown: Mapping[str, Tensor] = field(default_factory=dict)


class Reconstruction(pl.LightningModule):
    """A signed distance field, a rendering network and cameras, optimised through the surface.

    Args:
        start: geometry and rendering network as the prior makes them, and how to go on from them.
        cameras: of the training views, in unit space.
        tracing: settings of the tracer.
        objective: losses and schedules.
        steps: length of the whole training.
        seed: of every random draw, together with the step.
    """

    def __init__(
        self,
        start: Start,
        cameras: CameraBundle,
        tracing: TracingSettings,
        objective: Objective,
        steps: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.sdf: Field = start.field
        self.colour, self.cameras = start.colour, cameras
        self.schedule_offset, self._optimizer_state = start.schedule_offset, start.optimizer_state
        self.frozen, self.geometry_rate = max(start.frozen, objective.frozen), start.geometry_rate
        self.tracing, self.tracer, self.objective = tracing, tracing.tracer(), objective
        self.steps, self.seed = steps, seed
        self._bad_steps = 0

    def losses(self, batch: RayBatch, step: int) -> StepTerms:
        """The losses of IDR for the pixels of one step (equation 6 and following)."""
        objective = self.objective
        origins, directions = self.cameras.rays(batch.views, batch.pixels)
        generator = seeded(self.seed, 2, step)
        rendered = render_rays(
            self.sdf, self.colour, origins, directions, batch.mask, self.tracer, generator, step
        )

        alpha = objective.alpha * stepped(
            self._progress(step), objective.alpha_milestones, objective.alpha_factor
        )
        photograph = batch.colour[rendered.agreed]
        colour = colour_loss(rendered.colour, photograph, len(batch.mask))
        mask = mask_loss(rendered.sdf, batch.mask, rendered.agreed, alpha)
        eikonal = eikonal_loss(rendered.gradient)
        total = colour + objective.mask_weight * mask + objective.eikonal_weight * eikonal
        for code in self.sdf.parameter_groups().get("code", ()):
            total = total + objective.code_weight * code.square().sum()
        with torch.no_grad():
            union = (rendered.hit | batch.mask).sum().clamp_min(1)
            square = (
                ((rendered.colour - photograph) / 2).square().mean() if len(photograph) else torch.ones(())
            )
            shown = {
                "loss": total.detach(),
                "loss_colour": colour.detach(),
                "loss_mask": mask.detach(),
                "loss_eikonal": eikonal.detach(),
                "psnr": -10 * torch.log10(square.clamp_min(1e-10)),
                "mask_iou": rendered.agreed.sum() / union,
            }
        return StepTerms(total, shown)

    def appearance(self, batch: SurfaceBatch) -> StepTerms:
        """The colour loss alone, where the geometry stays as it is."""
        feature = self.sdf(batch.points).feature
        colour = self.colour(batch.points, batch.gradient, batch.to_camera, feature)
        loss = colour_loss(colour, batch.colour, len(batch))
        square = ((colour.detach() - batch.colour) / 2).square().mean()
        return StepTerms(loss, {"loss": loss.detach(), "psnr": -10 * torch.log10(square.clamp_min(1e-10))})

    def training_step(self, batch: RayBatch | SurfaceBatch, batch_idx: int) -> Tensor | None:
        """One step; a loss that is not finite is skipped and counted."""
        self.set_phase(self.global_step)
        if isinstance(batch, SurfaceBatch):
            terms = self.appearance(batch)
        else:
            terms = self.losses(batch, self.global_step)
        self.log_dict(dict(terms.shown), on_step=True, on_epoch=False)
        if torch.isfinite(terms.total):
            return terms.total
        self._count_bad_step("loss", {name: float(value) for name, value in terms.shown.items()})
        return None

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Derivatives of the loss, as exact as the renderer wants them."""
        with coarse_products(self.tracing.coarse_backward):
            loss.backward(*args, **kwargs)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Never let a gradient that is not finite reach the weights: such a step changes nothing but Adam's
        decay.
        """
        gradients = [
            p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None
        ]
        if gradients and not torch.isfinite(torch.stack([g.sum() for g in gradients]).sum()):
            for gradient in gradients:
                gradient.zero_()
            self._count_bad_step("gradient", {})
        else:
            self._bad_steps = 0

    def _count_bad_step(self, what: str, shown: Mapping[str, float]) -> None:
        self._bad_steps += 1
        if self._bad_steps >= MAX_BAD_STEPS:
            detail = f" Last figures: {dict(shown)}." if shown else ""
            raise ReconError(
                f"The {what} was not finite in {MAX_BAD_STEPS} steps in a row (step {self.global_step}).{detail} "
                "The last good state is in checkpoints/last.ckpt; try a lower objective.learning_rate."
            )

    def set_phase(self, step: int) -> None:
        """Lets the geometry learn or not, as the phase of a step wants it, and tells the field how far training is."""
        self.sdf.set_progress(self._progress(step))
        learns = step >= round(self.frozen * self.steps)
        for parameter in self.sdf.parameter_groups().get("geometry", ()):
            parameter.requires_grad_(learns)

    def configure_optimizers(self) -> Any:
        """Adam with a rate for each part; those of networks and code are stepped, pose and cameras constant."""
        objective = self.objective
        parts: dict[str, list[nn.Parameter]] = {"geometry": [], "appearance": [], "code": [], "pose": []}
        for name, parameters in self.sdf.parameter_groups().items():
            parts[name] += parameters
        parts["appearance"] += self.colour.parameters()
        parts["cameras"] = list(self.cameras.parameters())
        geometry_rate = objective.geometry_learning_rate
        geometry_rate = objective.learning_rate if geometry_rate is None else geometry_rate
        rates = {
            "geometry": geometry_rate * self.geometry_rate,
            "appearance": objective.learning_rate,
            "code": objective.code_learning_rate,
            "pose": objective.pose_learning_rate,
            "cameras": objective.camera_learning_rate,
        }
        present = [name for name, parameters in parts.items() if parameters]
        optimizer = torch.optim.Adam(
            [{"params": parts[name], "lr": rates[name]} for name in present], fused=True
        )
        if self._optimizer_state is not None:
            for name, parameter in self.named_parameters():
                if name in self._optimizer_state:
                    optimizer.state[parameter] = dict(self._optimizer_state[name])
        # LambdaLR would pickle a bound method into the checkpoint, hence the lambdas.
        schedules = [
            (lambda step: 1.0) if name in ("pose", "cameras") else (lambda step: self._rate_factor(step))
            for name in present
        ]
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedules)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _rate_factor(self, step: int) -> float:
        objective = self.objective
        return stepped(
            self._progress(step), objective.learning_rate_milestones, objective.learning_rate_factor
        )

    def _progress(self, step: int) -> float:
        """How far the schedules are."""
        return self.schedule_offset + step / self.steps
