"""The whole solver on a closed-form shape model: shape, pose and cameras from painted photographs and masks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from recon.errors import PriorError
from recon.fitting import SolverSettings, solve
from recon.fitting.brightness import BrightnessModel
from recon.fitting.observations import Pinhole
from recon.fitting.residuals import MarkedLandmarks
from recon.fitting.tracing import trace
from recon.scene import Camera
from tests.support.fit_shape_models import SIZE, UNIT_MM, BallWithNose, camera, placed

CODE = torch.tensor([0.7, -0.8])
POSE = placed((10.0, 4.0, -3.0), 1.02, np.array([12.0, -8.0, 5.0]))
AZIMUTHS = (-35.0, 0.0, 35.0)


def paint_of(points: torch.Tensor) -> torch.Tensor:
    return 0.5 + 0.25 * torch.sin(30 * points[:, 0]) * torch.cos(26 * points[:, 1] + 9 * points[:, 2])


def photograph(
    view: Camera, light: tuple[float, float, float], code: torch.Tensor = CODE
) -> tuple[np.ndarray, np.ndarray]:
    """Photograph and mask of the true head, painted and lit; sRGB."""
    head, pinhole = BallWithNose().shape_of(code), Pinhole.from_camera(view, POSE)
    x, y = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    pixels = torch.from_numpy(np.column_stack([x.ravel(), y.ravel()])).float()
    hits = trace(head, pinhole.centre.expand(len(pixels), 3), pinhole.directions(pixels))
    paint = paint_of(hits.points)
    normal = torch.nn.functional.normalize(hits.gradient, dim=1)
    shade = 0.6 + 0.4 * normal @ torch.nn.functional.normalize(torch.tensor(light), dim=0)
    image, mask = np.full((SIZE * SIZE, 3), 0.2, np.float32), np.zeros(SIZE * SIZE, bool)
    image[hits.rays] = (paint * shade).numpy()[:, None] ** (1 / 2.2)
    mask[hits.rays] = True
    return image.reshape(SIZE, SIZE, 3), mask.reshape(SIZE, SIZE)


def scene(lights) -> tuple[list[Camera], list[np.ndarray], list[np.ndarray]]:
    cameras = [camera(azimuth, np.zeros(3)) for azimuth in AZIMUTHS]
    shots = [photograph(view, light) for view, light in zip(cameras, lights, strict=True)]
    return cameras, [mask for _, mask in shots], [image for image, _ in shots]


def surface_mm(fit) -> float:
    """Mean distance, mm, of the fitted surface's points to the true surface."""
    view = camera(5.0, np.zeros(3))
    pinhole = Pinhole.from_camera(view, fit.canonical_from_world)
    x, y = np.meshgrid(np.arange(4, SIZE, 4), np.arange(4, SIZE, 4))
    pixels = torch.from_numpy(np.column_stack([x.ravel(), y.ravel()])).float()
    head = BallWithNose().shape_of(fit.code)
    hits = trace(head, pinhole.centre.expand(len(pixels), 3), pinhole.directions(pixels))
    back = np.linalg.inv(fit.canonical_from_world)
    world = hits.points.numpy() @ back[:3, :3].T + back[:3, 3]
    true = torch.from_numpy(world @ POSE[:3, :3].T + POSE[:3, 3]).float()
    return float(BallWithNose().shape_of(CODE).sdf(true).abs().mean()) * UNIT_MM


SAME = [(0.3, 0.5, 0.8)] * 3
MOVING = [(-0.6, 0.4, 0.7), (0.2, 0.6, 0.8), (0.8, 0.2, 0.6)]


def fitted(views, masks, images, **settings):
    return solve(
        BallWithNose(), views, masks, images, np.zeros(3), UNIT_MM, SolverSettings(pixels=900, **settings)
    )


@pytest.mark.slow
def test_photographs_bring_the_surface_back_to_a_fraction_of_a_millimetre():
    cameras, masks, images = scene(SAME)
    fit = fitted(cameras, masks, images)
    assert surface_mm(fit) < 0.45  # a pixel is 2.4 mm here
    assert float((fit.code - CODE).abs().max()) < 0.15
    assert fit.outline_mm < 0.6 and fit.colour_misfit < 0.02
    assert len(fit.covariance) == 9 and (torch.linalg.eigvalsh(fit.covariance) > 0).all()


@pytest.mark.slow
def test_light_that_moves_costs_little_with_the_shading_model_and_much_without():
    cameras, masks, images = scene(MOVING)
    with_shading = surface_mm(fitted(cameras, masks, images))
    without = surface_mm(fitted(cameras, masks, images, shading=False, weights=False))
    assert with_shading < 1.0
    assert without > 1.5 * with_shading


@pytest.mark.slow
def test_wrong_cameras_are_corrected():
    cameras, masks, images = scene(SAME)
    bent = cameras[1].world_from_camera.copy()
    bent[:3, :3] = Rotation.from_rotvec(np.radians([0.4, -0.5, 0.3])).as_matrix() @ bent[:3, :3]
    cameras[1] = replace(cameras[1], world_from_camera=bent)
    free, held = fitted(cameras, masks, images), fitted(cameras, masks, images, cameras=False)
    assert surface_mm(free) < 0.7 * surface_mm(held)
    np.testing.assert_allclose(held.cameras[1].world_from_camera, bent, atol=1e-6)


def test_one_photograph_is_fitted_by_its_outline():
    cameras, masks, images = scene(SAME)
    fit = fitted(cameras[:1], masks[:1], images[:1])
    assert fit.colour_misfit is None and fit.outline_mm < 1.0


@pytest.mark.slow
def test_one_photograph_leaves_the_distance_open():
    cameras, masks, images = scene(SAME)
    alone, both = fitted(cameras[:1], masks[:1], images[:1]), fitted(cameras, masks, images)
    for fit, least, most in ((alone, 19.0, 60.0), (both, 0.0, 5.0)):
        centre = fit.canonical_from_world @ fit.cameras[0].world_from_camera[:, 3]
        ray = torch.from_numpy(-centre[:3] / np.linalg.norm(centre[:3]))
        shift = fit.covariance[-4:-1, -4:-1]  # of the canonical origin
        assert least < UNIT_MM * float(ray @ shift @ ray) ** 0.5 < most


def test_one_photograph_shows_where_a_face_turns_if_faces_are_known():
    """The head is nearly a ball, whose outline says nothing of its tilt; its paint does."""
    code, view = torch.zeros(2), camera(0.0, np.zeros(3))
    image, mask = photograph(view, (-0.5, 0.4, 0.8), code)
    spread = torch.nn.functional.normalize(
        torch.randn(900, 3, generator=torch.Generator().manual_seed(0)), dim=1
    )
    places = 0.35 * spread[spread[:, 2] > 0.2]
    places = places[BallWithNose().shape_of(code).sdf(places).abs() < 1e-3]  # neither nose nor chin
    brightness_model = BrightnessModel(
        places,
        torch.stack([0.1 * places, torch.zeros_like(places)], dim=2),
        torch.tensor([2.0, 6.0]) / UNIT_MM,
        paint_of(places).log().expand(2, -1),
        torch.zeros(2, len(places), 0),
        torch.zeros(2, 0, 2),
        torch.full((2, len(places)), 0.1),
    )
    tilted = np.eye(4)
    tilted[:3, :3] = Rotation.from_euler("xy", [7.0, 5.0], degrees=True).as_matrix()

    def turn_deg(shape_model: BallWithNose) -> float:
        fit = solve(shape_model, [view], [mask], [image], np.zeros(3), UNIT_MM, start=tilted @ POSE)
        off = fit.canonical_from_world[:3, :3] @ np.linalg.inv(POSE[:3, :3])
        return float(np.degrees(Rotation.from_matrix(off / np.cbrt(np.linalg.det(off))).magnitude()))

    assert turn_deg(BallWithNose(brightness_model=brightness_model)) < 1.0
    assert turn_deg(BallWithNose()) > 3.0


def test_landmarks_show_where_a_head_turns():
    code, view = torch.zeros(2), camera(0.0, np.zeros(3))
    image, mask = photograph(view, (-0.5, 0.4, 0.8), code)
    places = torch.tensor([[0.1, 0.05, 0.33], [-0.12, 0.1, 0.31], [0.0, -0.05, 0.34], [0.15, -0.1, 0.3]])
    pixels, _ = Pinhole.from_camera(view, POSE).project(places)
    marked = MarkedLandmarks(places, torch.zeros(4, 3, 2), pixels)
    tilted = np.eye(4)
    tilted[:3, :3] = Rotation.from_euler("xy", [7.0, 5.0], degrees=True).as_matrix()
    settings = SolverSettings(landmark_sigma_px=1.0)
    arguments = (BallWithNose(), [view], [mask], [image], np.zeros(3), UNIT_MM, settings)
    fit = solve(*arguments, marked=[marked], start=tilted @ POSE)
    shown, _ = Pinhole.from_camera(view, fit.canonical_from_world).project(places)
    assert (shown - pixels).abs().max() < 0.6
    without_marks, _ = Pinhole.from_camera(
        view, solve(*arguments, start=tilted @ POSE).canonical_from_world
    ).project(places)
    assert (without_marks - pixels).abs().max() > 2.0


def test_an_outline_that_looks_turned_does_not_turn_a_head_that_landmarks_hold():
    """Hair can give a frontal head the outline of a profile: here the mask is that of the head turned by 60 degrees."""
    code, view = torch.zeros(2), camera(0.0, np.zeros(3))
    image, _ = photograph(view, (-0.5, 0.4, 0.8), code)
    _, profile = photograph(camera(60.0, np.zeros(3)), (-0.5, 0.4, 0.8), code)
    places = torch.tensor([[0.1, 0.05, 0.33], [-0.12, 0.1, 0.31], [0.0, -0.05, 0.34], [0.15, -0.1, 0.3]])
    pixels, _ = Pinhole.from_camera(view, POSE).project(places)
    marked = MarkedLandmarks(places, torch.zeros(4, 3, 2), pixels)
    arguments = (BallWithNose(), [view], [profile], [image], np.zeros(3), UNIT_MM)
    off = []
    for marks in ([marked], []):
        fit = solve(*arguments, SolverSettings(landmark_sigma_px=1.0), marked=marks, start=POSE)
        shown, _ = Pinhole.from_camera(view, fit.canonical_from_world).project(places)
        off.append(float((shown - pixels).abs().max()))
    assert off[0] < 1.0 and off[1] > 5.0


@pytest.mark.slow
def test_what_hides_the_head_is_left_out_where_it_is_marked():
    cameras, masks, images = scene(SAME)
    bar = np.zeros((SIZE, SIZE), bool)
    bar[:, 70:86] = True
    hidden_masks = [masks[0], masks[1] & ~bar, masks[2]]
    hidden = [images[0], np.where(bar[..., None], 0.9, images[1]).astype(np.float32), images[2]]
    nothing = np.zeros_like(bar)
    arguments = (BallWithNose(), cameras, hidden_masks, hidden, np.zeros(3), UNIT_MM)
    with_marks = solve(*arguments, SolverSettings(pixels=900), ignored=[nothing, bar, nothing])
    without_marks = solve(*arguments, SolverSettings(pixels=900, weights=False))
    assert surface_mm(with_marks) < 0.7
    assert surface_mm(without_marks) > 2 * surface_mm(with_marks)


def test_masks_without_outlines_are_refused():
    full = np.ones((SIZE, SIZE), bool)
    with pytest.raises(PriorError, match="no outline"):
        fitted([camera(0.0, np.zeros(3))], [full], [np.ones((SIZE, SIZE, 3), np.float32)])


@pytest.mark.slow
def test_a_wrong_focal_length_is_found_and_the_cameras_move_with_it():
    cameras, masks, images = scene(SAME)
    middle = -np.linalg.solve(POSE[:3, :3], POSE[:3, 3])
    wrong = []
    for each in cameras:  # a fifth longer, and so much further back that the head keeps its size
        pose, intrinsics = each.world_from_camera.copy(), each.intrinsics.copy()
        intrinsics[:2, :2] *= 1.2
        pose[:3, 3] -= 0.2 * ((middle - pose[:3, 3]) @ pose[:3, 2]) * pose[:3, 2]
        wrong.append(replace(each, intrinsics=intrinsics, world_from_camera=pose))
    settings = SolverSettings(pixels=900, focal_sigma=0.3)
    unknown = replace(settings, focal_groups=(0, 0, 0))
    fit = solve(BallWithNose(), wrong, masks, images, np.zeros(3), UNIT_MM, unknown, start=POSE)
    for found, true in zip(fit.cameras, cameras, strict=True):
        assert found.intrinsics[0, 0] == pytest.approx(true.intrinsics[0, 0], rel=0.1)
        assert np.linalg.norm(found.centre - true.centre) < 0.1 * np.linalg.norm(true.centre)
    held = solve(BallWithNose(), wrong, masks, images, np.zeros(3), UNIT_MM, settings, start=POSE)
    assert held.cameras[0].intrinsics[0, 0] == pytest.approx(wrong[0].intrinsics[0, 0])
