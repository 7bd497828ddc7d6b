"""A family at half the resolution of its lattice: what a fit begins with, since it costs an eighth."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float, Int32
from torch import Tensor

from recon.priors.grid_family import nearest_rows

ROWS_AT_A_TIME = 4096


def halved(
    state: Mapping[str, Tensor], inside: Bool[np.ndarray, "x y z"], row_of: Int32[np.ndarray, "x2 y2 z2"]
) -> dict[str, Tensor]:
    """State of a family whose cells are twice as large, about the same heads to some tenths of a millimetre.

    Two neighbouring values of a quadratic spline have the mean that the spline has between them, so eight have that
    of the middle of a coarse cell; the mean head is sharpened to go through it.

    Args:
        state: Of the family: `rows`, `mean.values`.
        inside: Its nodes that have a row.
        row_of: The row of every value, a border of one included.
    """
    mean = state["mean.values"].numpy().reshape(row_of.shape)
    taps = [_taps(n) for n in inside.shape]
    coarse = np.zeros(tuple(len(low) for low, _ in taps), mean.dtype)
    own = np.zeros(coarse.shape, dtype=bool)
    numbers = np.empty((*coarse.shape, 8), np.int32)
    padded = np.pad(inside, 1)
    for corner, (i, j, k) in enumerate(np.ndindex(2, 2, 2)):
        at = np.ix_(taps[0][i], taps[1][j], taps[2][k])
        coarse += mean[at] / 8
        own |= padded[at]
        numbers[..., corner] = row_of[at]
    inner = own[1:-1, 1:-1, 1:-1]
    gathered = torch.from_numpy(numbers[1:-1, 1:-1, 1:-1][inner])
    rows = torch.empty(len(gathered), state["rows"].shape[1], dtype=state["rows"].dtype)
    for part, into in zip(gathered.split(ROWS_AT_A_TIME), rows.split(ROWS_AT_A_TIME), strict=True):
        into.copy_(state["rows"][part].float().mean(dim=1))
    return {
        "mean.values": torch.from_numpy(_sharpened(coarse).reshape(-1, 1)),
        "rows": rows,
        "row_of": torch.from_numpy(nearest_rows(inner).ravel()),
    }


def _taps(cells: int) -> tuple[np.ndarray, np.ndarray]:
    """The two values, a border of one included, that each coarse value of one axis stands for."""
    first = 2 * np.arange(-1, -(-cells // 2) + 1) + 1
    return first.clip(0, cells + 1), (first + 1).clip(0, cells + 1)


def _sharpened(values: Float[np.ndarray, "x y z"]) -> Float[np.ndarray, "x y z"]:
    """Values of a quadratic spline that nearly goes through the given ones at its nodes."""
    result = values.copy()
    for axis in range(3):
        moved = np.moveaxis(values, axis, 0)
        np.moveaxis(result, axis, 0)[1:-1] -= (moved[:-2] - 2 * moved[1:-1] + moved[2:]) / 8
    return result
