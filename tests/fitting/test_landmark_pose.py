"""Poses by landmarks alone: from few marks, with outliers, in worlds that are turned."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from recon.fitting.landmark_pose import enough_landmarks, landmark_poses
from recon.fitting.residuals import MarkedLandmarks
from recon.scene.camera import quarter_turns, up_of
from tests.support.fit_shape_models import UNIT_MM, camera, placed

PLACES = np.array(
    [
        [-0.14, 0.12, 0.30], [0.14, 0.12, 0.30], [0.0, 0.0, 0.42],
        [0.0, -0.05, 0.38], [-0.08, -0.12, 0.34], [0.08, -0.12, 0.34],
    ]
)  # fmt: skip


def marks(pose, view, rows=slice(None), off=None):
    """Where a head in a pose has its landmarks in a view."""
    world_from_canonical = np.linalg.inv(pose)
    world = PLACES @ world_from_canonical[:3, :3].T + world_from_canonical[:3, 3]
    pixels = view.project(world)[0] + (0 if off is None else off)
    basis = torch.full((len(PLACES), 3, 1), 0.005)
    return MarkedLandmarks(
        torch.from_numpy(PLACES[rows]).float(), basis[rows], torch.from_numpy(pixels[rows]).float()
    )


def angle_deg(a, b):
    a, b = (each[:3, :3] / np.cbrt(np.linalg.det(each[:3, :3])) for each in (a, b))
    return np.degrees(np.arccos(np.clip((np.trace(a.T @ b) - 1) / 2, -1, 1)))


@pytest.mark.parametrize("seed", range(6))
def test_a_head_in_any_attitude_is_found_from_two_photographs(seed):
    turn = Rotation.random(random_state=seed).as_matrix()  # of head and cameras alike
    world = np.eye(4)
    world[:3, :3] = turn
    true = placed((20.0, 10.0, -5.0), 1.03, np.array([15.0, -20.0, 10.0])) @ np.linalg.inv(world)
    views = [camera(azimuth, np.zeros(3)).transformed(world).turned(seed) for azimuth in (-20, 40)]
    found = landmark_poses(views, [marks(true, view) for view in views], np.zeros(3), UNIT_MM, 2.0)
    assert angle_deg(found[0], true) < 1.0


def test_one_mark_that_is_far_off_does_not_turn_the_head():
    true, views = placed((30.0, 0.0, 0.0), 1.0, np.zeros(3)), [camera(a, np.zeros(3)) for a in (-30, 10, 50)]
    off = np.zeros((6, 2))
    off[2] = [40, -30]
    found = landmark_poses(views, [marks(true, view, off=off) for view in views], np.zeros(3), UNIT_MM, 2.0)
    assert angle_deg(found[0], true) < 2.0


def test_three_marks_in_one_photograph_are_enough_and_two_are_not():
    true, view = placed((25.0, 0.0, 0.0), 1.0, np.zeros(3)), camera(0.0, np.zeros(3))
    found = landmark_poses([view], [marks(true, view, slice(0, 3))], np.zeros(3), UNIT_MM, 2.0)
    assert min(angle_deg(pose, true) for pose in found) < 10.0
    two = [marks(true, view, slice(0, 2))] * 2  # the same two, twice
    assert not enough_landmarks(two) and landmark_poses([view, view], two, np.zeros(3), UNIT_MM, 2.0) == []


def test_pictures_stored_on_their_side_are_turned_upright():
    views = [camera(azimuth, np.zeros(3)) for azimuth in (-40, 0, 40)]
    up = up_of(views)
    lying = [view.turned(k) for view, k in zip(views, (1, 2, 3), strict=True)]
    assert quarter_turns(views, up) == [0, 0, 0] and quarter_turns(lying, up) == [3, 2, 1]
    np.testing.assert_allclose(up_of(lying, up), up, atol=1e-12)
    picture, point = np.zeros((views[0].height, views[0].width)), np.array([[60.0, -35.0, 20.0]])
    for view in views:
        x, y = view.project(point)[0][0]
        picture[:] = 0
        picture[int(y), int(x)] = 1
        for turns in range(4):
            column, row = view.turned(turns).project(point)[0][0]
            assert np.rot90(picture, turns)[int(row), int(column)] == 1
            np.testing.assert_allclose(view.turned_pixel(np.array([x, y]), turns), [column, row])
