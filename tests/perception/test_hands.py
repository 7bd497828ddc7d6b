import numpy as np
import pytest

from recon.perception.hands import Hand, MediaPipeHandSegmenter, covered, is_face, palm_anchors
from recon.perception.networks import AVERAGE_POINTS_MM, Face
from recon.perception.observation import Perception
from recon.perception.stand_in import BackdropSegmenter, GridLandmarker, SkinColourDetector
from tests.perception.conftest import drawn

OPEN_HAND = np.array(
    [[0, 0]]
    + [[-30 - 8 * k, -30 - 18 * k] for k in range(4)]
    + [[x, -95 - 25 * k] for x in (-30, -10, 10, 30) for k in range(4)],
    float,
)
"""Wrist, then four points of each finger; mm, fingers up."""


def test_a_hand_covers_its_fingers_and_wrist_and_not_what_is_between_or_beside():
    pixels = covered([Hand(OPEN_HAND + np.array([200, 300]), 1.0)], 400, 400)
    for x, y in OPEN_HAND + np.array([200, 300]):
        assert pixels[int(y), int(x)]
    assert pixels[260, 200] and pixels[355, 200]  # palm, forearm
    assert not pixels[:100].any() and not pixels[:, :100].any() and not pixels[:, 300:].any()
    assert 0.1 < pixels.mean() < 0.2


def test_anchors_of_palms_are_at_the_middles_of_two_grids():
    places = palm_anchors()
    assert places.shape == (2016, 2)
    np.testing.assert_array_equal(places[[0, 1, 2, 1152, 1158]], [[4, 4], [4, 4], [12, 4], [8, 8], [24, 8]])


def test_what_covers_an_eye_and_the_mouth_is_the_face_and_a_hand_at_the_chin_is_not():
    face = Face(np.array([125, 90, 275, 240.0]), AVERAGE_POINTS_MM[:, :2] + [200, 170], 1.0)
    chin = Hand(OPEN_HAND + np.array([200, 340]), 1.0)  # fingers up to the mouth
    assert covered([chin], 400, 400)[240, 190] and not is_face(chin, face, 400, 400)
    assert is_face(Hand(OPEN_HAND + np.array([200, 270]), 1.0), face, 400, 400)


class Bar:
    """Hands that lie over a part of every picture."""

    def hands(self, photograph, face):
        pixels = np.zeros(photograph.image.shape[:2], bool)
        pixels[160:180, 140:180] = True
        return pixels


def test_hands_are_ignored_and_said_and_the_mask_stays(photograph_of, stand_in):
    photograph = photograph_of(drawn())
    with_hands = Perception(SkinColourDetector(), GridLandmarker(), BackdropSegmenter(), Bar())
    seen, other = with_hands.see(photograph), stand_in.see(photograph)
    np.testing.assert_array_equal(seen.mask.mask, other.mask.mask)
    assert seen.mask.ignore[160:180, 140:180].all() and not other.mask.ignore[160:180, 140:180].any()
    assert "hand" in [warning.kind for warning in seen.warnings]
    assert "hand" not in [warning.kind for warning in other.warnings]


def test_the_networks_find_no_hand_where_there_is_none(networks, photograph_of):
    face = Face(np.array([100, 90, 220, 210.0]), AVERAGE_POINTS_MM[:, :2] * 0.8 + [160, 150], 1.0)
    assert not MediaPipeHandSegmenter().hands(photograph_of(drawn()), face).any()


@pytest.mark.parametrize("turn", [0, 2])
def test_the_networks_find_a_drawn_hand_however_it_is_turned(networks, photograph_of, turn):
    """Fingers and palm as shaded capsules, which the networks take for a hand."""
    y, x = np.mgrid[:480, :480] + 0.5
    depth = np.zeros((480, 480))
    hand = OPEN_HAND + np.array([240, 330])
    bones = [(hand[4 * f + k], hand[4 * f + k + 1], 11.0) for f in range(5) for k in range(1, 4)]
    bones += [(hand[0], hand[4 * f + 1], 20.0) for f in range(5)] + [(hand[0], hand[0] + [0, 200], 30.0)]
    for start, end, radius in bones:
        d = end - start
        along = np.clip(((x - start[0]) * d[0] + (y - start[1]) * d[1]) / (d @ d), 0, 1)
        distance = np.hypot(x - start[0] - along * d[0], y - start[1] - along * d[1])
        depth = np.maximum(depth, np.sqrt(np.clip(1 - (distance / radius) ** 2, 0, 1)))
    shade = (np.array([0.85, 0.62, 0.5]) * (0.5 + 0.5 * depth[..., None])).astype(np.float32)
    picture = np.where(depth[..., None] > 0, shade, np.float32(0.35))
    truth = depth > 0
    picture, truth = np.rot90(picture, turn).copy(), np.rot90(truth, turn)
    beside = AVERAGE_POINTS_MM[:, :2] * 0.3 + [40, 40]  # it hides nothing of the face
    face = Face(np.array([150, 100, 330, 280.0]), beside, 1.0)
    found = MediaPipeHandSegmenter().hands(photograph_of(picture), face)
    above_wrist = truth & np.rot90(y < 330, turn)
    assert (found & above_wrist).sum() > 0.75 * above_wrist.sum()
    assert (found & ~truth).sum() < 0.5 * truth.sum()
