import copy

import numpy as np
import pytest
import torch

from recon.fields import FeatureGrid
from recon.fitting import Shape, ShapeModel
from recon.priors import CanonicalFrame, PCAShapeModel, ShapePrior, load_shape_prior, save_shape_prior
from recon.priors.data.components import spline_values
from recon.priors.pca.shape_model import halved_resolution, nearest_rows
from recon.priors.weights import save_packed_prior
from tests.support.pca_shape_models import (
    CELLS,
    CODE,
    HIGH,
    LATENT,
    LOW,
    banded_ball,
    deformed_ball,
    nodes,
    points_of,
)


@pytest.fixture(scope="module")
def shape_model():
    return banded_ball()[0]


def test_it_is_a_shape_model_for_fits(shape_model):
    assert isinstance(shape_model, ShapeModel) and isinstance(shape_model.shape_of(CODE), Shape)


def test_the_mean_head_is_met_at_the_nodes(shape_model):
    at = torch.from_numpy(nodes().reshape(-1, 3).astype(np.float32))
    found = shape_model.shape_of(torch.zeros(LATENT)).sdf(at).numpy()
    np.testing.assert_allclose(found, np.linalg.norm(at.numpy(), axis=1) - 0.25, atol=1e-5)


def test_on_a_device_all_rows_are_asked_and_the_values_are_the_same(shape_model):
    points, code = points_of().requires_grad_(), CODE.clone().requires_grad_()
    wanted = shape_model(points, code)
    index, weight = shape_model.mean.taps(points)
    found = (weight * shape_model._values_of_all(index, code)).sum(1) + shape_model.beyond(points)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    (of_found, of_wanted) = (torch.autograd.grad(each.sum(), code)[0] for each in (found, wanted))
    torch.testing.assert_close(of_found, of_wanted, rtol=1e-4, atol=1e-5)
    # the meta device refuses whatever would have to be read back
    elsewhere = copy.deepcopy(shape_model).to("meta")
    assert elsewhere(points.to("meta"), code.to("meta")).shape == wanted.shape


def test_outside_the_box_the_distance_to_it_is_added(shape_model):
    head = shape_model.shape_of(CODE)
    edge, far = torch.tensor([[0.5, 0.1, 0.2]]), torch.tensor([[0.8, 0.1, 0.2]])
    torch.testing.assert_close(head.sdf(far), head.sdf(edge) + 0.3, atol=1e-6, rtol=0)
    torch.testing.assert_close(head.sdf_and_gradient(far)[1][0, 0], torch.tensor(1.0), atol=1e-5, rtol=0)


@pytest.mark.parametrize("reach", [0.35, 0.9])
def test_slope_is_the_derivative_by_the_point(shape_model, reach):
    points = points_of(reach=reach).requires_grad_(True)
    sdf = shape_model(points, CODE)
    (expected,) = torch.autograd.grad(sdf.sum(), points)
    found, gradient = shape_model.shape_of(CODE).sdf_and_gradient(points.detach())
    torch.testing.assert_close(found, sdf.detach(), atol=2e-6, rtol=0)
    torch.testing.assert_close(gradient, expected, atol=2e-5, rtol=1e-4)


def test_basis_is_the_derivative_by_the_code(shape_model):
    points = points_of()
    head, basis = shape_model.shape_of(CODE), shape_model.shape_of(CODE).basis(points)
    for component in range(LATENT):
        step = torch.zeros(LATENT)
        step[component] = 1.0
        change = shape_model.shape_of(CODE + step).sdf(points) - head.sdf(points)
        torch.testing.assert_close(basis[:, component], change, atol=3e-5, rtol=2e-3)


def test_latent_gradient_agrees_with_the_head(shape_model):
    points = points_of()
    sdf, basis = shape_model.latent_gradient(points, CODE)
    torch.testing.assert_close(sdf, shape_model.shape_of(CODE).sdf(points), atol=1e-4, rtol=0)
    torch.testing.assert_close(basis, shape_model.shape_of(CODE).basis(points))


def test_forward_has_graphs_in_points_and_codes(shape_model):
    points, code = points_of(40, 0.3).requires_grad_(True), CODE.clone().requires_grad_(True)
    sdf = shape_model(points, code)
    gradient, by_code = torch.autograd.grad(sdf.sum(), (points, code), create_graph=True)
    torch.testing.assert_close(
        by_code, shape_model.shape_of(CODE).basis(points.detach()).sum(0), atol=2e-3, rtol=1e-3
    )
    (second,) = torch.autograd.grad(gradient.norm(dim=1).sum(), points)
    assert second.isfinite().all() and second.abs().max() > 0.1
    many = shape_model(points.detach(), CODE.expand(40, -1))
    torch.testing.assert_close(many, sdf.detach(), atol=1e-6, rtol=1e-5)


def test_a_trainable_grid_starts_as_the_head(shape_model):
    grid = FeatureGrid(LOW, HIGH, CELLS, 1)
    grid.values.data = shape_model.composed(CODE)[:, None]
    points = points_of(reach=0.39)
    torch.testing.assert_close(
        grid(points)[:, 0].detach(), shape_model.shape_of(CODE).sdf(points), atol=1e-6, rtol=0
    )


def test_fields_have_no_step_at_the_edge_of_the_band():
    shape_model, _ = banded_ball(dtype=torch.float32)
    shape_model.rows[:] = 0.05  # a constant deviation of the band is one of the whole box
    moved = shape_model.shape_of(torch.ones(LATENT)).sdf(points_of(reach=0.39))
    torch.testing.assert_close(
        moved,
        shape_model.shape_of(torch.zeros(LATENT)).sdf(points_of(reach=0.39)) + 0.05 * LATENT,
        atol=1e-5,
        rtol=0,
    )


def test_nearest_rows_are_the_nearest():
    _, inside = banded_ball()
    rows, chosen = nearest_rows(inside)[1:-1, 1:-1, 1:-1], np.argwhere(inside)
    assert (rows[inside] == np.arange(inside.sum())).all()
    at = np.array([0, 0, 0])
    nearest = np.linalg.norm(chosen - at, axis=1)
    assert nearest[rows[0, 0, 0]] == nearest.min()


def test_landmarks_are_linear_in_the_code(shape_model):
    torch.testing.assert_close(shape_model.landmarks(torch.zeros(LATENT)), shape_model.landmark_mean)
    expected = shape_model.landmark_mean + 2 * shape_model.landmark_basis[:, :, 1]
    torch.testing.assert_close(shape_model.landmarks(torch.tensor([0.0, 2.0, 0.0, 0.0, 0.0])), expected)
    assert shape_model.landmark_names == ("chin", "nose_tip")


def test_absorbed_variables_change_the_code_alone():
    shape_model, _ = banded_ball(dtype=torch.float32)
    mean, scale = torch.linspace(-1, 1, LATENT), torch.linspace(0.5, 2, LATENT)
    points = points_of()
    expected, landmarks = (
        shape_model.shape_of(mean + scale * CODE).sdf(points),
        shape_model.landmarks(mean + scale * CODE),
    )
    shape_model.absorb(mean, scale)
    torch.testing.assert_close(shape_model.shape_of(CODE).sdf(points), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(shape_model.landmarks(CODE), landmarks, atol=1e-4, rtol=0)


def test_a_shape_model_comes_back_from_its_file_as_it_was(shape_model, tmp_path):
    arguments = {
        "latent_size": LATENT, "low": LOW, "high": HIGH, "cells": CELLS,
        "band": len(shape_model.rows), "landmarks": list(shape_model.landmark_names),
    }  # fmt: skip
    prior = ShapePrior(shape_model, CanonicalFrame((0.0, 0.0, 0.0), 330.0), "pca", arguments, {})
    save_shape_prior(tmp_path / "p.safetensors", prior)
    found = load_shape_prior(tmp_path / "p.safetensors").network
    assert isinstance(found, PCAShapeModel) and found.rows.dtype == torch.float16
    for name, value in shape_model.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


def test_what_faces_look_like_comes_back_from_both_kinds_of_file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    plain, inside = banded_ball()
    assert plain.brightness_model is None
    sizes = {"brightness_model": [7, 2, 3]}
    arguments = {
        "latent_size": LATENT, "low": LOW, "high": HIGH, "cells": CELLS,
        "band": len(plain.rows), "landmarks": list(plain.landmark_names), **sizes,
    }  # fmt: skip
    shape_model = PCAShapeModel(**arguments)
    torch.manual_seed(0)
    brightness_model = {
        n: torch.rand_like(v) for n, v in shape_model.state_dict().items() if n.startswith("brightness_")
    }
    shape_model.load_state_dict({**plain.state_dict(), **brightness_model}, assign=True)
    prior = ShapePrior(shape_model, CanonicalFrame((0.0, 0.0, 0.0), 330.0), "pca", arguments, {})
    save_shape_prior(tmp_path / "full.safetensors", prior)
    save_packed_prior(tmp_path / "packed.safetensors", prior, inside, step_mm=0.05)
    for file, allowed in (("full", 0.0), ("packed", 0.005)):
        found = load_shape_prior(tmp_path / f"{file}.safetensors").network.brightness_model
        for name, value in vars(shape_model.brightness_model).items():
            torch.testing.assert_close(getattr(found, name), value, atol=allowed, rtol=0)
        torch.testing.assert_close(
            found.face_points(CODE),
            shape_model.brightness_model.face_points(CODE),
            atol=5 * allowed + 1e-6,
            rtol=0,
        )

    mean, scale = torch.linspace(-1, 1, LATENT), torch.linspace(0.5, 2, LATENT)
    expected = shape_model.brightness_model.face_points(mean + scale * CODE)
    bright = shape_model.brightness_model.brightness(1, mean + scale * CODE)
    shape_model.absorb(mean, scale)
    torch.testing.assert_close(shape_model.brightness_model.face_points(CODE), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(shape_model.brightness_model.brightness(1, CODE), bright, atol=1e-5, rtol=0)


FINE_CELLS, FINE_LOW, FINE_HIGH, FINE_LATENT, RADIUS = (
    (41, 40, 37),
    (-0.82, -0.8, -0.74),
    (0.82, 0.8, 0.74),
    3,
    0.4,
)
CELL = 0.04


def balls_with_a_coarse_level():
    """Balls whose centres and sizes are the code, to first order, with their coarse shape model."""
    axes = [low + (np.arange(n) + 0.5) * CELL for n, low in zip(FINE_CELLS, FINE_LOW, strict=True)]
    at = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    distance = np.linalg.norm(at, axis=-1) - RADIUS
    inside = np.abs(distance) < 0.2
    towards = at[inside] / np.linalg.norm(at[inside], axis=1, keepdims=True)
    state = {
        "mean.values": torch.from_numpy(spline_values(distance)).reshape(-1, 1),
        "rows": torch.from_numpy(-0.03 * towards).half(),
        "row_of": torch.from_numpy(nearest_rows(inside).ravel()),
        "landmark_mean": torch.zeros(0, 3),
        "landmark_basis": torch.zeros(0, 3, FINE_LATENT),
    }
    coarse = halved_resolution(
        state, inside, state["row_of"].numpy().reshape(tuple(n + 2 for n in FINE_CELLS))
    )
    shape_model = PCAShapeModel(
        FINE_LATENT, FINE_LOW, FINE_HIGH, FINE_CELLS, int(inside.sum()), coarse=len(coarse["rows"])
    )
    none = {name: state[name] for name in ("landmark_mean", "landmark_basis")}
    state |= {f"coarse.{name}": value for name, value in (coarse | none).items()}
    shape_model.load_state_dict(state, assign=True)
    return shape_model


def test_the_coarse_heads_are_nearly_the_fine_ones_for_an_eighth_of_the_rows():
    shape_model = balls_with_a_coarse_level()
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


def test_a_shape_model_without_a_coarse_level_is_its_own():
    plain = PCAShapeModel(2, (-1.0, -1.0, -1.0), (1.0, 1.0, 1.0), (4, 4, 4), 8)
    assert plain.coarse_level is plain


@pytest.fixture(scope="module")
def deformed():
    return deformed_ball()


def test_a_deformed_head_has_the_distances_of_its_template(deformed):
    shape_model, _, _ = deformed
    points = points_of(reach=0.35)
    template = shape_model.deformation_of(CODE).to_template(points)[1]
    assert 0.01 < float((template - points).norm(dim=1).max()) < 0.1
    coarse = shape_model.mean.interpolated(template, shape_model.composed(CODE)[:, None])
    fine = shape_model.fine.lattice.interpolated(template, shape_model.fine.composed(CODE))
    expected = (coarse + fine)[:, 0] + shape_model.beyond(template)
    torch.testing.assert_close(shape_model.shape_of(CODE).sdf(points), expected)
    assert float(fine.abs().max()) > 1e-3


def test_derivatives_of_a_deformed_head_are_finite_differences(deformed):
    shape_model, _, _ = deformed
    points, code, step = points_of(150, reach=0.25).double(), CODE.double(), 1e-4
    head = shape_model.shape_of(code)
    _, gradient = head.sdf_and_gradient(points)
    for axis in range(3):
        away = step * torch.eye(3).double()[axis]
        expected = (head.sdf(points + away) - head.sdf(points - away)) / (2 * step)
        torch.testing.assert_close(gradient[:, axis], expected, atol=2e-3, rtol=2e-3)
    basis = head.basis(points)
    for component in range(LATENT):
        away = step * torch.eye(LATENT).double()[component]
        expected = shape_model.shape_of(code + away).sdf(points) - shape_model.shape_of(code - away).sdf(
            points
        )
        torch.testing.assert_close(basis[:, component], expected / (2 * step), atol=6e-4, rtol=2e-2)


def test_the_graph_of_a_deformed_head_has_these_derivatives(deformed):
    shape_model, _, _ = deformed
    points, code = points_of(60, 0.3).requires_grad_(True), CODE.clone().requires_grad_(True)
    head = shape_model.shape_of(CODE)
    by_point, by_code = torch.autograd.grad(shape_model(points, code).sum(), (points, code))
    torch.testing.assert_close(by_point, head.sdf_and_gradient(points.detach())[1])
    torch.testing.assert_close(by_code, head.basis(points.detach()).sum(0))
    sdf, basis = shape_model.latent_gradient(points.detach(), CODE)
    torch.testing.assert_close(sdf, head.sdf(points.detach()))
    torch.testing.assert_close(basis, head.basis(points.detach()))
    with pytest.raises(ValueError, match="cannot be substituted"):
        shape_model.absorb(torch.zeros(LATENT), torch.ones(LATENT))


def test_a_deformed_shape_model_comes_back_from_its_compressed_file(deformed, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shape_model, inside, more = deformed
    arguments = {
        "latent_size": LATENT, "low": LOW, "high": HIGH, "cells": CELLS, "band": len(shape_model.rows),
        "landmarks": list(shape_model.landmark_names), **more,
    }  # fmt: skip
    prior = ShapePrior(shape_model, CanonicalFrame((0.0, 0.0, 0.0), 330.0), "pca", arguments, {})
    save_packed_prior(tmp_path / "p.safetensors", prior, inside, 0.05)
    found = load_shape_prior(tmp_path / "p.safetensors").network
    points = points_of(reach=0.3)
    wanted, unpacked = shape_model.shape_of(CODE), found.shape_of(CODE)
    assert float((wanted.sdf(points) - unpacked.sdf(points)).abs().mean()) * 330 < 0.2
    assert (found.fine.nodes == shape_model.fine.nodes).all() and not found.fine.rows[-1].any()
    # the coarse level deforms as the shape model does
    coarse = found.coarse_level
    assert coarse is not found and coarse.fine is None
    off = coarse.shape_of(CODE).sdf(points) - unpacked.sdf(points)
    assert float(off.abs().mean()) < 0.02
    assert not any(name.startswith("coarse.deformation") for name in found.state_dict())
