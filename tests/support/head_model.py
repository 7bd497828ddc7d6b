"""What the tests of synthetic geometry share: the head model where the machine has it, and simple solids."""

import numpy as np
import pytest
import trimesh

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
