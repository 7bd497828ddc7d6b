"""Balls: a linear shape model whose code is their size, and networks that start from one of them."""

import numpy as np
import pytest
import torch

from recon.errors import ConfigError, OutOfDistributionError, PriorError
from recon.fields import FeatureNetwork, RenderingNetwork, SDFNetwork
from recon.fitting import InstantFit
from recon.priors import (
    CanonicalFrame,
    DeepSDFPrior,
    FeatureGridSDFNetwork,
    FitsHead,
    FittedHead,
    GridShape,
    InstantStart,
    MeanHeadPrior,
    Networks,
    PCAPrior,
    Regression,
    SceneObservations,
    SDFSamples,
    ShapePrior,
    SpherePrior,
    fit_field,
    on_surface,
    save_shape_prior,
)
from recon.scene import Camera
from tests.support.prior_shape_models import (
    BOX,
    CANONICAL,
    CELLS,
    GROWTH,
    PCA_ARGUMENTS,
    RADIUS,
    ball_shape_model,
    write_pca,
)

NETWORK_ARGUMENTS = {
    "latent_size": 1, "width": 4, "depth": 1, "low": [-BOX] * 3, "high": [BOX] * 3, "mean_cells": [CELLS] * 3,
    "grids": [[4, 4, 4, 1]],
}  # fmt: skip
UNIT_MM = 150.0  # of the scene's unit sphere
CENTRE_MM = np.array([20.0, -10.0, 600.0])  # where the ball stands in the world, life-size


def write_network(path, canonical=CANONICAL):
    """The same balls by a network: a code of 1 makes one larger by twice GROWTH."""
    network = FeatureGridSDFNetwork(**NETWORK_ARGUMENTS)
    middles = (torch.arange(CELLS + 2) - 0.5) * 2 * BOX / CELLS - BOX
    at = torch.stack(torch.meshgrid(middles, middles, middles, indexing="ij"), dim=-1).reshape(-1, 3)
    with torch.no_grad():
        network.mean.values[:, 0] = at.norm(dim=1) - RADIUS
        network.layers[0].weight.zero_()
        network.layers[0].bias.fill_(5.0)  # features are constant
        network.basis.weight.zero_()
        network.basis.weight[0] = -2 * GROWTH / (4 * torch.nn.functional.silu(torch.tensor(5.0)))
    save_shape_prior(
        path, ShapePrior(network, canonical, "feature_grid", NETWORK_ARGUMENTS, {}), torch.float32
    )
    return path


class Fitted(PCAPrior):
    """Stands for a PCAPrior that has found the ball of a code."""

    def __init__(self, path, code=1.0, canonical=CANONICAL):
        super().__init__(str(path))
        self.code, self.canonical, self.fits = torch.tensor([code]), canonical, 0

    def fit(self, observations):
        self.fits += 1
        shape_model = ball_shape_model()
        pose = np.diag([1 / 330.0] * 3 + [1.0])
        pose[:3, 3] = -CENTRE_MM / 330.0
        fit = InstantFit(pose, self.code, list(observations.cameras), torch.eye(8).double(), 0.1, None)
        prior = ShapePrior(shape_model, self.canonical, "pca", PCA_ARGUMENTS, {})
        return FittedHead(prior, shape_model, fit, GridShape.from_code(shape_model, self.code))


NETWORKS = Networks(
    lambda: SDFNetwork(64, 3, (), 2, 8),
    lambda: FeatureNetwork(16, 1, 2, 8),
    lambda: RenderingNetwork(16, 1, 8),
)


@pytest.fixture
def observations():
    scale = np.diag([UNIT_MM] * 3 + [1.0])
    scale[:3, 3] = CENTRE_MM
    camera = Camera(np.array([[100.0, 0, 32], [0, 100.0, 32], [0, 0, 1]]), np.eye(4), 64, 64)
    return SceneObservations([camera], [np.ones((64, 64), bool)], scale)


@pytest.fixture(scope="module")
def network_file(tmp_path_factory):
    return write_network(tmp_path_factory.mktemp("network") / "net.safetensors")


@pytest.fixture(scope="module")
def pca_file(tmp_path_factory):
    return write_pca(tmp_path_factory.mktemp("pca") / "lin.safetensors")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def radius_mm(field):
    """Mean radius in the world of a field's surface about the middle of the scene, and how far it is from round."""
    length = on_surface(field.sdf, 2000, generator(1)).norm(dim=1) * UNIT_MM
    return float(length.mean()), float(length.std())


EXPECTED_MM = (RADIUS + GROWTH) * 330.0  # the ball of code 1


def test_points_of_a_surface_lie_on_it_and_spread_evenly():
    middle = torch.tensor([0.1, 0.0, -0.2])
    points = on_surface(lambda x: 1.3 * ((x - middle).norm(dim=1) - 0.5), 4000, generator())
    direction = (points - middle) / 0.5
    torch.testing.assert_close(direction.norm(dim=1), torch.ones(4000), atol=3e-4, rtol=0)
    assert direction.mean(0).abs().max() < 0.05  # each octant has its share
    assert ((direction > 0).float().mean(0) - 0.5).abs().max() < 0.03


def test_a_distance_without_surface_is_refused():
    with pytest.raises(PriorError, match="scale_mat"):
        on_surface(lambda x: x.norm(dim=1) + 1, 10, generator())


def test_samples_are_true_distances_also_where_the_field_is_none():
    def crooked(x):
        distance = x.norm(dim=1) - 0.4
        return torch.where(distance.abs() > 0.06, 3 * distance, distance)

    samples = SDFSamples.from_sdf(crooked, 2000, generator())
    expected = samples.points.norm(dim=1) - 0.4
    near = len(samples.normals)
    torch.testing.assert_close(samples.distances[:near], expected[:near], atol=1e-5, rtol=0)
    torch.testing.assert_close(samples.distances[near:], expected[near:], atol=0.006, rtol=0)
    assert expected[near:].max() > 0.4
    torch.testing.assert_close(
        samples.normals, torch.nn.functional.normalize(samples.points[:near], dim=1), atol=1e-4, rtol=0
    )


def test_a_network_learns_samples_the_same_way_each_time():
    middle = torch.tensor([0.2, 0.1, 0.0])
    samples = SDFSamples.from_sdf(lambda x: (x - middle).norm(dim=1) - 0.35, 8000, generator())
    trained = []
    for _ in range(2):
        torch.manual_seed(3)
        field = SDFNetwork(64, 3, (), 2, 8)
        fit_field(field, samples, Regression(steps=120, points=128), generator(5))
        trained.append(field)
    points = middle + 0.35 * torch.nn.functional.normalize(torch.randn(500, 3, generator=generator(7)), dim=1)
    error = trained[0].sdf(points).abs().mean()
    assert error < 0.008 < SDFNetwork(64, 3, (), 2, 8).sdf(points).abs().mean()
    assert all(torch.equal(a, b) for a, b in zip(*(f.parameters() for f in trained), strict=True))
    assert all(p.grad is None for p in trained[0].parameters())


def test_the_shape_model_starts_as_its_shape_closest_to_the_fit(network_file, pca_file, observations):
    given = InstantStart(Fitted(pca_file), DeepSDFPrior(str(network_file)))
    ((name, start),) = given.starts(NETWORKS, observations).items()
    assert name == "lin+net"
    assert start.field.code.item() == pytest.approx(0.5, abs=0.02)  # its codes count double
    assert radius_mm(start.field) == pytest.approx((EXPECTED_MM, 0.0), abs=0.3)
    assert list(start.cameras) == list(observations.cameras) and start.life_size == pytest.approx(1.0)
    assert set(start.field.parameter_groups()) == {"geometry", "appearance", "pose", "code"}
    assert start.deviation is None  # the geometry will move, the fit's uncertainty is not its own


def test_the_mean_head_of_the_shape_model_where_no_code_is_wanted(network_file, pca_file, observations):
    given = InstantStart(Fitted(pca_file), DeepSDFPrior(str(network_file), code="mean"))
    (start,) = given.starts(NETWORKS, observations).values()
    assert start.field.code.item() == 0
    assert radius_mm(start.field)[0] == pytest.approx(RADIUS * 330.0, abs=0.3)


@pytest.mark.slow
def test_the_network_of_idr_starts_as_the_fitted_head(pca_file, observations):
    settings = {"steps": 150, "points": 128, "sample_points": 8000}
    given = InstantStart(Fitted(pca_file), SpherePrior(), settings, schedule_offset=0.3)
    torch.manual_seed(0)
    ((name, start),) = given.starts(NETWORKS, observations).items()
    assert name == "lin+sphere" and isinstance(start.field, SDFNetwork)
    middle, spread = radius_mm(start.field)
    assert middle == pytest.approx(EXPECTED_MM, abs=1.0) and spread < 1.0
    assert start.schedule_offset == 0.3 and start.cameras is not None


def test_what_cannot_start_from_a_fit_is_refused_before_the_fit(network_file, pca_file, observations):
    class Never(Fitted):
        def fit(self, observations):
            raise AssertionError("fitted")

    with pytest.raises(ConfigError, match="MeanHeadPrior"):
        InstantStart(Never(pca_file), MeanHeadPrior(str(network_file))).starts(NETWORKS, observations)
    with pytest.raises(ConfigError, match="landmarks"):
        InstantStart(Never(pca_file), DeepSDFPrior(str(network_file), pose="landmarks")).starts(
            NETWORKS, observations
        )
    with pytest.raises(PriorError, match=r"missing\.safetensors"):
        missing = DeepSDFPrior(str(network_file.with_name("missing.safetensors")))
        InstantStart(Never(pca_file), missing).starts(NETWORKS, observations)
    with pytest.raises(PriorError, match="learning_rate"):
        InstantStart(Never(pca_file), SpherePrior(), {"patience": 3})


def test_shape_models_of_different_frames_are_refused(pca_file, observations, tmp_path):
    other = write_network(tmp_path / "other.safetensors", CanonicalFrame((0.0, -25.0, 0.0), 330.0))
    with pytest.raises(PriorError, match=r"-25\.0.*same frame"):
        InstantStart(Fitted(pca_file), DeepSDFPrior(str(other))).starts(NETWORKS, observations)


def test_a_head_out_of_distribution_names_the_option_to_do_without_the_fit(pca_file, observations):
    class OutOfDistribution(Fitted):
        def fit(self, observations):
            raise OutOfDistributionError("no head looks like the masks")

    with pytest.raises(OutOfDistributionError, match="init=none"):
        InstantStart(OutOfDistribution(pca_file), SpherePrior()).starts(NETWORKS, observations)


@pytest.mark.slow
def test_the_fit_is_a_stage_of_its_own(network_file, pca_file, observations):
    """A head that `fit` returned is used as it is, and the start is the same as without one."""
    for prior in (DeepSDFPrior(str(network_file)), SpherePrior()):
        given = InstantStart(Fitted(pca_file), prior, {"steps": 5, "points": 64, "sample_points": 2000})
        assert isinstance(given, FitsHead) and not isinstance(prior, FitsHead)
        torch.manual_seed(0)
        fitted = given.fit(observations)
        (first,) = given.starts(NETWORKS, observations, fitted).values()
        assert given.pca.fits == 1
        torch.manual_seed(0)
        (second,) = given.starts(NETWORKS, observations).values()
        assert given.pca.fits == 2
        for one, other in zip(first.field.parameters(), second.field.parameters(), strict=True):
            assert torch.equal(one, other)
