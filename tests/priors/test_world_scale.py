"""The size of a head in its world, with searches that know it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recon.fitting import InitialHead, life_size
from recon.priors import SceneObservations
from recon.priors.world_scale import found_life_size, start_scale
from tests.support.fit_shape_models import UNIT_MM, camera

HEAD = np.diag([1 / 310.0, 1 / 310.0, 1 / 310.0, 1.0])
"""Pose of a head that is a little smaller than life-size, in millimetres."""


def observations(views=3, radius_px=70):
    """Masks of a ball of about 165 mm, as heads with shoulders are large, in a world of millimetres."""
    rows, columns = np.mgrid[:160, :160]
    ball = np.hypot(rows - 80, columns - 80) < radius_px
    return SceneObservations(
        [camera(azimuth, np.zeros(3)) for azimuth in (-50, 10, 70)[:views]],
        [ball] * views,
        np.diag([300.0, 300.0, 300.0, 1.0]),
    )


def search_in(given, asked):
    """Finds the head wherever it is, in observations that are scaled as its cameras are."""

    def search(scaled):
        asked.append(scaled)
        factor = np.linalg.norm(scaled.cameras[0].centre) / np.linalg.norm(given.cameras[0].centre)
        return InitialHead(HEAD @ np.diag([1 / factor] * 3 + [1.0]), torch.zeros(2), np.array([0.0, -1, 0]))

    return search


@pytest.mark.parametrize("unit", [1.0, 0.001, 37.0])
def test_the_head_of_several_photographs_is_life_size_whatever_the_unit_of_the_world(unit):
    given = observations()
    found, factor = found_life_size(given.scaled(unit), UNIT_MM, search_in(given, []))
    assert life_size(found.canonical_from_world, UNIT_MM) == pytest.approx(1.0)
    assert factor * unit == pytest.approx(UNIT_MM / 310.0)
    # the same head: the place where its middle is does not move with the scale
    np.testing.assert_allclose(np.linalg.inv(found.canonical_from_world)[:3, 3], 0, atol=1e-9)


def test_a_size_that_masks_did_not_tell_is_searched_for_again():
    given, asked = observations(radius_px=40), []  # a small mask: nothing but a face
    found, _ = found_life_size(given, UNIT_MM, search_in(given, asked))
    assert len(asked) == 2 and asked[1].canonical_from_world is None  # every heading again, at the right size
    assert life_size(found.canonical_from_world, UNIT_MM) == pytest.approx(1.0)


@pytest.mark.parametrize(("unit", "expected"), [(1.0, 1.0), (0.001, 1000.0), (0.1, 10.0)])
def test_one_photograph_takes_the_size_from_a_unit_of_length(unit, expected):
    assert start_scale(observations(views=1).scaled(unit), UNIT_MM) == pytest.approx(expected)


def test_one_photograph_in_an_arbitrary_unit_shows_a_head_as_large_as_its_mask():
    millimetres = start_scale(observations(views=1).scaled(37.0), UNIT_MM) * 37.0
    assert millimetres == pytest.approx(1.0, rel=0.15)


def test_a_given_pose_says_the_size():
    given = replace(observations(views=1), canonical_from_world=HEAD).scaled(0.02)
    assert start_scale(given, UNIT_MM) == pytest.approx(UNIT_MM / 310.0 / 0.02)
