"""What faces look like, as far as their code tells."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recon.fitting import SolverSettings
from recon.fitting.brightness import BrightnessModel
from recon.fitting.face_points import FaceBrightnessTerm
from recon.fitting.observations import Pinhole, ViewObservation
from recon.fitting.residuals import Layout
from recon.scene import Camera
from tests.support.fit_shape_models import UNIT_MM, BallWithNose

SIZE = 256


def facing_points() -> torch.Tensor:
    """Face points of the mean head that a camera behind it sees, beside nose and chin."""
    spread = torch.randn(3000, 3, generator=torch.Generator().manual_seed(0))
    places = 0.35 * torch.nn.functional.normalize(spread, dim=1)
    return places[(places[:, 2] < -0.2) & (BallWithNose().shape_of(torch.zeros(2)).sdf(places).abs() < 1e-3)]


def face_brightness(components: torch.Tensor, by_code: torch.Tensor) -> BrightnessModel:
    """Face points that stay where they are, whatever the code."""
    places = facing_points()
    nothing = torch.zeros(1, len(places))
    return BrightnessModel(
        places, torch.zeros(len(places), 3, 2), torch.tensor([0.5]) / UNIT_MM,
        nothing, components[None], by_code[None], nothing + 0.02,
    )  # fmt: skip


def test_brightness_is_that_of_the_mean_head_and_what_the_code_adds():
    components = torch.rand(len(facing_points()), 3)
    known = face_brightness(components, torch.tensor([[1.0, 0.0], [0.5, -2.0], [0.0, 0.25]]))
    known = replace(known, mean=known.mean + 0.1)
    shares = torch.tensor([0.4, 0.2 + 2.4, -0.3])
    code = torch.tensor([0.4, -1.2])
    torch.testing.assert_close(known.brightness(0, code), 0.1 + components @ shares)
    some = torch.tensor([3, 0, 17])
    ahead, behind = (known.brightness(0, code + torch.tensor([0.0, s]))[some] for s in (0.5, -0.5))
    torch.testing.assert_close(known.brightness_by_code(0, some)[:, 1], ahead - behind)


@pytest.mark.parametrize("gain", [5.0, 1.0, 0.0])
def test_brightness_tells_the_code_as_far_as_both_go_together(gain):
    """Stripes of strength s = gain z + e, with z and e standard normal, are seen: z is gain s / (gain² + 1)."""
    pose = np.eye(4)
    pose[2, 3] = -900.0
    camera = Camera(np.array([[700.0, 0, 128], [0, 700, 128], [0, 0, 1]]), pose, SIZE, SIZE)
    pinhole = Pinhole.from_camera(camera, np.diag([1 / UNIT_MM, 1 / UNIT_MM, 1 / UNIT_MM, 1.0]))
    columns, _ = pinhole.project(facing_points())
    known = face_brightness(torch.sin(columns[:, :1] / 5), torch.tensor([[0.0, gain]]))
    mask, settings = np.ones((SIZE, SIZE), bool), SolverSettings(shading=False, face_point_sigma_mm=0.0)
    view = ViewObservation.from_photograph(camera, mask, np.full((SIZE, SIZE, 3), 0.5), ~mask, settings)
    stripes = 1.5 * np.sin((np.arange(SIZE, dtype=np.float32) + 0.5) / 5)
    view = replace(view, picture=np.tile(stripes, (SIZE, 1)))

    faces = FaceBrightnessTerm.from_code(
        known, BallWithNose().shape_of(torch.zeros(2)), torch.zeros(2), settings, UNIT_MM
    )
    rows = faces.linearised(view, pinhole, 0, 0.5, 1e4, Layout(2, 1))
    assert rows is not None
    residual, jacobian = rows[0], rows[1][:, 1]
    found = -float(jacobian @ residual) / (float(jacobian @ jacobian) + 1.0)
    assert found == pytest.approx(1.5 * gain / (gain**2 + 1), abs=0.03)
