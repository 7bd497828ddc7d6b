import numpy as np

from recon.synth.model.head_model import load_head_model
from recon.synth.model.regions import _signed_polygon_distance, ear_zone
from tests.support.head_model import needs_model


def test_polygon_distance_by_hand():
    square = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]])
    points = np.array([[1.0, 2.0], [2.0, 2.0], [6.0, 2.0], [7.0, 8.0]])
    assert np.allclose(_signed_polygon_distance(points, square), [1, 2, -2, -5])


@needs_model
def test_ears_are_both_auricles_and_no_cheek():
    canonical = load_head_model().refinement.canonical
    ears = ear_zone(canonical)
    left, right = ears & (canonical[:, 0] > 0), ears & (canonical[:, 0] < 0)
    assert abs(int(left.sum()) - int(right.sum())) < 0.01 * ears.sum()
    # what stands out furthest from either side is the helix, and an ear is about 60 mm high and 35 mm deep
    assert left[canonical[:, 0] > 85][np.abs(canonical[canonical[:, 0] > 85, 1] - 10) < 40].all()
    low, high = canonical[left].min(axis=0), canonical[left].max(axis=0)
    assert 50 < high[1] - low[1] < 65 and 30 < high[2] - low[2] < 42
    cheek = (canonical[:, 2] > 25) | (canonical[:, 1] < -25) | (canonical[:, 1] > 42)
    assert not (ears & cheek).any()


def test_skin_behind_the_ear_and_its_canal_are_no_ear():
    # helix, concha; mastoid behind, jaw below, end of the canal
    points = np.array([[90.0, 20, -10], [72, 5, 2], [69, 5, -14], [80, -40, 0], [65.0, 8, 12]])
    assert ear_zone(points).tolist() == [True, True, False, False, False]
    assert ear_zone(points * [-1, 1, 1]).tolist() == [True, True, False, False, False]
