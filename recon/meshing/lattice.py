"""The narrow band: the cells of a fine lattice that hold the surface, found with few evaluations.

The lattice is never held whole. Cells are subdivided from a coarse root down to the wanted size, and at each size only
those that may hold the surface are kept. Two rules choose them:

* Down to the `coarse` size, a child is kept if its parent's corners change sign, or if |sdf| at the corner
  that it shares with its parent is below `lipschitz` times its own diagonal: all of the child is that near
  to this corner, so with a correct Lipschitz bound no part of the surface is lost, not even a small one that
  touches nothing else.
* Below it, a child is kept if the parent's corner values, interpolated to the child's corners and widened by
  a margin for curvature, change sign. This costs about as many evaluations as the surface itself needs, and
  can miss.

What the second rule misses is found by following the surface: where it leaves the kept cells through a face, the cell
beyond is added, until there is none. The result therefore has no open edge.
"""

import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from recon.compiled import compiled
from recon.errors import MeshError
from recon.meshing.tables import CORNER_OFFSETS, FACE_CORNERS

log = logging.getLogger(__name__)

Sdf = Callable[[Float[Tensor, "points 3"]], Float[Tensor, " points"]]

_ROOT = 16  # cells per side, about, of the lattice that is evaluated whole
_CURVATURE_MARGIN = 0.05  # of the parent's edge: how far the interpolated distance may be off
_NEIGHBOURS = np.array(
    [[-1, 0, 0], [1, 0, 0], [0, -1, 0], [0, 1, 0], [0, 0, -1], [0, 0, 1]]
)  # in the order of FACE_CORNERS


@dataclass
class BoundedDistance:
    """A signed distance cut by the bounding sphere, evaluated in chunks, with statistics of its values.

    Its value is max(sdf, |x| - bound), so that what the sphere cuts is closed with a piece of the sphere.

    Attributes:
        sdf: The distance, of points in unit space.
        bound: Radius of the sphere around the origin, unit space.
        margin: Distance outside of the sphere from which on the sdf is not evaluated, unit space.
        device: Where the points are created.
        dtype: Type of the points.
        chunk: Most points per call of `sdf`.
        evaluations: Number of points at which the sdf was evaluated.
        smallest: Smallest of its values inside the sphere.
        largest: Largest of them.
    """

    sdf: Sdf
    bound: float
    margin: float
    device: torch.device
    dtype: torch.dtype
    chunk: int
    evaluations: int = 0
    smallest: float = np.inf
    largest: float = -np.inf

    @torch.no_grad()
    def __call__(self, points: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, " points"]:
        """Signed distances at points, unit space; further outside than the margin those of the sphere alone."""
        values = np.linalg.norm(points, axis=1) - self.bound
        near = np.flatnonzero(values < self.margin)
        for start in range(0, len(near), self.chunk):
            index = near[start : start + self.chunk]
            out = self.sdf(torch.as_tensor(points[index], dtype=self.dtype, device=self.device))
            if out.shape != (len(index),):
                raise MeshError(
                    f"the sdf must return one value per point, shape ({len(index)},); "
                    f"it returned {tuple(out.shape)}"
                )
            distances = out.detach().to("cpu", torch.float64).numpy()
            if not np.isfinite(distances).all():
                bad = points[index[~np.isfinite(distances)][0]]
                raise MeshError(
                    f"the sdf is not finite, for instance at {bad.round(4).tolist()}: "
                    "did the training diverge?"
                )
            self._record(distances[values[index] < 0])
            values[index] = np.maximum(values[index], distances)
        self.evaluations += len(near)
        return values

    def _record(self, distances: Float[np.ndarray, " inside"]) -> None:
        """Update the extremes."""
        if len(distances):
            self.smallest = min(self.smallest, float(distances.min()))
            self.largest = max(self.largest, float(distances.max()))


@dataclass
class Level:
    """The lattice of one size of cell: points with known values, and cells in use with the values at their corners.

    Attributes:
        distance: The distance.
        origin: Coordinate of the first lattice point on every axis, unit space.
        size: Side of a cell, unit space.
        per_side: Number of cells along a side.
        keys: Sorted keys of the points with known values.
        values: Their signed distances.
        cells: Cells in use, by the lattice point of their lowest corner.
        corners: Signed distances at their corners, in the order of `CORNER_OFFSETS`.
    """

    distance: BoundedDistance
    origin: float
    size: float
    per_side: int
    keys: Int[np.ndarray, " known"] = field(default_factory=lambda: np.zeros(0, np.int64))
    values: Float[np.ndarray, " known"] = field(default_factory=lambda: np.zeros(0))
    cells: Int[np.ndarray, "cells 3"] = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    corners: Float[np.ndarray, "cells 8"] = field(default_factory=lambda: np.zeros((0, 8)))

    def point_keys(self, points: Int[np.ndarray, "*any 3"]) -> Int[np.ndarray, "*any"]:
        """A key, one integer, for each lattice point (i, j, k)."""
        side = self.per_side + 1
        return (points[..., 0] * side + points[..., 1]) * side + points[..., 2]

    def point_indices(self, keys: Int[np.ndarray, " keys"]) -> Int[np.ndarray, "keys 3"]:
        """The lattice point (i, j, k) of each key."""
        side = self.per_side + 1
        return np.stack([keys // (side * side), keys // side % side, keys % side], axis=1)

    def position(self, points: Int[np.ndarray, "points 3"]) -> Float[np.ndarray, "points 3"]:
        """Lattice points in unit space."""
        return self.origin + self.size * points

    def add(self, cells: Int[np.ndarray, "new 3"]) -> Float[np.ndarray, "new 8"]:
        """Adds cells that are not in use yet; returns the values at their corners, and evaluates unknown ones."""
        keys, _, inverse = unique_keys(self.point_keys(cells[:, None] + CORNER_OFFSETS).reshape(-1))
        unknown = keys[~_in_sorted(keys, self.keys)]
        if len(unknown):
            merged = np.concatenate([self.keys, unknown])
            values = np.concatenate([self.values, self.distance(self.position(self.point_indices(unknown)))])
            order = np.argsort(merged, kind="stable")
            self.keys, self.values = merged[order], values[order]
        corners = self.values[np.searchsorted(self.keys, keys)][inverse.reshape(-1, 8)]
        self.cells = np.concatenate([self.cells, cells])
        self.corners = np.concatenate([self.corners, corners])
        return corners

    def follow(self) -> None:
        """Adds cells until the surface does not leave those in use through any face."""
        used = np.sort(self.point_keys(self.cells))
        cells, corners = self.cells, self.corners
        for rounds in itertools.count():
            crossed = _mixed(corners[:, FACE_CORNERS])
            beyond = np.concatenate([cells[crossed[:, f]] + step for f, step in enumerate(_NEIGHBOURS)])
            beyond = beyond[((beyond >= 0) & (beyond < self.per_side)).all(axis=1)]
            keys, _, _ = unique_keys(self.point_keys(beyond))
            keys = keys[~_in_sorted(keys, used)]
            if not len(keys):
                log.debug("level of %d cells: the surface was followed in %d rounds", self.per_side, rounds)
                return
            used = np.sort(np.concatenate([used, keys]))
            cells = self.point_indices(keys)
            corners = self.add(cells)

    def active(self) -> Bool[np.ndarray, " cells"]:
        """Whether each cell has corners on both sides of the surface."""
        return _mixed(self.corners)

    def refined(self, children: Int[np.ndarray, "children 3"]) -> "Level":
        """The level of half the cell size with the given cells; values at shared lattice points are kept."""
        finer = Level(self.distance, self.origin, self.size / 2, self.per_side * 2)
        finer.keys = finer.point_keys(2 * self.point_indices(self.keys))  # still sorted
        finer.values = self.values
        finer.add(children)
        return finer

    def near_children(self, lipschitz: float) -> Int[np.ndarray, "children 3"]:
        """The children that can hold surface under a Lipschitz bound (first rule of the module)."""
        # from a corner to the far end of the child that has it
        reach = lipschitz * np.sqrt(3) / 2 * self.size
        keep = self.active()[:, None] | (np.abs(self.corners) < reach)
        cell, child = np.nonzero(keep)
        return 2 * self.cells[cell] + CORNER_OFFSETS[child]

    def predicted_children(self) -> Int[np.ndarray, "children 3"]:
        """The children that the interpolated corner values give surface (second rule of the module)."""
        margin = _CURVATURE_MARGIN * self.size
        keep = (self.corners.min(axis=1) < margin) & (self.corners.max(axis=1) > -margin)
        cells, corners = self.cells[keep], self.corners[keep]
        nodes = _subdivided(corners)  # (cells, 3, 3, 3), indexed z, y, x
        children = []
        for offset in CORNER_OFFSETS:
            x, y, z = offset
            block = nodes[:, z : z + 2, y : y + 2, x : x + 2].reshape(-1, 8)
            chosen = (block.min(axis=1) < margin) & (block.max(axis=1) > -margin)
            children.append(2 * cells[chosen] + offset)
        return np.concatenate(children)


def unique_keys(
    keys: Int[np.ndarray, " keys"],
) -> tuple[Int[np.ndarray, " unique"], Int[np.ndarray, " unique"], Int[np.ndarray, " keys"]]:
    """The different ones of some keys, sorted, where each is found first, and which one each key is.

    As `np.unique`, but only the different ones are sorted: keys here come four to eight times.
    """
    first, number = _numbered(keys, 2 ** int(np.ceil(np.log2(max(len(keys), 8)))))
    order = np.argsort(keys[first])
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return keys[first][order], first[order], place[number]


@compiled
def _numbered(keys: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each different key is found first, in that order, and the number of each key, by a table of hashes."""
    table = np.full(size, -1, dtype=np.int32)
    first, number = np.empty(len(keys), dtype=np.int64), np.empty(len(keys), dtype=np.int64)
    count = 0
    for i in range(len(keys)):
        # neighbours in x, y and z, most often asked for one after the other, lie near each other in the table
        at = (keys[i] ^ (keys[i] >> 17) * 0x9E3779B1) & (size - 1)
        while table[at] >= 0 and keys[first[table[at]]] != keys[i]:
            at = (at + 1) & (size - 1)
        if table[at] < 0:
            table[at] = count
            first[count] = i
            count += 1
        number[i] = table[at]
    return first[:count], number


def _subdivided(corners: Float[np.ndarray, "cells 8"]) -> Float[np.ndarray, "cells 3 3 3"]:
    """Trilinear values at the 27 nodes of cells subdivided in two along each axis."""
    block = corners.reshape(-1, 2, 2, 2)
    for axis in (1, 2, 3):
        low, high = np.take(block, [0], axis), np.take(block, [1], axis)
        block = np.concatenate([low, (low + high) / 2, high], axis)
    return block


def _mixed(values: Float[np.ndarray, "*some corners"]) -> Bool[np.ndarray, "*some"]:
    """Whether some values are inside (negative) and some are not."""
    inside = np.asarray(values < 0)
    return np.logical_and(inside.any(axis=-1), ~inside.all(axis=-1))


def _in_sorted(keys: Int[np.ndarray, " keys"], table: Int[np.ndarray, " known"]) -> Bool[np.ndarray, " keys"]:
    if not len(table):
        return np.zeros(len(keys), bool)
    return table[np.minimum(np.searchsorted(table, keys), len(table) - 1)] == keys


def narrow_band(distance: BoundedDistance, *, resolution: int, coarse: int, lipschitz: float) -> Level:
    """Finds the cells that hold the surface.

    Args:
        distance: The distance; the lattice covers its bounding sphere with a margin of one cell.
        resolution: Cells per diameter of the sphere.
        coarse: Cells per diameter down to which the Lipschitz rule holds.
        lipschitz: Upper bound of the sdf's gradient norm, with whatever safety the caller wants.

    Returns:
        The finest level, surface followed; cells without a sign change may be among its cells.
    """
    size = 2 * distance.bound / resolution
    halvings = max(0, int(np.ceil(np.log2(resolution / _ROOT))))
    per_side = -(-(resolution + 2) // 2**halvings)
    level = Level(distance, -distance.bound - size, size * 2**halvings, per_side)
    level.add(np.stack(np.meshgrid(*[np.arange(per_side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3))
    for _ in range(halvings):
        if 2 * distance.bound / level.size < coarse - 0.5:
            level = level.refined(level.near_children(lipschitz))
        else:
            level.follow()
            level = level.refined(level.predicted_children())
    level.follow()
    return level
