import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from recon.rendering import CameraBundle
from recon.rendering.cameras import quaternion_from_rotation, rotation_from_quaternion
from recon.scene import Camera

SCALE_MAT = np.array([[150.0, 0, 0, 10], [0, 150, 0, -20], [0, 0, 150, 600], [0, 0, 0, 1]])


def camera(seed):
    generator = np.random.default_rng(seed)
    pose = np.eye(4)
    pose[:3, :3] = Rotation.random(rng=generator).as_matrix()
    pose[:3, 3] = generator.normal(size=3) * 400
    intrinsics = np.array([[800.0, 0.3, 250], [0, 790, 260], [0, 0, 1]])
    return Camera(intrinsics, pose, 512, 512)


def test_rays_pass_through_the_points_that_the_camera_projects():
    cameras = [camera(0), camera(1)]
    bundle = CameraBundle(cameras, SCALE_MAT)
    generator = np.random.default_rng(2)
    for index, one in enumerate(cameras):
        in_camera = generator.uniform([-0.3, -0.3, 1], [0.3, 0.3, 1], (20, 3)) * generator.uniform(
            300, 900, (20, 1)
        )
        world = in_camera @ one.world_from_camera[:3, :3].T + one.world_from_camera[:3, 3]
        homogeneous = in_camera @ one.intrinsics.T
        pixels = torch.tensor(homogeneous[:, :2] / homogeneous[:, 2:], dtype=torch.float32)
        origins, directions = bundle.rays(torch.full((20,), index), pixels)
        unit = (world - SCALE_MAT[:3, 3]) / 150
        offset = unit - origins.numpy()
        across = offset - (offset * directions.numpy()).sum(1, keepdims=True) * directions.numpy()
        assert np.abs(across).max() < 1e-4
        np.testing.assert_allclose(directions.norm(dim=1), 1, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, np.pi))
def test_quaternions_and_rotations_agree_with_scipy(seed, angle):
    axis = np.random.default_rng(seed).normal(size=3)
    expected = Rotation.from_rotvec(axis / np.linalg.norm(axis) * angle).as_matrix()
    quaternion = quaternion_from_rotation(torch.from_numpy(expected)[None])
    np.testing.assert_allclose(rotation_from_quaternion(quaternion)[0], expected, atol=1e-9)
    np.testing.assert_allclose(rotation_from_quaternion(3 * quaternion)[0], expected, atol=1e-9)


def test_only_refined_cameras_are_parameters():
    assert not list(CameraBundle([camera(0)], SCALE_MAT).parameters())
    bundle = CameraBundle([camera(0), camera(1)], SCALE_MAT, refine=True)
    assert {name: tuple(p.shape) for name, p in bundle.named_parameters()} == {
        "quaternions": (2, 4),
        "centres": (2, 3),
    }
    origins, directions = bundle.rays(torch.tensor([1]), torch.tensor([[10.0, 20.0]]))
    (origins.sum() + directions[0, 0]).backward()
    assert bundle.quaternions.grad[1].abs().sum() > 0 and bundle.quaternions.grad[0].abs().sum() == 0
