"""Similarities between point sets: how landmarks place a head."""

import numpy as np
from jaxtyping import Float


def similarity(
    source: Float[np.ndarray, "n 3"], target: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "4 4"]:
    """Least-squares similarity (rotation, one scale, translation) that takes source to target (Umeyama 1991).

    Returns:
        A 4x4 matrix for column points; never a reflection.

    Raises:
        ValueError: The source points coincide.
    """
    a, b = source.mean(axis=0), target.mean(axis=0)
    spread = ((source - a) ** 2).sum()
    if not spread > 1e-12:
        raise ValueError("the points to be placed all coincide")
    u, stretch, vt = np.linalg.svd((target - b).T @ (source - a))
    flip = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * flip) @ vt
    scale = (stretch * flip).sum() / spread
    matrix = np.eye(4)
    matrix[:3, :3] = scale * rotation
    matrix[:3, 3] = b - scale * rotation @ a
    return matrix
