"""A small `PCAShapeModel` made by hand, and points to ask it at."""

import numpy as np
import torch

from recon.priors import PCAShapeModel
from recon.priors.data.components import spline_values
from recon.priors.pca.shape_model import nearest_rows

CELLS, LOW, HIGH, LATENT = (12, 10, 14), (-0.5, -0.4, -0.6), (0.5, 0.4, 0.6), 5
CODE = torch.tensor([0.5, -1.0, 2.0, 0.3, -0.2])


def nodes():
    axes = [
        low + (np.arange(n) + 0.5) * (high - low) / n for n, low, high in zip(CELLS, LOW, HIGH, strict=True)
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1)


def banded_ball(seed=0, dtype=torch.float16):
    """A ball with a random basis in a band about it."""
    rng = np.random.default_rng(seed)
    distance = np.linalg.norm(nodes(), axis=-1) - 0.25
    inside = np.abs(distance) < 0.15
    shape_model = PCAShapeModel(LATENT, LOW, HIGH, CELLS, int(inside.sum()), ["chin", "nose_tip"])
    shape_model.load_state_dict(
        {
            "mean.values": torch.from_numpy(spline_values(distance)).reshape(-1, 1),
            "rows": torch.from_numpy(rng.normal(scale=0.02, size=(inside.sum(), LATENT))).to(dtype),
            "row_of": torch.from_numpy(nearest_rows(inside).ravel()),
            "landmark_mean": torch.tensor([[0.0, -60.0, 90.0], [0.0, 4.0, 130.0]]),
            "landmark_basis": torch.from_numpy(rng.normal(size=(2, 3, LATENT)).astype(np.float32)),
        },
        assign=True,
    )
    return shape_model, inside


def points_of(count=400, reach=0.7, seed=1):
    return (torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) * 2 - 1) * reach


MODES = {"low": [-0.7] * 3, "high": [0.7] * 3, "cells": [8] * 3}
FINE = {"low": [-0.3] * 3, "high": [0.3] * 3, "cells": [20] * 3}
DEFORMING = [3, 0, 4]
"""Components of the code that deform space: two identities and an expression."""


def deformed_ball(seed=0):
    """The ball of `banded_ball` with a smooth deformation and a fine lattice in a shell about its surface."""
    plain, inside = banded_ball(seed)
    rng = np.random.default_rng(seed + 1)
    axes = [-0.3 + (np.arange(20) + 0.5) * 0.03] * 3
    radius = np.linalg.norm(np.stack(np.meshgrid(*axes, indexing="ij"), -1), axis=-1)
    shell = np.flatnonzero(np.pad(np.abs(radius - 0.25) < 0.04, 1))
    arguments = {
        "deformation": {
            "identity": {**MODES, "modes": 2},
            "expression": {**MODES, "modes": 1},
            "components": DEFORMING,
        },
        "fine": {**FINE, "band": len(shell)},
    }
    shape_model = PCAShapeModel(
        LATENT, LOW, HIGH, CELLS, int(inside.sum()), ["chin", "nose_tip"], **arguments
    )
    waves = np.stack(np.meshgrid(*[np.sin(np.linspace(0, 3, 10))] * 3, indexing="ij"), -1).reshape(-1, 3)
    state = {
        **plain.state_dict(),
        "deformation.identity.rows": torch.from_numpy(0.02 * np.repeat(waves, 2, axis=1)).half(),
        "deformation.expression.rows": torch.from_numpy(-0.03 * waves[:, ::-1].copy()).half(),
        "fine.mean": torch.from_numpy(rng.normal(scale=0.003, size=len(shell)).astype(np.float32)),
        "fine.rows": torch.from_numpy(rng.normal(scale=0.003, size=(len(shell) + 1, LATENT))).half(),
        "fine.nodes": torch.from_numpy(shell.astype(np.int32)),
    }
    state["fine.rows"][-1] = 0
    shape_model.load_state_dict(state, assign=True)
    return shape_model, inside, arguments
