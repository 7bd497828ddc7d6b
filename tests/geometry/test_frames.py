import numpy as np
import pytest

from recon.geometry.frames import similarity


def test_similarity_is_recovered_exactly():
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    source = rng.normal(0, 50, (68, 3))
    matrix = similarity(source, 1.3 * source @ turn.T + [4.0, -5.0, 6.0])
    assert np.allclose(matrix[:3, :3], 1.3 * turn) and np.allclose(matrix[:3, 3], [4, -5, 6])


def test_similarity_never_mirrors():
    source = np.random.default_rng(0).normal(0, 50, (68, 3))
    assert np.linalg.det(similarity(source, source * [-1.0, 1.0, 1.0])[:3, :3]) > 0


def test_similarity_by_hand():
    source = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    target = 2 * source[:, [1, 2, 0]] + [1.0, 2.0, 3.0]
    matrix = similarity(source, target)
    assert np.allclose(source @ matrix[:3, :3].T + matrix[:3, 3], target)
    assert np.linalg.det(matrix[:3, :3]) == pytest.approx(8)


def test_points_that_coincide_place_nothing():
    with pytest.raises(ValueError, match="coincide"):
        similarity(np.ones((3, 3)), np.eye(3))
