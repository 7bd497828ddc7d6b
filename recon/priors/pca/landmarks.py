"""Ridge regression of landmarks, and of other numbers, on the codes of heads."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

RIDGES = np.geomspace(0.3, 300, 13)
"""Ridges that are tried."""


@dataclass(frozen=True)
class LandmarkMap:
    """Landmarks as a linear function of the code.

    Attributes:
        mean_mm: Landmarks of the mean head, canonical mm.
        basis_mm: Derivative of the landmarks by the code.
        error_mm: Root mean square error of a coordinate on heads left out one at a time.
    """

    mean_mm: Float[np.ndarray, "landmarks 3"]
    basis_mm: Float[np.ndarray, "landmarks 3 latent"]
    error_mm: float


@dataclass(frozen=True)
class LinearMap:
    """Numbers as a linear function of the code.

    Attributes:
        mean: Numbers of the mean head, code 0.
        basis: Derivative of the numbers by the code.
        left_out: Errors on heads left out one at a time.
    """

    mean: Float[np.ndarray, " numbers"]
    basis: Float[np.ndarray, "numbers latent"]
    left_out: Float[np.ndarray, "heads numbers"]


def fit_linear(
    codes: Float[np.ndarray, "heads latent"],
    numbers: Float[np.ndarray, "heads numbers"],
    *,
    one_ridge: bool = True,
) -> LinearMap:
    """Fits numbers by least squares with the ridge that predicts left-out heads best.

    Args:
        codes: Codes of heads, with unit variance.
        numbers: Numbers of the same heads.
        one_ridge: Whether all numbers have the same ridge, or each its own.
    """
    heads, mean = len(codes), numbers.mean(axis=0)
    wanted = numbers - mean
    centred = codes.astype(np.float64) - codes.mean(axis=0)
    u, s, vt = np.linalg.svd(centred, full_matrices=False)
    basis, left_out = np.zeros((wanted.shape[1], codes.shape[1])), np.full(wanted.shape, np.inf)
    for ridge in RIDGES:
        shrunk = s / (s**2 + ridge)
        # The error of a head that is left out follows from its leverage (the hat matrix).
        leverage = (u**2 * (s * shrunk)).sum(axis=1) + 1 / heads
        residual = wanted - u @ ((s * shrunk)[:, None] * (u.T @ wanted))
        errors = residual / (1 - leverage)[:, None]
        axis = None if one_ridge else 0
        better = np.broadcast_to((errors**2).mean(axis) < (left_out**2).mean(axis), wanted.shape[1:])
        basis[better] = (vt.T @ (shrunk[:, None] * (u.T @ wanted[:, better]))).T
        left_out[:, better] = errors[:, better]
    return LinearMap(mean - basis @ codes.mean(axis=0), basis, left_out)


def fit_landmarks(
    codes: Float[np.ndarray, "heads latent"], landmarks: Float[np.ndarray, "heads landmarks 3"]
) -> LandmarkMap:
    """Fits landmarks by least squares with the ridge that predicts left-out heads best.

    Args:
        codes: Codes of heads, with unit variance.
        landmarks: Landmarks of the same heads, canonical mm.
    """
    heads, count = landmarks.shape[:2]
    found = fit_linear(codes, landmarks.reshape(heads, -1))
    error = float(np.sqrt((found.left_out**2).mean()))
    return LandmarkMap(found.mean.reshape(count, 3), found.basis.reshape(count, 3, -1), error)
