"""Searches along rays by samples of a signed distance: crossings, roots and least distances."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

DistanceFunction = Callable[[Tensor], Tensor]

SEARCH_BLOCK = 10  # samples of a ray that the search evaluates at a time


def crossing(
    evaluate: DistanceFunction,
    origins: Tensor,
    directions: Tensor,
    near: Tensor,
    far: Tensor,
    wanted: Tensor,
    samples: int,
    secant_steps: int,
) -> tuple[Tensor, Tensor]:
    """Bracket the first sign change among uniform samples, and refine it.

    Args:
        evaluate: signed distance at points of unit space.
        origins: of the rays.
        directions: unit vectors.
        near: depths where to begin.
        far: depths where to end.
        wanted: rays whose crossing is wanted; others keep the sample of least distance.
        samples: on each ray.
        secant_steps: refinements of the crossing.

    Returns:
        Depths, and whether there is a crossing on the ray.
    """
    rays, count = len(near), samples
    fractions = torch.linspace(0, 1, count, dtype=near.dtype, device=near.device)
    depths = near[:, None] + fractions * (far - near)[:, None]
    distances = torch.full_like(depths, float("inf"))
    open_rays = torch.arange(rays, device=near.device)
    # Front to back: a ray whose crossing is found needs no further samples.
    for block in range(0, count, SEARCH_BLOCK):
        part = slice(block, block + SEARCH_BLOCK)
        points = origins[open_rays, None] + depths[open_rays, part, None] * directions[open_rays, None]
        found = evaluate(points.reshape(-1, 3)).reshape(len(open_rays), -1)
        distances[open_rays, part] = found
        open_rays = open_rays[~((found < 0).any(1) & wanted[open_rays])]
        if not len(open_rays):
            break
    inside = distances < 0
    crosses = inside.any(1)
    first = inside.to(torch.uint8).argmax(1)  # the first of equal maxima
    row = torch.arange(rays, device=near.device)
    depth = depths[row, torch.where(crosses & wanted, first, distances.argmin(1))]

    refine = (crosses & wanted & (first > 0)).nonzero()[:, 0]
    if len(refine):
        low, high = depths[refine, first[refine] - 1], depths[refine, first[refine]]
        f_low, f_high = distances[refine, first[refine] - 1], distances[refine, first[refine]]

        def distance_at(t: Tensor) -> Tensor:
            return evaluate(origins[refine] + t[:, None] * directions[refine])

        depth[refine] = secant(distance_at, low, high, f_low, f_high, secant_steps)
    return depth, crosses


def secant(
    distance_at: Callable[[Tensor], Tensor],
    low: Tensor,
    high: Tensor,
    f_low: Tensor,
    f_high: Tensor,
    steps: int,
) -> Float[Tensor, " rays"]:
    """Refine roots bracketed by low (outside, f > 0) and high (inside, f < 0) with the regula falsi.

    Args:
        distance_at: signed distance at one depth for each ray.
        low: depths outside the object.
        high: depths inside the object.
        f_low: distances at `low`.
        f_high: distances at `high`.
        steps: evaluations to spend.
    """
    low, high, f_low, f_high = low.clone(), high.clone(), f_low.clone(), f_high.clone()
    depth = _regula_falsi(low, high, f_low, f_high)
    for _ in range(steps):
        f = distance_at(depth)
        outside = f > 0
        low, f_low = torch.where(outside, depth, low), torch.where(outside, f, f_low)
        high, f_high = torch.where(outside, high, depth), torch.where(outside, f_high, f)
        depth = _regula_falsi(low, high, f_low, f_high)
    return depth


def _regula_falsi(low: Tensor, high: Tensor, f_low: Tensor, f_high: Tensor) -> Tensor:
    span = (f_low - f_high).clamp_min(torch.finfo(f_low.dtype).tiny)
    return low + (high - low) * f_low / span


def least_distance(
    evaluate: DistanceFunction,
    origins: Tensor,
    directions: Tensor,
    near: Tensor,
    far: Tensor,
    meets: Tensor,
    depth: Tensor,
    hit: Tensor,
    lost: Tensor,
    samples: int,
    generator: torch.Generator | None,
) -> Tensor:
    """Depths in which the lost rays have those of their least distance among random depths.

    A ray that hits outside the mask is searched from its hit on; one that misses the sphere takes its closest approach
    to the origin.

    Args:
        evaluate: signed distance at points of unit space.
        origins: of the rays.
        directions: unit vectors.
        near: depths where rays enter the sphere.
        far: depths where they leave it.
        meets: whether they meet the sphere.
        depth: of all rays so far.
        hit: whether they meet the surface.
        lost: the rays to search.
        samples: on each ray.
        generator: of the random depths.
    """
    out = torch.where(lost & ~meets, (-(origins * directions).sum(1)).clamp_min(0), depth)
    at = (lost & meets).nonzero()[:, 0]
    if len(at):
        start = torch.where(hit[at], depth[at], near[at])
        draws = torch.rand(samples, generator=generator, dtype=near.dtype, device=_device(generator, near))
        depths = start[:, None] + draws.to(near.device) * (far[at] - start)[:, None]
        points = origins[at, None] + depths[:, :, None] * directions[at, None]
        least = evaluate(points.reshape(-1, 3)).reshape(len(at), -1).argmin(1)
        out[at] = depths[torch.arange(len(at), device=near.device), least]
    return out


def _device(generator: torch.Generator | None, like: Tensor) -> torch.device:
    return generator.device if generator is not None else like.device


def chunked(sdf: DistanceFunction, chunk: int) -> DistanceFunction:
    """The same function, called with at most `chunk` points."""

    def evaluate(points: Tensor) -> Tensor:
        if len(points) <= chunk:
            return sdf(points)
        return torch.cat([sdf(part) for part in points.split(chunk)])

    return evaluate
