"""A signed distance cached on a grid, fine about the surface and coarse elsewhere, and rays marched through it."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import grid_sample, interpolate, pad

from recon.rendering.search import DistanceFunction, chunked

STRIDES = (4, 2, 1)
"""Side of the cells of each level of a whole refresh, coarse to fine, in cells of the grid."""
REACHES = (0.87, 0.4)
"""A cell is subdivided if the distance at a corner is less than this share of its side: half its diagonal at first, so
that nothing small is lost; then less, for what is thinner than a cell."""

LEAST_RATE = 0.1  # least decrease of the distance per unit of depth that a secant step assumes
SUBDIVISIONS = 8  # samples on either side of a crossing or a least distance in the second, finer search


class CachedSDFGrid(nn.Module):
    """A cache of signed distances at the nodes of a grid over the cube about the sphere, trilinear between them.

    Values are evaluated at the corners of all cells that the surface crosses; further away they are interpolated from
    levels with cells of twice and four times the side. They are a buffer, so that a resumed run goes on with them.

    Args:
        cells: along the side of the cube, a multiple of 4.
        radius: of the sphere, in unit space.
        chunk: most points for one call of the distance function.
    """

    values: Tensor

    def __init__(self, cells: int, radius: float, chunk: int) -> None:
        super().__init__()
        self.cells, self.radius, self.chunk = cells, radius, chunk
        nodes = cells + 1
        self.register_buffer("values", torch.ones(1, 1, nodes, nodes, nodes))  # z, y, x

    @property
    def cell(self) -> float:
        """Side of a cell, in unit space."""
        return 2 * self.radius / self.cells

    @torch.no_grad()
    def refresh(self, sdf: DistanceFunction) -> int:
        """Evaluate the whole grid anew, from coarse to fine; the finer levels only near the surface.

        No part of the surface is lost that a cell of the coarsest level resolves, or whose distance from a node of it
        shows that it lies within a cell there.

        Returns:
            Number of evaluations.
        """
        evaluate = chunked(sdf, self.chunk)
        nodes = self.cells // STRIDES[0] + 1
        values = self.values.new_zeros(1, 1, nodes, nodes, nodes)
        evaluations = self._evaluate(evaluate, values, torch.ones_like(values, dtype=torch.bool))
        for stride, finer, reach in zip(STRIDES, STRIDES[1:], REACHES, strict=False):
            near = values.abs() < reach * stride * self.cell
            divided = _crossed(values) | _cells_of(near)
            nodes = self.cells // finer + 1
            values = interpolate(values, size=(nodes,) * 3, mode="trilinear", align_corners=True)
            evaluations += self._evaluate(evaluate, values, _corners(_subdivided(divided)))
        self.values.copy_(values)
        return evaluations

    @torch.no_grad()
    def refresh_surface(self, sdf: DistanceFunction) -> int:
        """Evaluate the distance anew at the corners of the cells that the surface crosses.

        Returns:
            Number of evaluations.
        """
        return self._evaluate(chunked(sdf, self.chunk), self.values, _corners(_crossed(self.values)))

    def interpolate(self, points: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape"]:
        """Trilinear distances at points of unit space; outside the cube those of its border."""
        places = (points / self.radius).to(self.values.dtype).reshape(1, -1, 1, 1, 3)
        found = grid_sample(self.values, places, padding_mode="border", align_corners=True)
        return found.reshape(points.shape[:-1]).to(points.dtype)

    def _evaluate(self, evaluate: DistanceFunction, values: Tensor, wanted: Tensor) -> int:
        """Write the distances at the wanted nodes into the values of a level.

        Nodes well outside of the sphere get their distance from it, since no ray comes there.

        Returns:
            Number of evaluations.
        """
        index = wanted.flatten().nonzero()[:, 0]
        points = self._positions(index, values.shape[-1])
        beyond = points.norm(dim=1) - self.radius
        reach = 2 * self.radius / (values.shape[-1] - 1)
        inner = (beyond < reach).nonzero()[:, 0]
        found = beyond
        found[inner] = evaluate(points[inner]).to(found.dtype)
        values.view(-1)[index] = found
        return len(inner)

    def _positions(self, index: Int[Tensor, " n"], nodes: int) -> Float[Tensor, "n 3"]:
        """Positions of nodes of a level in unit space."""
        x, y, z = index % nodes, index // nodes % nodes, index // nodes**2
        return (torch.stack([x, y, z], dim=1) * (2 / (nodes - 1)) - 1).to(self.values.dtype) * self.radius


@dataclass(frozen=True)
class GridMarch:
    """Intersections of rays with the surface of a grid.

    Attributes:
        hit: whether a ray meets the surface.
        depth: depth of the first crossing, in unit space; of the least distance for rays without one.
        rate: decrease of the distance per unit of depth there, at least `LEAST_RATE`.
        least: depth of the least distance.
    """

    hit: Bool[Tensor, " rays"]
    depth: Float[Tensor, " rays"]
    rate: Float[Tensor, " rays"]
    least: Float[Tensor, " rays"]


def march(
    grid: CachedSDFGrid,
    origins: Float[Tensor, "rays 3"],
    directions: Float[Tensor, "rays 3"],
    near: Float[Tensor, " rays"],
    far: Float[Tensor, " rays"],
    samples: int,
) -> GridMarch:
    """First crossings and least distances along rays, by uniform samples and then finer ones about the chosen sample.

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
    distances = grid.interpolate(origins[:, None] + depths[..., None] * directions[:, None])
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
    values = grid.interpolate(origins[:, None] + finer[..., None] * directions[:, None])
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
    return GridMarch(crossed, torch.where(crossed, root, least), rate, least)


def _crossed(values: Float[Tensor, "1 1 d h w"]) -> Bool[Tensor, "1 1 _ _ _"]:
    """The cells that the surface crosses: their corners have both signs."""
    inside = values < 0
    return _cells_of(inside) & _cells_of(~inside)


def _cells_of(nodes: Bool[Tensor, "1 1 d h w"]) -> Bool[Tensor, "1 1 _ _ _"]:
    """The cells that have one of the nodes as a corner."""
    for axis in (2, 3, 4):
        count = nodes.shape[axis] - 1
        nodes = nodes.narrow(axis, 0, count) | nodes.narrow(axis, 1, count)
    return nodes


def _corners(cells: Bool[Tensor, "1 1 d h w"]) -> Bool[Tensor, "1 1 _ _ _"]:
    """The nodes that are corners of cells."""
    return _cells_of(pad(cells, (1, 1, 1, 1, 1, 1)))


def _subdivided(cells: Bool[Tensor, "1 1 d h w"]) -> Bool[Tensor, "1 1 _ _ _"]:
    """The cells of half the side into which cells are divided."""
    for axis in (2, 3, 4):
        cells = cells.repeat_interleave(2, axis)
    return cells


def _pick(values: Float[Tensor, "rays samples"], index: Tensor) -> Float[Tensor, " rays"]:
    """One value of each ray."""
    return values.gather(1, index[:, None])[:, 0]
