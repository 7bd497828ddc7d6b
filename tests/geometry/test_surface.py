import numpy as np
import pytest
import trimesh

from recon.geometry.cover import closest_on_triangles
from recon.geometry.surface import Surface, SurfaceTracker
from tests.support import official_cases as cases

TRIANGLE = np.array([[0.0, 0, 0], [4, 0, 0], [0, 4, 0]])


@pytest.mark.parametrize(
    ("point", "nearest"),
    [
        ((1, 1, 5), (1, 1, 0)),  # over the face
        ((1, 1, -5), (1, 1, 0)),
        ((2, -3, 1), (2, 0, 0)),  # beside an edge
        ((-3, 2, 0), (0, 2, 0)),
        ((4, 4, 2), (2, 2, 0)),  # beside the slanted edge
        ((-1, -2, 3), (0, 0, 0)),  # beyond a corner
        ((9, -1, 0), (4, 0, 0)),
        ((-1, 9, 0), (0, 4, 0)),
        ((1, 1, 0), (1, 1, 0)),
    ],
)
def test_nearest_point_of_a_triangle_by_hand(point, nearest):
    found = closest_on_triangles(np.array([point], float), TRIANGLE[None])
    np.testing.assert_allclose(found[0], nearest, atol=1e-12)


def test_a_triangle_without_area_is_a_segment():
    flat = np.array([[[0.0, 0, 0], [1, 0, 0], [3, 0, 0]], [[1.0, 1, 1]] * 3])
    found = closest_on_triangles(np.array([[2.0, 5, 0], [0, 0, 0]]), flat)
    np.testing.assert_allclose(found, [[2, 0, 0], [1, 1, 1]])


def brute_force(queries, triangles):
    best = np.full(len(queries), np.inf)
    for triangle in triangles:
        points = closest_on_triangles(queries, np.broadcast_to(triangle, (len(queries), 3, 3)))
        best = np.minimum(best, np.linalg.norm(queries - points, axis=1))
    return best


def soup(rng):
    """Triangles of very different sizes, slivers and one that spans everything."""
    centres = rng.normal(size=(300, 1, 3)) * 30
    triangles = centres + rng.normal(size=(300, 3, 3)) * 10 ** rng.uniform(-3, 1.3, size=(300, 1, 1))
    triangles[:20, 2] = triangles[:20, 0] * 0.5 + triangles[:20, 1] * 0.5 + 1e-7
    triangles[20] = [[-200, -200, 40], [200, -200, 40], [0, 200, 40]]
    return trimesh.Trimesh(triangles.reshape(-1, 3), np.arange(900).reshape(-1, 3), process=False)


@pytest.mark.parametrize("spread", [0.0, 1.0, 60.0, 1000.0])
def test_closest_is_exact(spread):
    rng = np.random.default_rng(int(spread))
    gt, _, _ = cases.ground_truth(12, 18)
    for mesh in (gt, soup(rng)):
        surface = Surface(mesh)
        on_surface, _ = surface.sample(300)
        queries = on_surface + rng.normal(size=(300, 3)) * spread
        found = surface.closest(queries)
        expected = brute_force(queries, np.asarray(mesh.vertices)[mesh.faces])
        np.testing.assert_allclose(found.distances, expected, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(
            np.linalg.norm(queries - found.points, axis=1), found.distances, atol=1e-12
        )
        again = closest_on_triangles(queries, surface.vertices[surface.faces[found.faces]])
        np.testing.assert_allclose(again, found.points, atol=1e-9)


def test_one_triangle_and_no_query():
    surface = Surface(trimesh.Trimesh(TRIANGLE, [[0, 1, 2]], process=False))
    assert surface.closest(np.array([[1.0, 1, 7]])).distances[0] == 7
    assert len(surface.closest(np.zeros((0, 3))).distances) == 0


def test_samples_are_even_by_area_and_repeatable():
    # two triangles of areas 8 and 2 in the plane
    mesh = trimesh.Trimesh(
        np.concatenate([TRIANGLE, TRIANGLE / 2 + [10, 0, 0]]), [[0, 1, 2], [3, 4, 5]], process=False
    )
    surface = Surface(mesh)
    points, faces = surface.sample(1000)
    assert abs((faces == 0).sum() - 800) <= 1
    np.testing.assert_allclose(points[faces == 0].mean(axis=0), [4 / 3, 4 / 3, 0], atol=0.1)  # the centroid
    assert (points[faces == 0][:, :2].sum(axis=1) <= 4).all()
    np.testing.assert_array_equal(points, surface.sample(1000)[0])
    assert (points != surface.sample(1000, seed=1)[0]).any()
    only, chosen = surface.sample(50, faces=np.array([False, True]))
    assert (chosen == 1).all() and (only[:, 0] >= 10).all()


def test_faces_without_area_are_left_out():
    mesh = trimesh.Trimesh(TRIANGLE, [[0, 1, 2], [0, 0, 1]], process=False)
    surface = Surface(mesh)
    assert len(surface.faces) == 1
    np.testing.assert_allclose(surface.areas, [8])
    np.testing.assert_allclose(surface.normals, [[0, 0, 1]])


def test_tracking_a_surface_gives_what_the_surface_gives():
    gt, _, _ = cases.ground_truth()
    surface, rng = Surface(gt), np.random.default_rng(0)
    tracker = SurfaceTracker(surface, 0.5)
    queries = surface.sample(400)[0] + rng.normal(size=(400, 3)) * 4
    for step in (0.0, 0.1, 0.2, 0.3, 3.0, 0.01):  # within the slack, past it little by little, far past it
        queries = queries + rng.normal(size=(400, 3)) * step
        tracked, direct = tracker.closest(queries), surface.closest(queries)
        np.testing.assert_allclose(tracked.distances, direct.distances, rtol=0, atol=1e-12)
        np.testing.assert_allclose(tracked.points, direct.points, atol=1e-9)


def test_most_queries_are_not_looked_up_again(monkeypatch):
    gt, _, _ = cases.ground_truth()
    surface = Surface(gt)
    tracker = SurfaceTracker(surface, 0.5)
    queries = surface.sample(100)[0]
    tracker.closest(queries)
    monkeypatch.setattr(surface, "closest", None)  # would fail if it were asked
    assert tracker.closest(queries + 0.2).distances.max() <= 0.2 * 3**0.5 + 1e-12
