"""Steps whose loss or gradient is not finite, dealt with where they are: without waiting for a device."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recon.errors import ReconError

MAX_BAD_STEPS = 20
LOOK_EVERY = 20
"""Steps between two looks at what was counted on the device; each look waits for it."""


class BadGradients:
    """Counts steps in a row whose gradient is not finite, on the host.

    Args:
        advice: What to do if there are too many, to end a sentence.
    """

    def __init__(self, advice: str) -> None:
        self.advice, self.in_a_row = advice, 0

    def count(self, finite: bool, step: int) -> None:
        """Counts a step.

        Args:
            finite: Whether its gradient is.
            step: Number of the step, for the message.

        Raises:
            ReconError: `MAX_BAD_STEPS` steps in a row were bad.
        """
        self.in_a_row = 0 if finite else self.in_a_row + 1
        if self.in_a_row >= MAX_BAD_STEPS:
            raise ReconError(
                f"the gradient was not finite in {MAX_BAD_STEPS} steps in a row (step {step}); the last good state is "
                f"in checkpoints/last.ckpt; {self.advice}"
            )


class BadSteps(nn.Module):
    """Zeroes the gradients of bad steps and counts these, on the device; somebody must look at the count now and then.

    What is counted begins anew with every process, and is part of no checkpoint.
    """

    in_a_row: Tensor
    most: Tensor
    loss_is_bad: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("in_a_row", "most"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64), persistent=False)
        self.register_buffer("loss_is_bad", torch.zeros((), dtype=torch.bool), persistent=False)
        self.since_look = 0

    @torch.no_grad()
    def note(self, loss: Float[Tensor, ""]) -> None:
        """Remember whether the loss of the present step is finite."""
        self.loss_is_bad.copy_(~torch.isfinite(loss))

    @torch.no_grad()
    def settle(self, gradients: Sequence[Tensor]) -> None:
        """Zero the gradients of the present step, in place, unless all of them and the loss are finite; and count."""
        bad = self.loss_is_bad
        if gradients:
            bad = bad | ~torch.isfinite(torch.stack([gradient.sum() for gradient in gradients]).sum())
        for gradient in gradients:
            gradient.masked_fill_(bad, 0.0)
        self.in_a_row.copy_(torch.where(bad, self.in_a_row + 1, 0))
        self.most.copy_(torch.maximum(self.most, self.in_a_row))
        self.loss_is_bad.zero_()

    def look(self, step: int, every: int = LOOK_EVERY) -> None:
        """To be called once for each step: looks at the count every so many of them.

        Args:
            step: of the training, for the message.
            every: 1 looks at once.

        Raises:
            ReconError: `MAX_BAD_STEPS` steps in a row were bad, at some time since the last look.
        """
        self.since_look += 1
        if self.since_look < every:
            return
        self.since_look = 0
        if int(self.most) >= MAX_BAD_STEPS:
            raise ReconError(
                f"Loss or gradient were not finite in {MAX_BAD_STEPS} steps in a row (seen at step {step}). "
                "None of them reached the weights, and the last state is in checkpoints/last.ckpt; try a lower "
                "method.objective.learning_rate."
            )
