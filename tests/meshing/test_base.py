"""The flat base on analytic fields, in mm."""

import numpy as np
import pytest
import torch
import trimesh

from recon.meshing import clean, extract, with_flat_base
from recon.meshing.base import _triangles, floor_height

UP = np.array([0.0, 1.0, 0.0])


def turned(mesh, rotation):
    return trimesh.Trimesh(mesh.vertices @ rotation.T, mesh.faces, process=False)


def bust(bump=0.0, hollow=0.0):
    """A cylinder of 100 mm radius from -80 to 80 mm along y, its floor rough by `bump` mm, with a round hollow."""

    def field(x):
        x = 100 * x
        around = torch.hypot(x[:, 0], x[:, 2])
        floor = -80 + bump * torch.sin(0.15 * x[:, 0]) * torch.sin(0.15 * x[:, 2])
        body = torch.maximum(around - 100, torch.maximum(x[:, 1] - 80, floor - x[:, 1]))
        return torch.maximum(body, hollow - (x - x.new_tensor([20.0, -80, 0])).norm(dim=1)) / 100

    mesh = clean(extract(field, resolution=140, bound=1.4))
    return trimesh.Trimesh(100 * mesh.vertices, mesh.faces, process=False)


@pytest.mark.parametrize("tilt", [0.0, 0.3])
def test_a_ragged_floor_becomes_flat(tilt):
    rotation = trimesh.transformations.rotation_matrix(tilt, [1, 0, 0.3])[:3, :3]
    up = rotation @ UP
    mesh, height = with_flat_base(turned(bust(bump=2.0), rotation), up)
    assert mesh.is_watertight and mesh.is_winding_consistent
    assert height == pytest.approx(-80, abs=0.5)
    along = mesh.vertices @ up
    assert along.min() == pytest.approx(height, abs=1e-6)  # nothing is below the plane
    normals, areas = mesh.face_normals, mesh.area_faces
    cap = normals @ up < -0.999
    assert np.ptp(along[mesh.faces[cap]]) < 1e-6
    assert areas[cap].sum() == pytest.approx(np.pi * 100**2, rel=0.01)
    rim = np.intersect1d(mesh.faces[cap], mesh.faces[~cap])
    flat = mesh.vertices[rim] - np.outer(along[rim], up)
    np.testing.assert_allclose(np.linalg.norm(flat, axis=1), 100, atol=0.5)
    assert mesh.volume == pytest.approx(np.pi * 100**2 * 160, rel=0.01)


def test_a_hollow_that_opens_downwards_is_closed():
    mesh, height = with_flat_base(bust(hollow=30.0), UP)
    mesh = clean(mesh)
    assert mesh.is_watertight and mesh.euler_number == 2
    assert mesh.volume == pytest.approx(np.pi * 100**2 * 160, rel=0.01)
    assert height == pytest.approx(-80, abs=0.1)


def test_what_has_no_floor_stays_as_it_is():
    ball = trimesh.creation.icosphere(subdivisions=3, radius=100)
    spike = trimesh.creation.cone(radius=60, height=160)  # its point down
    spike = turned(spike, trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0])[:3, :3])
    assert (spike.vertices @ UP).argmin() == (spike.vertices @ UP == (spike.vertices @ UP).min()).argmax()
    for mesh in (spike,):
        assert floor_height(mesh, UP) is None
        same, height = with_flat_base(mesh, UP)
        assert height is None and same is mesh
    assert floor_height(ball, UP) is not None  # 5700 mm² of it face down


@pytest.mark.parametrize(
    ("polygon", "area"),
    [
        ([(0, 0), (4, 0), (4, 1), (1, 1), (1, 3), (4, 3), (4, 4), (0, 4)], 10.0),
        ([(0, 0), (2, 0), (2, 0), (2, 2), (0, 2)], 4.0),  # a corner twice
        ([(0, 0), (1, 0), (2, 0), (3, 0), (3, 3)], 4.5),  # corners on a line
    ],
)
def test_triangles_cover_a_polygon_once(polygon, area):
    points = np.array(polygon, float)
    triangles = _triangles(points)
    assert len(triangles) == len(polygon) - 2
    a, b, c = points[triangles].transpose(1, 0, 2)
    signed = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
    assert signed.min() >= 0 and signed.sum() == pytest.approx(area)
