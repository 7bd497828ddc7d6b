"""Cameras of portraits: from all sides, within their limits, with the head in the picture."""

import numpy as np

from recon.synth.portraits.backdrops import KINDS, draw_backdrop
from recon.synth.portraits.framing import FARTHEST_MM, NEAREST_MM, draw_framing, draw_yaw

AIM = np.array([0.0, 25.0, 0.0])


def test_heads_are_seen_from_all_sides_and_more_often_from_the_front():
    rng = np.random.default_rng(0)
    yaws = np.array([draw_yaw(rng) for _ in range(4000)])
    counts, _ = np.histogram(yaws, np.arange(-180, 181, 30))
    assert counts.min() > 80 and counts[5] + counts[6] > 3 * (counts[0] + counts[-1])
    assert abs(np.mean(np.sign(yaws))) < 0.05  # left as often as right


def test_cameras_stay_within_limits_and_look_at_the_head():
    rng = np.random.default_rng(1)
    for _ in range(300):
        view = draw_framing(rng, AIM, 256)
        pixel, _ = view.camera.project(AIM[None])
        assert np.all(np.abs(pixel[0] - 128) < 100)
        distance = np.linalg.norm(view.camera.centre - AIM)
        assert NEAREST_MM - 1e-6 <= distance <= FARTHEST_MM + 1e-6
        assert abs(view.pitch_deg) <= 35 and abs(view.roll_deg) <= 30 and 24 <= view.focal_mm <= 135
        away = view.camera.centre - AIM
        yaw = np.degrees(np.arctan2(away[0], away[2]))
        assert abs((yaw - view.yaw_deg + 180) % 360 - 180) < 1e-6
        rotation = view.camera.world_from_camera[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        # the photograph's own optical axis: within the film of 36 mm about it
        offset = (pixel[0] - view.camera.intrinsics[:2, 2]) / view.camera.intrinsics[0, 0] * view.focal_mm
        assert np.all(np.abs(offset) < 18.0)


def test_backgrounds_are_light_in_range_and_the_same_for_the_same_seed():
    person = (np.full((32, 32, 3), 0.5, np.float32), np.ones((32, 32), np.float32))
    pictures = [draw_backdrop(np.random.default_rng(seed), 64) for seed in range(30)]
    for picture in pictures:
        assert picture.shape == (64, 64, 3) and picture.dtype == np.float32
        assert picture.min() >= 0 and picture.max() <= 1 and picture.mean() > 0.003
    np.testing.assert_array_equal(pictures[3], draw_backdrop(np.random.default_rng(3), 64))
    means = [picture.mean() for picture in pictures]
    assert max(means) > 5 * min(means) and abs(sum(KINDS.values()) - 1) < 1e-9
    other = [draw_backdrop(np.random.default_rng(seed), 32, [person]) for seed in range(12)]
    alone = [draw_backdrop(np.random.default_rng(seed), 32) for seed in range(12)]
    assert any(not np.array_equal(a, b) for a, b in zip(other, alone, strict=True))
