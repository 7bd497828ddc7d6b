import numpy as np
import pytest
import trimesh

from recon.meshing.halfedges import genus, pieces, twins, used_only


def test_twins_run_the_other_way():
    mesh = trimesh.creation.icosphere(subdivisions=1)
    faces = np.asarray(mesh.faces, np.int64)
    found = twins(faces, len(mesh.vertices))
    start, end = faces.reshape(-1), faces[:, [1, 2, 0]].reshape(-1)
    assert (found >= 0).all()
    np.testing.assert_array_equal(start[found], end)
    np.testing.assert_array_equal(end[found], start)


@pytest.mark.parametrize(
    ("faces", "expected"),
    [
        ([[0, 1, 2]], [-1, -1, -1]),
        ([[0, 1, 2], [2, 1, 3]], [-1, 3, -1, 1, -1, -1]),
        ([[0, 1, 2], [0, 1, 3]], [-1] * 6),  # wound against each other
        ([[0, 1, 2], [1, 0, 3], [1, 0, 4]], [-1] * 9),  # three at one edge
    ],
)
def test_edges_without_exactly_one_face_on_either_side_have_no_twins(faces, expected):
    np.testing.assert_array_equal(twins(np.array(faces), 5), expected)


def test_pieces_and_genus():
    ring = trimesh.creation.torus(2, 0.5, major_sections=12, minor_sections=6)
    ball = trimesh.creation.icosphere(subdivisions=1)
    faces = np.concatenate([ring.faces, ball.faces + len(ring.vertices) + 3])  # three vertices unused
    count = len(ring.vertices) + 3 + len(ball.vertices)
    number, label = pieces(faces.astype(np.int64), count)
    assert number == 2 and genus(faces, count) == 1
    assert set(label[: len(ring.vertices)]) == {0} and set(label[-len(ball.vertices) :]) == {1}
    assert set(label[len(ring.vertices) : len(ring.vertices) + 3]) == {-1}
    vertices, kept = used_only(np.arange(count)[:, None], faces)
    assert len(vertices) == count - 3
    np.testing.assert_array_equal(vertices[kept, 0], faces)
