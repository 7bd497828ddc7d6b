import torch

from recon.fitting.least_squares import NormalEquations


def test_weighted_squares_add_up_by_hand():
    """Rows (1, 2) with residual 3 and weight 2, and (0, 1) with residual -1 and weight 0.5."""
    jacobian, residual = torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.tensor([3.0, -1.0])
    found = NormalEquations.zero(2)
    found.add(residual, jacobian, torch.tensor([2.0, 0.5]))
    assert found.matrix.tolist() == [[2.0, 4.0], [4.0, 8.5]]
    assert found.gradient.tolist() == [6.0, 11.5]
    assert found.matrix.dtype == torch.float64


def test_parts_that_are_joined_are_those_of_all_rows():
    jacobian, residual = torch.randn(20, 5).double(), torch.randn(20).double()
    whole, first, second = NormalEquations.zero(5), NormalEquations.zero(5), NormalEquations.zero(5)
    whole.add(residual, jacobian)
    first.add(residual[:8], jacobian[:8])
    second.add(residual[8:], jacobian[8:])
    first.join(second)
    torch.testing.assert_close(first.matrix, whole.matrix)
    torch.testing.assert_close(first.gradient, whole.gradient)
    # the step to the least squares
    step = -torch.linalg.solve(first.matrix, first.gradient)
    expected = torch.linalg.lstsq(jacobian, -residual).solution
    torch.testing.assert_close(step, expected)
