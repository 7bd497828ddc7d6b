import pytest
import torch
from torch.nn.functional import softplus

from recon.fields import Field, FieldSample, SDFNetwork, sdf_and_gradient
from recon.fields.analytic import value_and_gradient


def layers(skip, outputs=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs, width = 4, 7
    shapes = [(width, inputs), (width, width), (width, width), (outputs, width)]
    shapes = [(out - inputs if index + 1 in skip else out, into) for index, (out, into) in enumerate(shapes)]
    weights = [torch.randn(*shape, dtype=torch.float64, generator=generator) for shape in shapes]
    biases = [torch.randn(shape[0], dtype=torch.float64, generator=generator) for shape in shapes]
    points = torch.randn(5, inputs, dtype=torch.float64, generator=generator)
    return [t.requires_grad_(True) for t in (points, *weights, *biases)]


def by_autograd(points, *rest, skip, beta):
    weights, biases = rest[:4], rest[4:]
    hidden = points
    for index in range(4):
        if index in skip:
            hidden = torch.cat([hidden, points], dim=1) / 2**0.5
        hidden = hidden @ weights[index].t() + biases[index]
        if index < 3:
            hidden = softplus(hidden, beta=beta)
    (gradient,) = torch.autograd.grad(hidden[:, 0].sum(), points, create_graph=True)
    return hidden, gradient


@pytest.mark.parametrize("skip", [frozenset(), frozenset({2}), frozenset({1, 3})])
def test_values_gradients_and_their_derivatives_are_those_of_autograd(skip):
    """To 1e-6: torch's softplus is a straight line from 20 on, where its gradient is 1 but for 2e-9."""
    inputs = layers(skip)

    def by_hand(points, *rest):
        return value_and_gradient(points, rest[:4], rest[4:], skip, 3.0)

    def loss(value, gradient):  # of all outputs, each with a weight of its own
        return (value.sin() * torch.arange(1, 4)).sum() + (gradient.norm(dim=1) - 1).square().sum()

    wanted, found = by_autograd(*inputs, skip=skip, beta=3.0), by_hand(*inputs)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    for ours, theirs in zip(
        torch.autograd.grad(loss(*found), inputs), torch.autograd.grad(loss(*wanted), inputs), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    assert torch.autograd.gradcheck(by_hand, inputs)


def network(dtype=torch.float64):
    torch.manual_seed(0)
    made = SDFNetwork(width=64, depth=4, skip=(2,), octaves=4, feature_size=8).to(dtype)
    with torch.no_grad():
        for parameter in made.parameters():  # away from the sphere, where sines and cosines are silent
            parameter.add_(0.02 * torch.randn_like(parameter))
    return made


def losses(field, points, analytic):
    sample, gradient = sdf_and_gradient(field, points, analytic=analytic)
    total = sample.sdf.square().sum() + sample.feature.sin().sum() + (gradient.norm(dim=1) - 1).square().sum()
    parameters = [points, *field.parameters()]
    return sample, gradient, torch.autograd.grad(total, parameters)


def test_the_network_of_idr_through_encoding_and_weight_normalisation():
    field = network()
    points = (torch.rand(50, 3, dtype=torch.float64) - 0.5).requires_grad_(True)
    (sample, gradient, derivatives), (other, theirs, others) = (
        losses(field, points, a) for a in (True, False)
    )
    torch.testing.assert_close(sample.sdf, other.sdf)
    torch.testing.assert_close(sample.feature, other.feature)
    torch.testing.assert_close(gradient, theirs)
    for ours, wanted in zip(derivatives, others, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-6, atol=1e-7)


def test_a_frozen_network_still_gives_the_derivative_by_the_points():
    field = network()
    field.requires_grad_(False)
    points = torch.rand(20, 3, dtype=torch.float64).requires_grad_(True)
    found = []
    for analytic in (True, False):
        sample, gradient = sdf_and_gradient(field, points, analytic=analytic)
        found += torch.autograd.grad(sample.feature.sum() + gradient.square().sum(), points)
    torch.testing.assert_close(*found)


def test_a_field_without_hand_written_derivatives_takes_those_of_autograd():
    class Plane(Field):
        def forward(self, points):
            return FieldSample(self.sdf(points), points)

        def sdf(self, points):
            return points[:, 0] * 2

    _, gradient = sdf_and_gradient(Plane(), torch.rand(4, 3), analytic=True)
    assert torch.equal(gradient, torch.tensor([[2.0, 0.0, 0.0]]).expand(4, 3))
