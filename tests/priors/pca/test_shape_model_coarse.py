"""A shape model of half the resolution has nearly the same heads by the same codes."""

import numpy as np
import torch

from recon.priors import PCAShapeModel
from recon.priors.data.components import spline_values
from recon.priors.pca.shape_model import halved_resolution, nearest_rows

CELLS, LOW, HIGH, LATENT, RADIUS = (41, 40, 37), (-0.82, -0.8, -0.74), (0.82, 0.8, 0.74), 3, 0.4
CELL = 0.04


def family_of():
    """Balls whose centres and sizes are the code, to first order, with their coarse shape model."""
    axes = [low + (np.arange(n) + 0.5) * CELL for n, low in zip(CELLS, LOW, strict=True)]
    at = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    distance = np.linalg.norm(at, axis=-1) - RADIUS
    inside = np.abs(distance) < 0.2
    towards = at[inside] / np.linalg.norm(at[inside], axis=1, keepdims=True)
    state = {
        "mean.values": torch.from_numpy(spline_values(distance)).reshape(-1, 1),
        "rows": torch.from_numpy(-0.03 * towards).half(),
        "row_of": torch.from_numpy(nearest_rows(inside).ravel()),
        "landmark_mean": torch.zeros(0, 3),
        "landmark_basis": torch.zeros(0, 3, LATENT),
    }
    coarse = halved_resolution(state, inside, state["row_of"].numpy().reshape(tuple(n + 2 for n in CELLS)))
    shape_model = PCAShapeModel(LATENT, LOW, HIGH, CELLS, int(inside.sum()), coarse=len(coarse["rows"]))
    none = {name: state[name] for name in ("landmark_mean", "landmark_basis")}
    state |= {f"coarse.{name}": value for name, value in (coarse | none).items()}
    shape_model.load_state_dict(state, assign=True)
    return shape_model


def test_the_coarse_heads_are_nearly_the_fine_ones_for_an_eighth_of_the_rows():
    shape_model = family_of()
    assert shape_model.coarse_level is shape_model.coarse
    assert len(shape_model.coarse.rows) < 0.2 * len(shape_model.rows)
    code = torch.tensor([1.0, -2.0, 1.5])
    points = torch.nn.functional.normalize(
        torch.randn(2000, 3, generator=torch.Generator().manual_seed(0)), dim=1
    )
    points = points * torch.linspace(0.3, 0.52, 2000)[:, None]
    fine, coarse_level = shape_model.shape_of(code), shape_model.coarse_level.shape_of(code)
    for found in (fine, coarse_level):
        # Moved by the code to first order; the second order of the norm is at most 0.006.
        truth = (points - 0.03 * code).norm(dim=1) - RADIUS
        assert (found.sdf(points) - truth).abs().max() < 0.012
    assert (fine.sdf(points) - coarse_level.sdf(points)).abs().max() < 0.1 * CELL
    cosine = torch.cosine_similarity(
        fine.sdf_and_gradient(points)[1], coarse_level.sdf_and_gradient(points)[1]
    )
    assert cosine.min() > 0.99
    torch.testing.assert_close(fine.basis(points), coarse_level.basis(points), atol=0.004, rtol=0)


def test_a_family_without_a_coarse_one_is_its_own():
    plain = PCAShapeModel(2, (-1.0, -1.0, -1.0), (1.0, 1.0, 1.0), (4, 4, 4), 8)
    assert plain.coarse_level is plain
