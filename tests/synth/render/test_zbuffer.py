"""The rasteriser against closed forms: areas, ray-plane intersections, visibility order, coverage sums."""

import numpy as np
import pytest
import trimesh

from recon.scene import Camera
from recon.synth.render import zbuffer


def camera(focal: float = 100.0, size: int = 64) -> Camera:
    """At the origin, looking along +z."""
    return Camera(np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1.0]]), np.eye(4), size, size)


def quad(x0: float, x1: float, y0: float, y1: float, z: float) -> tuple[np.ndarray, np.ndarray]:
    vertices = np.array([[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]], float)
    return vertices, np.array([[0, 1, 2], [0, 2, 3]])


def test_a_square_covers_exactly_its_pixels():
    # 100 px focal length at 200 mm: 20 mm are 10 pixels. Columns 32..41, rows 32..41.
    vertices, faces = quad(0, 20, 0, 20, 200.0)
    coverage = zbuffer.draw(vertices, faces, camera()).coverage()
    expected = np.zeros((64, 64))
    expected[32:42, 32:42] = 1.0
    np.testing.assert_array_equal(coverage, expected)


def test_partial_coverage_is_the_share_of_the_area():
    # Right edge at pixel 32 + 10/3: three whole columns and the first third of the fourth.
    vertices, faces = quad(0, 20 / 3, 0, 20, 200.0)
    coverage = zbuffer.draw(vertices, faces, camera()).coverage()
    np.testing.assert_allclose(coverage[36, 32:37], [1, 1, 1, 1 / 3, 0], atol=1e-6)


def test_the_nearer_surface_wins_in_any_order():
    near, faces = quad(-10, 10, -10, 10, 150.0)
    far, _ = quad(-30, 30, -30, 30, 300.0)
    for first, second, expected in ((near, far, {0, 1}), (far, near, {2, 3})):
        buffers = zbuffer.draw(np.concatenate([first, second]), np.concatenate([faces, faces + 4]), camera())
        nearness, primitive = buffers.centres()
        assert primitive[32, 32] in expected
        assert nearness[32, 32] == pytest.approx(1 / 150.0, rel=1e-6)
        assert nearness[32, 40] == pytest.approx(1 / 300.0, rel=1e-6)


def test_weights_are_perspective_correct():
    # A plane tilted in depth, z = 200 + x; attributes are the positions themselves.
    vertices, faces = quad(-60, 60, -60, 60, 0.0)
    vertices[:, 2] = 200.0 + vertices[:, 0]
    buffers = zbuffer.draw(vertices, faces, camera())
    fragments = buffers.resolve(np.zeros(2, np.int64))
    positions = zbuffer.interpolate(fragments, buffers.faces, vertices)
    whole = fragments.coverage == 1.0
    assert whole.sum() > 500
    # Ray through the pixel centre (u, v): direction ((u - 32) / 100, (v - 32) / 100, 1) meets z = 200 + x.
    column, row = fragments.pixel % 64 + 0.5, fragments.pixel // 64 + 0.5
    slope = (column - 32) / 100
    z = 200 / (1 - slope)
    expected = np.stack([slope * z, (row - 32) / 100 * z, z], axis=1)
    np.testing.assert_allclose(positions[whole], expected[whole], rtol=2e-5, atol=2e-3)


def test_fragments_of_one_surface_merge_and_coverages_sum():
    sphere = trimesh.creation.icosphere(subdivisions=4, radius=40.0)
    buffers = zbuffer.draw(sphere.vertices + np.array([0, 0, 200.0]), sphere.faces, camera())
    fragments = buffers.resolve(np.zeros(len(sphere.faces), np.int64), gap=0.05)
    total = np.bincount(fragments.pixel, fragments.coverage, minlength=64 * 64).reshape(64, 64)
    np.testing.assert_allclose(total, buffers.coverage(), atol=1e-6)
    # A pixel is 2 mm wide there: well inside the outline no pixel spans 5 % of the depth.
    row, column = np.mgrid[0:64, 0:64] + 0.5
    inside = np.hypot(row - 32, column - 32) < 15
    assert np.bincount(fragments.pixel, minlength=64 * 64).reshape(64, 64)[inside].max() == 1
    apart = buffers.resolve(np.full(len(sphere.faces), -1))
    assert len(apart) > len(fragments)


def test_a_sphere_covers_the_area_of_its_outline():
    # The outline of a sphere on the axis is a circle of radius f r / sqrt(d² - r²).
    sphere = trimesh.creation.icosphere(subdivisions=5, radius=40.0)
    coverage = zbuffer.draw(sphere.vertices + np.array([0, 0, 200.0]), sphere.faces, camera()).coverage()
    radius = 100 * 40 / np.sqrt(200**2 - 40**2)
    assert coverage.sum() == pytest.approx(np.pi * radius**2, rel=0.005)


def test_thin_curves_cover_their_width_on_average():
    # 40 parallel lines, 60 mm = 30 px long, 0.2 mm = 0.1 px wide: 3 px² each.
    y = np.linspace(-30, 30, 40)
    ends = [np.stack([np.full(40, x), y, np.full(40, 200.0)], axis=1) for x in (-30.0, 30.0)]
    vertices = np.stack(ends, axis=1).reshape(-1, 3)
    segments = np.arange(80).reshape(40, 2)
    buffers = zbuffer.draw(
        vertices, np.zeros((0, 3), int), camera(), segments=segments, segment_width_mm=np.full(40, 0.2)
    )
    assert buffers.coverage().sum() == pytest.approx(120.0, rel=0.08)
    fragments = buffers.resolve(np.full(40, -1))
    x = zbuffer.interpolate(fragments, buffers.segments, vertices, first=0)[:, 0]
    column = fragments.pixel % 64 + 0.5
    assert np.abs((column - 32) * 2.0 - x).max() < 2.0


def test_splat_of_ones_is_the_coverage():
    vertices, faces = quad(-7, 13, -9, 4, 200.0)
    buffers = zbuffer.draw(vertices, faces, camera())
    fragments = buffers.resolve(np.zeros(2, np.int64))
    image = zbuffer.splat(fragments, np.ones((len(fragments), 1), np.float32), 64, 64)
    np.testing.assert_allclose(image[..., 0], buffers.coverage(), atol=1e-6)


def test_behind_the_camera_is_not_drawn_and_even_sampling_is_refused():
    vertices, faces = quad(-10, 10, -10, 10, -150.0)
    assert zbuffer.draw(vertices, faces, camera()).coverage().max() == 0
    with pytest.raises(ValueError, match="odd"):
        zbuffer.draw(vertices, faces, camera(), samples=2)
