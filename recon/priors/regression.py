"""Regression of a field to a known head: SDF samples of the head, and the training of a network on them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn.functional import normalize

from recon.errors import PriorError
from recon.fields import Field, sdf_and_gradient

Distance = Callable[[Tensor], Tensor]

SHELL_UNIT = 0.06
"""Distance from a surface within which the values of a field are used as they are, and points are projected."""

ON_SURFACE_UNIT = 1e-4
"""Largest distance of a point on a surface: 0.03 mm of a head."""


@dataclass(frozen=True)
class SDFSamples:
    """Points of unit space with the signed distances that a field is to learn.

    Attributes:
        points: Points, unit space.
        distances: Signed distances at the points.
        normals: Unit gradients of the distance at the first points, those near the surface.
    """

    points: Float[Tensor, "points 3"]
    distances: Float[Tensor, " points"]
    normals: Float[Tensor, "near 3"]

    @classmethod
    def from_sdf(cls, sdf: Distance, count: int, generator: torch.Generator) -> "SDFSamples":
        """Draws samples about the surface of a signed distance in the unit ball.

        Half of the points lie close to the surface, with distance and normal of the field. The other half is spread
        wider; away from the surface a shape model of heads is no exact distance, so the distance to the nearest point
        of the surface is taken.

        Args:
            sdf: Signed distance, exact near its surface and with the right sign everywhere; differentiable.
            count: Number of points.
            generator: Generator of the draws.

        Raises:
            PriorError: There is no surface in the unit ball.
        """
        near, far = count // 2, count - count // 2
        surface = on_surface(sdf, max(near, 20_000), generator)
        close = surface[:near] + 0.008 * torch.randn(near, 3, generator=generator)
        about = surface[: far // 2] + 0.08 * torch.randn(far // 2, 3, generator=generator)
        away = torch.cat([about, _in_ball(far - far // 2, generator)])
        distances, gradients = _with_gradient(sdf, close)
        nearest = cKDTree(surface.double().numpy()).query(away.double().numpy())[0]
        given = _with_gradient(sdf, away)[0]
        measured = torch.from_numpy(nearest).float() * torch.where(given < 0, -1.0, 1.0)
        far_off = torch.where(given.abs() < SHELL_UNIT, given, measured)
        return cls(torch.cat([close, away]), torch.cat([distances, far_off]), normalize(gradients, dim=1))


@dataclass(frozen=True)
class Regression:
    """Settings of the regression of a field to SDF samples.

    Attributes:
        steps: Number of steps of Adam; the rate falls to zero as a cosine.
        points: Number of points of each step.
        learning_rate: Initial learning rate.
        normal_weight: Weight of the mean distance of gradients from normals, against that of distances in unit space.
        sample_points: Number of samples, which are drawn once.
    """

    steps: int = 500
    points: int = 1024
    learning_rate: float = 3e-3
    normal_weight: float = 0.3
    sample_points: int = 65_536


def fit_field(
    field: Field,
    samples: SDFSamples,
    how: Regression,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
) -> None:
    """Trains a field on SDF samples, in place.

    Args:
        field: Field on the CPU; it is there again afterwards.
        samples: Samples of the head.
        how: Length, rates and weights.
        generator: Generator of the draws.
        device: Device of the training.
    """
    field.to(device).train()
    parameters = [p for p in field.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=how.learning_rate)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, how.steps)
    near = len(samples.normals)
    points, distances, normals = (t.to(device) for t in (samples.points, samples.distances, samples.normals))
    for _ in range(how.steps):
        close = torch.randint(near, (how.points // 2,), generator=generator).to(device)
        away = near + torch.randint(len(points) - near, (how.points // 2,), generator=generator).to(device)
        sample, gradient = sdf_and_gradient(field, points[close])
        loss = (
            (sample.sdf - distances[close]).abs().mean()
            + (field.sdf(points[away]) - distances[away]).abs().mean()
            + how.normal_weight * (gradient - normals[close]).norm(dim=1).mean()
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        scheduler.step()
    field.zero_grad(set_to_none=True)
    field.to("cpu")


def on_surface(sdf: Distance, count: int, generator: torch.Generator) -> Float[Tensor, "count 3"]:
    """Draws points of the zero level of a signed distance inside the unit ball, about evenly spread.

    Args:
        sdf: Signed distance; differentiable.
        count: Number of points.
        generator: Generator of the draws.

    Raises:
        PriorError: There is no surface in the unit ball.
    """
    found: list[Tensor] = []
    for _ in range(100):
        points = _in_ball(32_768, generator)
        points = points[_with_gradient(sdf, points)[0].abs() < SHELL_UNIT]
        for _ in range(4):
            distance, gradient = _with_gradient(sdf, points)
            points = points - (distance / gradient.square().sum(1).clamp_min(0.1))[:, None] * gradient
        there = (_with_gradient(sdf, points)[0].abs() < ON_SURFACE_UNIT) & (points.norm(dim=1) < 1)
        found.append(points[there])
        if sum(map(len, found)) >= count:
            return torch.cat(found)[:count]
    raise PriorError(
        f"the fitted head has no surface inside the scene's unit sphere ({sum(map(len, found))} points found): look at "
        "the scene's scale_mat, which must put the head there"
    )


def _in_ball(count: int, generator: torch.Generator) -> Float[Tensor, "count 3"]:
    """Points drawn evenly in the unit ball."""
    direction = normalize(torch.randn(count, 3, generator=generator), dim=1)
    return direction * torch.rand(count, 1, generator=generator) ** (1 / 3)


def _with_gradient(
    sdf: Distance, points: Float[Tensor, "points 3"]
) -> tuple[Float[Tensor, " points"], Float[Tensor, "points 3"]]:
    """Distance and its derivative by the point, without a graph."""
    with torch.enable_grad():
        moved = points.detach().requires_grad_(True)
        distance = sdf(moved)
        (gradient,) = torch.autograd.grad(distance.sum(), moved)
    return distance.detach(), gradient
