"""Photographs as calibration takes them."""

from pathlib import Path

import numpy as np

from recon.calibration.observing import ObservedPhotograph, Window, window_about, within
from recon.perception import FaceLandmarks, PersonMask, PhotographObservation, PhotographWarning
from recon.perception.photograph import Photograph


def landmarks(score=1.0):
    points = np.array([[20.0, 30.0], [40.0, 30.0]])
    return FaceLandmarks(points, np.zeros(2), score, np.array([1.0, 2.0]), 0.0, 1.0)


def picture(width=80, height=60):
    image = np.zeros((height, width, 3), np.float32)
    image[15:, 20:60] = 0.9
    return image


def observation(focal_px=100.0):
    photograph = Photograph(picture(), Path("one.jpg"), focal_px=focal_px, focal_source="EXIF")
    mask = picture()[..., 0] > 0.5
    person = PersonMask(mask, ~mask, mask.astype(np.float32), "network")
    return PhotographObservation(
        photograph, None, landmarks(), person, warnings=(PhotographWarning("blurred", "one.jpg: blurred"),)
    )


def test_what_perception_sees_is_taken_over():
    seen = ObservedPhotograph.from_observation(observation())
    assert seen.name == "one.jpg" and seen.size == (80, 60) and seen.warnings == ("one.jpg: blurred",)
    assert seen.focal_px == 100.0 and seen.focal_source == "EXIF"
    assert seen.mask[30, 40] and not seen.ignored[30, 40] and seen.ignored[0, 0]


def test_a_given_focal_length_is_that_of_film_by_the_diagonal():
    seen = ObservedPhotograph.from_observation(observation(), focal_mm=np.hypot(36, 24) / 2)
    assert seen.focal_px == 50.0 and seen.focal_source == "given"


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


def test_a_window_of_a_part_is_told_in_shares_of_the_file():
    photograph = Photograph(
        picture(), Path("one.jpg"), focal_px=100.0, original_size=(160, 240), part=(0.5, 0.25, 1.0, 0.5)
    )
    mask = picture()[..., 0] > 0.5
    person = PersonMask(mask, ~mask, mask.astype(np.float32), "network")
    seen = ObservedPhotograph.from_observation(PhotographObservation(photograph, None, landmarks(), person))
    assert seen.principal_point == (0.0, 60.0)
    window = Window(20, 15, 40, 30, (20, 15))
    assert seen.shares(window) == (0.625, 0.3125, 0.875, 0.4375)
    assert within(seen, window).part == seen.shares(window)
    film = ObservedPhotograph.from_observation(
        PhotographObservation(photograph, None, landmarks(), person), focal_mm=np.hypot(36, 24)
    )
    assert film.focal_px == np.hypot(160, 240)  # a millimetre of film is the same in the part as in the whole
