"""What a training step minimises: weights and schedules, and the terms that come of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor


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
