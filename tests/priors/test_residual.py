"""A residual on grids over a frozen head of a shape model."""

import copy

import numpy as np
import pytest
import torch

from recon.errors import ConfigError
from recon.fields import DenseField, FeatureNetwork, HashField, SDFNetwork, sdf_and_gradient
from recon.priors import DeepSDFNetwork, PriorField, load_shape_prior
from recon.priors.pca.shape import GridShape
from recon.priors.residual import ResidualField
from tests.support.prior_shape_models import write_ellipsoids


def posed(network=None, code=None):
    torch.manual_seed(0)
    similarity = np.diag([0.7, 0.7, 0.7, 1.0])
    similarity[:3, 3] = 0.02, -0.03, 0.01
    code = torch.zeros(1) if code is None else code
    return PriorField(network, FeatureNetwork(8, 1, 2, 4), code, similarity)


@pytest.fixture
def head(tmp_path):
    return posed(load_shape_prior(write_ellipsoids(tmp_path / "shapes.safetensors")).network)


def residual(kind=DenseField):
    return kind(levels=2, coarsest=4, finest=8, first=1, fade=(0.5, 0.8), feature_size=4)


def draw(count=200):
    return (torch.rand(count, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1) * 0.5


@pytest.mark.parametrize("kind", [DenseField, HashField])
def test_it_starts_as_the_head_in_both_phases(head, kind):
    field, points = ResidualField(head, residual(kind)), draw()
    field.set_progress(0.0)
    torch.testing.assert_close(field.sdf(points), head.sdf(points))
    field.set_progress(0.5)
    surface = points[head.sdf(points).abs() < 0.1]
    torch.testing.assert_close(field.sdf(surface), head.sdf(surface), atol=2e-4, rtol=0)  # 0.07 mm
    sample, gradient = sdf_and_gradient(field, surface)
    torch.testing.assert_close(gradient, sdf_and_gradient(head, surface)[1], atol=0.03, rtol=0)
    torch.testing.assert_close(sample.feature, head.feature(surface))


def test_code_and_pose_learn_first_and_the_residual_after_them(head):
    field, points = ResidualField(head, residual()), draw()
    groups = field.parameter_groups()
    assert {id(p) for p in groups["geometry"]} == {id(p) for p in field.residual.parameters()}
    for progress, code_learns in ((0.2, True), (0.6, False)):
        field.set_progress(progress)
        field.zero_grad()
        field.sdf(points).square().sum().backward()
        assert (head.code.grad is not None) == code_learns
        assert (field.residual.grid.table.grad is not None) != code_learns
        assert head.correction.grad.abs().sum() > 0
        assert all(p.grad is None for p in head.shape.parameters())


def test_the_lattice_follows_the_code(head):
    """As it does after a checkpoint was loaded, or on a copy."""
    field, points = ResidualField(head, residual()), draw()
    before = field.sdf(points)
    other = copy.deepcopy(field)
    state = {**field.state_dict(), "head.code": torch.full((1,), 40.0)}
    other.load_state_dict(state)
    moved = other.sdf(points)
    assert (moved - before).abs().max() > 1e-3
    near = moved.abs() < 0.1
    torch.testing.assert_close(moved[near], other.head.sdf(points[near]), atol=3e-4, rtol=0)
    torch.testing.assert_close(field.sdf(points), before)


def test_a_shape_model_without_a_box_is_sampled_in_the_unit_ball():
    torch.manual_seed(0)
    network, code = DeepSDFNetwork(4, 32, 2, (), 0), torch.randn(4)
    shape, points = GridShape.from_network(network, code, 40), draw() * 1.5
    torch.testing.assert_close(shape(points, code), network(points, code), atol=2e-3, rtol=0)


def test_a_network_that_cannot_start_at_zero_is_refused(head):
    with pytest.raises(ConfigError, match="field=dense"):
        ResidualField(head, SDFNetwork(64, 2, (), 2, 8))
