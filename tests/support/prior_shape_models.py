"""Shape models of shapes made by hand, as files."""

from pathlib import Path

import torch

from recon.priors import Canonical, FeatureGridSDFNetwork, ShapePrior, save_shape_prior
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
    prior = ShapePrior(network, Canonical((0.0, 0.0, 0.0), UNIT_MM, LANDMARKS), "linear", ARGUMENTS, {})
    save_shape_prior(path, prior, torch.float32)
    return path
