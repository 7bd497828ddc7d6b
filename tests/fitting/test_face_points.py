"""Face points of a face: how their shading changes with the code, and that shading shows a shape."""

from dataclasses import replace

import numpy as np
import torch
from torch.nn.functional import normalize

from recon.fitting.brightness import BrightnessModel
from recon.fitting.face_points import FaceBrightnessTerm, normal_turn_rate, tangents
from recon.fitting.observations import Pinhole, SolverSettings, ViewObservation
from recon.fitting.residuals import Layout
from recon.fitting.shading import harmonics, harmonics_gradient
from recon.fitting.tracing import trace
from recon.scene import Camera
from tests.support.fit_shape_models import BallWithNose

UNIT_MM = 300.0
LIGHT = torch.tensor([0.3, 0.4, 0.5, -0.6, 0.2, -0.1, 0.15, 0.1, -0.2]).double()


def face_points(code: torch.Tensor, count: int = 1500) -> tuple[torch.Tensor, torch.Tensor]:
    """Points on the front of the nose and of the ball, and how they move with the code: along their normals."""
    shape_model = BallWithNose()
    spread = normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(0)).double(), dim=1)
    points = torch.cat([0.36 * spread, torch.tensor([0, 0, 0.36]) + 0.1 * spread])
    head = shape_model.shape_of(code)
    for _ in range(30):
        sdf, gradient = head.sdf_and_gradient(points)
        points = points - sdf[:, None] * gradient / gradient.square().sum(1, keepdim=True)
    points = points[points[:, 2] > 0.2]
    _, gradient = head.sdf_and_gradient(points)
    square = gradient.square().sum(1)
    return points, -gradient[:, :, None] * head.basis(points)[:, None, :] / square[:, None, None]


def test_harmonics_gradient_is_a_difference():
    normals = normalize(torch.randn(20, 3, generator=torch.Generator().manual_seed(1)).double(), dim=1)
    for tangent in tangents(normals):
        assert (tangent * normals).sum(1).abs().max() < 1e-12
        torch.testing.assert_close(tangent.norm(dim=1), torch.ones(20).double())
        step = 1e-5
        expected = (
            (harmonics(normals + step * tangent) - harmonics(normals - step * tangent)) @ LIGHT / (2 * step)
        )
        torch.testing.assert_close((harmonics_gradient(normals, LIGHT) * tangent).sum(1), expected)


def test_turning_is_how_normals_turn_when_points_follow_the_surface():
    code = torch.tensor([0.4, -0.3]).double()
    points, basis = face_points(code)
    _, gradient = BallWithNose().shape_of(code).sdf_and_gradient(points)
    tangent = tangents(normalize(gradient, dim=1))[0]
    found = normal_turn_rate(BallWithNose().shape_of(code), points, tangent, basis, 1e-3)
    step = 1e-4
    for unknown in range(2):
        change = torch.zeros(2).double()
        change[unknown] = step
        ahead = BallWithNose().shape_of(code + change).sdf_and_gradient(points + basis @ change)[1]
        behind = BallWithNose().shape_of(code - change).sdf_and_gradient(points - basis @ change)[1]
        expected = (tangent * (ahead - behind)).sum(1) / (2 * step)
        torch.testing.assert_close(found[:, unknown], expected, atol=2e-3, rtol=2e-3)
        assert expected.abs().max() > 0.05


def shaded_photograph(camera: Camera, code: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Logarithm of luminance under LIGHT, without any paint, and mask of a head at the origin of unit space."""
    pinhole = Pinhole.from_camera(camera, np.diag([1 / UNIT_MM, 1 / UNIT_MM, 1 / UNIT_MM, 1.0]))
    rows, columns = np.mgrid[0:256, 0:256]
    pixels = torch.from_numpy(np.stack([columns.ravel(), rows.ravel()], axis=1) + 0.5).float()
    head = BallWithNose().shape_of(code.float())
    hits = trace(head, pinhole.centre.expand(len(pixels), 3), pinhole.directions(pixels))
    picture, mask = np.zeros(256 * 256), np.zeros(256 * 256, dtype=bool)
    shade = harmonics(normalize(hits.gradient, dim=1).double()) @ LIGHT
    picture[hits.rays.numpy()], mask[hits.rays.numpy()] = shade.numpy(), True
    return picture.reshape(256, 256), mask.reshape(256, 256)


def test_shading_shows_the_size_of_a_nose_seen_from_the_front():
    """No paint and one frontal photograph: shading tells how the nose bulges, and steps are Gauss and Newton's if the
    Jacobian knows it.
    """
    world_from_camera = np.diag([1.0, -1.0, -1.0, 1.0])
    world_from_camera[2, 3] = 900.0
    camera = Camera(np.array([[700.0, 0, 128], [0, 700, 128], [0, 0, 1]]), world_from_camera, 256, 256)
    truth = torch.tensor([0.0, 0.5])
    picture, mask = shaded_photograph(camera, truth)
    nothing = np.zeros_like(mask)
    view = ViewObservation.from_photograph(
        camera, mask, np.full((256, 256, 3), 0.5), nothing, SolverSettings(eroded_px=1.0)
    )
    view = replace(view, picture=picture.astype(np.float32))

    def found(shading: bool, steps: int) -> float:
        code = torch.zeros(2)
        for _ in range(steps):
            places, basis = (value.float() for value in face_points(code.double()))
            zeros = torch.zeros(1, len(places))
            # the face points of this head: `face_points` adds basis @ code
            known = BrightnessModel(
                places - basis @ code, basis, torch.tensor([0.5]) / UNIT_MM,
                zeros, torch.zeros(1, len(places), 0), torch.zeros(1, 0, 2), zeros + 0.02,
            )  # fmt: skip
            settings = SolverSettings(shading=shading)
            faces = FaceBrightnessTerm.from_code(
                known, BallWithNose().shape_of(code), code, settings, UNIT_MM
            )
            pinhole = Pinhole.from_camera(camera, np.diag([1 / UNIT_MM, 1 / UNIT_MM, 1 / UNIT_MM, 1.0]))
            rows = faces.linearised(view, pinhole, 0, 0.5, 1e4, Layout(2, 1))
            assert rows is not None
            residual, jacobian = rows[0], rows[1][:, 1:2]
            step = -(jacobian.T @ residual) / (jacobian.square().sum() + 1.0)
            code[1] += float(step.clamp(-1, 1))
        return float(code[1])

    assert abs(found(True, 3) - 0.5) < 0.03
    assert abs(found(False, 3) - 0.5) > 0.1
