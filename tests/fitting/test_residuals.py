"""Jacobians of all residuals against differences, in float64, with rays traced anew for every change."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from recon.fitting.observations import LogPicture, Pinhole
from recon.fitting.residuals import Layout, Rows, face_brightness, landmarks, photometric, silhouette
from recon.fitting.tracing import trace
from tests.support.fit_shape_models import BallWithNose

LAYOUT = Layout(latent=2, cameras=2, focal_groups=(0, 1))
CODE = torch.tensor([0.4, -0.3]).double()


def pinhole(azimuth_deg: float) -> Pinhole:
    """Looks at the origin from 3 canonical units away, 200 pixels wide."""
    turn = Rotation.from_euler("yx", [azimuth_deg, 12.0], degrees=True).as_matrix()
    rotation = torch.from_numpy(turn @ np.diag([1.0, -1.0, -1.0]))
    intrinsics = torch.tensor([[400.0, 2.0, 100.0], [0, 380.0, 95.0], [0, 0, 1]]).double()
    return Pinhole(intrinsics, rotation, -3.0 * rotation[:, 2])


CAMERAS = (pinhole(-20.0), pinhole(25.0))


def changed(step: torch.Tensor) -> tuple[torch.Tensor, list[Pinhole]]:
    """Code and cameras after a small change, straight from the definition of the unknowns."""
    step = step.double()
    turn, move, stretch = step[2:5], step[5:8], step[8]
    cameras = []
    for index, camera in enumerate(CAMERAS):
        centre = camera.centre + torch.linalg.cross(turn, camera.centre) + move + stretch * camera.centre
        own = step[9 + 6 * index : 15 + 6 * index]
        rotation = torch.from_numpy(Rotation.from_rotvec((turn + own[:3]).numpy()).as_matrix())
        zoom = step[21 + index].exp()
        axis = camera.rotation[:, 2]
        back = (zoom - 1) * (camera.centre @ axis) * axis  # the middle of the head keeps its size
        cameras.append(
            replace(
                camera,
                intrinsics=camera.intrinsics * torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 0]]) * (zoom - 1)
                + camera.intrinsics,
                rotation=rotation @ camera.rotation,
                centre=centre + own[3:] + back,
            )
        )
    return CODE + step[:2], cameras


def differences(residual, size: float = 1e-4) -> torch.Tensor:
    """Central differences of a function of the change."""
    columns = []
    for unknown in range(LAYOUT.size):
        step = torch.zeros(LAYOUT.size).double()
        step[unknown] = size
        columns.append((residual(step) - residual(-step)) / (2 * size))
    return torch.stack(columns, dim=1)


def compare(rows: Rows, expected: torch.Tensor, rtol: float) -> None:
    scale = expected.abs().amax(0).clamp_min(1e-3)
    assert ((rows.jacobian - expected).abs() / scale).max() < rtol
    assert (expected.abs().amax(0) > 1e-6).sum() >= 15  # most unknowns matter, so that the test can fail


def test_silhouettes():
    pixels = torch.tensor([[60.0, 80.0], [100.0, 45.0], [145.0, 90.0], [110.0, 140.0]]).double()

    def rows(step: torch.Tensor) -> Rows:
        code, cameras = changed(step)
        return silhouette(BallWithNose().shape_of(code), cameras[0], 0, pixels, LAYOUT)

    expected = differences(lambda step: rows(step).residual)
    expected[:, LAYOUT.camera(1)] = 0.0
    # The signed distance at a moved place is in the unmoved unit: a similarity stretches what it measures with.
    now = rows(torch.zeros(LAYOUT.size))
    stretched = now.jacobian.clone()
    stretched[:, 8] += now.residual
    scale = expected.abs().amax(0).clamp_min(1e-2)
    assert ((stretched - expected).abs() / scale).max() < 5e-3
    assert (expected.abs().amax(0) > 1e-6).sum() >= 12


def picture() -> LogPicture:
    y, x = torch.meshgrid(torch.arange(190.0), torch.arange(200.0), indexing="ij")
    return LogPicture((torch.sin(x / 17) * torch.cos(y / 23) + 0.004 * x).double())


def test_photographs():
    pixels = torch.tensor(
        [[100.0, 95.0], [105.0, 88.0], [112.0, 104.0], [92.0, 70.0], [115.0, 80.0]]
    ).double()
    values = torch.linspace(-0.3, 0.4, len(pixels)).double()

    def rows(step: torch.Tensor) -> Rows:
        code, cameras = changed(step)
        head = BallWithNose().shape_of(code)
        hits = trace(head, cameras[0].centre.expand(len(pixels), 3), cameras[0].directions(pixels))
        assert len(hits.rays) == len(pixels)
        return photometric(head, hits, values, (cameras[0], cameras[1]), (0, 1), picture(), LAYOUT)

    compare(rows(torch.zeros(LAYOUT.size)), differences(lambda step: rows(step).residual), 2e-3)


def test_landmarks():
    places = torch.tensor([[0.1, 0.05, 0.3], [-0.1, 0.0, 0.32], [0.0, -0.1, 0.4]]).double()
    basis = torch.randn(3, 3, 2, generator=torch.Generator().manual_seed(1)).double() * 0.02
    pixels = torch.full((3, 2), 90.0).double()

    def rows(step: torch.Tensor) -> Rows:
        code, cameras = changed(step)
        return landmarks(places + basis @ (code - CODE), basis, cameras[1], 1, pixels, LAYOUT)

    expected = differences(lambda step: rows(step).residual)
    found = rows(torch.zeros(LAYOUT.size))
    scale = expected.abs().amax(0).clamp_min(1e-2)
    assert ((found.jacobian - expected).abs() / scale).max() < 2e-3
    shown, _ = CAMERAS[1].project(places)
    torch.testing.assert_close(found.residual, torch.cat([shown[:, 0] - 90, shown[:, 1] - 90]))


def test_brightness_of_face_points():
    places = torch.tensor([[0.1, 0.05, 0.3], [-0.1, 0.0, 0.32], [0.0, -0.1, 0.4], [0.05, 0.1, 0.3]]).double()
    basis = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(2)).double() * 0.05
    normals, expected_brightness = torch.zeros(4, 3).double(), torch.tensor([0.1, -0.2, 0.3, 0.0]).double()

    def rows(step: torch.Tensor) -> Rows:
        code, cameras = changed(step)
        points = places + basis @ (code - CODE)
        return face_brightness(points, normals, basis, expected_brightness, cameras[1], 1, picture(), LAYOUT)[
            0
        ]

    expected = differences(lambda step: rows(step).residual)
    found = rows(torch.zeros(LAYOUT.size))
    scale = expected.abs().amax(0).clamp_min(1e-2)
    assert ((found.jacobian - expected).abs() / scale).max() < 2e-3
    assert (expected.abs().amax(0) > 1e-6).sum() >= 12
    shown = picture().sample(CAMERAS[1].project(places)[0])[0]
    torch.testing.assert_close(found.residual, shown - expected_brightness)


def test_contrast_is_the_steepest_change_of_the_photograph_with_the_place():
    place, step = torch.tensor([[0.1, 0.05, 0.3]]).double(), 1e-5
    _, contrast = face_brightness(
        place, place, torch.zeros(1, 3, 2).double(), torch.zeros(1).double(), CAMERAS[1], 1, picture(), LAYOUT
    )
    moved = place + step * torch.eye(3).double(), place - step * torch.eye(3).double()
    ahead, behind = (picture().sample(CAMERAS[1].project(points)[0])[0] for points in moved)
    torch.testing.assert_close(contrast[0], ((ahead - behind) / (2 * step)).norm(), atol=1e-4, rtol=1e-4)


def test_project_is_the_inverse_of_directions():
    camera = CAMERAS[0]
    pixels = torch.tensor([[20.0, 30.0], [150.0, 99.0]]).double()
    points = camera.centre + 2.7 * camera.directions(pixels)
    back, depth = camera.project(points)
    torch.testing.assert_close(back, pixels)
    assert (depth > 0).all()


def test_pixels_interpolate_their_centres_and_gradients_are_differences():
    shown = picture()
    at = torch.tensor([[30.5, 40.5]]).double()
    torch.testing.assert_close(shown.sample(at)[0][0], shown.values[40, 30])
    place = torch.tensor([[57.3, 81.9]]).double()
    value, gradient = shown.sample(place)
    truth = np.sin(56.8 / 17) * np.cos(81.4 / 23) + 0.004 * 56.8
    assert float(value) == pytest.approx(truth, abs=1e-4)
    for axis in range(2):
        step = torch.zeros(1, 2).double()
        step[0, axis] = 1e-5
        rate = (shown.sample(place + step)[0] - shown.sample(place - step)[0]) / 2e-5
        assert float(gradient[0, axis]) == pytest.approx(float(rate), rel=1e-6)
