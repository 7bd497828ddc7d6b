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
