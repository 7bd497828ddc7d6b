"""IDR as a Lightning module: one training step is rays in, losses out."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from recon.errors import ReconError
from recon.fields import Field
from recon.priors import Start
from recon.rendering import (
    CameraBundle,
    RayBatch,
    SurfaceBatch,
    TracingSettings,
    eikonal_points,
    render_fixed,
    render_rays,
    seeded,
    to_device,
)
from recon.rendering.surface import RenderedRays
from recon.systems.bad_steps import MAX_BAD_STEPS, BadSteps
from recon.systems.graphs import GraphedSteps
from recon.systems.objective import Objective, StepTerms, stepped


@contextmanager
def bf16_backward_products(wanted: bool = True) -> Iterator[None]:
    """Within, products of float32 matrices may round their factors to bfloat16; sums stay in float32.

    A CPU does so only if it has matrix units for bfloat16 (AMX: 3 to 4 times the speed); a GPU takes its fastest
    product with float32 results.

    Args:
        wanted: if not, nothing changes.
    """
    if not wanted:
        yield
        return
    before = torch.get_float32_matmul_precision()
    cuda = torch.cuda.is_available()
    torch.set_float32_matmul_precision("medium" if cuda or torch.cpu._is_amx_tile_supported() else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


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
        self.objective, self.steps, self.seed = objective, steps, seed
        self._bad_in_a_row, self.bad_steps = 0, BadSteps()  # read on the host, or counted on a device
        self.trace_by(tracing)

    def trace_by(self, tracing: TracingSettings) -> None:
        """Trace rays by these settings from now on, with nothing remembered."""
        self.tracing, self.tracer = tracing, tracing.tracer()
        self.graphs = GraphedSteps() if tracing.graphed else None

    def losses(self, batch: RayBatch, step: int) -> StepTerms:
        """The losses of IDR for the pixels of one step (equation 6 and following)."""
        origins, directions = self.cameras.rays(batch.views, batch.pixels)
        generator = seeded(self.seed, 2, step)
        rendered = render_rays(
            self.sdf, self.colour, origins, directions, batch.mask, self.tracer, generator, step
        )
        return self._terms(rendered, batch.mask, batch.colour, self._alpha(step))

    def _terms(
        self, rendered: RenderedRays, in_mask: Tensor, photograph: Tensor, alpha: float | Tensor
    ) -> StepTerms:
        """Losses and figures of what was rendered."""
        codes = self.sdf.parameter_groups().get("code", ())
        return self.objective.terms(rendered, in_mask, photograph, alpha, codes)

    def appearance(self, batch: SurfaceBatch) -> StepTerms:
        """The colour loss alone, where the geometry stays as it is."""
        feature = self.sdf(batch.points).feature
        colour = self.colour(batch.points, batch.gradient, batch.to_camera, feature)
        return self.objective.appearance_terms(colour, batch.colour)

    def terms(self, batch: RayBatch | SurfaceBatch, step: int) -> StepTerms:
        """Loss and figures of a step in its phase; where steps are recorded, gradients too, and then the loss comes
        detached.
        """
        self.set_phase(step)
        if self.graphs is not None and not self.graphs.failed:
            if isinstance(batch, RayBatch):
                self.tracer.refresh(self.sdf.sdf, step)
            learning = tuple(parameter.requires_grad for parameter in self.parameters())
            kind = (type(batch), self.sdf.shape_of_progress(), learning)
            done = self.graphs.step(self.learn, self.parameters(), self.given(batch, step), kind)
            if done is not None:
                return done
        terms = self.appearance(batch) if isinstance(batch, SurfaceBatch) else self.losses(batch, step)
        if self._deferred(terms.total.device):
            self.bad_steps.note(terms.total.detach())
        return terms

    def given(self, batch: RayBatch | SurfaceBatch, step: int) -> dict[str, Tensor | float]:
        """All that a step of fixed shapes takes from outside: its batch, its draws, and what its number decides."""
        given: dict[str, Tensor | float] = dict(vars(batch))
        if isinstance(batch, RayBatch):
            generator = seeded(self.seed, 2, step)
            uniform = eikonal_points(len(batch), generator, self.cameras.centres.dtype)
            given |= {"uniform": to_device(uniform, batch.mask.device), "alpha": self._alpha(step)}
        return given

    def learn(self, given: Mapping[str, Tensor]) -> StepTerms:
        """A step of fixed shapes from what it is given to gradients that are finite: all that a recording repeats."""
        if "mask" in given:
            rays = self.cameras.rays(given["views"], given["pixels"])
            rendered = render_fixed(
                self.sdf, self.colour, *rays, given["mask"], self.tracer, given["uniform"]
            )
            terms = self._terms(rendered, given["mask"], given["colour"], given["alpha"])
        else:
            terms = self.appearance(SurfaceBatch(**given))
        self.bad_steps.note(terms.total.detach())
        self.backward(terms.total)
        self.bad_steps.settle([p.grad for p in self.parameters() if p.grad is not None])
        return StepTerms(terms.total.detach(), terms.shown)

    def training_step(self, batch: RayBatch | SurfaceBatch, batch_idx: int) -> Tensor | None:
        """One step; one whose loss is not finite does not reach the weights and is counted."""
        terms = self.terms(batch, self.global_step)
        self.log_dict(dict(terms.shown), on_step=True, on_epoch=False)
        if self._deferred(terms.total.device) or torch.isfinite(terms.total):
            return terms.total
        self._count_bad_step("loss", {name: float(value) for name, value in terms.shown.items()})
        return None

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
        """Forget the gradients of the step before; those of a recorded step are of this one already."""
        if self.graphs is None or not self.graphs.learned:
            optimizer.zero_grad()

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Derivatives of the loss, as exact as the renderer wants them; a recorded step has them already."""
        if self.graphs is not None and self.graphs.learned:
            return
        with bf16_backward_products(self.tracing.bf16_backward):
            loss.backward(*args, **kwargs)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Never let a gradient that is not finite reach the weights: such a step changes nothing but Adam's
        decay. On a GPU that is done and counted there, and the count is looked at now and then.
        """
        gradients = [
            p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None
        ]
        if gradients and self._deferred(gradients[0].device):
            if self.graphs is None or not self.graphs.learned:
                self.bad_steps.settle(gradients)
            self.bad_steps.look(self.global_step)
        elif gradients and not torch.isfinite(torch.stack([g.sum() for g in gradients]).sum()):
            for gradient in gradients:
                gradient.zero_()
            self._count_bad_step("gradient", {})
        elif gradients:  # there are none after a bad loss, which is counted already
            self._bad_in_a_row = 0

    def on_train_end(self) -> None:
        """A last look at the bad steps."""
        self.bad_steps.look(self.global_step, every=1)

    def teardown(self, stage: str) -> None:
        """Forget recorded steps before the networks move to the CPU."""
        if self.graphs is not None:
            self.graphs.drop()

    def _deferred(self, device: torch.device) -> bool:
        """Whether bad steps are counted on the device, since reading back from it would cost a wait at every step."""
        return device.type != "cpu" or self.tracing.fixed(device)

    def _count_bad_step(self, what: str, shown: Mapping[str, float]) -> None:
        self._bad_in_a_row += 1
        if self._bad_in_a_row >= MAX_BAD_STEPS:
            detail = f" Last figures: {dict(shown)}." if shown else ""
            raise ReconError(
                f"The {what} was not finite in {MAX_BAD_STEPS} steps in a row (step {self.global_step}).{detail} "
                "The last good state is in checkpoints/last.ckpt; try a lower method.objective.learning_rate."
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
                    optimizer.state[parameter] = beside(parameter, self._optimizer_state[name])
        # LambdaLR would pickle a bound method into the checkpoint, hence the lambdas.
        schedules = [
            (lambda step: 1.0) if name in ("pose", "cameras") else (lambda step: self._rate_factor(step))
            for name in present
        ]
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedules)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _alpha(self, step: int) -> float:
        """Sharpness of the mask loss."""
        objective = self.objective
        return objective.alpha * stepped(
            self._progress(step), objective.alpha_milestones, objective.alpha_factor
        )

    def _rate_factor(self, step: int) -> float:
        objective = self.objective
        return stepped(
            self._progress(step), objective.learning_rate_milestones, objective.learning_rate_factor
        )

    def _progress(self, step: int) -> float:
        """How far the schedules are."""
        return self.schedule_offset + step / self.steps


def beside(parameter: nn.Parameter, state: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter's state of fused Adam on its device, the count of steps included, which Lightning leaves behind."""
    return {
        name: value.to(parameter.device) if isinstance(value, Tensor) else value
        for name, value in state.items()
    }
