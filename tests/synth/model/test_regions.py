import numpy as np

from recon.synth.model.regions import _signed_polygon_distance


def test_polygon_distance_by_hand():
    square = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]])
    points = np.array([[1.0, 2.0], [2.0, 2.0], [6.0, 2.0], [7.0, 8.0]])
    assert np.allclose(_signed_polygon_distance(points, square), [1, 2, -2, -5])
