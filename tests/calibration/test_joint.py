"""What of photographs the joint fit looks at."""

import numpy as np

from recon.calibration.joint import below_collar, spread_points, without_body
from recon.calibration.observing import ObservedPhotograph
from recon.scene import Camera
from recon.synth.datasets.cameras import look_at


def camera(azimuth=0.0, elevation=0.0, size=100):
    intrinsics = np.array([[200.0, 0, size / 2], [0, 200.0, size / 2], [0, 0, 1]])
    return Camera(intrinsics, look_at(np.zeros(3), azimuth, elevation, 800.0), size, size)


def test_the_collar_is_level_and_all_below_it_is_ignored():
    for azimuth in (0.0, 60.0, 180.0):
        below = below_collar(camera(azimuth), -114.0)
        rows = np.flatnonzero(below[:, 50])
        # 114 mm below the middle at about 800 mm
        assert abs(rows.min() - (50 + 200 * 114 / 800)) < 2
        assert below[-1].all() and not below[0].any()


def test_what_was_ignored_stays_ignored():
    ignored = np.zeros((100, 100), bool)
    ignored[:5] = True
    seen = ObservedPhotograph("a", np.zeros((100, 100, 3), np.float32), ignored, ignored=ignored)
    both = without_body(seen, camera()).ignored
    assert both[:5].all() and both[-5:].all() and not both[50].any()


def test_points_are_spread_over_those_allowed():
    rng = np.random.default_rng(0)
    places = rng.uniform(size=(200, 3))
    allowed = np.arange(200) >= 50
    chosen = spread_points(places, allowed, 20)
    assert len(set(chosen)) == 20 and chosen.min() >= 50
    assert places[chosen, 2].max() == places[50:, 2].max()
    gaps = np.linalg.norm(places[chosen][:, None] - places[chosen], axis=2) + 9 * np.eye(20)
    assert gaps.min() > 0.2
    assert len(spread_points(places, np.arange(200) < 7, 20)) == 7
