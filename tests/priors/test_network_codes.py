import torch

from recon.priors import fit_code
from tests.priors.test_network import deepsdf, linear


def test_the_code_of_known_distances_is_found():
    for network in (linear(), deepsdf()):
        points = torch.rand(4000, 3, generator=torch.Generator().manual_seed(3)) - 0.5
        truth = torch.tensor([0.5, -1.0, 0.3, 1.2, -0.4])
        found = fit_code(network, points, network(points, truth).detach(), sigma=1e-4, steps=20)
        assert (network(points, found) - network(points, truth)).abs().max() < 2e-3


def test_the_normal_prior_holds_the_code_back():
    network, points = linear(), torch.rand(2000, 3) - 0.5
    target = network(points, torch.full((5,), 3.0)).detach()
    near, far = (fit_code(network, points, target, sigma=sigma).norm() for sigma in (1.0, 1e-3))
    assert near < far and abs(float(far) - 3 * 5**0.5) < 0.2


def test_a_few_wrong_points_do_not_matter_much():
    network, points = linear(), torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    target = network(points, torch.ones(5)).detach()
    spoiled = target.clone()
    spoiled[::20] += 1.0
    found = fit_code(network, points, spoiled, sigma=2e-3, steps=30)
    assert (network(points, found) - target).abs().mean() < 5e-3
