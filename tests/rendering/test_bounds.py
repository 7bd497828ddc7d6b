import numpy as np
import pytest
import torch
import trimesh

from recon.fields import Field, FieldSample
from recon.rendering import CameraBundle, SurfaceBounds, TracingSettings, render_view
from recon.scene import Camera

RADIUS = 0.4
CENTRE = torch.tensor([0.1, -0.05, 0.2])


class Ball(Field):
    """A ball that counts its evaluations."""

    def __init__(self):
        super().__init__()
        self.evaluated = 0

    def sdf(self, points):
        self.evaluated += len(points)
        return (points - CENTRE).norm(dim=1) - RADIUS

    def forward(self, points):
        return FieldSample(self.sdf(points), points)


def by_normal(points, normals, to_camera, features):
    return normals


def camera(distance=3.0, shift=(0.0, 0.0)):
    """Looks along z from far, the principal point moved, rows and columns of different focal length, skewed."""
    intrinsics = np.array([[140.0, 3.0, 64 + shift[0]], [0, 120.0, 48 + shift[1]], [0, 0, 1]])
    pose = np.eye(4)
    pose[:3, 3] = [0.2, 0.1, -distance]
    return CameraBundle([Camera(intrinsics, pose, 128, 96)], np.eye(4))


def bounds():
    ball = trimesh.creation.icosphere(4, RADIUS)
    return SurfaceBounds(torch.as_tensor(ball.vertices, dtype=torch.float32) + CENTRE, 0.03)


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (30.0, -20.0), (75.0, 0.0)])
def test_a_ray_meets_the_surface_only_between_its_depths(step, shift):
    cameras = camera(shift=shift)
    near, far = bounds().depths(cameras, 0, 96 // step, 128 // step, step)
    y, x = torch.meshgrid(torch.arange(96 // step), torch.arange(128 // step), indexing="ij")
    pixels = torch.stack([x, y], -1).reshape(-1, 2) * step + step / 2
    origins, directions = cameras.rays(torch.zeros(len(pixels), dtype=torch.long), pixels)
    offset = origins - CENTRE
    b = (offset * directions).sum(1)
    inside = b**2 - (offset**2).sum(1) + RADIUS**2
    hits, depth = inside > 0, -b - inside.clamp_min(0).sqrt()
    near, far = near.flatten(), far.flatten()
    assert hits.sum() > 200 / step**2
    assert (near[hits] <= depth[hits]).all() and (depth[hits] <= far[hits]).all()
    possible = torch.isfinite(near)
    assert possible.sum() < 2.5 * hits.sum() + 200 and (~possible).any()


def test_pictures_are_the_same_for_less():
    cameras, settings, pictures, evaluated = camera(), TracingSettings(), [], []
    for known in (None, bounds()):
        ball = Ball()
        pictures.append(render_view(ball, by_normal, cameras, 0, 128, 96, settings=settings, bounds=known))
        evaluated.append(ball.evaluated)
    everywhere, bounded = pictures
    assert torch.equal(everywhere.mask, bounded.mask) and everywhere.mask.sum() > 500
    torch.testing.assert_close(everywhere.colour, bounded.colour, atol=2e-3, rtol=0)
    torch.testing.assert_close(everywhere.normal, bounded.normal, atol=2e-3, rtol=0)
    assert (
        evaluated[1] < 0.6 * evaluated[0]
    )  # an exact distance; what a network gives takes more search and saves more


def test_too_near_to_tell():
    assert bounds().depths(camera(distance=0.25), 0, 96, 128, 1) is None
