import numpy as np
import torch

from recon.fields import FeatureGrid
from recon.priors.data.components import closeness, principal_components, spline_values

RNG = np.random.default_rng(0)


def test_components_are_those_of_a_singular_value_decomposition():
    distances = RNG.normal(size=(12, 300)) * RNG.uniform(0.1, 3, size=300)
    weights = RNG.uniform(0.1, 1, size=300)
    found = principal_components(distances, weights, 6, block=70)
    centred = (distances - distances.mean(0)) * np.sqrt(weights)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(found.mean, distances.mean(0), atol=1e-5)
    np.testing.assert_allclose(found.explained, s[:6] ** 2 / (s**2).sum(), rtol=1e-4)
    np.testing.assert_allclose(np.abs(found.codes.T @ u[:, :6]) / 12**0.5, np.eye(6), atol=1e-3)


def test_codes_have_mean_zero_and_unit_variance():
    codes = principal_components(RNG.normal(size=(20, 100)), np.ones(100), 5).codes
    np.testing.assert_allclose(codes.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(np.cov(codes.T, bias=True), np.eye(5), atol=1e-4)


def test_no_more_components_than_heads_have():
    assert principal_components(RNG.normal(size=(4, 50)), np.ones(50), 10).codes.shape == (4, 3)


def test_closeness_counts_heads_near_by():
    distances = np.array([[0.0, 8.0, 80.0], [0.0, 0.0, 80.0]], np.float16)
    np.testing.assert_allclose(closeness(distances, 8.0, block=2), [1, (1 + np.exp(-1)) / 2, 0], atol=1e-6)


def test_spline_values_are_met_at_the_centres_of_cells():
    centres = RNG.normal(size=(5, 6, 7))
    grid = FeatureGrid((0.0, 0.0, 0.0), (5.0, 6.0, 7.0), (5, 6, 7), 1)
    grid.values.data = torch.from_numpy(spline_values(centres)).reshape(-1, 1)
    at = np.stack(np.meshgrid(*[np.arange(n) + 0.5 for n in centres.shape], indexing="ij"), -1).reshape(-1, 3)
    found = grid(torch.from_numpy(at.astype(np.float32))).detach().numpy().reshape(centres.shape)
    np.testing.assert_allclose(found, centres, atol=1e-4)
