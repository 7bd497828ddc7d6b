import numpy as np
import pytest
import trimesh

from recon.errors import MeshError
from recon.meshing import clean, to_world


def ball(radius, centre=(0.0, 0.0, 0.0)):
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=radius)
    return trimesh.Trimesh(mesh.vertices + np.array(centre), mesh.faces, process=False)


def joined(*meshes):
    offsets = np.cumsum([0] + [len(m.vertices) for m in meshes])
    faces = [m.faces + o for m, o in zip(meshes, offsets, strict=False)]
    return trimesh.Trimesh(np.concatenate([m.vertices for m in meshes]), np.concatenate(faces), process=False)


def test_largest_by_area_not_by_vertices():
    fine = trimesh.creation.icosphere(subdivisions=4, radius=0.1)
    mesh = clean(joined(fine, ball(1.0, (5, 0, 0))))
    assert len(mesh.vertices) == 162
    np.testing.assert_allclose(mesh.centroid, [5, 0, 0], atol=1e-6)
    assert len(clean(joined(fine, ball(1.0)), largest_only=False).vertices) == len(fine.vertices) + 162


def test_collapsed_edges_are_joined_and_the_surface_stays_closed():
    whole = ball(1.0)
    # vertices 3 and 4 coincide: two of the six faces have no area, and close the gap between the others
    tetra = trimesh.Trimesh(
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]],
        [[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 4, 3], [2, 0, 4], [0, 3, 4]],
        process=False,
    )
    mesh = clean(joined(whole, tetra), largest_only=False)
    assert len(mesh.faces) == len(whole.faces) + 4
    assert len(mesh.vertices) == len(whole.vertices) + 4
    assert mesh.is_watertight


def test_nothing_left_is_an_error():
    with pytest.raises(MeshError, match="no face"):
        clean(trimesh.Trimesh(np.zeros((3, 3)), [[0, 1, 2]], process=False))


def test_to_world():
    scale_mat = np.diag([120.0, 120.0, 120.0, 1.0])
    scale_mat[:3, 3] = [1, 2, 3]
    mesh = to_world(ball(1.0), scale_mat)
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices - [1, 2, 3], axis=1), 120)
    assert mesh.volume > 0
    for bad in (np.diag([1.0, 1.0, -1.0, 1.0]), np.diag([1.0, 2.0, 1.0, 1.0]), np.zeros((4, 4))):
        with pytest.raises(MeshError, match="scale_mat"):
            to_world(ball(1.0), bad)
