"""Which photographs can be placed, which share a focal length, and why others cannot."""

import numpy as np
import pytest

from recon.calibration import BundleSettings, LandmarkModel, ObservedPhotograph
from recon.calibration.placing import focal_groups, placed_by_landmarks
from recon.errors import SceneError
from recon.perception import Face


def photograph(name="a.jpg", width=60, height=80, **what):
    image = np.zeros((height, width, 3), np.float32)
    return ObservedPhotograph(name, image, image[..., 0] > 0.5, **what)


def test_photographs_of_one_size_share_a_focal_length_that_nothing_tells():
    wide = {"width": 80, "height": 60}
    seen = [photograph(), photograph(**wide), photograph(focal_px=70.0), photograph(), photograph(**wide)]
    assert focal_groups(seen) == [0, 1, None, 0, 1]
    assert focal_groups(seen, shared=False) == [0, 1, None, 2, 3]


def test_a_face_without_landmarks_is_not_said_to_be_missing():
    face = Face(np.array([10.0, 10, 40, 40]), np.zeros((6, 2)), 0.9)
    model = LandmarkModel(np.eye(3), np.zeros((3, 3, 1)), np.zeros((3, 2, 5)), np.ones((3, 11)), np.arange(3))
    seen = [photograph("side.jpg", face=face), photograph("back.jpg")]
    with pytest.raises(
        SceneError, match=r"side\.jpg: its face.*has no landmarks; back\.jpg: no face was found"
    ):
        placed_by_landmarks(seen, model, BundleSettings())
