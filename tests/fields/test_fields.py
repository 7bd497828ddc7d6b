import math

import pytest
import torch

from recon.fields import FrequencyEncoding, RenderingNetwork, SDFNetwork, sdf_and_gradient


def test_encoding_by_hand():
    encoding = FrequencyEncoding(octaves=2)
    x = torch.tensor([[math.pi / 2, 0.0, 1.0]], dtype=torch.float64)
    expected = [
        math.pi / 2,
        0,
        1,
        1,
        0,
        math.sin(1),
        0,
        0,
        math.sin(2),
        0,
        1,
        math.cos(1),
        -1,
        1,
        math.cos(2),
    ]
    assert encoding.out_features == 15
    torch.testing.assert_close(
        encoding(x)[0], torch.tensor(expected, dtype=torch.float64), atol=1e-12, rtol=0
    )


def test_sdf_network_has_the_published_shape():
    network = SDFNetwork()
    sizes = [(layer.in_features, layer.out_features) for layer in network.layers]
    assert sizes == [
        (39, 512),
        (512, 512),
        (512, 512),
        (512, 473),
        (512, 512),
        (512, 512),
        (512, 512),
        (512, 512),
        (512, 257),
    ]
    assert all(hasattr(layer, "parametrizations") for layer in network.layers)


def test_rendering_network_has_the_published_shape():
    sizes = [(layer.in_features, layer.out_features) for layer in RenderingNetwork().layers]
    assert sizes == [(289, 512), (512, 512), (512, 512), (512, 512), (512, 3)]
    assert RenderingNetwork(mode="no_normal").layers[0].in_features == 286
    assert RenderingNetwork(mode="no_view_direction").layers[0].in_features == 262
    with pytest.raises(ValueError, match="no_normal"):
        RenderingNetwork(mode="nerf")


def on_spheres(radii, seed, **settings):
    torch.manual_seed(seed)
    network = SDFNetwork(**settings)
    directions = torch.nn.functional.normalize(torch.randn(200, 3), dim=1)
    with torch.no_grad():
        return torch.stack([network.sdf(directions * r) for r in radii])


@pytest.mark.parametrize("radius", [0.4, 0.6, 0.9])
def test_sharp_sdf_network_starts_as_the_sphere_of_the_theorem(radius):
    """Random weights scatter about the theorem's sphere; their mean over seeds comes near it."""
    values = torch.stack([on_spheres((0.0, radius, 1.0), seed, radius=radius, beta=1e4) for seed in range(8)])
    expected = torch.tensor([-radius, 0.0, 1 - radius])
    assert (values.mean(dim=(0, 2)) - expected).abs().max() < 0.08


def test_sdf_network_starts_round():
    """With the published softplus, β = 100, the sphere comes out smaller than its nominal radius 0.6, but round."""
    values = on_spheres((0.1, 0.2, 0.7, 0.9), seed=0)
    assert (values[:2] < 0).all() and (values[2:] > 0).all()
    assert values.std(dim=1).max() < 0.05


def test_sdf_alone_equals_the_full_forward():
    torch.manual_seed(1)
    network = SDFNetwork(width=64, depth=4, skip=(2,), feature_size=16)
    points = torch.randn(50, 3)
    sample = network(points)
    assert sample.feature.shape == (50, 16)
    torch.testing.assert_close(network.sdf(points), sample.sdf)
    assert SDFNetwork(width=64, depth=2, skip=(), feature_size=0)(points).feature.shape == (50, 0)


def test_gradient_and_its_gradient_in_float64():
    torch.manual_seed(2)
    network = SDFNetwork(width=16, depth=3, skip=(2,), octaves=2, feature_size=2, beta=5.0).double()
    points = torch.rand(4, 3, dtype=torch.float64) - 0.5
    _, gradient = sdf_and_gradient(network, points)
    step = 1e-6
    for axis in range(3):
        offset = torch.zeros(3, dtype=torch.float64)
        offset[axis] = step
        difference = (network.sdf(points + offset) - network.sdf(points - offset)) / (2 * step)
        torch.testing.assert_close(gradient[:, axis].detach(), difference.detach(), atol=1e-8, rtol=1e-6)
    assert torch.autograd.gradgradcheck(network.sdf, points.clone().requires_grad_(True))


def test_a_network_too_narrow_for_its_skip_says_so():
    with pytest.raises(ValueError, match="exceed the 39 inputs"):
        SDFNetwork(width=39)
