import numpy as np
import pytest

from recon.geometry.frames import LANDMARKS_MM, CanonicalFrame, similarity, transform
from recon.synth.datasets.samples import mean_landmarks
from recon.synth.model.head_model import H3DS_LANDMARKS
from tests.support.head_model import needs_model


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


def test_a_frame_takes_its_unit_ball_to_its_ball():
    frame = CanonicalFrame((1.0, -2.0, 3.0), 50.0)
    np.testing.assert_allclose(
        transform(frame.mm_from_unit, np.array([[0.0, 0, 0], [1, 0, 0]])), [[1, -2, 3], [51, -2, 3]]
    )


@needs_model
def test_the_table_of_landmarks_is_that_of_the_head_model():
    mean = mean_landmarks()
    assert set(H3DS_LANDMARKS) == set(LANDMARKS_MM)
    for name, index in H3DS_LANDMARKS.items():
        np.testing.assert_allclose(LANDMARKS_MM[name], mean[index], atol=1e-3)
