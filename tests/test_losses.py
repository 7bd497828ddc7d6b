import math

import torch

from recon.losses import colour_loss, eikonal_loss, mask_loss


def test_colour_loss_by_hand():
    predicted = torch.tensor([[0.5, 0.0, -1.0], [0.0, 0.0, 0.0]])
    photograph = torch.tensor([[0.0, 0.25, -1.0], [1.0, 0.0, 0.0]])
    # (0.5 + 0.25 + 0) + 1 over four sampled pixels, two of which did not agree
    assert math.isclose(colour_loss(predicted, photograph, 4).item(), 1.75 / 4, rel_tol=1e-6)


def test_colour_loss_of_no_agreed_pixel_is_zero_and_differentiable():
    empty = torch.zeros(0, 3, requires_grad=True)
    loss = colour_loss(empty, torch.zeros(0, 3), 8)
    loss.backward()
    assert loss.item() == 0 and empty.grad is not None


def test_mask_loss_by_hand():
    sdf = torch.tensor([0.02, -0.01, 0.03])
    mask = torch.tensor([True, False, True])
    agreed = torch.tensor([False, False, True])
    alpha = 50.0

    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    expected = (-math.log(sigmoid(-1.0)) - math.log(1 - sigmoid(0.5))) / (alpha * 3)
    assert math.isclose(mask_loss(sdf, mask, agreed, alpha).item(), expected, rel_tol=1e-5)


def test_mask_loss_pulls_the_right_way():
    sdf = torch.tensor([0.1, 0.1], requires_grad=True)
    mask_loss(sdf, torch.tensor([True, False]), torch.tensor([False, False]), 50.0).backward()
    # descending lowers the distance where the mask has the object and raises it elsewhere
    assert sdf.grad is not None and sdf.grad[0] > 0 > sdf.grad[1]


def test_eikonal_loss_by_hand():
    gradient = torch.tensor([[3.0, 4.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    assert math.isclose(eikonal_loss(gradient).item(), (16 + 0 + 1) / 3, rel_tol=1e-6)


def test_fixed_shapes_select_by_masks_with_the_same_sums_and_gradients():
    generator = torch.Generator().manual_seed(0)
    predicted, photograph = torch.randn(2, 50, 3, generator=generator, dtype=torch.float64)
    sdf = torch.randn(50, generator=generator, dtype=torch.float64) * 0.1
    mask, agreed = torch.arange(50) % 2 == 0, torch.arange(50) % 4 == 0
    found = []
    for fixed in (True, False):
        colours, distances = predicted.clone().requires_grad_(), sdf.clone().requires_grad_()
        if fixed:
            colour = colour_loss(colours, photograph, 50, agreed)
        else:
            colour = colour_loss(colours[agreed], photograph[agreed], 50)
        alpha = torch.tensor(50.0) if fixed else 50.0  # on a device numbers of a step are tensors
        (colour + mask_loss(distances, mask, agreed, alpha, fixed=fixed)).backward()
        found.append((colour.detach(), colours.grad, distances.grad))
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-15)
    assert found[0][2][agreed].abs().max() == 0


def test_what_is_not_counted_may_be_huge():
    huge = torch.full((2, 3), 3e38, requires_grad=True)
    loss = colour_loss(huge, -huge.detach(), 2, torch.tensor([False, False]))  # the difference is infinite
    loss.backward()
    assert loss.item() == 0 and torch.equal(huge.grad, torch.zeros(2, 3))
