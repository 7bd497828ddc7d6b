"""The vertices of the mesh of a run: how many, and where."""

import numpy as np
import pytest
import trimesh

from recon.geometry.frames import LANDMARKS_MM, in_face_or_ears, transform
from recon.geometry.signed_distance import MeshDistance
from recon.systems.report.surface_mesh import canonical_frame, simplified

WORLD_FROM_CANONICAL = np.array([[0, 0, 1.1, 30], [0, 1.1, 0, -20], [-1.1, 0, 0, 5], [0, 0, 0, 1.0]])


def head():
    """An ellipsoid through the tip of the nose and the ears, posed in the world."""
    mesh = trimesh.creation.icosphere(subdivisions=6)
    canonical = mesh.vertices * [80.0, 130.0, 130.0]
    return trimesh.Trimesh(transform(WORLD_FROM_CANONICAL, canonical), mesh.faces, process=False)


def detailed_vertices(mesh):
    return in_face_or_ears(transform(np.linalg.inv(WORLD_FROM_CANONICAL), mesh.vertices))


def landmarks():
    return {name: transform(WORLD_FROM_CANONICAL, np.array(place)) for name, place in LANDMARKS_MM.items()}


def test_the_pose_comes_from_the_six_landmarks():
    np.testing.assert_allclose(canonical_frame(landmarks()), WORLD_FROM_CANONICAL, atol=1e-9)
    more = landmarks() | {"landmark_00": np.zeros(3)}
    np.testing.assert_allclose(canonical_frame(more), WORLD_FROM_CANONICAL, atol=1e-9)
    assert canonical_frame({}) is None
    assert canonical_frame({name: place for name, place in landmarks().items() if name != "nose_tip"}) is None


@pytest.mark.slow
def test_face_and_ears_keep_their_vertices():
    mesh = head()
    small = simplified(mesh, 25_000, WORLD_FROM_CANONICAL)
    assert len(small.vertices) == 25_000 and small.is_watertight
    detailed = detailed_vertices(mesh)
    canonical = transform(np.linalg.inv(WORLD_FROM_CANONICAL), mesh.vertices)
    assert detailed[canonical[:, 2] > 125].all() and not detailed[canonical[:, 2] < -80].any()
    for ear in ((76, 16, 0), (-76, 16, 0)):
        assert detailed[np.linalg.norm(canonical - ear, axis=1) < 40].all()
    kept = {tuple(v) for v in small.vertices}
    assert all(tuple(v) in kept for v in mesh.vertices[detailed])
    assert np.abs(MeshDistance(small.vertices, small.faces)(mesh.vertices)).mean() < 0.02


@pytest.mark.slow
def test_a_limit_below_what_face_and_ears_have_holds_too():
    mesh = head()
    inside = int(detailed_vertices(mesh).sum())
    limit = inside // 2
    small = simplified(mesh, limit, WORLD_FROM_CANONICAL)
    assert len(small.vertices) == limit and small.is_watertight
    share = detailed_vertices(small).mean()
    assert inside / len(mesh.vertices) < share < 0.95  # finer than the rest, which is not given up


@pytest.mark.slow
def test_without_a_pose_all_is_simplified_alike():
    mesh = head()
    small = simplified(mesh, 10_000, None)
    assert len(small.vertices) == 10_000 and small.is_watertight
    before, after = (detailed_vertices(each).mean() for each in (mesh, small))
    assert abs(after - before) < 0.1
