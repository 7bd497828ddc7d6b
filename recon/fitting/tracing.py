"""Rays against one head of a shape model: intersections, points of closest approach, occlusion."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from recon.fitting.shape_model import Shape

STEPS, NEWTON = 20, 3
CLOSE = 2e-3
"""A ray ends well on the surface within this signed distance, canonical unit space: 0.7 mm."""


@dataclass(frozen=True)
class Hits:
    """Intersections of rays with the surface.

    Attributes:
        rays: Numbers of the rays that meet the surface.
        points: Intersections, canonical unit space.
        sdf: Signed distance there, nearly 0.
        gradient: Derivative of the signed distance by the point.
    """

    rays: Int[Tensor, " hits"]
    points: Float[Tensor, "hits 3"]
    sdf: Float[Tensor, " hits"]
    gradient: Float[Tensor, "hits 3"]

    def select(self, which: Tensor) -> "Hits":
        """Intersections chosen by number or by a mask."""
        return Hits(self.rays[which], self.points[which], self.sdf[which], self.gradient[which])


def ball_chords(
    origins: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"], radius: float = 1.0
) -> tuple[Float[Tensor, " rays"], Float[Tensor, " rays"]]:
    """Middle and half length of the chords of rays in the ball about 0; rays that miss it get a short chord."""
    middle = -(origins * directions).sum(1)
    away = (origins + middle[:, None] * directions).square().sum(1)
    return middle, (radius**2 - away).clamp_min(0.01).sqrt()


def trace(head: Shape, origins: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"]) -> Hits:
    """Finds first intersections by sphere tracing, then Newton's method along the ray.

    Args:
        head: Head whose surface is met.
        origins: Origins of the rays, canonical unit space.
        directions: Unit vectors.
    """
    middle, half = ball_chords(origins, directions)
    depth, end = middle - half, middle + half
    alive = torch.arange(len(depth), device=depth.device)
    for _ in range(STEPS):
        sdf = head.sdf(origins[alive] + depth[alive, None] * directions[alive])
        depth[alive] += sdf
        alive = alive[(sdf.abs() > CLOSE / 4) & (depth[alive] < end[alive])]
        if len(alive) == 0:
            break
    rays = torch.nonzero(depth < end)[:, 0]
    points = origins[rays] + depth[rays, None] * directions[rays]
    found = replace(newton_along_rays(head, points, directions[rays], NEWTON, 0.02), rays=rays)
    return found.select(found.sdf.abs() < CLOSE)


def newton_along_rays(
    head: Shape,
    points: Float[Tensor, "points 3"],
    directions: Float[Tensor, "points 3"],
    steps: int,
    furthest: float,
) -> Hits:
    """Moves points near the surface along their rays onto it by Newton's method; hits are numbered as the points.

    Args:
        head: Head whose surface is met.
        points: Points near the surface, canonical unit space.
        directions: Directions of the rays, unit vectors.
        steps: Number of steps of Newton's method.
        furthest: Longest step, canonical unit space.
    """
    for _ in range(steps):
        sdf, gradient = head.sdf_and_gradient(points)
        rate = (gradient * directions).sum(1).clamp_max(-0.05)
        points = points - (sdf / rate).clamp(-furthest, furthest)[:, None] * directions
    sdf, gradient = head.sdf_and_gradient(points)
    return Hits(torch.arange(len(points), device=points.device), points, sdf, gradient)


def closest_approach(
    head: Shape, origins: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"], samples: int = 28
) -> Float[Tensor, "rays 3"]:
    """The points of closest approach: where the signed distance along rays is least, within the unit ball.

    The chord is sampled, then the neighbourhood of the least sample; a parabola through three samples gives the point.
    """
    middle, width = ball_chords(origins, directions)
    for count in (samples, 9):
        steps = torch.linspace(-1, 1, count, dtype=origins.dtype, device=origins.device)
        depth = middle[:, None] + width[:, None] * steps
        points = origins[:, None] + depth[..., None] * directions[:, None]
        sdf = head.sdf(points.reshape(-1, 3)).reshape(depth.shape)
        at = sdf.argmin(1).clamp(1, count - 2)
        rows = torch.arange(len(at), device=at.device)
        middle = depth[rows, at]
        width = width * (steps[1] - steps[0])
    low, mid, high = (sdf[rows, at + shift] for shift in (-1, 0, 1))
    curvature = low - 2 * mid + high
    shift = torch.where(curvature > 1e-9, (low - high) / (2 * curvature.clamp_min(1e-9)), 0.0).clamp(-1, 1)
    # After the last round `width` is one sample's step.
    return origins + (middle + shift * width)[:, None] * directions


def unoccluded(
    head: Shape,
    points: Float[Tensor, "points 3"],
    gradient: Float[Tensor, "points 3"],
    centre: Float[Tensor, " 3"],
    *,
    lift: float = 0.012,
    reach: float = 0.7,
    samples: int = 24,
) -> Bool[Tensor, " points"]:
    """Whether nothing of the head lies between surface points and a camera's centre.

    Args:
        head: The head.
        points: Points on its surface, canonical unit space.
        gradient: Derivative of the signed distance there; shadow rays start a little above the surface.
        centre: Centre of the camera, canonical unit space.
        lift: Height of that start, canonical unit space.
        reach: Length of the shadow rays; a head is not larger.
        samples: Number of samples of each shadow ray.
    """
    normal = torch.nn.functional.normalize(gradient, dim=1)
    towards = torch.nn.functional.normalize(centre - points, dim=1)
    start = points + lift * normal
    along = torch.linspace(0.02, 1.0, samples, dtype=points.dtype, device=points.device).square() * reach
    shadow = start[:, None] + along[:, None] * towards[:, None]
    sdf = head.sdf(shadow.reshape(-1, 3)).reshape(len(points), samples)
    return ((normal * towards).sum(1) > 0) & (sdf.amin(1) > 0)
