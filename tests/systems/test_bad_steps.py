import math

import pytest
import torch

from recon.errors import ReconError
from recon.systems.bad_steps import LOOK_EVERY, MAX_BAD_STEPS, BadSteps


def gradients(*values):
    return [torch.full((3,), value) for value in values]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_bad_step_has_no_gradient_at_all(bad):
    steps = BadSteps()
    given = gradients(1.0, bad, 2.0)
    addresses = [gradient.data_ptr() for gradient in given]
    steps.settle(given)
    assert all(torch.equal(gradient, torch.zeros(3)) for gradient in given)
    assert [gradient.data_ptr() for gradient in given] == addresses  # in place: a recorded step keeps them
    assert int(steps.in_a_row) == 1


def test_good_steps_are_left_alone_and_end_the_row():
    steps = BadSteps()
    steps.settle(gradients(math.nan))
    good = gradients(1.0, 2.0)
    steps.settle(good)
    assert torch.equal(good[0], torch.ones(3)) and int(steps.in_a_row) == 0 and int(steps.most) == 1


def test_a_bad_loss_counts_for_its_own_step_alone():
    steps = BadSteps()
    steps.note(torch.tensor(math.inf))
    given = gradients(1.0)
    steps.settle(given)
    assert torch.equal(given[0], torch.zeros(3)) and int(steps.in_a_row) == 1
    steps.settle(gradients(1.0))
    assert int(steps.in_a_row) == 0


@pytest.mark.parametrize("recovered", [0, 5])
def test_too_many_in_a_row_are_told_at_the_next_look_even_if_they_are_over(recovered):
    steps = BadSteps()
    for step in range(MAX_BAD_STEPS - 1):
        steps.settle(gradients(math.nan))
        steps.look(step)
    steps.look(0, every=1)  # one fewer than too many
    steps.settle(gradients(math.nan))
    for _ in range(recovered):
        steps.settle(gradients(1.0))
    with pytest.raises(ReconError, match=f"{MAX_BAD_STEPS} steps in a row .seen at step 77"):
        for _ in range(LOOK_EVERY):
            steps.look(77)


def test_bad_steps_that_are_not_in_a_row_do_not_end_a_run():
    steps = BadSteps()
    for step in range(100):
        steps.settle(gradients(math.nan if step % 3 else 1.0))
        steps.look(step)
    assert int(steps.most) == 2


def test_nothing_of_it_is_in_a_checkpoint():
    assert not BadSteps().state_dict()
