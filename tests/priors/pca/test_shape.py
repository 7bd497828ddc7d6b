import torch

from recon.fields import FeatureGrid
from recon.priors import GridShape
from tests.support.pca_shape_models import CODE, HIGH, LOW, banded_ball, deformed_ball, nodes, points_of


def change_of(cell: float) -> FeatureGrid:
    """A smooth bump that is 0 away from one side of the ball."""
    count = round(2 / cell)
    grid = FeatureGrid([-1.0] * 3, [1.0] * 3, [count] * 3, 1).requires_grad_(False)
    axis = -1 + cell * (torch.arange(count + 2) - 0.5)
    at = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1) - torch.tensor([0.2, 0.0, 0.1])
    grid.values[:, 0] = (0.03 * (1 - at.square().sum(-1) / 0.2**2).clamp_min(0) ** 2).flatten()
    return grid


def test_a_head_with_a_change_is_the_head_plus_the_change():
    shape_model, _ = banded_ball()
    change = change_of(2 / 12)
    shape = GridShape.from_code(shape_model, CODE, change)
    middles = torch.from_numpy(nodes().reshape(-1, 3)).float()
    with torch.no_grad():
        added = shape(middles, torch.zeros(0)) - shape_model.shape_of(CODE).sdf(middles)
        torch.testing.assert_close(added, change(middles)[:, 0], atol=1e-6, rtol=0)
        between = points_of(reach=0.38)
        added = shape(between, torch.zeros(0)) - shape_model.shape_of(CODE).sdf(between)
        assert float((added - change(between)[:, 0]).abs().max()) < 0.1 * float(change.values.max())
    assert float(added.abs().max()) > 0.005


def test_no_change_is_the_head_itself():
    shape_model, _ = banded_ball()
    points = points_of(reach=0.6)
    none = FeatureGrid(LOW, HIGH, [8, 8, 8], 1).requires_grad_(False)
    plain, same = GridShape.from_code(shape_model, CODE), GridShape.from_code(shape_model, CODE, none)
    torch.testing.assert_close(same(points, torch.zeros(0)), plain(points, torch.zeros(0)))
    torch.testing.assert_close(plain(points, torch.zeros(0)).detach(), shape_model.shape_of(CODE).sdf(points))


def test_a_deformed_head_as_grids_is_the_head_and_can_be_differentiated_twice():
    shape_model, _, _ = deformed_ball()
    change, points = change_of(2 / 12), points_of(100, reach=0.3).requires_grad_(True)
    shape = GridShape.from_code(shape_model, CODE, change)
    sdf = shape(points, torch.zeros(0))
    head = shape_model.shape_of(CODE)
    expected = head.sdf(points.detach()) + change(points)[:, 0].detach()
    torch.testing.assert_close(sdf.detach(), expected, atol=1e-6, rtol=1e-5)
    (gradient,) = torch.autograd.grad(sdf.sum(), points, create_graph=True)
    plain = GridShape.from_code(shape_model, CODE)
    (by_point,) = torch.autograd.grad(plain(points, torch.zeros(0)).sum(), points)
    torch.testing.assert_close(by_point, head.sdf_and_gradient(points.detach())[1], atol=1e-5, rtol=1e-4)
    (second,) = torch.autograd.grad(gradient.norm(dim=1).sum(), points)
    assert second.isfinite().all() and second.abs().max() > 0.1
    learning = {name for name, value in shape.named_parameters() if value.requires_grad}
    assert learning == {"grid.values"}
