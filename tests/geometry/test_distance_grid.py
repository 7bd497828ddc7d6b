import numpy as np
import pytest

from recon.errors import MeshError
from recon.geometry.distance_grid import RegularGrid, mesh_from_grid, signed_distance_grid, sweep_distance
from tests.support.head_model import ball, box, box_distance, lattice


def test_field_of_a_box_is_exact_in_its_band():
    vertices, faces = box([-10.3, -7.1, -5.2], [9.4, 8.8, 6.6])
    grid = RegularGrid.around(vertices.min(0), vertices.max(0), 1.5, 6.0)
    field = signed_distance_grid(vertices, faces, grid, 4.0)
    exact = box_distance(lattice(grid), vertices.min(0), vertices.max(0))
    assert np.abs(field - np.clip(exact, -4, 4)).max() < 1e-5


def test_extended_field_is_right_to_first_order():
    vertices, faces = ball(20)
    grid = RegularGrid.around(vertices.min(0), vertices.max(0), 2.0, 20.0)
    field = signed_distance_grid(vertices, faces, grid, 4.0, extend=True)
    exact = np.linalg.norm(lattice(grid), axis=-1) - 20
    # the solver rounds the medial axis at the centre, everywhere else it is within a fraction of a step
    outer = exact > -12
    assert np.abs(field - exact)[outer].max() < 1.5
    assert np.array_equal(field < 0, exact < 0)


def test_sign_of_overlapping_solids_is_that_of_their_union():
    a, fa = box([0, 0, 0], [10, 10, 10])
    b, fb = box([5, 3, 3], [17, 7, 7])
    vertices, faces = np.concatenate([a, b]), np.concatenate([fa, fb + len(a)])
    grid = RegularGrid.around(vertices.min(0), vertices.max(0), 0.7, 3.0)
    field = signed_distance_grid(vertices, faces, grid, 2.0)
    points = lattice(grid)
    exact = np.minimum(
        box_distance(points, [0, 0, 0], [10, 10, 10]), box_distance(points, [5, 3, 3], [17, 7, 7])
    )
    clear = np.abs(exact) > 1e-6
    assert np.array_equal((field < 0)[clear], (exact < 0)[clear])


def test_rows_of_a_mesh_may_be_seen_through_a_smaller_grid():
    vertices, faces = box([-10, -10, -10], [10, 10, 10])
    grid = RegularGrid(np.array([-3.0, -2.0, 4.0]), 1.0, (5, 4, 9))
    field = signed_distance_grid(vertices, faces, grid, 50.0)
    assert np.allclose(field, box_distance(lattice(grid), [-10] * 3, [10] * 3), atol=1e-4)


def test_sampling_a_linear_field_is_exact():
    grid = RegularGrid(np.array([1.0, -2.0, 0.5]), 0.5, (9, 8, 7))
    values = (lattice(grid) @ [2.0, -1.0, 3.0] + 4.0).astype(np.float32)
    points = np.array([[2.1, -0.3, 1.7], [4.0, 1.0, 2.2]])
    assert np.allclose(grid.sample(values, points), points @ [2.0, -1.0, 3.0] + 4.0, atol=1e-4)
    assert np.allclose(grid.sample_gradient(values, points), [[2, -1, 3]] * 2, atol=1e-3)
    # beyond the border: the border's value
    assert np.isclose(grid.sample(values, np.array([[99.0, -2.0, 0.5]]))[0], 2 * 5 + 2 + 1.5 + 4, atol=1e-3)


def test_sweep_stops_at_its_limit():
    field = np.full((15, 15, 15), np.inf, dtype=np.float32)
    field[7, 7, 7] = 0
    near = sweep_distance(field.copy(), np.float32(0.5), limit=3.0)
    assert np.isinf(near[0, 7, 7]) and near[4, 7, 7] == 3
    assert sweep_distance(field, np.float32(0.5))[0, 7, 7] == 7


def test_mesh_from_a_field_is_closed_and_outward():
    vertices, faces = ball(15, (3, 4, 5))
    grid = RegularGrid.around(vertices.min(0), vertices.max(0), 1.0, 4.0)
    mesh = mesh_from_grid(signed_distance_grid(vertices, faces, grid, 3.0), grid)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 15**3, rel=0.01)
    with pytest.raises(MeshError, match="no surface"):
        mesh_from_grid(np.ones((4, 4, 4), dtype=np.float32), RegularGrid(np.zeros(3), 1.0, (4, 4, 4)))
