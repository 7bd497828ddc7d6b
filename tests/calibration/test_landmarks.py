"""The table of landmarks, and landmarks by code of the shipped prior."""

import numpy as np
import pytest
import torch

from recon.calibration.landmarks import TABLE, LandmarkModel
from recon.errors import PriorError
from recon.priors.shipped import PCA, shipped
from recon.priors.weights import load_shape_prior


@pytest.fixture(scope="module")
def prior():
    return load_shape_prior(shipped(PCA))


@pytest.fixture(scope="module")
def model(prior):
    return LandmarkModel.from_prior(prior)


def test_table_is_small_and_mirror_symmetric():
    assert TABLE.stat().st_size < 300_000
    with np.load(TABLE) as file:
        places, bias, mirror = file["places_mm"], file["bias_mm"], file["mirror"].astype(int)
        noise = file["relative_sigma"]
    assert (mirror[mirror] == np.arange(468)).all()
    assert [mirror[k] for k in (33, 133, 234, 61, 1)] == [263, 362, 454, 291, 1]
    np.testing.assert_allclose(places[mirror] * [-1, 1, 1], places, atol=1e-3)
    signs = (-1.0) ** np.arange(5)
    np.testing.assert_allclose(bias[mirror, 0] * -signs, bias[:, 0], atol=1e-3)
    np.testing.assert_allclose(bias[mirror, 1] * signs, bias[:, 1], atol=1e-3)
    np.testing.assert_allclose(noise[mirror][:, ::-1], noise, rtol=1e-3)


def test_landmarks_lie_on_the_mean_head_and_move_as_its_own_landmarks_do(prior, model):
    unit = (
        torch.from_numpy(model.places).float() - torch.tensor(prior.canonical.centre_mm)
    ) / prior.canonical.radius_mm
    away = (
        prior.network.shape_of(torch.zeros(prior.network.latent_size)).sdf(unit) * prior.canonical.radius_mm
    )
    assert away.abs().median() < 0.4 and away.abs().max() < 2
    number = prior.network.landmark_names.index("left_eye")
    own = prior.network.landmark_basis[number, :, : model.components].numpy()
    # The basis is interpolated from face points some 4 mm away, over which lids move differently.
    assert np.linalg.norm(model.basis[362] - own) < 0.25 * np.linalg.norm(own)


def test_offset_has_its_derivative(model):
    _, by_yaw = model.offset(0.6)
    quotient = (model.offset(0.6 + 1e-6)[0] - model.offset(0.6 - 1e-6)[0]) / 2e-6
    np.testing.assert_allclose(by_yaw, quotient, atol=1e-5)
    assert not model.of_components(3).basis[..., 3:].size


def test_noise_is_between_the_yaws_of_the_table(model):
    np.testing.assert_allclose(model.noise(0.0), model.relative_sigma[:, 5])
    np.testing.assert_allclose(model.noise(np.radians(7.5)), model.relative_sigma[:, 5:7].mean(axis=1))
    np.testing.assert_allclose(model.noise(2.0), model.relative_sigma[:, 10])


def test_other_priors_are_refused():
    with pytest.raises(PriorError, match="linear shape model with face points"):
        LandmarkModel.from_prior(load_shape_prior(shipped("deepsdf-synth-v1.safetensors")))
