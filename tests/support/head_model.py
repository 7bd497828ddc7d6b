"""What the tests of synthetic geometry share: the head model where the machine has it, and simple solids."""

import numpy as np
import pytest
import trimesh

from recon.geometry.distance_grid import RegularGrid
from recon.synth.model.head_model import default_path

needs_model = pytest.mark.skipif(
    not default_path().is_file(),
    reason=f"no head model at {default_path()}: headrecon-get-head-model, or set H3D_HEAD_MODEL",
)


def ball(radius: float, centre=(0.0, 0.0, 0.0), level: int = 4) -> tuple[np.ndarray, np.ndarray]:
    mesh = trimesh.creation.icosphere(subdivisions=level, radius=radius)
    return np.asarray(mesh.vertices) + np.asarray(centre), np.asarray(mesh.faces, dtype=np.int64)


def box(low, high) -> tuple[np.ndarray, np.ndarray]:
    mesh = trimesh.creation.box(bounds=[low, high])
    return np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces, dtype=np.int64)


def lattice(grid: RegularGrid) -> np.ndarray:
    """Places of all samples of a grid."""
    return np.stack(np.meshgrid(*(grid.axis(k) for k in range(3)), indexing="ij"), axis=-1)


def box_distance(points: np.ndarray, low, high) -> np.ndarray:
    """Signed distance of an axis-aligned box, in closed form."""
    q = np.abs(points - (np.asarray(low) + high) / 2) - (np.asarray(high, float) - low) / 2
    return np.linalg.norm(np.maximum(q, 0), axis=-1) + np.minimum(q.max(axis=-1), 0)
