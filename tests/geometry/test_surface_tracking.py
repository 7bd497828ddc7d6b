import numpy as np

from recon.geometry.surface import Surface, SurfaceTracker
from tests.support import official_cases as cases


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
