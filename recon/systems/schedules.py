"""Schedules, as pure functions of how far training is: nothing to store, nothing to restore."""

from collections.abc import Sequence


def stepped(progress: float, milestones: Sequence[float], factor: float) -> float:
    """`factor` to the power of the number of milestones passed.

    Args:
        progress: step / total steps, in [0, 1].
        milestones: fractions of the whole; a milestone counts from the step that reaches it.
        factor: what each multiplies by. IDR: α by 2 at 1/8, 2/8, … 5/8; the learning rate by 0.5 at 1/2 and
            3/4.
    """
    return factor ** sum(progress >= milestone for milestone in milestones)
