"""Shading eliminated from least squares, against least squares that keeps it."""

import torch

from recon.fitting.shading import harmonics, marginalised


def test_harmonics_are_orthonormal_on_the_sphere():
    generator = torch.Generator().manual_seed(0)
    normals = torch.nn.functional.normalize(torch.randn(400_000, 3, generator=generator).double(), dim=1)
    shade = harmonics(normals)
    gram = 4 * torch.pi * shade.T @ shade / len(normals)
    torch.testing.assert_close(gram, torch.eye(9).double(), atol=0.02, rtol=0)


def test_the_best_change_is_that_of_the_joint_problem():
    generator = torch.Generator().manual_seed(1)
    rows, unknowns, sigma = 60, 5, 0.7
    jacobian = torch.randn(rows, unknowns, generator=generator).double()
    residual = torch.randn(rows, generator=generator).double()
    normals = torch.nn.functional.normalize(torch.randn(rows, 3, generator=generator).double(), dim=1)
    weight = torch.rand(rows, generator=generator).double() + 0.1

    r, j = marginalised(residual, jacobian, sigma * harmonics(normals), weight)
    alone = -torch.linalg.solve(j.T @ j, j.T @ r)

    joint = torch.cat([jacobian, harmonics(normals)], dim=1)
    matrix = (joint * weight[:, None]).T @ joint
    matrix[unknowns:, unknowns:] += torch.eye(9).double() / sigma**2
    both = -torch.linalg.solve(matrix, (joint * weight[:, None]).T @ residual)
    torch.testing.assert_close(alone, both[:unknowns])

    # and the least cost is the same
    cost = (weight * (residual + joint @ both) ** 2).sum() + (both[unknowns:] ** 2).sum() / sigma**2
    torch.testing.assert_close((r + j @ alone).square().sum(), cost)
