"""Masks and cameras of a solid without symmetry: right, exchanged, wrong, and landmarks of another view."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from recon.scene import Camera
from recon.scene.consistency import (
    MaskedView,
    disagreement_mm,
    exchanged,
    exchanged_by_landmarks,
    landmark_distances_mm,
    odd_one_out,
)

SIZE, RADIUS_MM = 120, 300.0
BALLS = ((0.0, 0.0, 0.0, 0.4), (0.45, 0.1, 0.1, 0.2), (-0.1, 0.5, -0.2, 0.18), (0.1, -0.35, 0.45, 0.22))


def camera(azimuth_deg: float, height: float = 0.4) -> Camera:
    """Looks at the origin of unit space from a distance of 4."""
    a = np.radians(azimuth_deg)
    centre = 4 * np.array([np.sin(a), height, np.cos(a)]) / np.hypot(1, height)
    pose = np.eye(4)
    pose[:3, 2] = -centre / 4
    pose[:3, 0] = np.cross([0.0, -1.0, 0.0], pose[:3, 2])
    pose[:3, 0] /= np.linalg.norm(pose[:3, 0])
    pose[:3, 1] = np.cross(pose[:3, 2], pose[:3, 0])
    pose[:3, 3] = centre
    return Camera(np.array([[230.0, 0, SIZE / 2], [0, 230.0, SIZE / 2], [0, 0, 1]]), pose, SIZE, SIZE)


def mask_of(view: Camera) -> np.ndarray:
    """Rays that pass a ball's centre nearer than its radius."""
    x, y = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    origins, directions = view.rays(np.column_stack([x.ravel(), y.ravel()]))
    mask = np.zeros(SIZE * SIZE, dtype=bool)
    for *middle, radius in BALLS:
        away = np.array(middle) - origins
        across = away - (away * directions).sum(1, keepdims=True) * directions
        mask |= np.linalg.norm(across, axis=1) < radius
    return mask.reshape(SIZE, SIZE)


@pytest.fixture(scope="module")
def views() -> list[MaskedView]:
    cameras = [camera(a, h) for a, h in ((-50, 0.1), (0, 0.5), (45, -0.2), (120, 0.3), (200, 0.0))]
    nothing = np.zeros((SIZE, SIZE), dtype=bool)
    return [MaskedView.from_mask(each, mask_of(each), nothing) for each in cameras]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_right_cameras_leave_no_gap_and_nobody_is_suspected(views, count):
    used = views[:count]
    assert disagreement_mm(used, RADIUS_MM).max() < 0.25  # a pixel is 5 mm wide
    assert exchanged(used, RADIUS_MM) == () and odd_one_out(used, RADIUS_MM) is None


@pytest.mark.parametrize(
    ("count", "order"), [(3, (0, 2, 1)), (3, (1, 2, 0)), (5, (3, 1, 2, 0, 4)), (5, (1, 2, 3, 4, 0))]
)
def test_cameras_in_another_order_are_named(views, count, order):
    given = [replace(view, camera=views[order[i]].camera) for i, view in enumerate(views[:count])]
    assert exchanged(given, RADIUS_MM) == tuple(i for i in range(count) if order[i] != i)


@pytest.mark.parametrize("wrong", range(4))
def test_one_wrong_camera_is_named_and_no_exchange_is_said(views, wrong):
    pose = views[wrong].camera.world_from_camera.copy()
    pose[:3, :3] = pose[:3, :3] @ Rotation.from_euler("xy", [5, -5], degrees=True).as_matrix()
    given = list(views[:4])
    given[wrong] = replace(given[wrong], camera=replace(given[wrong].camera, world_from_camera=pose))
    assert odd_one_out(given, RADIUS_MM) == wrong
    assert exchanged(given, RADIUS_MM) == ()


def test_what_is_ignored_may_be_anything(views):
    half = np.zeros((SIZE, SIZE), dtype=bool)
    half[:, SIZE // 2 :] = True
    cut = MaskedView.from_mask(views[0].camera, mask_of(views[0].camera) & ~half, half)
    assert disagreement_mm([cut, *views[1:4]], RADIUS_MM).max() < 0.25
    hidden = MaskedView.from_mask(views[0].camera, mask_of(views[0].camera) & ~half, np.zeros_like(half))
    assert disagreement_mm([hidden, *views[1:4]], RADIUS_MM).max() > 5.0


def marks_of(cameras):
    places = {"a": [0.3, 0.1, 0.4], "b": [-0.3, 0.2, 0.1], "c": [0.0, -0.3, 0.4]}
    return [{name: c.project(np.array([place]))[0][0] for name, place in places.items()} for c in cameras]


@pytest.mark.parametrize("order", [(0, 2, 1), (0, 1, 3, 2), (1, 2, 3, 0)])
def test_exchanged_cameras_are_found_by_landmarks_alone(views, order):
    marks = marks_of([view.camera for view in views[: len(order)]])
    cameras = [views[i].camera for i in order]
    assert exchanged_by_landmarks(cameras, marks, RADIUS_MM) == tuple(
        k for k, i in enumerate(order) if k != i
    )
    right = [view.camera for view in views[: len(order)]]
    assert exchanged_by_landmarks(right, marks, RADIUS_MM) == ()
    assert exchanged_by_landmarks(cameras[:2], marks[:2], RADIUS_MM) == ()  # of two nothing can be told


def test_landmarks_of_another_view_are_far_from_those_of_the_rest(views):
    cameras = [view.camera for view in views[:4]]
    marks = marks_of(cameras)
    assert max(landmark_distances_mm(cameras, marks, RADIUS_MM)) < 1e-6
    alone = landmark_distances_mm(cameras, [marks[0], {}, marks[2], {}], RADIUS_MM)
    assert alone == [None, None, None, None]
    wrong = [marks[0], marks[1], marks[0], marks[3]]
    found = landmark_distances_mm(cameras, wrong, RADIUS_MM)
    assert np.argmax(found) == 2 and found[2] > 20.0
    assert exchanged_by_landmarks(cameras, wrong, RADIUS_MM) == ()  # no order of the cameras mends that
