"""Learns from portraits how bright the faces of a family are: a mean, what the code tells, and a few components for how
people differ, light taken out.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.linalg import cholesky, lstsq, solve, svd

from recon.priors.landmarks import fit_linear

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
        scores: How much of each component each portrait has.
    """

    mean: Float[np.ndarray, " marks"]
    components: Float[np.ndarray, "marks components"]
    sigma: Float[np.ndarray, " marks"]
    scores: Float[np.ndarray, "portraits components"]


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
        shares, scale, rows = svd(filled - mean, full_matrices=False)
        found = rows[:components].T * scale[:components] / np.sqrt(count)
    rest = np.array([_rest(filled[row] - mean, found, visible[row]) for row in range(count)])
    scores = shares[:, :components] * np.sqrt(count)
    return Brightness(mean - mean.mean(), found, np.sqrt(np.nanmean(rest**2, axis=0)), scores)


@dataclass(frozen=True)
class TiedBrightness:
    """Brightness of points of faces as far as a code tells it, and how people of one code differ, at one blur.

    Attributes:
        mean: Of the mean head.
        components: How people of one code differ, each times its standard deviation.
        by_code: What the code adds to their shares.
    """

    mean: Float[np.ndarray, " marks"]
    components: Float[np.ndarray, "marks components"]
    by_code: Float[np.ndarray, "components latent"]


def tied(
    brightness: Brightness, codes: Float[np.ndarray, "heads latent"], owners: Int[np.ndarray, " portraits"]
) -> TiedBrightness:
    """Splits how people differ into what their codes tell, by ridge regression, and the rest.

    The first numbers of a code move the surface most, and so are expected to tell most: the ridge grows with their
    place. The rest is what portraits of people had who were left out of the regression.

    Args:
        brightness: Of portraits.
        codes: Of the people, with unit variance, sorted by what they move.
        owners: Whose portrait each is.
    """
    scores = brightness.scores
    own = np.stack([scores[owners == head].mean(axis=0) for head in range(len(codes))])
    trust = 1 / np.sqrt(np.arange(1, codes.shape[1] + 1))
    found = fit_linear(codes * trust, own, one_ridge=False)
    rest = scores - (own - found.left_out)[owners]
    root = cholesky(rest.T @ rest / len(rest) + 1e-6 * np.eye(scores.shape[1]))
    return TiedBrightness(
        brightness.mean + brightness.components @ found.mean,
        brightness.components @ root,
        solve(root, found.basis * trust),
    )


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
