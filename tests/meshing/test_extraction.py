import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.errors import MeshError
from recon.meshing import extract, resolution_for, sdf_normals
from recon.meshing.lattice import unique_keys


def sphere(radius, centre=(0.0, 0.0, 0.0)):
    return lambda x: (x - x.new_tensor(centre)).norm(dim=1) - radius


def torus(x):
    return torch.hypot(torch.hypot(x[:, 0], x[:, 1]) - 0.5, x[:, 2]) - 0.2


def edge_use(mesh):
    edges = np.sort(np.asarray(mesh.edges), axis=1)
    return np.unique(edges, axis=0, return_counts=True)[1]


def test_sphere_is_closed_outward_and_second_order_accurate():
    errors = []
    for resolution in (32, 64, 128):
        mesh = extract(sphere(0.6), resolution=resolution)
        assert mesh.is_watertight and mesh.is_winding_consistent
        assert mesh.volume > 0  # outward
        errors.append(np.abs(np.linalg.norm(mesh.vertices, axis=1) - 0.6).max())
    # the interpolation error on an edge is h²/8 times the curvature
    h = 2 / 128
    assert errors[2] < h**2 / 8 / 0.6 * 1.5
    assert errors[0] / errors[2] > 8


def test_volume_and_area_of_a_torus():
    mesh = extract(torus, resolution=200)
    assert mesh.volume == pytest.approx(2 * np.pi**2 * 0.5 * 0.2**2, rel=1e-3)
    assert mesh.area == pytest.approx(4 * np.pi**2 * 0.5 * 0.2, rel=1e-3)
    assert mesh.euler_number == 0


def test_a_box_keeps_its_planes():
    def box(x):
        q = x.abs() - x.new_tensor([0.3, 0.4, 0.5])
        return q.clamp(min=0).norm(dim=1) + q.max(dim=1).values.clamp(max=0)

    mesh = extract(box, resolution=101)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(0.6 * 0.8 * 1.0, rel=2e-3)
    np.testing.assert_allclose(mesh.bounds, [[-0.3, -0.4, -0.5], [0.3, 0.4, 0.5]], atol=1e-6)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), resolution=st.integers(20, 48))
def test_rough_fields_give_manifold_closed_meshes(seed, resolution):
    # random Fourier sums have every ambiguous case, handles and specks
    generator = torch.Generator().manual_seed(seed)
    frequency = torch.randn(12, 3, generator=generator) * 6
    phase = torch.rand(12, generator=generator) * 6.28

    def rough(x):
        return (torch.sin(x @ frequency.T + phase).sum(dim=1)) * 0.03 + 0.02

    mesh = extract(rough, resolution=resolution, coarse=resolution * 2)
    assert set(edge_use(mesh)) <= {
        2,
        4,
    }  # 4 where two sheets touch in an edge of the lattice: never an odd number
    assert mesh.is_winding_consistent
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    assert np.linalg.norm(np.cross(b - a, c - a), axis=1).min() > 0


@pytest.mark.slow
def test_equals_the_full_cube():
    # the narrow band must leave out nothing that evaluating every lattice point would find
    mesh = extract(torus, resolution=96)
    full = extract(torus, resolution=96, coarse=10_000, lipschitz=100.0)
    np.testing.assert_array_equal(mesh.vertices, full.vertices)
    np.testing.assert_array_equal(np.sort(mesh.faces, axis=0), np.sort(full.faces, axis=0))


@pytest.mark.slow
def test_cost_stays_near_the_surface():
    mesh = extract(sphere(0.5), resolution=512)
    assert len(mesh.vertices) > 300_000
    assert mesh.metadata["evaluations"] < 3 * len(mesh.vertices)
    assert mesh.metadata["evaluations"] < 0.01 * 513**3


def test_a_small_separate_piece_is_found():
    speck = sphere(0.02, (0.31, -0.52, 0.43))
    mesh = extract(lambda x: torch.minimum(sphere(0.3)(x), speck(x)), resolution=256)
    assert np.linalg.norm(mesh.vertices - [0.31, -0.52, 0.43], axis=1).min() < 0.021


def test_a_thin_plate_that_interpolation_misses_is_followed():
    # 0.012 thick: no lattice point of the coarse levels is inside it
    def plate_and_ball(x):
        q = (x - x.new_tensor([0.4, 0.0, 0.0])).abs() - x.new_tensor([0.35, 0.3, 0.006])
        plate = q.clamp(min=0).norm(dim=1) + q.max(dim=1).values.clamp(max=0)
        return torch.minimum(plate, sphere(0.25)(x))

    mesh = extract(plate_and_ball, resolution=400)
    assert mesh.is_watertight
    assert mesh.bounds[1, 0] == pytest.approx(0.75, abs=0.006)


def test_distances_that_are_off_by_a_factor_still_give_the_surface():
    for factor in (0.3, 1.4):
        mesh = extract(lambda x, k=factor: k * sphere(0.5)(x), resolution=128)
        assert mesh.is_watertight
        assert mesh.volume == pytest.approx(4 / 3 * np.pi * 0.125, rel=1e-3)


def test_what_the_bound_cuts_is_closed_by_the_sphere():
    mesh = extract(lambda x: x[:, 2] - 0.3, resolution=128)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(np.pi * 1.3**2 * (3 - 1.3) / 3, rel=1e-3)  # a spherical cap
    assert np.linalg.norm(mesh.vertices, axis=1).max() < 1 + 1e-3
    half = extract(lambda x: x[:, 2], resolution=64, bound=0.5)
    assert half.volume == pytest.approx(2 / 3 * np.pi * 0.125, rel=4e-3)


def test_no_surface_is_an_error_that_says_what_the_values_mean():
    with pytest.raises(MeshError, match=r"between 0\.\d+ and .*nothing is inside"):
        extract(lambda x: x.norm(dim=1) + 0.1, resolution=32)
    with pytest.raises(MeshError, match="everything is inside"):
        extract(lambda x: x.norm(dim=1) - 3, resolution=32)


def test_bad_functions_are_errors():
    with pytest.raises(MeshError, match="not finite"):
        extract(lambda x: torch.where(x[:, 0] > 0.2, torch.nan, x.norm(dim=1) - 0.5), resolution=32)
    with pytest.raises(MeshError, match="one value per point"):
        extract(lambda x: x[:, :1], resolution=32)
    with pytest.raises(MeshError, match="resolution"):
        extract(sphere(0.5), resolution=1)


def test_chunks_do_not_change_the_mesh():
    calls = []

    def counted(x):
        calls.append(len(x))
        return sphere(0.5)(x)

    small = extract(counted, resolution=40, chunk=1000)
    assert max(calls) <= 1000
    np.testing.assert_allclose(small.vertices, extract(sphere(0.5), resolution=40).vertices, atol=1e-7)


def test_resolution_in_mm():
    scale_mat = np.diag([150.0, 150.0, 150.0, 1.0])
    assert resolution_for(1.0, scale_mat) == 300
    assert resolution_for(0.5, scale_mat, bound=0.8) == 480
    with pytest.raises(MeshError):
        resolution_for(0.0, scale_mat)


def test_normals_are_the_gradient():
    points = np.random.default_rng(0).normal(size=(50, 3))
    normals = sdf_normals(sphere(0.5), points, chunk=7)
    np.testing.assert_allclose(normals, points / np.linalg.norm(points, axis=1, keepdims=True), atol=1e-6)
    with pytest.raises(MeshError, match="no gradient"):
        sdf_normals(lambda x: x.detach().norm(dim=1), points)


def test_unique_keys_are_those_of_numpy():
    keys = np.random.default_rng(0).integers(0, 2**40, 3000)[np.random.default_rng(1).integers(0, 3000, 9000)]
    found = unique_keys(keys)
    for ours, theirs in zip(found, np.unique(keys, return_index=True, return_inverse=True), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert [len(each) for each in unique_keys(keys[:0])] == [0, 0, 0]
