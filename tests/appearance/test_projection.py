"""Colours of a painted sphere by photographs of it, whose values are known everywhere."""

import numpy as np
import pytest
import torch
import trimesh

from recon.appearance import ProjectedColour, ProjectedPhotograph, balanced
from recon.appearance.projection import FULL, blurred, share, spread_over
from recon.scene import Camera

SIZE, FOCAL, DISTANCE, RADIUS, UNIT_MM = 200, 400.0, 3.0, 0.6, 150.0
MESH = trimesh.creation.icosphere(subdivisions=5, radius=RADIUS)


def camera_at(yaw_deg):
    """A camera in the plane y = 0 that looks at the origin; yaw 0 is on the z axis."""
    a = np.radians(yaw_deg)
    away = np.array([np.sin(a), 0.0, np.cos(a)])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([[np.cos(a), 0, -np.sin(a)], [0, -1, 0], -away], axis=1)
    pose[:3, 3] = DISTANCE * away
    intrinsics = np.array([[FOCAL, 0, SIZE / 2], [0, FOCAL, SIZE / 2], [0, 0, 1.0]])
    return Camera(intrinsics, pose, SIZE, SIZE)


def paint(points):
    return 0.5 + 0.4 * np.sin(4 * points + [0.0, 1.0, 2.0])


def photograph(yaw_deg, gain=1.0, usable=None, image=None):
    """A photograph of the sphere by the intersections of rays, and where it shows it."""
    camera = camera_at(yaw_deg)
    x, y = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    origins, directions = camera.rays(np.stack([x.ravel(), y.ravel()], axis=1))
    middle = -(origins * directions).sum(axis=1)
    square = middle**2 - (origins**2).sum(axis=1) + RADIUS**2
    hit = (square > 0).reshape(SIZE, SIZE)
    points = origins + (middle - np.sqrt(np.maximum(square, 0)))[:, None] * directions
    shown = np.where(hit[..., None], gain * paint(points).reshape(SIZE, SIZE, 3), 0.9)
    return ProjectedPhotograph.of_surface(
        shown if image is None else image,
        hit if usable is None else hit & usable,
        camera,
        np.asarray(MESH.vertices),
        np.asarray(MESH.faces),
        UNIT_MM,
    )


def points_of(sides):
    """Points of the sphere by their sides, with normals."""
    directions = torch.nn.functional.normalize(torch.tensor(sides, dtype=torch.float32), dim=1)
    return RADIUS * directions, directions


class Grey(torch.nn.Module):
    sees_camera = False

    def forward(self, points, gradient, to_camera, feature):
        return torch.full_like(points, -0.5)


def test_what_is_seen_has_the_photographs_colours_and_what_is_hidden_none():
    points, normals = points_of([[0, 0, 1], [0.3, 0.2, 1], [-0.3, 0.5, 1], [0, 0, -1], [1, 0, -0.2]])
    colours, weight, towards = photograph(0).look_up(points, normals, 2.5 / UNIT_MM)
    np.testing.assert_allclose(colours[:3], paint(points[:3].numpy()), atol=0.02)
    assert (weight[:3] > FULL).all() and (weight[3:] == 0).all()
    np.testing.assert_allclose(towards[0], [0, 0, 1], atol=1e-6)


def test_ignored_pixels_and_the_edge_count_for_nothing():
    usable = np.ones((SIZE, SIZE), bool)
    usable[: SIZE // 2] = False
    points, normals = points_of([[0, 0.4, 1], [0, -0.4, 1], [0.995, 0, 0.2]])
    _, weight, _ = photograph(0, usable=usable).look_up(points, normals, 2.5 / UNIT_MM)
    assert weight[0] == 0 and weight[1] > FULL and weight[2] < 0.02


def test_photographs_are_balanced_where_two_show_the_same():
    points, normals = torch.tensor(MESH.vertices).float(), torch.tensor(MESH.vertex_normals).float()
    found = balanced([photograph(-20, 0.8), photograph(20, 1.0)], points, normals, UNIT_MM)
    ratio = found[0].gain / found[1].gain
    np.testing.assert_allclose(ratio, 1 / 0.8, rtol=0.02)
    assert (found[0].gain * found[1].gain).numpy() == pytest.approx(1.0, abs=0.01)
    apart = balanced([photograph(-90, 0.8), photograph(90)], points, normals, UNIT_MM)  # nothing in common
    np.testing.assert_allclose(apart[0].gain, 1.0, atol=1e-4)


def test_a_viewer_beside_a_camera_sees_what_that_camera_saw():
    red, blue = np.zeros((SIZE, SIZE, 3)), np.zeros((SIZE, SIZE, 3))
    red[..., 0], blue[..., 2] = 1.0, 1.0
    colour = ProjectedColour(Grey(), [photograph(-35, image=red), photograph(35, image=blue)], UNIT_MM)
    point, normal = points_of([[0, 0, 1]])
    left, front, right = (
        colour(
            point, normal, torch.tensor(camera_at(yaw).centre / DISTANCE).float()[None], torch.zeros(1, 0)
        )[0]
        for yaw in (-35, 0, 35)
    )
    assert left[0] > 0.9 and left[2] < -0.9 and right[2] > 0.9 and right[0] < -0.9
    np.testing.assert_allclose(front[[0, 2]], [0.0, 0.0], atol=0.05)  # half of both


def test_the_network_gives_what_no_photograph_shows_until_colours_are_carried_over():
    colour = ProjectedColour(Grey(), [photograph(0, image=np.full((SIZE, SIZE, 3), 0.8))], UNIT_MM)
    back, normal = points_of([[0, 0.1, -1.0]])
    assert colour(back, normal, normal, torch.zeros(1, 0)).numpy() == pytest.approx(-0.5)
    points, normals = torch.tensor(MESH.vertices).float(), torch.tensor(MESH.vertex_normals).float()
    own = torch.full_like(points, -0.5)
    colour.carry_over(points, own, *colour.shown(points, normals, normals))
    assert colour(back, normal, normal, torch.zeros(1, 0)).numpy() == pytest.approx(0.6, abs=0.02)
    seen, towards = points_of([[0, 0, 1.0]])
    assert colour(seen, towards, towards, torch.zeros(1, 0)).numpy() == pytest.approx(0.6, abs=0.02)


def test_values_spread_along_a_strip_as_on_a_membrane():
    along = np.linspace(0, 1, 101)
    points = np.stack([along, np.zeros(101), np.zeros(101)], axis=1)
    values, counts = np.zeros((101, 2)), np.zeros(101)
    values[:8], values[-8:] = [0, 3], [1, 1]
    counts[:8], counts[-8:] = 1, 1
    found = spread_over(points, values, counts)
    expected = np.interp(along, [along[7], along[-8]], [0, 1])  # between what is held a membrane is straight
    np.testing.assert_allclose(found[:, 0], expected, atol=0.04)
    np.testing.assert_allclose(found[:, 1], 3 - 2 * expected, atol=0.08)


def test_shares_rise_from_none_to_full():
    np.testing.assert_allclose(share(torch.tensor([0.0, FULL / 2, FULL, 1.0])), [0, 0.5, 1, 1], atol=1e-6)


def test_a_blurred_point_keeps_its_sum_and_has_the_deviation_asked_for():
    planes = torch.zeros(1, 1, 21, 21, 21)
    planes[0, 0, 10, 10, 10] = 2.0
    found = blurred(planes, 2.0)[0, 0]
    assert float(found.sum()) == pytest.approx(2.0, rel=1e-3)
    profile = found.sum(dim=(1, 2)) / 2
    assert float((profile * (torch.arange(21) - 10) ** 2).sum()) == pytest.approx(4.0, rel=0.03)
