"""Hash grids: known values at corners, linear functions between them, and both derivatives."""

import numpy as np
import torch

from recon.fields import HashGrid


def test_a_dense_level_reproduces_a_linear_function():
    grid = HashGrid(levels=1, features=1, log2_size=12, coarsest=4, finest=4).double()
    # Entry (i, j, k) of 5 x 5 x 5 corners at -1 + i / 2 ...
    i, j, k = np.meshgrid(*[np.arange(5)] * 3, indexing="ij")
    value = 2.0 * (-1 + i / 2) - 3.0 * (-1 + j / 2) + 0.5 * (-1 + k / 2) + 1.0
    with torch.no_grad():
        grid.table.copy_(torch.from_numpy(value.reshape(-1, 1)))
    points = torch.tensor([[0.1, -0.7, 0.33], [0.99, 1.0, -1.0], [-0.25, 0.5, 0.0]]).double()
    expected = points @ torch.tensor([2.0, -3.0, 0.5]).double() + 1.0
    torch.testing.assert_close(grid(points)[:, 0], expected)
    outside = torch.tensor([[3.0, 0.0, 0.0]]).double()
    torch.testing.assert_close(grid(outside)[:, 0], torch.tensor([3.0]).double())  # at x = 1: 2 + 1


def test_levels_grow_by_one_factor_and_share_entries_where_they_must():
    grid = HashGrid(levels=3, features=2, log2_size=10, coarsest=4, finest=64)
    assert grid.resolution.tolist() == [4, 16, 64]
    assert len(grid.table) == 125 + 1024 + 1024
    assert grid(torch.zeros(7, 3)).shape == (7, 6)


def test_a_hashed_corner_is_where_the_paper_puts_it():
    grid = HashGrid(levels=1, features=1, log2_size=4, coarsest=8, finest=8)
    with torch.no_grad():
        grid.table.zero_()
        grid.table[(3 ^ (5 * 2654435761) ^ (2 * 805459861)) % 16] = 1.0
    corner = torch.tensor([[3.0, 5.0, 2.0]]) / 4 - 1
    torch.testing.assert_close(grid(corner)[0, 0], torch.tensor(1.0))


def test_both_derivatives():
    torch.manual_seed(0)
    grid = HashGrid(levels=2, features=2, log2_size=8, coarsest=3, finest=9, scale=1.0).double()
    points = (torch.rand(4, 3, dtype=torch.float64) * 1.8 - 0.9).requires_grad_(True)
    assert torch.autograd.gradcheck(grid, (points,))
    assert torch.autograd.gradgradcheck(grid, (points,))
    # the eikonal loss needs the derivative of a gradient by the table
    slope = torch.autograd.grad(grid(points).sum(), points, create_graph=True)[0]
    loss = (slope.norm(dim=1) - 1).square().sum()
    analytic = torch.autograd.grad(loss, grid.table)[0]
    at = tuple(int(i) for i in torch.nonzero(analytic.abs() > 1e-3)[0])

    def shifted(step: float) -> float:
        with torch.no_grad():
            grid.table[at] += step
        slope = torch.autograd.grad(grid(points).sum(), points)[0]
        with torch.no_grad():
            grid.table[at] -= step
        return float((slope.norm(dim=1) - 1).square().sum())

    assert abs(float(analytic[at]) - (shifted(1e-6) - shifted(-1e-6)) / 2e-6) < 1e-5
