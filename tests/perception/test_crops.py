import math

import numpy as np
import pytest

from recon.perception.crops import Crop, Pyramid
from recon.perception.mediapipe import paste
from tests.perception.conftest import drawn


def test_points_go_there_and_back():
    crop = Crop(100.0, 50.0, 80.0, 0.3, 192)
    points = np.random.default_rng(0).uniform(0, 192, (20, 2))
    assert crop.from_photograph(crop.to_photograph(points)) == pytest.approx(points)
    assert crop.to_photograph(np.array([96.0, 96.0])) == pytest.approx([100, 50])


def test_a_crop_of_the_whole_picture_is_the_picture_and_a_quarter_turn_turns_it():
    image = np.random.default_rng(0).random((64, 64, 3)).astype(np.float32)
    plain, turned = (
        Pyramid(image).crops([Crop(32.0, 32.0, 64.0, a, 64) for a in (0.0, math.pi / 2)], True).numpy()
    )
    assert np.abs(plain - image).max() < 1e-5
    assert np.abs(turned - np.rot90(image)).max() < 1e-4  # its x axis is the picture's y axis


def test_small_crops_do_not_alias():
    checks = (np.indices((256, 256)).sum(axis=0) % 2).astype(np.float32)[..., None]
    small = Pyramid(checks).crops([Crop(128.0, 128.0, 256.0, 0.0, 32)], True).numpy()
    assert small == pytest.approx(0.5, abs=0.01)


def test_what_is_pasted_lies_where_it_was_cut_out():
    image = drawn()[..., :1]
    crop = Crop(160.0, 150.0, 200.0, 0.4, 400)
    result = np.zeros(image.shape[:2], np.float32)
    paste(result, Pyramid(image).crops([crop], True)[0, ..., 0].numpy(), crop)
    assert result[0, 0] == 0
    assert np.abs(result - image[..., 0])[110:190, 120:200].mean() < 0.01
