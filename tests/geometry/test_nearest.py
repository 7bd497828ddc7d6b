import numpy as np
from scipy.spatial import cKDTree

from recon.geometry.nearest import NearestTracker, PointSet


def test_tracking_gives_what_the_tree_gives():
    rng = np.random.default_rng(3)
    grid = np.stack(np.meshgrid(*[np.arange(12.0)] * 3), -1).reshape(-1, 3)  # ties galore
    for points in (rng.random((3000, 3)) * 10, grid, np.repeat(rng.random((400, 3)) * 10, 6, axis=0)):
        target = PointSet(points)
        tracker = NearestTracker(target)
        queries = np.concatenate([rng.random((500, 3)) * 12 - 1, np.round(rng.random((200, 3)) * 22) / 2])
        for step in (0, 0, 1e-3, 0.01, 0.3, 0.5, 4, 1e-4):
            queries = queries + np.array([step, -step, step / 2])
            chosen, expected = tracker.nearest(queries), cKDTree(points).query(queries)[1]
            np.testing.assert_array_equal(points[chosen], points[expected])
    assert NearestTracker(PointSet(points[:2])).nearest(queries).max() <= 1
