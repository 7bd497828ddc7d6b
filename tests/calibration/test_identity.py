"""Photographs of one person and of several, by landmarks made of heads of a few components."""

import numpy as np
import pytest

from recon.calibration.bundle import BundleSettings, bundle_adjust
from recon.calibration.identity import other_persons
from tests.support.landmark_views import landmark_model, pose_from, view_of

SETTINGS = BundleSettings(count=40.0)
ONE, ANOTHER = np.array([1.0, -1.0, 0.5]), np.array([-1.5, 1.5, -1.0])


@pytest.fixture
def model():
    return landmark_model()


def found(model, codes, noise=1.0):
    rng = np.random.default_rng(1)
    yaws = np.linspace(-30, 30, len(codes))
    views = [
        view_of(model, pose_from(yaw), code, noise=noise, rng=rng)
        for yaw, code in zip(yaws, codes, strict=True)
    ]
    return other_persons(model, views, bundle_adjust(model, views, SETTINGS), SETTINGS)


def test_one_person_is_one(model):
    assert found(model, [ONE] * 4) == [] and found(model, [ONE] * 2, noise=2.0) == []
    assert found(model, [ONE]) == []


def test_the_one_who_is_another_is_named(model):
    assert found(model, [ONE, ONE, ANOTHER, ONE]) == [2]


def test_two_of_two_cannot_be_told_apart_but_differ(model):
    assert len(found(model, [ONE, ANOTHER])) == 1
