import numpy as np
import pytest
import torch

from recon.fields import FeatureGrid, rows_times, weighted_sums
from recon.fields import feature_grid as grids

LOW, HIGH, SHAPE = (-1.0, -0.5, 0.0), (1.0, 0.7, 0.9), (5, 4, 3)


def grid(channels: int = 2) -> FeatureGrid:
    torch.manual_seed(0)
    return FeatureGrid(LOW, HIGH, SHAPE, channels, scale=1.0).double()


def points(count: int = 20, seed: int = 1) -> torch.Tensor:
    low, high = torch.tensor(LOW, dtype=torch.float64), torch.tensor(HIGH, dtype=torch.float64)
    return low + torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)).double() * (high - low)


def with_values(function) -> FeatureGrid:
    """A grid whose value at the middle of each cell, and one beyond, is the function there."""
    made = grid(1)
    axes = [
        lo + (torch.arange(n + 2, dtype=torch.float64) - 0.5) * (hi - lo) / n
        for lo, hi, n in zip(LOW, HIGH, SHAPE, strict=True)
    ]
    at = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3)
    made.values.data = function(at)[:, None]
    return made


def test_linear_functions_are_reproduced():
    made = with_values(lambda x: 3 * x[:, 0] - 2 * x[:, 1] + x[:, 2] + 0.5)
    x = points()
    expected = 3 * x[:, 0] - 2 * x[:, 1] + x[:, 2] + 0.5
    torch.testing.assert_close(made(x)[:, 0], expected, atol=1e-6, rtol=0)


def test_a_quadratic_comes_back_with_the_known_offset_of_b_splines():
    # the quadratic spline with values x² is x² + h² / 4 everywhere
    made = with_values(lambda x: x[:, 0] ** 2)
    x, h = points(), (HIGH[0] - LOW[0]) / SHAPE[0]
    torch.testing.assert_close(made(x)[:, 0], x[:, 0] ** 2 + h * h / 4, atol=1e-6, rtol=0)


def test_both_ways_of_gathering_agree():
    made, x = grid(), points()
    fused = made.requires_grad_(False)(x)
    plain = made.requires_grad_(True)(x)
    assert not fused.requires_grad and plain.requires_grad
    torch.testing.assert_close(fused, plain)


def test_gradient_is_continuous_across_cells():
    made = grid(1)
    face = LOW[0] + (HIGH[0] - LOW[0]) * 2 / SHAPE[0]
    gradients = []
    for side in (-1e-7, 1e-7):
        x = torch.tensor([[face + side, 0.1, 0.4]], dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(made(x).sum(), x)
        gradients.append(gradient)
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_derivatives_of_both_orders():
    made, x = grid(), points(4).requires_grad_(True)

    def function(x, values):
        return torch.func.functional_call(made, {"values": values}, (x,))

    values = made.values.detach().clone().requires_grad_(True)
    assert torch.autograd.gradcheck(function, (x, values))
    assert torch.autograd.gradgradcheck(function, (x, values))


def test_points_outside_take_the_nearest_features():
    made = grid()
    out = torch.tensor([[3.0, 0.2, 0.5], [0.0, -2.0, 5.0]], dtype=torch.float64)
    edge = torch.tensor([[1.0, 0.2, 0.5], [0.0, -0.5, 0.9]], dtype=torch.float64)
    torch.testing.assert_close(made(out), made(edge), atol=1e-6, rtol=1e-6)


def test_the_number_of_values():
    assert grid(3).values.shape == (7 * 6 * 5, 3)
    with pytest.raises(ValueError):
        FeatureGrid(LOW, HIGH, (1, 2), 1)


def around(count: int = 60) -> torch.Tensor:
    """Points in and about the box, none on a face of a cell."""
    return points(count) * 1.7 - 0.1


@pytest.fixture
def plain(monkeypatch):
    """Makes grids use PyTorch's operations, as on a GPU."""
    return lambda: monkeypatch.setattr(grids, "_compiled", lambda points: False)


def test_compiled_loops_agree_with_plain_operations(plain):
    made, x = grid(2).requires_grad_(False), around()
    values = torch.randn(len(made.values), 1).double()
    features, (value, gradient) = made(x), made.value_and_gradient(x, values)
    plain()
    torch.testing.assert_close(features, made(x))
    torch.testing.assert_close((value, gradient), made.value_and_gradient(x, values))
    torch.testing.assert_close(value, made.interpolated(x, values)[:, 0])


def test_frozen_grids_can_be_differentiated_twice_by_points():
    made, x = grid(2).requires_grad_(False), around(6).requires_grad_(True)
    assert torch.autograd.gradcheck(made, x)
    assert torch.autograd.gradgradcheck(made, x)


def test_derivatives_by_points_are_the_same_with_a_graph_and_without():
    made, x = grid(2).requires_grad_(False), around().requires_grad_(True)
    weight = torch.randn(len(x), 2).double()
    once, twice = (
        torch.autograd.grad((made(x) * weight).sum(), x, create_graph=graph)[0] for graph in (False, True)
    )
    assert not once.requires_grad and twice.requires_grad
    torch.testing.assert_close(once, twice)


def test_points_that_are_no_numbers_give_none_and_break_nothing():
    made = grid(1).requires_grad_(False)
    x = torch.tensor([[float("nan"), 0.1, 0.2], [float("inf"), -float("inf"), 0.2]], dtype=torch.float64)
    found = made(x)
    assert found.shape == (2, 1) and torch.isfinite(found[1]).all()


HALVES = torch.tensor(
    # zero, the smallest number, the largest subnormal, the smallest normal, the largest number, and some between
    [0.0, -0.0, 2.0**-24, -(2.0**-14 - 2.0**-24), 2.0**-14, -65504.0, 1.0, -0.3333, 1234.5]
).half()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_in_half_precision_count_exactly(dtype):
    rows = HALVES.repeat(4, 3)[:, :20].contiguous()
    code = torch.zeros(20, dtype=dtype)
    for column in range(20):
        code[:] = 0
        code[column] = 2.0
        assert torch.equal(rows_times(rows, code), 2 * rows[:, column].to(dtype))
    short = torch.tensor([0.5, 1.0, -2.0], dtype=dtype)  # what is beyond the code does not count
    expected = rows[:, :3].double() @ short.double()
    assert torch.allclose(rows_times(rows, short).double(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sums_of_rows_in_half_precision_keep_the_precision_of_their_weights(dtype):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(50, 7, generator=generator).half()
    index = torch.randint(50, (2500, 27), generator=generator).int()
    weight = torch.rand(2500, 27, generator=generator, dtype=torch.float64)
    expected = np.einsum("nt,ntc->nc", weight.numpy(), rows.double().numpy()[index.numpy()])
    found = weighted_sums(index, weight.to(dtype), rows)
    assert found.dtype == dtype
    assert np.abs(found.double().numpy() - expected).max() < (1e-5 if dtype == torch.float32 else 1e-12)
