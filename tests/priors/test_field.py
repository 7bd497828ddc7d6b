import numpy as np
import pytest
import torch
from torch import nn

from recon.fields import sdf_and_gradient
from recon.priors import PriorField, ShapeNetwork
from recon.priors.field import rotation


class Balls(ShapeNetwork):
    """A ball of radius z₀ about (0.1, 0, 0)."""

    latent_size = 1

    def __init__(self):
        super().__init__()
        self.middle = nn.Parameter(torch.tensor([0.1, 0.0, 0.0]))

    def forward(self, points, latent):
        return (points - self.middle).norm(dim=1) - latent[..., 0]


class Ones(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Parameter(torch.ones(1))

    def forward(self, points):
        return self.one.expand(len(points), 4)


def field(**options) -> PriorField:
    # canonical = 2 · Rz(90°) · x + (0, 0, 1): the ball's middle lies at x = (0, −0.05, −0.5)
    similarity = np.array([[0.0, -2, 0, 0], [2, 0, 0, 0], [0, 0, 2, 1], [0, 0, 0, 1]])
    return PriorField(Balls(), Ones(), torch.tensor([0.6]), similarity, **options)


def test_distances_are_those_of_the_posed_head_in_the_scene_s_unit():
    points = torch.tensor([[0.0, -0.05, -0.5], [0.0, -0.05, 0.5], [0.3, -0.05, -0.5]])
    torch.testing.assert_close(field().sdf(points), torch.tensor([-0.3, 0.7, 0.0]), atol=1e-6, rtol=0)
    sample, gradient = sdf_and_gradient(field(), points[1:])
    torch.testing.assert_close(gradient, torch.tensor([[0.0, 0, 1], [1, 0, 0]]), atol=1e-5, rtol=0)
    assert sample.feature.shape == (2, 4)


def test_the_correction_moves_turns_and_scales_about_the_canonical_middle():
    moved = field()
    with torch.no_grad():
        moved.correction[3] = 0.1  # canonical +x: the head goes the other way, x' = x + 0.1
        moved.correction[6] = np.log(2.0)
    linear, offset = moved.canonical_from_unit()
    torch.testing.assert_close(linear.norm(dim=1), torch.full((3,), 4.0))
    torch.testing.assert_close(offset, torch.tensor([0.1, 0.0, 2.0]))


def test_rotation_is_one_and_of_the_right_angle():
    vector = torch.tensor([0.02, -0.01, 0.03], dtype=torch.float64)
    turn = rotation(vector)
    torch.testing.assert_close(turn @ turn.T, torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(turn @ vector, vector)
    angle = torch.arccos((turn.trace() - 1) / 2)
    torch.testing.assert_close(angle, vector.norm(), rtol=1e-3, atol=0)
    assert torch.autograd.gradcheck(rotation, torch.zeros(3, dtype=torch.float64, requires_grad=True))


def test_parameters_by_their_part():
    parts = field().parameter_groups()
    assert {name: len(parameters) for name, parameters in parts.items()} == {
        "geometry": 1, "appearance": 1, "pose": 1, "code": 1,
    }  # fmt: skip
    assert "code" not in field(learn_code=False).parameter_groups()


def test_gradients_reach_code_pose_and_network():
    posed = field()
    posed.sdf(torch.tensor([[0.2, 0.1, -0.3]])).sum().backward()
    assert posed.code.grad == pytest.approx(-0.5)  # ∂s/∂radius over the scale 2
    assert posed.correction.grad.abs().sum() > 0 and posed.shape.middle.grad.abs().sum() > 0
