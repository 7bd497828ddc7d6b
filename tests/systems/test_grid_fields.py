"""field=dense and field=hash under every method, on the closed-form ellipsoid."""

import os
import signal

import pytest
import torch

from recon.errors import ConfigError, PriorError
from recon.fields import DenseField, GridField, HashField
from recon.priors import DeepSDFPrior, PCAPrior
from recon.priors.residual import ResidualField
from recon.systems import run
from tests.support import ellipsoid
from tests.support.methods import remembered
from tests.support.prior_shape_models import ellipsoid_distance, write_ellipsoids, write_pca
from tests.support.runs import composed, configured, resumed, same, trained

KINDS = {"dense": DenseField, "hash": HashField}
TINY = [
    "trainer.accelerator=cpu", "data.sampler.rays=128", "renderer.samples=16", "mesh.resolution=48",
    "field.sdf.feature_size=8", "field.colour.width=16", "field.colour.depth=1", "field.sdf.finest=16",
]  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    scene = ellipsoid.write_idr_scene(folder / "ellipsoid", 4)
    linear = write_pca(folder / "linear.safetensors", ellipsoid_distance)
    return scene, write_ellipsoids(folder / "family.safetensors"), linear


@pytest.fixture(scope="module", autouse=True)
def fit_once():
    """Every fit of a prior is its first one: least squares take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((DeepSDFPrior, "_fit"), (PCAPrior, "fit")):
            patch.setattr(owner, name, remembered(getattr(owner, name)))
        yield


def distance_mm(field, count=2000):
    """Mean distance of the field's values from zero on the true surface."""
    direction = torch.nn.functional.normalize(
        torch.randn(count, 3, generator=torch.Generator().manual_seed(0))
    )
    axes = torch.tensor(ellipsoid.SEMI_AXES_MM / ellipsoid.RADIUS_MM).float()
    return float(field.sdf(direction * axes).abs().mean()) * ellipsoid.RADIUS_MM


def interrupted_and_resumed(scene, folder, options, at, monkeypatch):
    """The system of a run that a signal stopped at a step, and that then went on."""
    cfg, folder = configured(scene, folder, *options)
    task = run.prepare(cfg, folder)
    run.record(cfg, options, folder)
    losses = task.system.losses

    def stopping(batch, step):
        if step == at:
            os.kill(os.getpid(), signal.SIGTERM)
        return losses(batch, step)

    monkeypatch.setattr(task.system, "losses", stopping)
    assert not run.train(task)
    task, finished = resumed(folder)
    assert finished
    return task.system


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_idr_learns_and_resumes_within_the_fade(name, files, tmp_path, monkeypatch):
    options = [*TINY, "method=idr", f"field={name}", "steps=8", "field.sdf.radius=0.55"]
    whole, finished = trained(files[0], tmp_path / "whole", *options)
    field = whole.system.sdf
    assert finished and isinstance(field, KINDS[name])
    start = KINDS[name](radius=0.55)
    assert distance_mm(field) < distance_mm(start)
    system = interrupted_and_resumed(files[0], tmp_path / "parts", options, 3, monkeypatch)
    assert same(dict(whole.system.state_dict()), dict(system.state_dict()))


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_h3dnet_has_a_residual_and_resumes_into_the_second_phase(name, files, tmp_path, monkeypatch):
    options = [*TINY, "method=h3dnet", f"field={name}", f"prior.path={files[1]}", "steps=6"]
    whole, finished = trained(files[0], tmp_path / "whole", *options)
    field = whole.system.sdf
    assert finished and isinstance(field, ResidualField) and isinstance(field.residual, KINDS[name])
    assert field.residual.begin == 0.5 and field.residual.grid.table.abs().max() > 0
    system = interrupted_and_resumed(files[0], tmp_path / "parts", options, 1, monkeypatch)
    assert same(dict(whole.system.state_dict()), dict(system.state_dict()))


@pytest.mark.slow
def test_the_second_phase_leaves_prior_and_code_alone(files, tmp_path):
    options = [*TINY, "method=h3dnet", "field=dense", f"prior.path={files[1]}", "steps=6"]
    cfg, folder = configured(files[0], tmp_path, *options)
    task = run.prepare(cfg, folder)
    system, sampler = task.system, task.data.sampler
    optimizer = system.configure_optimizers()["optimizer"]
    for step in range(6):
        before = {name: value.clone() for name, value in system.state_dict().items()}
        system.set_phase(step)
        optimizer.zero_grad(set_to_none=True)
        system.losses(sampler(step), step).total.backward()
        optimizer.step()
        now = system.state_dict()
        changed = {name for name in before if not torch.equal(before[name], now[name])}
        assert not any(name.startswith("sdf.head.shape.") for name in changed)
        assert ("sdf.head.code" in changed) == (step < 3)
        assert ("sdf.residual.grid.table" in changed) == (step >= 3)
        assert "sdf.head.correction" in changed


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_fitted_head_is_taught_to_the_grids(name, files, tmp_path):
    options = [*TINY, f"field={name}", "init=instant", f"init.pca.path={files[2]}"]
    cfg, folder = configured(
        files[0],
        tmp_path,
        *options,
        "method=idr",
        "init.regression.steps=100",
        "init.regression.sample_points=8192",
    )
    system = run.prepare(cfg, folder).system
    system.set_phase(0)
    assert isinstance(system.sdf, GridField) and distance_mm(system.sdf) < 1.5  # the sphere is 9 mm off
    cfg, folder = configured(files[0], tmp_path, *options, "method=h3dnet", f"prior.path={files[1]}")
    assert isinstance(run.prepare(cfg, folder).system.sdf, ResidualField)


@pytest.mark.slow
def test_grids_carry_the_appearance_of_the_instant_method(files, tmp_path):
    options = [
        *TINY,
        "method=instant",
        "field=dense",
        f"prior.path={files[2]}",
        "steps=3",
        "prior.sdf_offset=false",
    ]
    assert trained(files[0], tmp_path / "run", *options)[1]


@pytest.mark.slow
def test_donors_hand_over_grids_and_other_kinds_are_refused(files, tmp_path):
    options = [*TINY, "method=idr", "steps=4"]
    source_subject, _ = trained(files[0], tmp_path / "source_subject", *options, "field=hash")
    resumed = ["method=baseh3dnet", f"prior.source_subject={tmp_path / 'source_subject'}", "steps=4"]
    cfg, folder = configured(files[0], tmp_path / "a", *TINY, *resumed, "field=hash")
    system = run.prepare(cfg, folder).system
    torch.testing.assert_close(system.sdf.grid.table, source_subject.system.sdf.grid.table)
    for other in ("field=dense", "field=mlp"):
        more = [option for option in TINY if "finest" not in option] if other == "field=mlp" else TINY
        cfg, folder = configured(files[0], tmp_path / "b", *more, *resumed, other)
        with pytest.raises(PriorError, match=r"HashField, the configuration makes a"):
            run.prepare(cfg, folder)


def test_a_residual_of_another_kind_of_field_is_refused(files, tmp_path):
    options = ["trainer.accelerator=cpu", "method=h3dnet", f"prior.path={files[1]}", "prior.residual=field"]
    cfg, folder = configured(files[0], tmp_path, *options)
    with pytest.raises(ConfigError, match="field=dense or field=hash, not the SDFNetwork"):
        run.prepare(cfg, folder)


def test_the_field_says_what_it_is_to_a_prior():
    for name, expected in {
        "mlp": "none",
        "hash_appearance": "none",
        "dense": "field",
        "hash": "field",
    }.items():
        assert composed("method=h3dnet", f"field={name}").prior.residual == expected
    assert composed("method=h3dnet", "field=dense", "prior.residual=none").prior.residual == "none"
