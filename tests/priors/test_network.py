import pytest
import torch

from recon.priors import DeepSDFNetwork, FeatureGridSDFNetwork, fit_code

POINTS = torch.rand(40, 3, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.6


def feature_grid():
    torch.manual_seed(1)
    network = FeatureGridSDFNetwork(
        5, 16, 2, (-0.6,) * 3, (0.6,) * 3, (6, 6, 6), [[8, 8, 8, 4], [4, 4, 4, 3]]
    )
    torch.nn.init.normal_(network.basis.weight, std=0.1)
    torch.nn.init.normal_(network.mean.values, std=0.1)
    return network


def mlp():
    torch.manual_seed(1)
    network = DeepSDFNetwork(latent_size=5, width=64, depth=3, skip=(2,), octaves=2)
    for parameter in network.parameters():  # away from the initial sphere, which hardly feels the code
        parameter.data += 0.02 * torch.randn_like(parameter)
    return network


KINDS = pytest.mark.parametrize("make", [feature_grid, mlp], ids=["feature_grid", "mlp"])


@KINDS
def test_one_code_for_all_points_or_one_each(make):
    network, code = make(), torch.randn(5)
    torch.testing.assert_close(network(POINTS, code), network(POINTS, code.expand(40, -1)))


@KINDS
def test_latent_gradient_is_the_derivative(make):
    network, code = make().double(), torch.randn(5, dtype=torch.float64)
    points = POINTS.double()
    sdf, gradient = network.latent_gradient(points, code)
    torch.testing.assert_close(sdf, network(points, code).detach())
    for n, axis in enumerate(torch.eye(5, dtype=torch.float64) * 1e-5):
        difference = (network(points, code + axis) - network(points, code - axis)) / 2e-5
        torch.testing.assert_close(gradient[:, n], difference.detach(), rtol=1e-4, atol=1e-7)


@KINDS
def test_absorb_changes_the_variable(make):
    network, code = make().double(), torch.randn(5, dtype=torch.float64)
    mean, scale = torch.randn(5, dtype=torch.float64), torch.rand(5, dtype=torch.float64) + 0.5
    before = network(POINTS.double(), mean + scale * code).detach()
    network.absorb(mean, scale)
    torch.testing.assert_close(network(POINTS.double(), code).detach(), before, rtol=1e-9, atol=1e-9)


@KINDS
def test_the_eikonal_loss_reaches_all_that_shapes_the_surface(make):
    network = make()
    points = POINTS.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(network(points, torch.ones(5)).sum(), points, create_graph=True)
    (gradient.norm(dim=1) - 1).square().mean().backward()
    reached = {name for name, p in network.named_parameters() if p.grad is not None and p.grad.any()}
    assert len(reached) >= len(list(network.parameters())) - 1  # the last bias alone has no part in it


def test_the_feature_grid_network_is_linear_in_the_code():
    network = feature_grid()
    first, second = torch.randn(2, 5)
    mixed = 0.3 * network(POINTS, first) + 0.7 * network(POINTS, second)
    torch.testing.assert_close(network(POINTS, 0.3 * first + 0.7 * second), mixed)


def test_many_codes_at_the_same_points():
    network, codes = feature_grid(), torch.randn(3, 5)
    expected = torch.stack([network(POINTS, code) for code in codes], dim=1)
    torch.testing.assert_close(network.all_codes(POINTS, codes), expected)


def test_outside_the_grids_the_distance_to_their_box_is_added():
    network, code = feature_grid(), torch.zeros(5)
    network.basis.weight.data.zero_()
    edge, outside = torch.tensor([[0.6, 0.1, 0.2]]), torch.tensor([[0.9, 0.1, 0.2]])
    torch.testing.assert_close(network(outside, code), network(edge, code) + 0.3)


def test_deepsdf_begins_as_a_sphere():
    torch.manual_seed(0)
    network = DeepSDFNetwork(latent_size=16, width=256, depth=8, skip=(4,), octaves=6, radius=0.5)
    sdf = network(POINTS, torch.zeros(16)).detach()
    assert (sdf - (POINTS.norm(dim=1) - 0.5)).abs().mean() < 0.08


def test_a_skip_needs_width():
    with pytest.raises(ValueError, match="width is 32"):
        DeepSDFNetwork(latent_size=64, width=32)


def test_the_code_of_known_distances_is_found():
    for network in (feature_grid(), mlp()):
        points = torch.rand(4000, 3, generator=torch.Generator().manual_seed(3)) - 0.5
        truth = torch.tensor([0.5, -1.0, 0.3, 1.2, -0.4])
        found = fit_code(network, points, network(points, truth).detach(), sigma=1e-4, steps=20)
        assert (network(points, found) - network(points, truth)).abs().max() < 2e-3


def test_the_normal_prior_holds_the_code_back():
    network, points = feature_grid(), torch.rand(2000, 3) - 0.5
    target = network(points, torch.full((5,), 3.0)).detach()
    near, far = (fit_code(network, points, target, sigma=sigma).norm() for sigma in (1.0, 1e-3))
    assert near < far and abs(float(far) - 3 * 5**0.5) < 0.2


def test_a_few_wrong_points_do_not_matter_much():
    network, points = feature_grid(), torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    target = network(points, torch.ones(5)).detach()
    spoiled = target.clone()
    spoiled[::20] += 1.0
    found = fit_code(network, points, spoiled, sigma=2e-3, steps=30)
    assert (network(points, found) - target).abs().mean() < 5e-3
