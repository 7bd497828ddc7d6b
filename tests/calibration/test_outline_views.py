"""Cameras from the outline of a head that is known: a ball with a nose, a chin and a bun."""

import numpy as np
import pytest
import torch

from recon.calibration.outline_views import FixedHead, join_by_outline
from recon.errors import PriorError
from recon.fitting import ShapeModel
from recon.fitting.tracing import closest_approach
from recon.geometry.frames import CanonicalFrame
from recon.scene import Camera
from recon.synth.datasets.cameras import look_at
from tests.support.fit_shape_models import BallWithNose

CANONICAL = CanonicalFrame((0.0, 0.0, 0.0), 330.0)


def mask_of(head, camera):
    columns, rows = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    origins, directions = camera.rays(np.stack([columns.ravel(), rows.ravel()], axis=1))
    origins = torch.from_numpy(origins / CANONICAL.radius_mm).float()
    points = closest_approach(head, origins, torch.from_numpy(directions).float())
    return (head.sdf(points) < 0).numpy().reshape(camera.height, camera.width)


def test_a_fixed_head_is_a_shape_model_without_a_code():
    head = FixedHead(BallWithNose().shape_of(torch.zeros(2)))
    assert isinstance(head, ShapeModel)
    points = torch.rand(5, 3)
    assert head.shape_of(torch.zeros(0)).basis(points).shape == (5, 0)
    assert head.coarse_level.sdf(points).shape == (5,)


@pytest.mark.parametrize("yaw", [-85.0, 95.0])
def test_profiles_are_found(yaw):
    head = BallWithNose().shape_of(torch.zeros(2))
    intrinsics = np.array([[260.0, 0, 64], [0, 260.0, 64], [0, 0, 1]])
    true = Camera(intrinsics, look_at(np.zeros(3), yaw, 0.0, 800.0), 128, 128)
    found = join_by_outline(head, CANONICAL, mask_of(head, true), None, 260.0, (60.0, 80.0, 100.0))
    assert found.outline_mm < 2 and found.overlap > 0.95
    assert abs(found.yaw_deg) == pytest.approx(90, abs=15) and np.sign(found.yaw_deg) == np.sign(yaw)
    assert np.linalg.norm(found.camera.centre) == pytest.approx(800, rel=0.05)


def test_a_photograph_of_nobody_is_refused():
    head = BallWithNose().shape_of(torch.zeros(2))
    with pytest.raises(PriorError, match="no person"):
        join_by_outline(head, CANONICAL, np.zeros((64, 64), bool), None, 200.0, (90.0,))
