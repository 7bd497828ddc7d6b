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
