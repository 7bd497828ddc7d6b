"""The unknown values of a lattice about a surface, and how smooth they are expected to be."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from scipy.ndimage import binary_dilation
from torch import Tensor

from recon.fields import FeatureGrid

LAYERS = 5
"""Values across the surface: those that points of it depend on, and their neighbours."""


@dataclass(frozen=True)
class Band:
    """Values of a grid that are unknown: those about points of a surface.

    Attributes:
        grid: The grid.
        nodes: Their numbers in it.
        place: For every value of the grid its place among them, or −1.
    """

    grid: FeatureGrid
    nodes: Int[np.ndarray, " unknowns"]
    place: Int[np.ndarray, " values"]

    @classmethod
    def about(cls, grid: FeatureGrid, points: Float[Tensor, "points 3"]) -> "Band":
        """Values that points of a surface depend on, and their neighbours."""
        inside = np.zeros(len(grid.values), bool)
        inside[grid.taps(points.float())[0].numpy().ravel()] = True
        inside = binary_dilation(inside.reshape(grid.shape)).ravel()
        nodes = np.flatnonzero(inside)
        place = np.full(len(inside), -1)
        place[nodes] = np.arange(len(nodes))
        return cls(grid, nodes, place)

    def rows(
        self, points: Float[Tensor, "rows 3"], factor: Float[Tensor, " rows"]
    ) -> Float[sparse.csr_matrix, "rows unknowns"]:
        """Derivative of factor times the grid's function at points by the unknown values."""
        index, weight = self.grid.taps(points.float())
        column = self.place[index.numpy().ravel()]
        # Values outside the band are known to be 0.
        values = np.where(column >= 0, (weight * factor[:, None]).double().numpy().ravel(), 0.0)
        ends = np.arange(0, 27 * len(points) + 1, 27)
        shape = (len(points), len(self.nodes))
        return sparse.csr_matrix((values, np.maximum(column, 0), ends), shape)

    def precision(self, length: float, sigma: float) -> Float[sparse.csr_matrix, "unknowns unknowns"]:
        """Inverse covariance c (1/ℓ² + L)², L the lattice's Laplacian: Matérn's kind, so that over a surface values
        are alike over some ℓ (Lindgren, Rue and Lindström, 2011, section 2).

        Args:
            length: ℓ in cells.
            sigma: Standard deviation of the values, about; it sets c.
        """
        place = self.place.reshape(self.grid.shape)
        links = []
        for axis in range(3):
            along = np.moveaxis(place, axis, 0)
            pair = np.stack([along[:-1].ravel(), along[1:].ravel()])
            links.append(pair[:, (pair >= 0).all(0)])
        one, other = np.concatenate(links, axis=1)
        count = len(self.nodes)
        neighbour = sparse.csr_matrix((np.ones(len(one)), (one, other)), (count, count))
        neighbour = neighbour + neighbour.T
        degree = np.asarray(neighbour.sum(1)).ravel()
        root = sparse.diags(degree + length**-2) - neighbour
        return (root @ root) * (length**2 / (4 * np.pi * LAYERS * sigma**2))
