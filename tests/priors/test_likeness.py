"""Brightness of faces learned from portraits whose light, skin and faults are known."""

import numpy as np
import torch

from recon.fitting.shading import harmonics
from recon.priors.likeness import fit_brightness

MARKS, PORTRAITS, NOISE = 240, 90, 0.02


def portraits():
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(MARKS, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    own = harmonics(torch.from_numpy(normals)).numpy()
    light = np.concatenate([own, np.full((MARKS, 1), 2.0)], axis=1)
    mean, components = rng.normal(size=MARKS) * 0.4, rng.normal(size=(MARKS, 2)) * [0.3, 0.15]
    codes = rng.normal(size=(PORTRAITS, 2))
    lit = rng.normal(size=(PORTRAITS, 10)) * 0.5 @ light.T
    values = mean + codes @ components.T + lit + rng.normal(size=(PORTRAITS, MARKS)) * NOISE
    visible = rng.uniform(size=values.shape) < 0.7
    values[~visible] = 9.0  # whatever a portrait has where it does not show the mark
    return light, mean, components, values, visible


def without(light: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values without what light could add."""
    return values - light @ np.linalg.lstsq(light, values, rcond=None)[0]


def test_mean_components_and_rest_come_back_whatever_the_light():
    light, mean, components, values, visible = portraits()
    found = fit_brightness(values, visible, np.broadcast_to(light, (PORTRAITS, *light.shape)), 2)
    # The mean of 90 people differs from the true one by components / sqrt(90).
    spread = np.abs(without(light, found.mean) - without(light, mean)).mean()
    assert spread < 0.2 * np.abs(mean).mean()
    true, _ = np.linalg.qr(without(light, components))
    learned, _ = np.linalg.qr(without(light, found.components))
    assert np.linalg.svd(true.T @ learned)[1].min() > 0.97  # cosines between the two planes
    sizes = np.sort(np.linalg.norm(without(light, found.components), axis=0))
    np.testing.assert_allclose(sizes, np.sort(np.linalg.norm(without(light, components), axis=0)), rtol=0.25)
    assert 0.7 * NOISE < np.median(found.sigma) < 1.5 * NOISE
    assert abs(found.mean.mean()) < 1e-9
