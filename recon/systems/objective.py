"""What a training step minimises: weights and schedules, and the terms that come of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from recon.losses import colour_loss, eikonal_loss, mask_loss
from recon.rendering.surface import RenderedRays


def stepped(progress: float, milestones: Sequence[float], factor: float) -> float:
    """`factor` to the power of the number of milestones passed.

    Args:
        progress: step / total steps, in [0, 1].
        milestones: fractions of the whole; a milestone counts from the step that reaches it.
        factor: what each multiplies by. IDR: α by 2 at 1/8, 2/8, … 5/8; the learning rate by 0.5 at 1/2 and
            3/4.
    """
    return factor ** sum(progress >= milestone for milestone in milestones)


@dataclass(frozen=True)
class StepTerms:
    """A step's losses and the figures shown of it."""

    total: Tensor
    shown: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Objective:
    """The losses of IDR, with their weights and schedules and those of Adam. Milestones are fractions of the training.

    Another method's losses are a subclass in a file of its own, which `method.objective._target_` names: its own fields
    are its options, and `terms` is what it minimises.

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

    def terms(
        self,
        rendered: RenderedRays,
        in_mask: Tensor,
        photograph: Tensor,
        alpha: float | Tensor,
        codes: Sequence[Tensor] = (),
    ) -> StepTerms:
        """The losses of IDR for the pixels of one step (equation 6 and following of the paper).

        Args:
            rendered: What the field shows along their rays.
            in_mask: Whether each pixel is in its mask.
            photograph: Colours of the pixels, in [-1, 1].
            alpha: Sharpness of the mask loss at this step.
            codes: Latent codes of the geometry, where it has some.
        """
        agreed, fixed = rendered.agreed, rendered.fixed
        photograph = photograph if fixed else photograph[agreed]
        colour = colour_loss(rendered.colour, photograph, len(in_mask), agreed if fixed else None)
        mask = mask_loss(rendered.sdf, in_mask, agreed, alpha, fixed=fixed)
        eikonal = eikonal_loss(rendered.gradient)
        total = colour + self.mask_weight * mask + self.eikonal_weight * eikonal
        for code in codes:
            total = total + self.code_weight * code.square().sum()
        with torch.no_grad():
            union = (rendered.hit | in_mask).sum().clamp_min(1)
            square = ((rendered.colour - photograph) / 2).square()
            if fixed:
                count = agreed.sum()
                square = torch.where(agreed[:, None], square, 0.0).sum() / (3 * count).clamp_min(1)
                square = torch.where(count > 0, square, 1.0)
            else:
                square = square.mean() if len(photograph) else square.new_ones(())
            shown = {
                "loss": total.detach(),
                "loss_colour": colour.detach(),
                "loss_mask": mask.detach(),
                "loss_eikonal": eikonal.detach(),
                "psnr": -10 * torch.log10(square.clamp_min(1e-10)),
                "mask_iou": agreed.sum() / union,
            }
        return StepTerms(total, shown)

    def appearance_terms(self, colour: Tensor, photograph: Tensor) -> StepTerms:
        """The colour loss alone, of points of a geometry that stays as it is; colours in [-1, 1]."""
        loss = colour_loss(colour, photograph, len(photograph))
        square = ((colour.detach() - photograph) / 2).square().mean()
        return StepTerms(loss, {"loss": loss.detach(), "psnr": -10 * torch.log10(square.clamp_min(1e-10))})
