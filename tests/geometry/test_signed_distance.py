import numpy as np

from recon.geometry.distance_grid import RegularGrid, signed_distance_grid
from recon.geometry.signed_distance import MeshDistance
from tests.support.head_model import ball, box, box_distance, lattice


def test_distance_to_a_box_is_exact_everywhere():
    low, high = [-10.0, -4.0, -7.0], [10.0, 5.0, 7.0]
    distance = MeshDistance(*box(low, high))
    points = np.random.default_rng(0).uniform(-30, 30, (4000, 3))
    assert np.abs(distance(points) - box_distance(points, low, high)).max() < 1e-9


def test_distance_at_special_points_of_the_mesh():
    vertices, faces = ball(10, level=2)
    distance = MeshDistance(vertices, faces)
    assert np.abs(distance(vertices)).max() < 1e-9
    assert np.abs(distance(vertices[faces].mean(axis=1))).max() < 1e-9
    # on the rays through vertices and edges, where counting crossings is delicate
    assert (distance(vertices * 0.5) < 0).all() and (distance(vertices * 1.5) > 0).all()
    x = np.random.default_rng(0).uniform(-20, 20, len(vertices))
    shifted = np.concatenate([x[:, None], vertices[:, 1:]], axis=1)
    clear = np.abs(np.linalg.norm(shifted, axis=1) - 10) > 1
    assert np.array_equal((distance(shifted) < 0)[clear], (np.linalg.norm(shifted, axis=1) < 10)[clear])
    assert distance(np.zeros((0, 3))).shape == (0,)


def test_distance_agrees_with_the_grid():
    vertices, faces = ball(12, (1, 2, 3), level=3)
    grid = RegularGrid.around(vertices.min(0), vertices.max(0), 1.3, 4.0)
    field = signed_distance_grid(vertices, faces, grid, 3.0)
    exact = MeshDistance(vertices, faces)(lattice(grid).reshape(-1, 3)).reshape(field.shape)
    assert np.abs(field - np.clip(exact, -3, 3)).max() < 1e-4
