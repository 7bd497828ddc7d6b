"""Gradients of the differentiable intersection against finite differences of the true one, in float64."""

import pytest
import torch

from recon.fields import Field, SDFNetwork, sdf_and_gradient
from recon.rendering import CachedTracing, intersect, render_rays, seeded
from recon.rendering.cameras import rotation_from_quaternion
from recon.rendering.tracing import TracingSettings, trace


@pytest.fixture
def network():
    torch.manual_seed(3)
    net = SDFNetwork(width=24, depth=3, skip=(2,), octaves=2, feature_size=4, beta=20.0).double()
    with torch.no_grad():  # away from the sphere, so that normals are not along the rays
        for p in net.parameters():
            p.add_(0.02 * torch.randn_like(p))
    return net


PIXELS = torch.tensor(
    [[0.0, 0.0, 1.0], [0.1, -0.05, 1.0], [-0.08, 0.09, 1.0], [0.05, 0.12, 1.0]], dtype=torch.float64
)
CENTRE = torch.tensor([0.1, -0.1, -2.2], dtype=torch.float64)
QUATERNION = torch.tensor([0.995, 0.04, -0.05, 0.03], dtype=torch.float64)


def rays(centre, quaternion):
    directions = PIXELS @ rotation_from_quaternion(quaternion[None])[0].T
    return centre.expand(len(PIXELS), 3), torch.nn.functional.normalize(directions, dim=1)


def true_points(network, centre, quaternion):
    """The intersections by bisection to machine precision: nothing of the package's tracer."""
    origins, directions = rays(centre, quaternion)
    low = torch.full((len(PIXELS),), 1.2, dtype=torch.float64)
    high = -(origins * directions).sum(1)
    with torch.no_grad():
        assert (network.sdf(origins + high[:, None] * directions) < 0).all()
        for _ in range(60):
            middle = (low + high) / 2
            outside = network.sdf(origins + middle[:, None] * directions) > 0
            low, high = torch.where(outside, middle, low), torch.where(outside, high, middle)
    return origins + low[:, None] * directions


def differentiable_points(network, centre, quaternion):
    origins, directions = rays(centre, quaternion)
    depth = (
        ((true_points(network, centre.detach(), quaternion.detach()) - origins) * directions).sum(1).detach()
    )
    points = origins + depth[:, None] * directions
    _, gradient = sdf_and_gradient(network, points.detach(), create_graph=False)
    return intersect(origins, directions, depth, network.sdf(points), gradient)


def finite_difference(function, x, step=1e-5):
    columns = []
    for i in range(x.numel()):
        offset = torch.zeros_like(x).reshape(-1)
        offset[i] = step
        offset = offset.reshape(x.shape)
        columns.append((function(x + offset) - function(x - offset)) / (2 * step))
    return torch.stack(columns, dim=-1)


def test_value_is_the_traced_point(network):
    torch.testing.assert_close(
        differentiable_points(network, CENTRE, QUATERNION), true_points(network, CENTRE, QUATERNION)
    )


def test_gradient_with_respect_to_the_camera_centre(network):
    exact = torch.autograd.functional.jacobian(
        lambda c: differentiable_points(network, c, QUATERNION), CENTRE
    )
    torch.testing.assert_close(
        exact, finite_difference(lambda c: true_points(network, c, QUATERNION), CENTRE), atol=1e-6, rtol=1e-5
    )


def test_gradient_with_respect_to_the_camera_rotation(network):
    exact = torch.autograd.functional.jacobian(
        lambda q: differentiable_points(network, CENTRE, q), QUATERNION
    )
    assert exact.abs().max() > 0.1
    torch.testing.assert_close(
        exact, finite_difference(lambda q: true_points(network, CENTRE, q), QUATERNION), atol=1e-6, rtol=1e-5
    )


def test_gradient_with_respect_to_the_network(network):
    bias = network.layers[1].bias

    def points_with(values):
        with torch.no_grad():
            kept = bias.clone()
            bias.copy_(values)
        result = true_points(network, CENTRE, QUATERNION)
        with torch.no_grad():
            bias.copy_(kept)
        return result

    points = differentiable_points(network, CENTRE, QUATERNION)
    exact = torch.stack(
        [torch.autograd.grad(value, bias, retain_graph=True)[0] for value in points.reshape(-1)]
    ).reshape(*points.shape, -1)
    assert exact.abs().max() > 1e-3
    torch.testing.assert_close(exact, finite_difference(points_with, bias.detach()), atol=1e-6, rtol=1e-4)


def test_training_step_carries_the_same_camera_gradient(network):
    """`render_rays` adds the cameras' first order by hand; its mask term and surface must agree with plain autograd."""

    class Colour(torch.nn.Module):
        def forward(self, points, normals, to_camera, features):
            return points

    def surface(centre):
        origins, directions = rays(centre, QUATERNION)
        mask = torch.ones(len(PIXELS), dtype=torch.bool)
        return render_rays(
            network,
            Colour(),
            origins,
            directions,
            mask,
            TracingSettings(threshold=1e-12, steps=200).tracer(),
            seeded(0, 1),
        )

    exact = torch.autograd.functional.jacobian(lambda c: surface(c).colour, CENTRE)
    torch.testing.assert_close(
        exact, finite_difference(lambda c: true_points(network, c, QUATERNION), CENTRE), atol=1e-5, rtol=1e-4
    )
    # sdf at a fixed depth along the ray, as the mask loss sees it: d f(c + t v)/dc = ∇f
    jacobian = torch.autograd.functional.jacobian(lambda c: surface(c).sdf, CENTRE)
    _, gradient = sdf_and_gradient(network, true_points(network, CENTRE, QUATERNION), create_graph=False)
    torch.testing.assert_close(jacobian, gradient, atol=1e-6, rtol=1e-5)


def test_grazing_rays_have_bounded_derivatives():
    origins = torch.tensor([[0.0, 0.0, -2.0]], requires_grad=True)
    directions = torch.tensor([[0.0, 0.0, 1.0]])
    sdf = torch.tensor([0.0], requires_grad=True)
    point = intersect(origins, directions, torch.tensor([2.0]), sdf * 1.0, torch.tensor([[0.0, 1.0, 1e-9]]))
    (derivative,) = torch.autograd.grad(point[0, 2], sdf)
    assert derivative.abs() == pytest.approx(100.0)


def test_a_step_without_any_hit_still_has_a_loss(network):

    class Away(Field):
        def forward(self, points):
            sample = network(points)
            return type(sample)(sample.sdf + 5.0, sample.feature)

        def sdf(self, points):
            return network.sdf(points) + 5.0

    origins, directions = rays(CENTRE, QUATERNION)
    mask = torch.tensor([True, False, True, False])
    rendered = render_rays(
        Away(), lambda *a: a[0], origins, directions, mask, TracingSettings().tracer(), seeded(0, 1)
    )
    assert not rendered.hit.any() and rendered.colour.shape == (0, 3) and rendered.sdf.requires_grad
    assert trace(Away().sdf, origins, directions).hit.sum() == 0


def test_with_fixed_shapes_rays_without_a_surface_are_shaded_where_they_pass_and_move_nothing(network):
    origins, directions = rays(CENTRE.clone().requires_grad_(), QUATERNION)
    count = len(PIXELS)
    mask = torch.arange(count) % 2 == 0
    settings = CachedTracing(cells=16, fixed_shapes=True)
    tracer = settings.tracer().to(origins.dtype)
    rendered = render_rays(network, lambda *a: a[0], origins, directions, mask, tracer, seeded(0, 1))
    assert (
        rendered.fixed
        and rendered.colour.shape == (count, 3)
        and rendered.gradient.shape == (count * 3 // 2, 3)
    )
    away = ~rendered.agreed
    assert away.any() and rendered.agreed.any() and torch.isfinite(rendered.colour).all()
    for learning in (origins, *network.parameters()):
        (moved,) = torch.autograd.grad(
            rendered.colour[away].sum(), learning, retain_graph=True, allow_unused=True
        )
        assert moved is None or not moved.any()
    (moved,) = torch.autograd.grad(rendered.colour[rendered.agreed].sum(), origins)
    assert moved.abs().max() > 0.1
