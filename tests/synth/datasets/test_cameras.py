"""The camera path around the subject: axes, reach, default lists."""

import numpy as np
import pytest
import trimesh

from recon.synth.datasets import cameras


def body() -> np.ndarray:
    return trimesh.creation.icosphere(subdivisions=3, radius=1.0).vertices * [110.0, 170.0, 120.0] + [
        0,
        -30,
        5,
    ]


def test_look_at_is_an_upright_opencv_camera():
    pose = cameras.look_at(np.array([0.0, 10.0, 0.0]), 0.0, 0.0, 800.0)
    np.testing.assert_allclose(pose[:3, 3], [0, 10, 800], atol=1e-9)
    np.testing.assert_allclose(pose[:3, 2], [0, 0, -1], atol=1e-12)  # forward
    np.testing.assert_allclose(pose[:3, 1], [0, -1, 0], atol=1e-12)  # down
    # The subject's left (+X) is on the right of a frontal picture.
    np.testing.assert_allclose(pose[:3, 0], [1, 0, 0], atol=1e-12)
    left = cameras.look_at(np.zeros(3), 90.0, 0.0, 800.0)
    np.testing.assert_allclose(left[:3, 3], [800, 0, 0], atol=1e-9)
    for angles in ((33.0, 12.0, 4.0), (-170.0, -8.0, -3.0)):
        rotation = cameras.look_at(np.zeros(3), angles[0], angles[1], 700.0, angles[2])[:3, :3]
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(4))
def test_a_walk_keeps_the_subject_in_every_picture(seed):
    points = body()
    orbit = cameras.draw_orbit(66, points, np.random.default_rng(seed))
    closest = np.inf
    for camera in orbit.cameras:
        pixels, depth = camera.project(points)
        assert depth.min() > 300
        assert pixels.min() >= 0.019 * 512 and pixels.max() <= 0.981 * 512
        closest = min(closest, pixels.min(), 512 - pixels.max())
        distance = np.linalg.norm(camera.centre - points.mean(axis=0))
        assert 560 < distance < 1040
    assert closest < 0.021 * 512  # the tightest view fills the picture


def test_a_walk_goes_all_round_and_is_denser_in_front():
    azimuth = cameras.draw_orbit(66, body(), np.random.default_rng(1)).azimuth_deg
    assert azimuth.min() < -170 and azimuth.max() > 170
    assert np.all(np.diff(azimuth) > 0)
    front, behind = (np.abs(azimuth) < 60).sum(), (np.abs(azimuth) > 120).sum()
    assert front > 1.5 * behind


def test_default_lists_nest_and_look_where_they_should():
    orbit = cameras.draw_orbit(66, body(), np.random.default_rng(2))
    lists, azimuth = orbit.default_views, orbit.azimuth_deg
    assert set(lists) == {1, 3, 4, 6, 8, 16, 32}
    for number, views in lists.items():
        assert len(views) == number == len(set(views))
    assert abs(azimuth[lists[1][0]]) < 4
    assert lists[3][0] == lists[1][0]
    np.testing.assert_allclose(azimuth[list(lists[3])], [0, -45, 45], atol=5)
    assert set(lists[4]) < set(lists[8]) < set(lists[16]) < set(lists[32])
    # Thirty-two views leave no gap in which a view of eight would fit.
    gaps = np.diff(np.sort(azimuth[list(lists[32])]))
    assert gaps.max() < 30


def test_a_single_view_is_frontal():
    orbit = cameras.draw_orbit(1, body(), np.random.default_rng(0))
    assert orbit.default_views == {1: (0,)} and abs(orbit.azimuth_deg[0]) < 1


def test_short_walks_have_no_long_lists():
    orbit = cameras.draw_orbit(24, body(), np.random.default_rng(0))
    assert set(orbit.default_views) == {1, 3, 4, 6, 8, 16}


def test_unit_sphere_holds_everything_with_a_margin():
    points = body()
    matrix = cameras.unit_sphere(points, margin=1.05)
    unit = (points - matrix[:3, 3]) / matrix[0, 0]
    assert np.linalg.norm(unit, axis=1).max() == pytest.approx(1 / 1.05)
    np.testing.assert_array_equal(matrix[:3, :3], matrix[0, 0] * np.eye(3))
