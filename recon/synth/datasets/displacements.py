"""Smooth displacements of space through given displacements of points, as quadratic B-splines on a lattice."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import sparse

from recon.fields import FeatureGrid

BENDING, STRETCHING, ANCHOR = 1e-2, 1e-5, 1e-6
"""Weights of the squares of second and first differences of neighbouring values, and of the values, relative to one
square of the distance from a point's wanted displacement in each cell that has points.
"""
STEPS, TOLERANCE = 200, 1e-3
DENSITY_MM = 4.0
"""Points of one cube of this size count together as one."""


@dataclass(frozen=True)
class Lattice:
    """A lattice of spline values over a box.

    Attributes:
        low: Lower corner of the box, canonical unit space.
        high: Upper corner.
        cells: Cells along x, y, z.
        closed: Whether values at the border are 0, so that displacements end there.
    """

    low: Sequence[float]
    high: Sequence[float]
    cells: Sequence[int]
    closed: bool = False

    @cached_property
    def grid(self) -> FeatureGrid:
        """Geometry of the lattice."""
        return FeatureGrid(self.low, self.high, self.cells, 1)

    @cached_property
    def free(self) -> Bool[np.ndarray, " nodes"]:
        """Whether a value is not held at 0."""
        free = np.ones(self.grid.shape, bool)
        if self.closed:
            free[:] = False
            free[3:-3, 3:-3, 3:-3] = True
        return free.ravel()

    @cached_property
    def smoothness(self) -> sparse.csr_matrix:
        """Quadratic form of the free values that is small where they change smoothly."""
        place = np.arange(int(np.prod(self.grid.shape))).reshape(self.grid.shape)
        pairs = []
        for axis in range(3):
            along = np.moveaxis(place, axis, 0)
            pairs.append(np.stack([along[:-1].ravel(), along[1:].ravel()]))
        one, other = np.concatenate(pairs, axis=1)
        neighbour = sparse.csr_matrix((np.ones(len(one)), (one, other)), (place.size, place.size))
        neighbour = neighbour + neighbour.T
        laplacian = sparse.diags(np.asarray(neighbour.sum(1)).ravel()) - neighbour
        whole = BENDING * (laplacian @ laplacian) + STRETCHING * laplacian + ANCHOR * sparse.eye(place.size)
        return whole.tocsr()[self.free][:, self.free]

    def at(self, points: Float[np.ndarray, "points 3"]) -> sparse.csr_matrix:
        """Matrix that interpolates the free values at points."""
        index, weight = self.grid.taps(torch.from_numpy(points).float())
        ends = np.arange(0, 27 * len(points) + 1, 27)
        shape = (len(points), len(self.grid.values))
        matrix = sparse.csr_matrix((weight.double().numpy().ravel(), index.numpy().ravel(), ends), shape)
        return matrix[:, self.free]

    def whole(self, free: Float[np.ndarray, "free channels"]) -> Float[np.ndarray, "nodes channels"]:
        """Values of all nodes from the free ones."""
        result = np.zeros((len(self.free), free.shape[1]), np.float32)
        result[self.free] = free
        return result


def density_weights(points: Float[np.ndarray, "points 3"], size: float) -> Float[np.ndarray, " points"]:
    """Weights by which the points of each cube of a size count together as one."""
    _, place, count = np.unique(np.floor(points / size), axis=0, return_inverse=True, return_counts=True)
    result: np.ndarray = 1 / count[place.ravel()]
    return result


def fitted_displacements(
    lattice: Lattice,
    points: Float[np.ndarray, "points 3"],
    wanted: Float[np.ndarray, "points channels"],
    density: float,
) -> Float[np.ndarray, "nodes channels"]:
    """Fits displacements at points, by conjugate gradients; all channels are fitted at once.

    Args:
        lattice: Lattice of the values.
        points: Points, canonical unit space.
        wanted: Wanted displacements, of any unit.
        density: Size of the cubes whose points count together as one.
    """
    matrix = lattice.at(points)
    weighted = sparse.diags(density_weights(points, density)) @ matrix
    normal = (matrix.T @ weighted + lattice.smoothness).tocsr()
    target = weighted.T @ wanted
    scale = 1 / normal.diagonal()[:, None]
    found, left = np.zeros_like(target), target.copy()
    ahead = scale * left
    size = (left * ahead).sum(0)
    enough = TOLERANCE * np.linalg.norm(target, axis=0)
    for _ in range(STEPS):
        product = normal @ ahead
        step = size / np.maximum((ahead * product).sum(0), 1e-300)
        found += step * ahead
        left -= step * product
        if (np.linalg.norm(left, axis=0) <= enough).all():
            break
        preconditioned = scale * left
        following = (left * preconditioned).sum(0)
        ahead = preconditioned + following / np.maximum(size, 1e-300) * ahead
        size = following
    return lattice.whole(found)


def without_similarity(
    modes: Float[np.ndarray, "points modes 3"],
    points: Float[np.ndarray, "points 3"],
    landmarks: Int[np.ndarray, " landmarks"],
) -> Float[np.ndarray, "points modes 3"]:
    """Takes from displacements the infinitesimal similarity that fits them at landmarks best: a head is brought to the
    canonical frame by these.

    Args:
        modes: Displacements.
        points: Where they are.
        landmarks: Numbers of the landmarks among the points.
    """
    arm = points - points[landmarks].mean(axis=0)
    columns = [np.broadcast_to(axis, arm.shape) for axis in np.eye(3)]
    columns += [np.cross(axis, arm) for axis in np.eye(3)] + [arm]
    similarities = np.stack(columns, axis=-1)  # points, 3, 7
    at_landmarks = similarities[landmarks].reshape(-1, 7)
    wanted = modes[landmarks].transpose(0, 2, 1).reshape(len(at_landmarks), -1)
    share = np.linalg.lstsq(at_landmarks, wanted, rcond=None)[0]
    result: np.ndarray = modes - np.einsum("pds,sk->pkd", similarities, share)
    return result
