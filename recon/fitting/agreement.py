"""Where a changed head explains pixels better that had no say in the change."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter
from torch import Tensor

from recon.fields import FeatureGrid
from recon.fitting.comparisons import Comparison, unshaded
from recon.fitting.weights import robust_cost, typical

PARTS = 5
"""One cell of so many is held out."""


def held_out(points: Float[Tensor, "points 3"], cell_unit: float) -> Bool[Tensor, " points"]:
    """Whether points are in cells of space that are held out: a fifth of all, spread evenly.

    Cells of space rather than blocks of pixels: a place that one photograph held out would have its say through
    the others.

    Args:
        points: Canonical unit space.
        cell_unit: Size of the cells.
    """
    cell = (points / cell_unit).floor().long()
    return (cell[:, 0] + 2 * cell[:, 1] + 3 * cell[:, 2]) % PARTS == 0


def gains(
    before: Sequence[Comparison], after: Sequence[Comparison], held: Sequence[Bool[Tensor, " _"]]
) -> tuple[Float[Tensor, "all 3"], Float[Tensor, " all"]]:
    """Where residuals are held out, and by how much their robust cost falls, times their share.

    Args:
        before: Residuals of the head as it was.
        after: The same of the changed head.
        held: Which of them are held out.
    """
    points, gain = [torch.zeros(0, 3)], [torch.zeros(0)]
    for old, new, out in zip(before, after, held, strict=True):
        if not out.any():
            continue
        left = [unshaded(rows, ~out)[out] for rows in (old, new)]
        level = max(old.floor, typical(left[0]))
        share = torch.minimum(old.share, new.share)[out]
        points.append(old.points[out].float())
        gain.append((share * (robust_cost(left[0] / level) - robust_cost(left[1] / level))).float())
    return torch.cat(points), torch.cat(gain)


def gate(
    points: Float[Tensor, "rows 3"],
    gain: Float[Tensor, " rows"],
    grid: FeatureGrid,
    cell_unit: float,
    radius_unit: float,
    certain: tuple[float, float],
) -> Float[np.ndarray, "x y z"]:
    """For every value of a grid how far held-out residuals about it speak for the change: from 0, not, to 1.

    Gains within one cell are summed first, since they are not independent; then their mean over a neighbourhood
    is divided by what it would scatter by if there were no gain.

    Args:
        points: Of the held-out residuals, canonical unit space.
        gain: Fall of their costs.
        grid: Whose values.
        cell_unit: Size of the held-out cells.
        radius_unit: Standard deviation of the neighbourhood.
        certain: Standard errors from which a gain begins to count, and from which it counts fully.
    """
    sums, squares = np.zeros(grid.shape, np.float64), np.zeros(grid.shape, np.float64)
    if len(points):
        cells = (points / cell_unit).floor().long()
        _, cell, count = torch.unique(cells, dim=0, return_inverse=True, return_counts=True)
        total = torch.zeros(len(count)).index_add(0, cell, gain).double()
        middle = torch.zeros(len(count), 3).index_add(0, cell, points) / count[:, None]
        node = tuple((((middle - grid.low) / grid.cell).floor() + 1).long().T.numpy())
        np.add.at(sums, node, total.numpy())
        np.add.at(squares, node, total.square().numpy())
    sigma = radius_unit / float(grid.cell[0])
    # A Gaussian's square is a Gaussian narrower by √2, times a constant.
    narrow = gaussian_filter(squares, sigma / np.sqrt(2), mode="constant", truncate=5.0)
    error = np.sqrt(narrow * (4 * np.pi * sigma**2) ** -1.5)
    mean = gaussian_filter(sums, sigma, mode="constant", truncate=3.5)
    score = np.where(error > 0, mean / np.maximum(error, 1e-300), -np.inf)
    step = np.clip((score - certain[0]) / (certain[1] - certain[0]), 0.0, 1.0)
    result: np.ndarray = step * step * (3 - 2 * step)
    return result
