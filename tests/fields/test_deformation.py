import pytest
import torch

from recon.fields import Deformation

BOX = {"low": [-1.0] * 3, "high": [1.0] * 3, "cells": [10] * 3}
GROWTH, SHIFT = 0.1, (0.02, -0.03, 0.01)
"""The identity's mode grows space about 0 by this share; the expression's mode shifts it."""


@pytest.fixture(scope="module")
def deformation():
    """Displacements that are linear in space are splines whose values are theirs at the middles of cells."""
    made = Deformation({**BOX, "modes": 1}, {**BOX, "modes": 1})
    lattice = made.identity.lattice
    axis = lattice.low[0] + lattice.cell[0] * (torch.arange(lattice.shape[0]) - 0.5)
    made.identity.rows.copy_((GROWTH * torch.cartesian_prod(axis, axis, axis)).half())
    made.expression.rows.copy_(torch.tensor(SHIFT).half().expand_as(made.expression.rows))
    return made


def points_of(count=100):
    return (torch.rand(count, 3, generator=torch.Generator().manual_seed(0)).double() * 2 - 1) * 0.5


@pytest.mark.parametrize("coarse, accuracy", [(False, 2e-4), (True, 1e-3)])
def test_the_identity_is_inverted_and_then_the_expression_undone(deformation, coarse, accuracy):
    w, e, points = 1.5, -2.0, points_of()
    neutral, template = deformation.of(torch.tensor([w, e]).double(), coarse=coarse).to_template(points)
    torch.testing.assert_close(neutral, points / (1 + GROWTH * w), atol=accuracy, rtol=0)
    torch.testing.assert_close(template, neutral + e * torch.tensor(SHIFT).double(), atol=2e-5, rtol=0)


def test_no_code_is_no_deformation(deformation):
    points = points_of()
    for found in deformation.of(torch.zeros(2).double()).to_template(points):
        torch.testing.assert_close(found, points, atol=0, rtol=0)


def test_derivatives_by_point_and_code_are_those_of_the_closed_form(deformation):
    w, e, points = 1.5, -2.0, points_of()
    head = deformation.of(torch.tensor([w, e]).double())
    neutral, template = head.to_template(points)
    by_template = 2 * template  # of the function |y|²
    by_point = head.pulled_back(points, neutral, by_template)
    torch.testing.assert_close(by_point, by_template / (1 + GROWTH * w), atol=1e-3, rtol=0)
    # y = x / (1 + g w) + e s: ∂|y|² / ∂w = −2 y · x g / (1 + g w)², ∂|y|² / ∂e = 2 y · s
    by_code = head.by_code(neutral, by_point, by_template)
    by_w = -(by_template * points).sum(1) * GROWTH / (1 + GROWTH * w) ** 2
    by_e = by_template @ torch.tensor(SHIFT).double()
    torch.testing.assert_close(by_code, torch.stack([by_w, by_e], dim=1), atol=1e-3, rtol=0)


def test_half_precision_modes_are_kept_as_they_are(deformation):
    assert deformation.identity.rows.dtype == torch.float16
    assert set(deformation.state_dict()) == {"identity.rows", "expression.rows"}
