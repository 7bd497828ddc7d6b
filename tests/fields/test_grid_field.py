"""Fields on grids: the sphere to begin with, both derivatives, levels that fade in."""

import copy

import pytest
import torch
from torch.nn.functional import normalize

from recon.errors import ConfigError
from recon.fields import DenseField, HashField, sdf_and_gradient

SMALL = {
    "hash": lambda **more: HashField(3, 2, 8, 3, 9, 8, 1, 2, beta=5.0, **more),
    "dense": lambda **more: DenseField(2, 2, 3, 6, 2, 8, 1, 2, beta=5.0, **more),
    "sums": lambda **more: DenseField(2, 2, 3, 6, 2, 8, 0, 2, **more),
}


def draw(count, reach=0.9, seed=1):
    return (torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) * 2 - 1) * reach


def learned(name, **more):
    """A small field whose parameters are all of some size."""
    torch.manual_seed(0)
    field = SMALL[name](first=1, fade=(0.0, 1.0), **more).double()
    for parameter in field.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return field


@pytest.mark.parametrize("make", [HashField, DenseField, lambda radius: DenseField(depth=0, radius=radius)])
@pytest.mark.parametrize("radius", [0.4, 0.6])
def test_a_field_starts_as_a_sphere(make, radius):
    torch.manual_seed(0)
    field, points = make(radius=radius), draw(500)
    torch.testing.assert_close(field.sdf(points), points.norm(dim=1) - radius, atol=1e-4, rtol=0)
    _, gradient = sdf_and_gradient(field, points)
    torch.testing.assert_close(gradient, normalize(points, dim=1), atol=2e-3, rtol=0)
    assert field(points).feature.shape == (500, 64)
    assert field.sdf(torch.zeros(1, 3)).item() == pytest.approx(-radius, abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("progress", [0.3, 1.0])
def test_distance_alone_is_that_of_the_sample(name, progress):
    field, points = learned(name), draw(20).double()
    field.set_progress(progress)
    torch.testing.assert_close(field.sdf(points), field(points).sdf)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_a_whole_field_has_derivatives_of_both_orders(name, backend):
    field, points = learned(name, backend=backend), draw(3).double().requires_grad_(True)
    field.set_progress(0.4)
    assert torch.autograd.gradcheck(field.sdf, points)
    assert torch.autograd.gradgradcheck(field.sdf, points)

    # what an eikonal loss tells the table
    names = ["grid.table", "layers.0.weight"]
    values = [dict(field.named_parameters())[each].detach().clone().requires_grad_(True) for each in names]

    def eikonal(*values):
        def distance(at):
            return torch.func.functional_call(Distance(field), dict(zip(names, values, strict=True)), (at,))

        (gradient,) = torch.autograd.grad(distance(points).sum(), points, create_graph=True)
        return (gradient.norm(dim=1) - 1).square()

    assert torch.autograd.gradcheck(eikonal, values)


class Distance(torch.nn.Module):
    """Only the signed distance of a field, under the names of its parameters."""

    def __init__(self, field):
        super().__init__()
        self.grid, self.layers = field.grid, field.layers
        self.field = [field]

    def forward(self, points):
        return self.field[0].sdf(points)


def test_levels_fade_in_as_a_function_of_the_progress():
    field = HashField(4, 1, 8, 2, 9, 4, 1, 2, first=1, fade=(0.2, 0.8))
    assert field.fades() == [1, 1, 1, 1]  # nobody trains
    for progress, expected in {
        0.0: [1, 0, 0, 0],
        0.2: [1, 0, 0, 0],
        0.3: [1, 0.5, 0, 0],
        0.5: [1, 1, 0.5, 0],
        0.8: [1, 1, 1, 1],
        1.25: [1, 1, 1, 1],
    }.items():
        field.set_progress(progress)
        assert field.fades() == pytest.approx(expected)


def test_weights_of_the_levels_lie_where_the_field_is_and_stay_there():
    field = HashField(4, 1, 8, 2, 9, 4, 1, 2, first=1, fade=(0.2, 0.8))
    kept, shapes = field.faded.data_ptr(), []
    for progress in (0.0, 0.3, 0.35, 0.5, 1.0):
        field.set_progress(progress)
        assert field.faded.tolist() == pytest.approx(field.fades()) and field.faded.data_ptr() == kept
        shapes.append(field.shape_of_progress())
    assert shapes == [(1, False), (2, True), (2, True), (3, True), (4, False)]
    assert not any("faded" in name for name in field.state_dict())  # a function of the progress


def test_levels_come_at_once_where_the_training_freezes_the_geometry_for_longer_than_they_fade():
    field = HashField(4, 1, 8, 2, 9, 4, 1, 2, first=1, fade=(0.9, 0.8))
    seen = []
    for progress in (0.85, 0.9):
        field.set_progress(progress)
        seen.append(field.fades())
    assert seen == [[1, 0, 0, 0], [1, 1, 1, 1]]


@pytest.mark.parametrize("name", SMALL)
def test_a_level_that_is_not_in_neither_counts_nor_learns_and_comes_in_without_a_jump(name):
    field, points = learned(name), draw(50).double()
    field.set_progress(0.0)
    before = field.sdf(points)
    other = copy.deepcopy(field)
    with torch.no_grad():
        other.grid.table[int(other.grid.levels[1, 3]) :] += 1.0
    torch.testing.assert_close(other.sdf(points), before)
    before.sum().backward()
    assert field.grid.table.grad[int(field.grid.levels[1, 3]) :].abs().max() == 0
    field.set_progress(1e-6)
    assert 0 < (field.sdf(points) - before).abs().max() < 1e-4


def test_impossible_schedules_and_backends_are_named():
    for wrong in ({"first": 9}, {"fade": (-0.1, 0.2)}, {"fade": (0.0, 1.5)}):
        with pytest.raises(ValueError, match="fade"):
            HashField(**wrong)
    with pytest.raises(ConfigError, match=r"encoding\.backend"):
        HashField(backend="gpu")
