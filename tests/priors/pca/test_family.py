import copy

import numpy as np
import pytest
import torch

from recon.fields import FeatureGrid
from recon.fitting import Family, Member
from recon.priors import Canonical, GridFamily, ShapePrior, load_shape_prior, save_shape_prior
from recon.priors.data.components import spline_values
from recon.priors.pca.family import nearest_rows
from recon.priors.pca.packing import save_packed_prior

CELLS, LOW, HIGH, LATENT = (12, 10, 14), (-0.5, -0.4, -0.6), (0.5, 0.4, 0.6), 5


def nodes():
    axes = [
        low + (np.arange(n) + 0.5) * (high - low) / n for n, low, high in zip(CELLS, LOW, HIGH, strict=True)
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1)


def family_of(seed=0, dtype=torch.float16):
    """A ball with a random basis in a band about it."""
    rng = np.random.default_rng(seed)
    distance = np.linalg.norm(nodes(), axis=-1) - 0.25
    inside = np.abs(distance) < 0.15
    family = GridFamily(LATENT, LOW, HIGH, CELLS, int(inside.sum()), ["chin", "nose_tip"])
    family.load_state_dict(
        {
            "mean.values": torch.from_numpy(spline_values(distance)).reshape(-1, 1),
            "rows": torch.from_numpy(rng.normal(scale=0.02, size=(inside.sum(), LATENT))).to(dtype),
            "row_of": torch.from_numpy(nearest_rows(inside).ravel()),
            "landmark_mean": torch.tensor([[0.0, -60.0, 90.0], [0.0, 4.0, 130.0]]),
            "landmark_basis": torch.from_numpy(rng.normal(size=(2, 3, LATENT)).astype(np.float32)),
        },
        assign=True,
    )
    return family, inside


@pytest.fixture(scope="module")
def family():
    return family_of()[0]


def points_of(count=400, reach=0.7, seed=1):
    return (torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) * 2 - 1) * reach


CODE = torch.tensor([0.5, -1.0, 2.0, 0.3, -0.2])


def test_it_is_a_family_for_fits(family):
    assert isinstance(family, Family) and isinstance(family.at(CODE), Member)


def test_the_mean_head_is_met_at_the_nodes(family):
    at = torch.from_numpy(nodes().reshape(-1, 3).astype(np.float32))
    found = family.at(torch.zeros(LATENT)).sdf(at).numpy()
    np.testing.assert_allclose(found, np.linalg.norm(at.numpy(), axis=1) - 0.25, atol=1e-5)


def test_on_a_device_all_rows_are_asked_and_the_values_are_the_same(family):
    points, code = points_of().requires_grad_(), CODE.clone().requires_grad_()
    wanted = family(points, code)
    index, weight = family.mean.taps(points)
    found = (weight * family._values_of_all(index, code)).sum(1) + family.beyond(points)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    (of_found, of_wanted) = (torch.autograd.grad(each.sum(), code)[0] for each in (found, wanted))
    torch.testing.assert_close(of_found, of_wanted, rtol=1e-4, atol=1e-5)
    # the meta device refuses whatever would have to be read back
    elsewhere = copy.deepcopy(family).to("meta")
    assert elsewhere(points.to("meta"), code.to("meta")).shape == wanted.shape


def test_beyond_the_box_the_distance_to_it_is_added(family):
    head = family.at(CODE)
    edge, far = torch.tensor([[0.5, 0.1, 0.2]]), torch.tensor([[0.8, 0.1, 0.2]])
    torch.testing.assert_close(head.sdf(far), head.sdf(edge) + 0.3, atol=1e-6, rtol=0)
    torch.testing.assert_close(head.slope(far)[1][0, 0], torch.tensor(1.0), atol=1e-5, rtol=0)


@pytest.mark.parametrize("reach", [0.35, 0.9])
def test_slope_is_the_derivative_by_the_point(family, reach):
    points = points_of(reach=reach).requires_grad_(True)
    sdf = family(points, CODE)
    (expected,) = torch.autograd.grad(sdf.sum(), points)
    found, slope = family.at(CODE).slope(points.detach())
    torch.testing.assert_close(found, sdf.detach(), atol=2e-6, rtol=0)
    torch.testing.assert_close(slope, expected, atol=2e-5, rtol=1e-4)


def test_basis_is_the_derivative_by_the_code(family):
    points = points_of()
    head, basis = family.at(CODE), family.at(CODE).basis(points)
    for component in range(LATENT):
        step = torch.zeros(LATENT)
        step[component] = 1.0
        change = family.at(CODE + step).sdf(points) - head.sdf(points)
        torch.testing.assert_close(basis[:, component], change, atol=3e-5, rtol=2e-3)


def test_latent_gradient_agrees_with_the_head(family):
    points = points_of()
    sdf, basis = family.latent_gradient(points, CODE)
    torch.testing.assert_close(sdf, family.at(CODE).sdf(points), atol=1e-4, rtol=0)
    torch.testing.assert_close(basis, family.at(CODE).basis(points))


def test_forward_has_graphs_in_points_and_codes(family):
    points, code = points_of(40, 0.3).requires_grad_(True), CODE.clone().requires_grad_(True)
    sdf = family(points, code)
    slope, by_code = torch.autograd.grad(sdf.sum(), (points, code), create_graph=True)
    torch.testing.assert_close(by_code, family.at(CODE).basis(points.detach()).sum(0), atol=2e-3, rtol=1e-3)
    (second,) = torch.autograd.grad(slope.norm(dim=1).sum(), points)
    assert second.isfinite().all() and second.abs().max() > 0.1
    many = family(points.detach(), CODE.expand(40, -1))
    torch.testing.assert_close(many, sdf.detach(), atol=1e-6, rtol=1e-5)


def test_a_trainable_grid_starts_as_the_head(family):
    grid = FeatureGrid(LOW, HIGH, CELLS, 1)
    grid.values.data = family.composed(CODE)[:, None]
    points = points_of(reach=0.39)
    torch.testing.assert_close(grid(points)[:, 0].detach(), family.at(CODE).sdf(points), atol=1e-6, rtol=0)


def test_fields_have_no_step_at_the_edge_of_the_band():
    family, _ = family_of(dtype=torch.float32)
    family.rows[:] = 0.05  # a constant deviation of the band is one of the whole box
    moved = family.at(torch.ones(LATENT)).sdf(points_of(reach=0.39))
    torch.testing.assert_close(
        moved, family.at(torch.zeros(LATENT)).sdf(points_of(reach=0.39)) + 0.05 * LATENT, atol=1e-5, rtol=0
    )


def test_nearest_rows_are_the_nearest():
    _, inside = family_of()
    rows, chosen = nearest_rows(inside)[1:-1, 1:-1, 1:-1], np.argwhere(inside)
    assert (rows[inside] == np.arange(inside.sum())).all()
    at = np.array([0, 0, 0])
    nearest = np.linalg.norm(chosen - at, axis=1)
    assert nearest[rows[0, 0, 0]] == nearest.min()


def test_landmarks_are_linear_in_the_code(family):
    torch.testing.assert_close(family.landmarks(torch.zeros(LATENT)), family.landmark_mean)
    expected = family.landmark_mean + 2 * family.landmark_basis[:, :, 1]
    torch.testing.assert_close(family.landmarks(torch.tensor([0.0, 2.0, 0.0, 0.0, 0.0])), expected)
    assert family.landmark_names == ("chin", "nose_tip")


def test_absorbed_variables_change_the_code_alone():
    family, _ = family_of(dtype=torch.float32)
    mean, scale = torch.linspace(-1, 1, LATENT), torch.linspace(0.5, 2, LATENT)
    points = points_of()
    expected, landmarks = family.at(mean + scale * CODE).sdf(points), family.landmarks(mean + scale * CODE)
    family.absorb(mean, scale)
    torch.testing.assert_close(family.at(CODE).sdf(points), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(family.landmarks(CODE), landmarks, atol=1e-4, rtol=0)


def test_a_family_comes_back_from_its_file_as_it_was(family, tmp_path):
    arguments = {
        "latent_size": LATENT, "low": LOW, "high": HIGH, "cells": CELLS,
        "band": len(family.rows), "landmarks": list(family.landmark_names),
    }  # fmt: skip
    prior = ShapePrior(family, Canonical((0.0, 0.0, 0.0), 330.0), "grid", arguments, {})
    save_shape_prior(tmp_path / "p.safetensors", prior)
    found = load_shape_prior(tmp_path / "p.safetensors").network
    assert isinstance(found, GridFamily) and found.rows.dtype == torch.float16
    for name, value in family.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


def test_what_faces_look_like_comes_back_from_both_kinds_of_file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    plain, inside = family_of()
    assert plain.likeness is None
    sizes = {"likeness": [7, 2, 3]}
    arguments = {
        "latent_size": LATENT, "low": LOW, "high": HIGH, "cells": CELLS,
        "band": len(plain.rows), "landmarks": list(plain.landmark_names), **sizes,
    }  # fmt: skip
    family = GridFamily(**arguments)
    torch.manual_seed(0)
    likeness = {n: torch.rand_like(v) for n, v in family.state_dict().items() if n.startswith("likeness_")}
    family.load_state_dict({**plain.state_dict(), **likeness}, assign=True)
    prior = ShapePrior(family, Canonical((0.0, 0.0, 0.0), 330.0), "grid", arguments, {})
    save_shape_prior(tmp_path / "full.safetensors", prior)
    save_packed_prior(tmp_path / "packed.safetensors", prior, inside, step_mm=0.05)
    for file, allowed in (("full", 0.0), ("packed", 0.005)):
        found = load_shape_prior(tmp_path / f"{file}.safetensors").network.likeness
        for name, value in vars(family.likeness).items():
            torch.testing.assert_close(getattr(found, name), value, atol=allowed, rtol=0)
        torch.testing.assert_close(found.at(CODE), family.likeness.at(CODE), atol=5 * allowed + 1e-6, rtol=0)

    mean, scale = torch.linspace(-1, 1, LATENT), torch.linspace(0.5, 2, LATENT)
    expected = family.likeness.at(mean + scale * CODE)
    bright = family.likeness.brightness(1, mean + scale * CODE)
    family.absorb(mean, scale)
    torch.testing.assert_close(family.likeness.at(CODE), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(family.likeness.brightness(1, CODE), bright, atol=1e-5, rtol=0)
