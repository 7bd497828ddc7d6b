"""Principal components of the signed distances of many heads at the same points, which initialise an auto-decoder."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from recon.fields import spline_values

__all__ = ["Components", "closeness", "codes_from_gram", "principal_components", "spline_values"]


@dataclass(frozen=True)
class Components:
    """Principal components of a set of heads.

    Attributes:
        mean: Mean signed distance at each point.
        codes: Coordinates of each head, of unit variance, largest component first.
        explained: Share of the weighted variance that each component explains.
    """

    mean: Float32[np.ndarray, " points"]
    codes: Float32[np.ndarray, "heads components"]
    explained: Float[np.ndarray, " components"]


def principal_components(
    distances: Float[np.ndarray, "heads points"],
    weights: Float[np.ndarray, " points"],
    count: int,
    block: int = 65_536,
) -> Components:
    """Computes codes of heads by principal components of their distances, through the matrix of inner products.

    Args:
        distances: Signed distances; may be a memory map, read a block of points at a time.
        weights: Weights of the points.
        count: Number of components; at most one fewer than heads.
        block: Number of points at a time.
    """
    heads, points = distances.shape
    mean = np.empty(points, np.float32)
    gram = np.zeros((heads, heads))
    for start in range(0, points, block):
        part = distances[:, start : start + block].astype(np.float32)
        mean[start : start + block] = part.mean(axis=0)
        part -= mean[start : start + block]
        part *= np.sqrt(weights[start : start + block]).astype(np.float32)
        gram += part @ part.T
    return Components(mean, *codes_from_gram(gram, count))


def codes_from_gram(
    gram: Float[np.ndarray, "heads heads"], count: int
) -> tuple[Float32[np.ndarray, "heads components"], Float[np.ndarray, " components"]]:
    """Computes codes of heads and explained shares of variance from the inner products of their deviations.

    Args:
        gram: Weighted inner products of the heads' deviations from their mean.
        count: Number of components; at most one fewer than heads.
    """
    heads = len(gram)
    values, vectors = np.linalg.eigh(gram)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    # Signs of eigenvectors are arbitrary: fix them, so that the same heads give the same codes.
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(heads)])
    count = min(count, heads - 1)
    codes = (vectors[:, :count] * np.sqrt(heads)).astype(np.float32)
    return codes, values[:count] / max(values.sum(), 1e-30)


def closeness(
    distances: Float[np.ndarray, "heads points"], reach: float, block: int = 65_536
) -> Float32[np.ndarray, " points"]:
    """Frequency with which points lie near a surface: the mean over heads of exp(−(d / reach)²).

    Args:
        distances: Signed distances.
        reach: Reach in the unit of the distances.
        block: Number of points at a time.
    """
    parts = []
    for start in range(0, distances.shape[1], block):
        part = distances[:, start : start + block].astype(np.float32)
        parts.append(np.exp(-((part / reach) ** 2)).mean(axis=0))
    return np.concatenate(parts)
