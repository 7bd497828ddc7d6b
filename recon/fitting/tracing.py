"""Where rays meet one head of a shape model, or pass nearest to it."""

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
    """Rays that meet the surface.

    Attributes:
        rays: Which of the rays given.
        points: Where, canonical unit space.
        sdf: Signed distance there, nearly 0.
        gradient: Its derivative by the point.
    """

    rays: Int[Tensor, " hits"]
    points: Float[Tensor, "hits 3"]
    sdf: Float[Tensor, " hits"]
    gradient: Float[Tensor, "hits 3"]

    def at(self, which: Tensor) -> "Hits":
        """Some of the hits, by number or by a mask."""
        return Hits(self.rays[which], self.points[which], self.sdf[which], self.gradient[which])


def in_ball(
    origins: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"], radius: float = 1.0
) -> tuple[Float[Tensor, " rays"], Float[Tensor, " rays"]]:
    """Middle and half length of the rays' chords in the ball about 0; rays that miss get a short one."""
    middle = -(origins * directions).sum(1)
    away = (origins + middle[:, None] * directions).square().sum(1)
    return middle, (radius**2 - away).clamp_min(0.01).sqrt()


def trace(head: Shape, origins: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"]) -> Hits:
    """First intersections: sphere tracing, then Newton's method along the ray.

    Args:
        head: Whose surface.
        origins: Canonical unit space.
        directions: Unit vectors.
    """
    middle, half = in_ball(origins, directions)
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
    found = replace(onto(head, points, directions[rays], NEWTON, 0.02), rays=rays)
    return found.at(found.sdf.abs() < CLOSE)


def onto(
    head: Shape,
    points: Float[Tensor, "points 3"],
    directions: Float[Tensor, "points 3"],
    steps: int,
    furthest: float,
) -> Hits:
    """Where rays through points near the surface meet it, by Newton's method along the rays; numbered as given.

    Args:
        head: Whose surface.
        points: Canonical unit space.
        directions: Of the rays, unit vectors.
        steps: Of Newton's method.
        furthest: One of them goes no further than this.
    """
    for _ in range(steps):
        sdf, gradient = head.sdf_and_gradient(points)
        rate = (gradient * directions).sum(1).clamp_max(-0.05)
        points = points - (sdf / rate).clamp(-furthest, furthest)[:, None] * directions
    sdf, gradient = head.sdf_and_gradient(points)
    return Hits(torch.arange(len(points), device=points.device), points, sdf, gradient)


def nearest_pass(
    head: Shape, origins: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"], samples: int = 28
) -> Float[Tensor, "rays 3"]:
    """The points of rays where the signed distance is least, within the unit ball.

    Samples the chord, then the neighbourhood of the least sample, then a parabola through three.
    """
    middle, width = in_ball(origins, directions)
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
    bend = low - 2 * mid + high
    shift = torch.where(bend > 1e-9, (low - high) / (2 * bend.clamp_min(1e-9)), 0.0).clamp(-1, 1)
    # After the last round `width` is one sample's step.
    return origins + (middle + shift * width)[:, None] * directions


def unhidden(
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
        head: Whose surface.
        points: On it.
        gradient: Derivative of the signed distance there; shadow rays start a little above the surface.
        centre: Of the camera.
        lift: How far above, canonical unit space.
        reach: Length of the shadow rays; a head is not larger.
        samples: On each.
    """
    normal = torch.nn.functional.normalize(gradient, dim=1)
    towards = torch.nn.functional.normalize(centre - points, dim=1)
    start = points + lift * normal
    along = torch.linspace(0.02, 1.0, samples, dtype=points.dtype, device=points.device).square() * reach
    shadow = start[:, None] + along[:, None] * towards[:, None]
    sdf = head.sdf(shadow.reshape(-1, 3)).reshape(len(points), samples)
    return ((normal * towards).sum(1) > 0) & (sdf.amin(1) > 0)
