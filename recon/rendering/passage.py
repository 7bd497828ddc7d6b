"""What rays pass in a grid of distances: crossings and least distances, without a question to the network."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from recon.rendering.distance_grid import DistanceGrid

LEAST_RATE = 0.1  # the signed distance falls at least this fast along a ray that a secant step trusts
SUBDIVISIONS = 8  # samples of the second, finer look about a crossing or a least distance


@dataclass(frozen=True)
class Passage:
    """What rays pass in a grid.

    Attributes:
        hit: whether they meet the surface.
        depth: where first; of the least distance for the others.
        rate: how fast the distance falls there along the ray, at least `LEAST_RATE`.
        least: depth of the least distance.
    """

    hit: Bool[Tensor, " rays"]
    depth: Float[Tensor, " rays"]
    rate: Float[Tensor, " rays"]
    least: Float[Tensor, " rays"]


def march(
    grid: DistanceGrid,
    origins: Float[Tensor, "rays 3"],
    directions: Float[Tensor, "rays 3"],
    near: Float[Tensor, " rays"],
    far: Float[Tensor, " rays"],
    samples: int,
) -> Passage:
    """First crossings and least distances along rays, by uniform samples and a finer look about the chosen one.

    All shapes depend on the numbers of rays and samples alone, and nothing is read back.

    Args:
        grid: the distances.
        origins: of the rays, in unit space.
        directions: unit vectors.
        near: depths where to begin.
        far: depths where to end.
        samples: on each ray.
    """
    along = torch.linspace(0, 1, samples, dtype=near.dtype, device=near.device)
    depths = near[:, None] + along * (far - near)[:, None]
    distances = grid.at(origins[:, None] + depths[..., None] * directions[:, None])
    inside = distances < 0
    hit = inside.any(1)
    first = inside.to(torch.uint8).argmax(1)  # the first of equal maxima
    deepest = distances.argmin(1)
    step = (far - near) / (samples - 1)

    # The neighbours of the sample: before a crossing there is one outside, about a least distance two above.
    centre = torch.where(hit, first, deepest)
    fine = torch.linspace(-1, 1, 2 * SUBDIVISIONS + 1, dtype=near.dtype, device=near.device)
    middle = near + centre * step
    finer = (middle[:, None] + fine * step[:, None]).maximum(near[:, None]).minimum(far[:, None])
    values = grid.at(origins[:, None] + finer[..., None] * directions[:, None])
    within = values < 0
    crossed = within.any(1)
    high = within.to(torch.uint8).argmax(1)
    low = (high - 1).clamp_min(0)
    t_low, t_high = _pick(finer, low), _pick(finer, high)
    f_low, f_high = _pick(values, low), _pick(values, high)
    span = (t_high - t_low).clamp_min(torch.finfo(near.dtype).eps)
    rate = ((f_low - f_high) / span).clamp_min(LEAST_RATE)
    root = t_high + (f_high / rate).maximum(t_low - t_high)
    least = torch.where(hit, _pick(depths, deepest), _pick(finer, values.argmin(1)))
    return Passage(crossed, torch.where(crossed, root, least), rate, least)


def _pick(values: Float[Tensor, "rays samples"], index: Tensor) -> Float[Tensor, " rays"]:
    """One value of each ray."""
    return values.gather(1, index[:, None])[:, 0]
