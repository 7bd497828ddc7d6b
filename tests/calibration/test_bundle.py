"""Cameras from landmarks, on landmarks made of a head of a few components."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from recon.calibration.bundle import (
    BundleProblem,
    BundleSettings,
    bundle_adjust,
    centre_by_pose,
    yaw_and_derivative,
)
from recon.calibration.poses import starts
from tests.support.landmark_views import COMPONENTS, POINTS, landmark_model, pose_from, view_of


@pytest.fixture
def model():
    return landmark_model()


def turned_deg(found, true):
    change = found.world_from_camera[:3, :3] @ true[:3, :3]
    return np.degrees(Rotation.from_matrix(change).magnitude())


def test_cameras_and_head_are_found_from_exact_landmarks(model):
    code = np.array([0.5, -0.3, 0.2])
    poses = [pose_from(yaw) for yaw in (0, -40, 50)]
    settings = BundleSettings(count=4000.0)
    found = bundle_adjust(model, [view_of(model, pose, code) for pose in poses], settings)
    for camera, pose in zip(found.cameras, poses, strict=True):
        assert turned_deg(camera, pose) < 0.2
        assert np.linalg.norm(camera.centre - np.linalg.inv(pose)[:3, 3]) < 8
    assert found.yaw_deg == pytest.approx([0, -40, 50], abs=3)
    assert max(found.residual_mm) < 0.3
    np.testing.assert_allclose(found.code, code, atol=0.15)


def test_wild_landmarks_lose_their_say(model):
    pose = pose_from(20.0)
    view = view_of(model, pose, np.zeros(COMPONENTS))
    view.pixels[:6] += 150.0
    found = bundle_adjust(model, [view])
    assert turned_deg(found.cameras[0], pose) < 0.5
    assert found.outliers[0] == pytest.approx(6 / POINTS)


def test_uncertainty_is_that_of_repeated_noise(model):
    rng, pose = np.random.default_rng(1), pose_from(10.0)
    settings = BundleSettings(count=float(POINTS), robust_sigmas=50.0, common_error=1.0)
    turns, told = [], []
    for _ in range(15):
        code = rng.normal(size=COMPONENTS)
        found = bundle_adjust(model, [view_of(model, pose, code, noise=2.0, rng=rng)], settings)
        turns.append(turned_deg(found.cameras[0], pose))
        told.append(found.uncertainties[0].rotation_deg)
    assert np.sqrt(np.mean(np.square(turns))) == pytest.approx(np.mean(told), rel=0.35)


def test_uncertainty_grows_with_what_points_err_together(model):
    view = view_of(model, pose_from(10.0), np.zeros(COMPONENTS))
    told = [
        bundle_adjust(model, [view], BundleSettings(common_error=factor)).uncertainties[0]
        for factor in (1.0, 3.0)
    ]
    assert told[1].rotation_deg == pytest.approx(3 * told[0].rotation_deg)
    assert told[1].centre_mm == pytest.approx(3 * told[0].centre_mm)


def test_a_part_of_a_photograph_gives_the_camera_of_the_whole(model):
    pose, code = pose_from(20.0), np.zeros(COMPONENTS)
    whole = view_of(model, pose, code)
    part = replace(
        whole, pixels=whole.pixels - [150, 90], width=300, height=400, principal_point=(150.0, 310.0)
    )
    found, same = (bundle_adjust(model, [view]).cameras[0] for view in (whole, part))
    np.testing.assert_allclose(found.world_from_camera, same.world_from_camera, atol=1e-9)
    assert same.intrinsics[:2, 2] == pytest.approx([150, 310])


def test_parts_of_different_scale_share_one_focal_length(model):
    full = {"original_size": (600, 800)}
    one = replace(view_of(model, pose_from(0.0), np.zeros(COMPONENTS), known=False), **full)
    other = replace(
        view_of(model, pose_from(30.0), np.zeros(COMPONENTS), focal=750.0, known=False),
        width=300,
        height=400,
        principal_point=(300.0, 400.0),
        scale=0.5,
        **full,
    )
    found = bundle_adjust(model, [one, other])
    focal = [camera.intrinsics[0, 0] for camera in found.cameras]
    assert focal[0] == pytest.approx(2 * focal[1]) and focal[0] == pytest.approx(1500, rel=0.15)


def test_focal_lengths_are_guessed_by_distance_and_shared_by_size(model):
    views = [view_of(model, pose_from(yaw), np.zeros(COMPONENTS), known=False) for yaw in (0, 30)]
    views.append(view_of(model, pose_from(-30), np.zeros(COMPONENTS), focal=1234.0))
    problem = BundleProblem.from_views(model, views, BundleSettings())
    assert problem.group == (0, 0, 1)
    assert np.exp(problem.focal_mean) == pytest.approx([1500, 1234], rel=0.15)
    found = bundle_adjust(model, views)
    assert found.cameras[0].intrinsics[0, 0] == found.cameras[1].intrinsics[0, 0]
    assert found.cameras[2].intrinsics[0, 0] == pytest.approx(1234, rel=0.03)
    alone = BundleProblem.from_views(model, views, BundleSettings(shared=False))
    assert alone.group == (0, 1, 2)


def test_jacobian_is_the_difference_quotient(model):
    views = [view_of(model, pose_from(yaw), np.zeros(COMPONENTS), known=False) for yaw in (5, 45)]
    problem = BundleProblem.from_views(model, views, BundleSettings())
    state, rng = problem.start(), np.random.default_rng(2)
    state = problem.moved(state, rng.normal(size=problem.size) * 0.05)
    for index in range(2):
        _, jacobian = problem.residuals(state, index)
        for unknown in range(problem.size):
            step = np.zeros(problem.size)
            step[unknown] = 1e-5
            ahead, _ = problem.residuals(problem.moved(state, step), index)
            behind, _ = problem.residuals(problem.moved(state, -step), index)
            np.testing.assert_allclose(
                jacobian[..., unknown], (ahead - behind) / 2e-5, rtol=1e-5, atol=1e-4, err_msg=str(unknown)
            )


def test_gradient_is_that_of_the_cost(model):
    views = [view_of(model, pose_from(yaw), np.zeros(COMPONENTS), known=False) for yaw in (5, 45)]
    problem = BundleProblem.from_views(model, views, BundleSettings())
    state = problem.moved(problem.start(), np.random.default_rng(2).normal(size=problem.size) * 0.02)
    _, gradient = problem.normal_equations(state)
    for unknown in range(problem.size):
        step = np.zeros(problem.size)
        step[unknown] = 1e-4
        slope = (problem.cost(problem.moved(state, step)) - problem.cost(problem.moved(state, -step))) / 2e-4
        assert gradient[unknown] == pytest.approx(slope, rel=1e-3, abs=1e-3)


def test_derivatives_of_a_pose():
    pose = pose_from(33.0)
    by_pose = centre_by_pose(pose[:3, :3], pose[:3, 3])
    yaw, yaw_by = yaw_and_derivative(pose[:3, :3], pose[:3, 3])
    for unknown in range(6):
        step = np.zeros(6)
        step[unknown] = 1e-6
        rotation = Rotation.from_rotvec(step[:3]).as_matrix() @ pose[:3, :3]
        shift = pose[:3, 3] + step[3:]
        assert yaw_by[unknown] == pytest.approx(
            (yaw_and_derivative(rotation, shift)[0] - yaw) / 1e-6, abs=1e-4
        )
        change = (-rotation.T @ shift + pose[:3, :3].T @ pose[:3, 3]) / 1e-6
        np.testing.assert_allclose(by_pose[:, unknown], change, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("yaw", [-60, 0, 35])
def test_starts_are_near_the_pose(model, yaw):
    pose = pose_from(yaw)
    local = model.places @ pose[:3, :3].T + pose[:3, 3]
    pixels = 1500 * local[:, :2] / local[:, 2:]
    first, linear, _ = starts(model.places, pixels, 1500.0)
    away = Rotation.from_matrix(first.pose[:3, :3] @ pose[:3, :3].T).magnitude()
    assert np.degrees(away) < 8
    np.testing.assert_allclose(linear.pose, pose, atol=1e-4)
    for each in starts(model.places, pixels, 1500.0):
        assert np.linalg.det(each.pose[:3, :3]) == pytest.approx(1)
