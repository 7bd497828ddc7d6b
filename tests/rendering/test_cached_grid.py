import torch

from recon.rendering.cached_grid import CachedSDFGrid
from tests.support.surfaces import torus


def ball(radius, centre=(0.0, 0.0, 0.0)):
    return lambda points: (points - torch.tensor(centre)).norm(dim=1) - radius


def near(sdf, distance, count=20_000):
    points = torch.rand(count, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    points = points[points.norm(dim=1) < 1]
    return points[sdf(points).abs() < distance]


def worst(grid, sdf, points):
    return (grid.interpolate(points[None])[0] - sdf(points)).abs().max()


def test_near_the_surface_it_is_as_good_as_its_fine_cells():
    errors = []
    for cells in (32, 64):
        grid = CachedSDFGrid(cells, 1.0, 1000)
        grid.refresh(torus)
        errors.append(worst(grid, torus, near(torus, 0.01)))
    # interpolation is off by at most cell² / 8 times the sum of the curvatures, here 1 / 0.2 and at most 1 / 0.3
    assert errors[1] < (2 / 64) ** 2 and errors[1] < errors[0] / 3


def test_far_from_the_surface_the_sign_is_right_and_nothing_is_evaluated():
    evaluated = []
    grid = CachedSDFGrid(64, 1.0, 1000)

    def counted(points):
        evaluated.append(len(points))
        return torus(points)

    count = grid.refresh(counted)
    assert count == sum(evaluated) < 0.2 * 65**3 and max(evaluated) <= 1000
    points = near(torus, 10.0)
    far = points[torus(points).abs() > 0.03]
    assert torch.equal(grid.interpolate(far[None])[0] < 0, torus(far) < 0)


def test_what_is_thinner_than_the_coarsest_cells_is_found():
    grid = CachedSDFGrid(64, 1.0, 4096)
    centre = (0.31, 0.22, -0.4)
    grid.refresh(ball(0.035, centre))  # the coarsest cells are 0.125 wide
    inside = torch.tensor(centre) + (torch.rand(100, 3) - 0.5) * 0.02
    assert (grid.interpolate(inside[None]) < 0).all()


def test_it_follows_a_surface_that_moves_by_less_than_a_cell():
    grid = CachedSDFGrid(64, 1.0, 4096)
    whole = grid.refresh(ball(0.5))
    for step in range(1, 41):  # 0.2 in all, 6 cells
        shape = ball(0.5, (0.005 * step, 0.0, 0.0))
        assert grid.refresh_surface(shape) < whole / 2
    assert worst(grid, shape, near(shape, 0.005)) < 0.006  # no more than a step is off
    assert worst(grid, ball(0.5), near(ball(0.5), 0.005)) > 0.05  # it is no longer there


def test_a_surface_that_leaves_the_sphere_is_no_error():
    grid = CachedSDFGrid(32, 1.0, 4096)
    grid.refresh(ball(0.5, (0.8, 0.0, 0.0)))
    grid.refresh(lambda points: points.norm(dim=1) + 1)
    assert (grid.values > 0).all() and grid.refresh_surface(lambda points: points[:, 0]) == 0
