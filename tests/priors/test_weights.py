import numpy as np
import pytest
import torch

from recon.errors import PriorError
from recon.priors import CanonicalFrame, ShapePrior, load_shape_prior, save_shape_prior
from recon.priors.network import FeatureGridSDFNetwork

ARGUMENTS = {
    "latent_size": 3,
    "width": 8,
    "depth": 1,
    "low": [-0.6] * 3,
    "high": [0.6] * 3,
    "mean_cells": [3, 3, 3],
    "grids": [[4, 4, 4, 2]],
}


@pytest.fixture
def prior():
    torch.manual_seed(0)
    canonical = CanonicalFrame((0.0, -25.0, -5.0), 330.0, {"nose_tip": (0.0, 4.0, 130.5)})
    return ShapePrior(
        FeatureGridSDFNetwork(**ARGUMENTS), canonical, "feature_grid", ARGUMENTS, {"heads": 480}
    )


def test_a_prior_comes_back(prior, tmp_path):
    digest = save_shape_prior(tmp_path / "p.safetensors", prior)
    found = load_shape_prior(tmp_path / "p.safetensors", digest)
    points, code = torch.rand(50, 3) - 0.5, torch.randn(3)
    torch.testing.assert_close(found.network(points, code), prior.network(points, code), atol=2e-3, rtol=0)
    assert found.about == {"heads": 480} and found.kind == "feature_grid" and not found.network.training
    assert found.canonical.centre_mm == (0.0, -25.0, -5.0)
    np.testing.assert_allclose(found.canonical.landmarks_mm["nose_tip"], (0, 4, 130.5))
    np.testing.assert_allclose(found.canonical.mm_from_unit @ [0, 0, 1, 1], [0, -25, 325, 1])


def test_the_same_prior_gives_the_same_file(prior, tmp_path):
    assert save_shape_prior(tmp_path / "a.safetensors", prior) == save_shape_prior(
        tmp_path / "b.safetensors", prior
    )


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(PriorError, match="headrecon-pretrain"):
        load_shape_prior(tmp_path / "none.safetensors")


def test_another_file_is_refused(prior, tmp_path):
    path = tmp_path / "p.safetensors"
    save_shape_prior(path, prior)
    with pytest.raises(PriorError, match="SHA-256"):
        load_shape_prior(path, "0" * 64)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(PriorError, match="cannot be read"):
        load_shape_prior(path)
    path.write_bytes(b"hello")
    with pytest.raises(PriorError, match="cannot be read"):
        load_shape_prior(path)


def test_a_file_of_other_tensors_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2)}, tmp_path / "x.safetensors")
    with pytest.raises(PriorError, match="format"):
        load_shape_prior(tmp_path / "x.safetensors")
