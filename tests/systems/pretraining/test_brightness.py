"""Brightness of faces learned from portraits whose light, skin and faults are known."""

import numpy as np
import torch

from recon.fitting.shading import harmonics
from recon.systems.pretraining.brightness import Brightness, fit_brightness, tied

POINTS, PORTRAITS, NOISE = 240, 90, 0.02


def portraits():
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(POINTS, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    own = harmonics(torch.from_numpy(normals)).numpy()
    light = np.concatenate([own, np.full((POINTS, 1), 2.0)], axis=1)
    mean, components = rng.normal(size=POINTS) * 0.4, rng.normal(size=(POINTS, 2)) * [0.3, 0.15]
    codes = rng.normal(size=(PORTRAITS, 2))
    lit = rng.normal(size=(PORTRAITS, 10)) * 0.5 @ light.T
    values = mean + codes @ components.T + lit + rng.normal(size=(PORTRAITS, POINTS)) * NOISE
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


def test_what_codes_tell_is_split_from_the_rest():
    """Shares of two components: one that the code tells but for noise of 0.3, one that it knows nothing of."""
    rng = np.random.default_rng(1)
    heads, face_points = 200, 30
    codes = rng.normal(size=(heads, 6))
    explained = 0.8 * codes[:, 1] - 0.5 * codes[:, 4]
    own = np.stack([explained + rng.normal(size=heads) * 0.3, rng.normal(size=heads)], axis=1)
    owners = np.arange(heads).repeat(2)
    scores = own[owners]
    components, mean = rng.normal(size=(face_points, 2)), rng.normal(size=face_points)
    found = tied(Brightness(mean, components, np.ones(face_points), scores), codes, owners)

    np.testing.assert_allclose(
        found.components @ found.by_code @ [0, 1, 0, 0, -1, 0], 1.3 * components[:, 0], atol=0.4
    )
    # what remains of the first is its noise, of the second all of it
    rest = np.linalg.lstsq(components, found.components, rcond=None)[0]
    covariance = rest @ rest.T
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), [0.3, 1.0], rtol=0.2)
    assert abs(covariance[0, 1]) < 0.1
    np.testing.assert_allclose(found.mean, mean, atol=0.5)
