"""Landmarks of a family's heads as linear functions of their codes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

RIDGES = np.geomspace(0.3, 300, 13)


@dataclass(frozen=True)
class LandmarkMap:
    """Landmarks by code.

    Attributes:
        mean_mm: Landmarks of the mean head.
        basis_mm: How they move with the code.
        error_mm: Root mean square error of a coordinate on heads left out one at a time.
    """

    mean_mm: Float[np.ndarray, "landmarks 3"]
    basis_mm: Float[np.ndarray, "landmarks 3 latent"]
    error_mm: float


def fit_landmarks(
    codes: Float[np.ndarray, "heads latent"], landmarks: Float[np.ndarray, "heads landmarks 3"]
) -> LandmarkMap:
    """Least squares with the ridge that predicts left-out heads best.

    Args:
        codes: Of heads, with unit variance.
        landmarks: Of the same heads, canonical mm.
    """
    heads, count = len(codes), landmarks.shape[1]
    mean = landmarks.mean(axis=0)
    wanted = (landmarks - mean).reshape(heads, -1)
    centred = codes.astype(np.float64) - codes.mean(axis=0)
    u, s, vt = np.linalg.svd(centred, full_matrices=False)
    best = LandmarkMap(mean, np.zeros((count, 3, codes.shape[1])), np.inf)
    for ridge in RIDGES:
        shrunk = s / (s**2 + ridge)
        # The error of a head that is left out follows from its leverage (the hat matrix).
        leverage = (u**2 * (s * shrunk)).sum(axis=1) + 1 / heads
        residual = wanted - u @ ((s * shrunk)[:, None] * (u.T @ wanted))
        error = float(np.sqrt(((residual / (1 - leverage)[:, None]) ** 2).mean()))
        if error < best.error_mm:
            basis = vt.T @ (shrunk[:, None] * (u.T @ wanted))
            moved = mean - (codes.mean(axis=0) @ basis).reshape(count, 3)
            best = LandmarkMap(moved, basis.T.reshape(count, 3, -1), error)
    return best
