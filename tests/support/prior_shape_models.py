"""Shape models of shapes made by hand, as files."""

from pathlib import Path

import numpy as np
import torch

from recon.priors import CanonicalFrame, FeatureGridSDFNetwork, PCAShapeModel, ShapePrior, save_shape_prior
from recon.priors.data.components import spline_values
from tests.support.ellipsoid import SEMI_AXES_MM

UNIT_MM = 330.0
LANDMARKS = {"nose_tip": (0.0, 10.0, 95.0), "left_eye": (30.0, 40.0, 80.0), "right_eye": (-30.0, 40.0, 80.0)}
ARGUMENTS = {
    "latent_size": 1, "width": 8, "depth": 1, "low": [-0.6] * 3, "high": [0.6] * 3,
    "mean_cells": [40] * 3, "grids": [[4, 4, 4, 2]],
}  # fmt: skip


def write_ellipsoids(path: Path) -> Path:
    """The ellipsoid of tests/support/ellipsoid.py as mean head; the code does nothing yet, but can learn to."""
    torch.manual_seed(0)
    network = FeatureGridSDFNetwork(**ARGUMENTS)
    middles = (torch.arange(42) - 0.5) * 0.03 - 0.6
    at = torch.stack(torch.meshgrid(middles, middles, middles, indexing="ij"), dim=-1).reshape(-1, 3)
    axes = torch.tensor(SEMI_AXES_MM / UNIT_MM).float()
    length = (at / axes).norm(dim=1)
    distance = (length - 1) * length / (at / axes**2).norm(dim=1)
    with torch.no_grad():
        network.mean.values[:, 0] = distance
        network.basis.weight.mul_(0.1)
    prior = ShapePrior(
        network, CanonicalFrame((0.0, 0.0, 0.0), UNIT_MM, LANDMARKS), "feature_grid", ARGUMENTS, {}
    )
    save_shape_prior(path, prior, torch.float32)
    return path


CANONICAL = CanonicalFrame((0.0, 0.0, 0.0), 330.0)
RADIUS, GROWTH = (
    0.25,
    0.04,
)  # of the mean ball of `ball_shape_model`, and by how much a code of 1 changes it; canonical unit space
BOX, CELLS = 0.6, 40
PCA_ARGUMENTS = {
    "latent_size": 1, "low": [-BOX] * 3, "high": [BOX] * 3, "cells": [CELLS] * 3, "band": CELLS**3, "landmarks": [],
}  # fmt: skip


def ball(points, radius=RADIUS):
    return np.linalg.norm(points, axis=-1) - radius


def ellipsoid_distance(points):
    """Distance from the ellipsoid of tests/support/ellipsoid.py to first order, canonical unit space."""
    axes = SEMI_AXES_MM / CANONICAL.radius_mm
    length = np.linalg.norm(points / axes, axis=-1)
    return (length - 1) * length / np.maximum(np.linalg.norm(points / axes**2, axis=-1), 1e-9)


def ball_shape_model(distance=ball):
    """Distances at the nodes of a lattice; a code of 1 makes the shape larger by GROWTH."""
    middles = (np.arange(CELLS) + 0.5) * 2 * BOX / CELLS - BOX
    nodes = np.stack(np.meshgrid(middles, middles, middles, indexing="ij"), -1)
    shape_model = PCAShapeModel(1, [-BOX] * 3, [BOX] * 3, [CELLS] * 3, CELLS**3)
    row_of = np.pad(np.arange(CELLS**3, dtype=np.int32).reshape(CELLS, CELLS, CELLS), 1, mode="edge")
    shape_model.load_state_dict(
        {
            "mean.values": torch.from_numpy(spline_values(distance(nodes).astype(np.float32))).reshape(-1, 1),
            "rows": torch.full((CELLS**3, 1), -GROWTH, dtype=torch.float16),
            "row_of": torch.from_numpy(row_of.ravel()),
            "landmark_mean": torch.zeros(0, 3),
            "landmark_basis": torch.zeros(0, 3, 1),
        },
        assign=True,
    )
    return shape_model


def write_pca(path, distance=ball):
    """The shape model of a distance, as a file."""
    prior = ShapePrior(ball_shape_model(distance), CANONICAL, "pca", PCA_ARGUMENTS, {})
    save_shape_prior(path, prior)
    return path
