"""Photographs as calibration takes them."""

from pathlib import Path

import numpy as np

from recon.calibration.observing import (
    ObservedPhotograph,
    PhotographNetworks,
    guided,
    observe_photograph,
    window_about,
    within,
)
from recon.perception.networks import Face, FaceLandmarks
from recon.perception.photograph import Photograph


class Stub:
    """Networks of which two faces are known."""

    def __init__(self, count=2):
        self.count = count

    def detect(self, photograph):
        return [Face(np.array([10.0, 10, 50 - k, 50 - k]), np.zeros((6, 2)), 0.9) for k in range(self.count)]

    def landmarks(self, photograph, face):
        return landmarks(score=face.box[2] / 50)

    def mask(self, photograph, face):
        return (photograph.image[..., 0] > 0.5).astype(np.float32)


def landmarks(score=1.0):
    points = np.array([[20.0, 30.0], [40.0, 30.0]])
    return FaceLandmarks(points, np.zeros(2), score, np.array([1.0, 2.0]), 0.0, 1.0)


def picture(width=80, height=60):
    image = np.zeros((height, width, 3), np.float32)
    image[15:, 20:60] = 0.9
    return image


def networks(count=2):
    return PhotographNetworks(Stub(count), Stub(count), Stub(count))


def test_a_photograph_is_looked_at():
    photograph = Photograph(picture(), Path("one.jpg"), focal_px=100.0, focal_source="EXIF")
    seen = observe_photograph(photograph, networks())
    assert seen.name == "one.jpg" and seen.size == (80, 60)
    assert seen.landmarks.score == 1.0 and seen.focal_px == 100.0 and seen.focal_source == "EXIF"
    assert (seen.mask == (photograph.image[..., 0] > 0.5)).mean() > 0.97
    second = observe_photograph(photograph, networks(), person=2, focal_px=70.0, mask=np.ones((60, 80), bool))
    assert second.landmarks.score < 1.0 and second.focal_px == 70.0 and second.focal_source == "given"
    assert second.mask.all()


def test_a_photograph_without_a_face_has_no_landmarks():
    seen = observe_photograph(Photograph(picture(), Path("back.jpg")), networks(0))
    assert seen.face is None and seen.landmarks is None and seen.mask.any()


def test_the_guided_filter_moves_soft_borders_to_those_of_the_photograph():
    image = picture()
    coarse = np.zeros((60, 80), np.float32)
    coarse[13:, 17:63] = 1.0  # too large by 2 to 3 pixels
    mask = guided(image, coarse, 4.0) > 0.5
    assert (mask != (image[..., 0] > 0.5)).sum() < (coarse.astype(bool) != (image[..., 0] > 0.5)).sum() / 2


def test_windows_carry_everything_along():
    seen = ObservedPhotograph("a", picture(), picture()[..., 0] > 0.5, None, landmarks(), 100.0)
    window = window_about(np.array([[10.4, 9.7], [70.2, 200.0]]), 80, 60, 30)
    assert (window.left, window.top, window.width, window.height) == (10, 9, 61, 51)
    assert max(window.out) == 30
    part = within(seen, window)
    scale = 30 / 61
    assert part.size == window.out and part.mask.shape == part.image.shape[:2]
    np.testing.assert_allclose(part.landmarks.points[0][0], (20 - 10) * scale)
    np.testing.assert_allclose(part.landmarks.sigma_px, [scale, 2 * scale])
    assert part.focal_px == 100.0 * scale
    assert part.mask[-1, part.size[0] // 2] and not part.mask[0].any()


def test_windows_are_never_enlarged_and_stay_inside():
    window = window_about(np.array([[-50.0, -50], [500, 500]]), 80, 60, 1024)
    assert (window.left, window.top, window.out) == (0, 0, (80, 60))
    np.testing.assert_allclose(window.matrix, np.eye(3))
