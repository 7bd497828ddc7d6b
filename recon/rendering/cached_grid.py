"""A signed distance remembered on a lattice: fine about the surface, coarse elsewhere."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import grid_sample, interpolate, pad

from recon.rendering.search import DistanceFunction, chunked

STRIDES = (4, 2, 1)
"""Cells of the lattice along the side of a cell of each lattice that a whole refresh goes through."""
REACHES = (0.87, 0.4)
"""A cell is halved if the distance at a corner is less than so much of its side: half its diagonal at first, so that
nothing small is lost; then only for what is thinner than a cell."""


class CachedSDFGrid(nn.Module):
    """Signed distances at the nodes of a lattice over the cube about the sphere, trilinear between them.

    The nodes are those of all cells that the surface passes; further away the values come from lattices of two and
    four times the cell. The values are a buffer: what was remembered when a run stopped is there when it goes on.

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
        """Ask for the distance everywhere, from coarse to fine; the finer lattices only near the surface.

        No part of the surface is lost that a cell of the coarsest lattice resolves, or that comes within its cell
        of a node by the distance there.

        Returns:
            Number of evaluations.
        """
        evaluate = chunked(sdf, self.chunk)
        nodes = self.cells // STRIDES[0] + 1
        values = self.values.new_zeros(1, 1, nodes, nodes, nodes)
        asked = self._ask(evaluate, values, torch.ones_like(values, dtype=torch.bool))
        for stride, finer, reach in zip(STRIDES, STRIDES[1:], REACHES, strict=False):
            near = values.abs() < reach * stride * self.cell
            halved = _passed(values) | _cells_of(near)
            nodes = self.cells // finer + 1
            values = interpolate(values, size=(nodes,) * 3, mode="trilinear", align_corners=True)
            asked += self._ask(evaluate, values, _corners(_halves(halved)))
        self.values.copy_(values)
        return asked

    @torch.no_grad()
    def follow(self, sdf: DistanceFunction) -> int:
        """Ask for the distance only at the corners of the cells that the surface passes.

        Returns:
            Number of evaluations.
        """
        return self._ask(chunked(sdf, self.chunk), self.values, _corners(_passed(self.values)))

    def at(self, points: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape"]:
        """Trilinear distances at points of unit space; outside the cube those of its border."""
        places = (points / self.radius).to(self.values.dtype).reshape(1, -1, 1, 1, 3)
        found = grid_sample(self.values, places, padding_mode="border", align_corners=True)
        return found.reshape(points.shape[:-1]).to(points.dtype)

    def _ask(self, evaluate: DistanceFunction, values: Tensor, wanted: Tensor) -> int:
        """Write the distances of the wanted nodes into a lattice; number of nodes. Nodes well outside of the sphere
        get their distance from it, since no ray comes there.
        """
        index = wanted.flatten().nonzero()[:, 0]
        points = self._places(index, values.shape[-1])
        beyond = points.norm(dim=1) - self.radius
        reach = 2 * self.radius / (values.shape[-1] - 1)
        inner = (beyond < reach).nonzero()[:, 0]
        found = beyond
        found[inner] = evaluate(points[inner]).to(found.dtype)
        values.view(-1)[index] = found
        return len(inner)

    def _places(self, index: Int[Tensor, " n"], nodes: int) -> Float[Tensor, "n 3"]:
        """Positions of nodes of a lattice in unit space."""
        x, y, z = index % nodes, index // nodes % nodes, index // nodes**2
        return (torch.stack([x, y, z], dim=1) * (2 / (nodes - 1)) - 1).to(self.values.dtype) * self.radius


def _passed(values: Float[Tensor, "1 1 d h w"]) -> Bool[Tensor, "1 1 _ _ _"]:
    """The cells whose corners have both signs."""
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


def _halves(cells: Bool[Tensor, "1 1 d h w"]) -> Bool[Tensor, "1 1 _ _ _"]:
    """The cells of half the side that cells consist of."""
    for axis in (2, 3, 4):
        cells = cells.repeat_interleave(2, axis)
    return cells


LEAST_RATE = 0.1  # the signed distance falls at least this fast along a ray that a secant step trusts
SUBDIVISIONS = 8  # samples of the second, finer look about a crossing or a least distance


@dataclass(frozen=True)
class GridMarch:
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
    grid: CachedSDFGrid,
    origins: Float[Tensor, "rays 3"],
    directions: Float[Tensor, "rays 3"],
    near: Float[Tensor, " rays"],
    far: Float[Tensor, " rays"],
    samples: int,
) -> GridMarch:
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
    return GridMarch(crossed, torch.where(crossed, root, least), rate, least)


def _pick(values: Float[Tensor, "rays samples"], index: Tensor) -> Float[Tensor, " rays"]:
    """One value of each ray."""
    return values.gather(1, index[:, None])[:, 0]
