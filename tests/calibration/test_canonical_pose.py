import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from recon.calibration.canonical_pose import canonical_pose

RADII = np.array([75.0, 115.0, 95.0])
SIZE = 96
INTRINSICS = np.array([[180.0, 0.0, 50.0], [0.0, 180.0, 46.0], [0.0, 0.0, 1.0]])


def pose_of(yaw, pitch=10.0, roll=-8.0, shift=(20.0, -15.0, 620.0)):
    """camera_from_canonical: y down, looking at the head from an azimuth."""
    turn = Rotation.from_euler("ZXY", [roll, pitch, yaw], degrees=True).as_matrix()
    pose = np.eye(4)
    pose[:3, :3] = np.diag([1.0, -1.0, -1.0]) @ turn
    pose[:3, 3] = shift
    return pose


def ellipsoid(pose):
    """Points of an ellipsoid's surface by pixel, in closed form, and where it is."""
    columns, rows = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    rays = np.stack([columns, rows, np.ones_like(rows)], axis=2) @ np.linalg.inv(INTRINSICS).T
    origin = -pose[:3, :3].T @ pose[:3, 3]
    d, o = (rays @ pose[:3, :3]) / RADII, origin / RADII
    a, b, c = (d * d).sum(2), (d * o).sum(2), o @ o - 1.0
    inside = b * b > a * c
    depth = (-b - np.sqrt(np.maximum(b * b - a * c, 0.0))) / a
    return origin + depth[..., None] * (rays @ pose[:3, :3]), inside


def turn_between(one, other):
    return np.degrees(Rotation.from_matrix(one[:3, :3] @ other[:3, :3].T).magnitude())


@pytest.mark.parametrize("yaw", [0, 60, 90, 135, 180, 250])
def test_exact_maps_give_the_camera_back_from_any_side(yaw):
    true = pose_of(yaw)
    points, shown = ellipsoid(true)
    found = canonical_pose(points, np.full_like(points, 3.0), shown, INTRINSICS)
    assert found is not None
    assert turn_between(found.camera_from_canonical, true) < 1e-3
    assert np.allclose(found.camera_from_canonical[:3, 3], true[:3, 3], atol=1e-2)
    assert found.inliers == 1.0 and found.misfit < 1e-3


@pytest.mark.parametrize("yaw", [0, 100, 180])
def test_noise_and_a_fifth_of_wrong_pixels_cost_little(yaw):
    true = pose_of(yaw)
    points, shown = ellipsoid(true)
    rng = np.random.default_rng(yaw)
    noisy = points + rng.normal(0.0, 6.0, points.shape)
    wrong = rng.uniform(size=shown.shape) < 0.2
    noisy[wrong] = rng.uniform(-120, 120, (int(wrong.sum()), 3))
    found = canonical_pose(noisy, np.full_like(points, 6.0), shown, INTRINSICS)
    assert found is not None and turn_between(found.camera_from_canonical, true) < 1.5
    assert 0.7 < found.inliers < 0.95


def test_pixels_that_the_network_is_unsure_of_count_for_less():
    true = pose_of(30.0)
    points, shown = ellipsoid(true)
    sigma = np.full_like(points, 3.0)
    bent = points.copy()
    left = np.arange(SIZE)[None, :] < 40
    bent[np.broadcast_to(left, shown.shape)] += [0.0, 25.0, 0.0]
    sigma[np.broadcast_to(left, shown.shape)] = 40.0
    careful = canonical_pose(bent, sigma, shown, INTRINSICS)
    blind = canonical_pose(bent, np.full_like(points, 40.0), shown, INTRINSICS)
    assert careful is not None and blind is not None
    careful_deg, blind_deg = (turn_between(p.camera_from_canonical, true) for p in (careful, blind))
    assert careful_deg < 0.3 * blind_deg


def test_the_covariance_tells_how_far_poses_scatter():
    true = pose_of(-40.0)
    points, shown = ellipsoid(true)
    rng = np.random.default_rng(3)
    turns, said = [], []
    for _ in range(20):
        # errors alike over patches of 16 pixels: some twenty independent ones over the head
        patches = rng.normal(0.0, 8.0, (6, 6, 3)).repeat(16, axis=0).repeat(16, axis=1)
        found = canonical_pose(points + patches, np.full_like(points, 8.0), shown, INTRINSICS)
        assert found is not None
        turns.append(turn_between(found.camera_from_canonical, true))
        said.append(np.degrees(np.sqrt(np.trace(found.covariance[:3, :3]))))
    assert 0.5 < np.sqrt(np.mean(np.square(turns))) / np.mean(said) < 2.0


def test_too_little_of_a_head_has_no_pose():
    points, shown = ellipsoid(pose_of(0.0))
    few = np.zeros_like(shown)
    few[40:45, 40:45] = shown[40:45, 40:45]
    assert canonical_pose(points, np.ones_like(points), few, INTRINSICS) is None
