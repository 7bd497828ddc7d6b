"""Learns from portraits how bright the faces of a family are: a mean and a few components, light taken out."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.linalg import lstsq, solve, svd

COLUMNS_RIDGE, ROUNDS = 0.02, 15
OUTLIER = 0.5
"""Brightness that differs from the mean by this, as a logarithm, has half its say in finding the light."""


@dataclass(frozen=True)
class Brightness:
    """Brightness of points of faces, as logarithms without light, at one blur.

    Attributes:
        mean: Over people.
        components: How people differ, each times its standard deviation.
        sigma: Standard deviation of what is left.
    """

    mean: Float[np.ndarray, " marks"]
    components: Float[np.ndarray, "marks components"]
    sigma: Float[np.ndarray, " marks"]


def fit_brightness(
    values: Float[np.ndarray, "portraits marks"],
    visible: Bool[np.ndarray, "portraits marks"],
    light: Float[np.ndarray, "portraits marks columns"],
    components: int = 12,
) -> Brightness:
    """Mean and principal components of portraits whose light is unknown, and which do not show everything.

    Alternates between the light of each portrait and the components of all; what a portrait does not show is filled
    in with what the components say (Roweis, EM algorithms for PCA, 1998).

    Args:
        values: Logarithms of luminance.
        visible: Which of them a portrait shows.
        light: Columns that light may add of each portrait, times any numbers.
        components: How many to keep.
    """
    count, marks = values.shape
    mean, found = np.zeros(marks), np.zeros((marks, components))
    filled = np.zeros(values.shape)
    columns = light.shape[2]
    for _ in range(ROUNDS):
        for row in range(count):
            seen = visible[row]
            left = values[row, seen] - mean[seen]
            weight = 1 / (1 + ((left - np.median(left)) / OUTLIER) ** 2)
            matrix = np.concatenate([light[row], found], axis=1)
            part = matrix[seen] * weight[:, None]
            ridge = COLUMNS_RIDGE * np.eye(matrix.shape[1])
            share = solve(part.T @ matrix[seen] + ridge, part.T @ left)
            unlit = values[row] - light[row] @ share[:columns]
            filled[row] = np.where(seen, unlit, mean + found @ share[columns:])
        mean = filled.mean(axis=0)
        _, scale, rows = svd(filled - mean, full_matrices=False)
        found = rows[:components].T * scale[:components] / np.sqrt(count)
    rest = np.array([_rest(filled[row] - mean, found, visible[row]) for row in range(count)])
    return Brightness(mean - mean.mean(), found, np.sqrt(np.nanmean(rest**2, axis=0)))


def _rest(
    values: Float[np.ndarray, " marks"],
    components: Float[np.ndarray, "marks components"],
    seen: Bool[np.ndarray, " marks"],
) -> Float[np.ndarray, " marks"]:
    """What components do not explain of the marks seen; nan elsewhere."""
    prior = 0.3 * np.eye(components.shape[1])
    matrix = np.concatenate([components[seen], prior])
    share = lstsq(matrix, np.concatenate([values[seen], np.zeros(len(prior))]), rcond=None)[0]
    return np.where(seen, values - components @ share, np.nan)
