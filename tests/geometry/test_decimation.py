import numpy as np
import pytest
import trimesh

from recon.errors import MeshError
from recon.geometry.decimation import decimate
from recon.geometry.signed_distance import MeshDistance
from tests.support.head_model import ball


@pytest.mark.slow
def test_simplified_ball_stays_a_ball():
    mesh = trimesh.Trimesh(*ball(50, level=5), process=False)
    small = decimate(mesh, 600)
    assert len(small.vertices) == 600 and small.is_watertight and small.euler_number == 2
    assert small.volume == pytest.approx(mesh.volume, rel=0.01)
    assert (
        np.abs(MeshDistance(np.asarray(small.vertices), np.asarray(small.faces))(mesh.vertices)).max() < 0.6
    )


def test_simplified_box_keeps_its_corners():
    # a finely cut box: flat sides cost nothing, so eight corners can carry it all
    mesh = trimesh.creation.box(extents=[20, 10, 6]).subdivide().subdivide().subdivide()
    small = decimate(trimesh.Trimesh(mesh.vertices, mesh.faces, process=False), 8)
    assert small.is_watertight
    assert small.volume == pytest.approx(1200, rel=0.02)
    assert np.allclose(np.abs(small.vertices).max(axis=0), [10, 5, 3], atol=0.1)


def test_open_meshes_are_not_simplified():
    with pytest.raises(MeshError, match="open edges"):
        decimate(trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], process=False), 4)


def test_fixed_vertices_stay_and_the_rest_is_simplified():
    mesh = trimesh.Trimesh(*ball(50, level=4), process=False)
    fixed = mesh.vertices[:, 2] > 20
    small = decimate(mesh, 1200, fixed=fixed)
    assert small.is_watertight and len(small.vertices) == 1200
    kept = {tuple(v) for v in small.vertices}
    assert all(tuple(v) in kept for v in mesh.vertices[fixed])
    with_ends = fixed[mesh.faces].all(axis=1)
    assert (small.vertices[small.faces][:, :, 2] > 20).all(axis=1).sum() >= with_ends.sum()
    few = decimate(mesh, 4, fixed=fixed)
    assert few.is_watertight and len(few.vertices) >= fixed.sum()


def test_even_simplification_keeps_vertices_in_flat_places():
    mesh = trimesh.Trimesh(*ball(50, level=4), process=False)
    mesh.vertices[:, 2] = mesh.vertices[:, 2].clip(-10)  # a large flat place
    few, more = (decimate(mesh, 800, evenness=evenness) for evenness in (0.0, 1.0))
    flat_few, flat_more = ((each.vertices[:, 2] < -9.999).sum() for each in (few, more))
    assert flat_more > 2 * flat_few
    assert few.is_watertight and more.is_watertight
