"""Multi-resolution grids: known values at corners, linear functions between them, all backends, both derivatives."""

import numpy as np
import pytest
import torch

from recon.errors import ConfigError
from recon.fields import DenseGrid, HashGrid, level_grid, tiny_cuda

GRIDS = {
    "hash": lambda backend: HashGrid(3, 2, 8, 3, 9, 1.0, backend),
    "linear": lambda backend: DenseGrid(2, 2, 3, 5, 1, 1.0, backend),
    "smooth": lambda backend: DenseGrid(2, 3, 3, 5, 2, 1.0, backend),
}
BACKENDS = ("torch", "numba")
needs_tinycudann = pytest.mark.skipif(bool(tiny_cuda.missing()), reason=tiny_cuda.missing() or "there is one")


def made(name, backend, seed=0):
    torch.manual_seed(seed)
    return GRIDS[name](backend).double()


def draw(count, reach=1.0, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(count, 3, generator=generator, dtype=torch.float64) * 2 - 1) * reach


def with_table(grid, function):
    """The only level of a linear grid, with the values of a function at its corners."""
    ((scale, _, side, _, _, _),) = grid.levels.tolist()
    z, y, x = np.meshgrid(*[np.arange(int(side))] * 3, indexing="ij")  # x is the fastest
    at = (np.stack([x, y, z], axis=-1).reshape(-1, 3) - 0.5) / scale * 2 - 1
    with torch.no_grad():
        grid.table[: len(at)] = torch.from_numpy(function(at)).reshape(-1, 1)
    return grid


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_linear_level_reproduces_a_linear_function(backend):
    grid = HashGrid(1, 1, 12, 4, 4, backend=backend).double()
    with_table(grid, lambda at: at @ np.array([2.0, -3.0, 0.5]) + 1.0)
    points = draw(50, 0.75)
    expected = points @ torch.tensor([2.0, -3.0, 0.5]).double() + 1.0
    torch.testing.assert_close(grid(points)[:, 0], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_smooth_level_has_a_quadratic_with_the_known_offset_of_b_splines(backend):
    grid = DenseGrid(1, 1, 8, 8, 2, backend=backend).double()
    z, y, x = np.meshgrid(*[(np.arange(10) - 0.5) / 4 - 1] * 3, indexing="ij")
    with torch.no_grad():
        grid.table[:, 0] = torch.from_numpy(x * x + y - 2 * z).flatten()
    points = draw(50)
    expected = points[:, 0] ** 2 + points[:, 1] - 2 * points[:, 2] + 0.25**2 / 4
    torch.testing.assert_close(grid(points)[:, 0], expected)


@pytest.mark.parametrize("name", GRIDS)
def test_backends_agree_inside_and_outside(name):
    numba, plain = made(name, "numba"), made(name, "torch")
    points = draw(200, 1.3)
    torch.testing.assert_close(numba(points), plain(points))
    torch.testing.assert_close(numba(points, 1), plain(points)[:, : numba.features])


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", GRIDS)
def test_derivatives_of_both_orders(name, backend):
    grid, points = made(name, backend), draw(3, 0.9).requires_grad_(True)
    table = grid.table.detach().clone().requires_grad_(True)

    def function(points, table):
        return torch.func.functional_call(grid, {"table": table}, (points,))

    assert torch.autograd.gradcheck(function, (points, table))
    assert torch.autograd.gradgradcheck(function, (points, table))


def eikonal(grid, points):
    """Derivatives of an eikonal loss by points and table."""
    points = points.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(grid(points).sum(), points, create_graph=True)
    loss = (gradient.norm(dim=1) - 1).square().mean()
    return torch.autograd.grad(loss, (points, grid.table))


@pytest.mark.parametrize("name", GRIDS)
def test_an_eikonal_loss_has_the_same_derivatives_by_all_backends(name):
    for ours, plain in zip(*(eikonal(made(name, backend), draw(100)) for backend in BACKENDS), strict=True):
        torch.testing.assert_close(ours, plain)


def test_a_smooth_grid_has_no_kinks_and_a_linear_one_has():
    jumps = {}
    for name in ("linear", "smooth"):
        grid, gradients = made(name, "numba"), []
        border = -1 + 2 * (1 / 3 if name == "smooth" else 0.5 / 3)  # between two cells of the first level
        for side in (-1e-7, 1e-7):
            point = torch.tensor([[border + side, 0.1, 0.4]], dtype=torch.float64, requires_grad=True)
            gradients.append(torch.autograd.grad(grid(point, 1).sum(), point)[0])
        jumps[name] = (gradients[0] - gradients[1]).norm()
    assert jumps["smooth"] < 1e-4 and jumps["linear"] > 0.01


def test_levels_grow_by_one_factor_and_share_entries_where_they_must():
    grid = HashGrid(levels=3, features=2, log2_size=10, coarsest=4, finest=64)
    cells = grid.levels[:, 0]
    assert cells[0].item() == pytest.approx(4, abs=1e-4) and cells[2].item() == pytest.approx(64, abs=1e-3)
    assert ((cells[1] + 1) / (cells[0] + 1)).item() == pytest.approx(13**0.5, rel=1e-5)
    assert len(grid.table) == 128 + 1024 + 1024  # 5³ corners, to a multiple of 8, and twice the most
    assert grid(torch.zeros(7, 3)).shape == (7, 6)
    assert [len(DenseGrid(1, 1, 4, 4, order).table) for order in (1, 2)] == [128, 216]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_hashed_corner_is_where_the_paper_puts_it(backend):
    grid = HashGrid(1, 1, 4, 8, 8, backend=backend).double()
    with torch.no_grad():
        grid.table.zero_()
        grid.table[(3 ^ (5 * 2654435761) ^ (2 * 805459861)) % 16] = 1.0
    corner = (torch.tensor([[3.0, 5.0, 2.0]]).double() - 0.5) / grid.levels[0, 0] * 2 - 1
    torch.testing.assert_close(grid(corner)[0, 0], torch.tensor(1.0).double(), atol=1e-6, rtol=0)


def test_backends_that_are_not_there_are_named_with_a_remedy(monkeypatch):
    with pytest.raises(ConfigError, match="auto, torch, numba, tinycudann"):
        HashGrid(backend="cuda")
    with pytest.raises(ConfigError, match="order=1"):
        DenseGrid(order=2, backend="tinycudann")
    if tiny_cuda.missing():
        with pytest.raises(ConfigError, match=r"(?s)tinycudann.*encoding\.backend=auto"):
            HashGrid(backend="tinycudann")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    tiny_cuda.missing.cache_clear()
    try:
        monkeypatch.setitem(__import__("sys").modules, "tinycudann", None)
        assert "pip install" in tiny_cuda.missing()
    finally:
        tiny_cuda.missing.cache_clear()


@needs_tinycudann
@pytest.mark.parametrize("name", ["hash", "linear"])
def test_tinycudann_agrees_with_plain_operations(name):
    plain, native = (made(name, backend).float().cuda() for backend in ("torch", "tinycudann"))
    points = draw(1000).float().cuda()
    torch.testing.assert_close(native(points), plain(points), atol=2e-3, rtol=1e-3)
    for ours, expected in zip(eikonal(native, points), eikonal(plain, points), strict=True):
        error = (ours - expected).norm() / expected.norm()
        assert error < 1e-2  # points on the border of a cell may fall on either side


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("backend", ["auto", "torch", "numba", "tinycudann"])
def test_compiled_loops_are_for_cpus_alone(backend, order):
    for device in ("cuda", "meta", "mps"):
        choice = level_grid.chosen(backend, torch.device(device), order)
        assert choice in {"torch", "tinycudann"} and (choice == "torch" or device == "cuda")
    assert level_grid.chosen(backend, torch.device("cpu"), order) == (
        "torch" if backend == "torch" else "numba"
    )


def test_a_grid_on_another_device_asks_no_compiled_loop_and_reads_nothing_back():
    for name in GRIDS:
        grid = GRIDS[name]("auto").to("meta")
        points = torch.rand(5, 3, device="meta", requires_grad=True)
        (gradient,) = torch.autograd.grad(grid(points).sum(), points, create_graph=True)
        gradient.square().sum().backward()
        assert grid.table.grad.device.type == "meta"
