import numpy as np
import pytest

from recon.synth.datasets.displacements import Lattice, fitted_displacements, without_similarity

BOX = {"low": (-1.0, -1.0, -1.0), "high": (1.0, 1.0, 1.0), "cells": (10, 10, 10)}


def points_of(count=400, reach=0.6):
    return np.random.default_rng(0).uniform(-reach, reach, (count, 3))


def values_at(lattice, values, points):
    return lattice.at(points) @ values[lattice.free]


def test_smooth_displacements_are_met_at_the_points_and_continue_between_and_beyond_them():
    points, lattice = points_of(), Lattice(**BOX)
    slope = np.random.default_rng(1).normal(size=(3, 6))
    values = fitted_displacements(lattice, points, points @ slope, 0.05)
    np.testing.assert_allclose(values_at(lattice, values, points), points @ slope, atol=0.03)
    others = np.random.default_rng(3).uniform(-0.8, 0.8, (50, 3))
    np.testing.assert_allclose(values_at(lattice, values, others), others @ slope, atol=0.15)


def test_a_closed_lattice_ends_in_zeros():
    points, lattice = points_of(reach=0.2), Lattice(**BOX, closed=True)
    values = fitted_displacements(lattice, points, np.full((len(points), 3), 0.1), 0.05)
    inner = values_at(lattice, values, points)
    np.testing.assert_allclose(inner, 0.1, atol=0.02)
    grid = values.reshape(*lattice.grid.shape, 3)
    for axis in range(3):
        assert not np.moveaxis(grid, axis, 0)[[0, 1, 2, -3, -2, -1]].any()


def test_many_points_in_one_place_count_as_one():
    lattice = Lattice(**BOX)
    points = np.concatenate([np.full((500, 3), 0.01), [[0.011, 0.011, 0.012]]])
    wanted = np.concatenate([np.zeros((500, 1)), [[1.0]]])
    apart = np.concatenate([points, [[0.5, 0.5, 0.5]]])
    values = fitted_displacements(lattice, apart, np.concatenate([wanted, [[1.0]]]), 0.1)
    assert values_at(lattice, values, apart[-1:])[0, 0] == pytest.approx(1.0, abs=0.1)
    assert values_at(lattice, values, apart[:1])[0, 0] < 0.2


def test_similarities_of_landmarks_are_taken_out_and_the_rest_stays():
    points = points_of(60)
    landmarks = np.arange(20)
    arm = points - points[landmarks].mean(axis=0)
    similarity = 0.3 * arm + np.cross([0.1, -0.2, 0.4], arm) + [1.0, 2.0, 3.0]
    away = np.zeros_like(points)
    away[40:] = np.random.default_rng(2).normal(size=(20, 3))  # of points that are no landmarks
    modes = np.stack([similarity, similarity + away], axis=1)
    found = without_similarity(modes, points, landmarks)
    np.testing.assert_allclose(found[:, 0], 0, atol=1e-12)
    np.testing.assert_allclose(found[:, 1], away, atol=1e-12)
