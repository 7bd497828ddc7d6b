"""method=h3dnet on the closed-form ellipsoid, with a shape model of ellipsoids made by hand."""

import json
import os
import signal

import numpy as np
import pytest
import torch
import trimesh

from recon.errors import PriorError
from recon.systems import run, stages
from tests.support import ellipsoid
from tests.support.prior_shape_models import write_ellipsoids
from tests.support.runs import SMALL_H3DNET as SMALL
from tests.support.runs import composed, configured, reported, resumed, same, trained


@pytest.fixture(scope="module")
def scene_folder(tmp_path_factory):
    return ellipsoid.write_idr_scene(tmp_path_factory.mktemp("scenes") / "ellipsoid", 4)


@pytest.fixture(scope="module")
def prior_file(tmp_path_factory):
    return write_ellipsoids(tmp_path_factory.mktemp("prior") / "ellipsoids.safetensors")


def state(task) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in task.system.state_dict().items()}


def changed(before, after) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.slow
def test_first_the_prior_is_frozen_then_everything_learns(scene_folder, prior_file, tmp_path):
    options = [*SMALL, f"prior.path={prior_file}", "steps=6", "method.objective.frozen=0.5"]
    cfg, folder = configured(scene_folder, tmp_path, *options)
    task = run.prepare(cfg, folder)
    system, sampler = task.system, task.data.sampler
    optimizer = system.configure_optimizers()["optimizer"]
    seen = []
    for step in range(6):
        before = state(task)
        system.set_phase(step)
        optimizer.zero_grad(set_to_none=True)
        system.losses(sampler(step), step).total.backward()
        optimizer.step()
        seen.append(changed(before, state(task)))
    for step, names in enumerate(seen):
        assert {"sdf.code", "sdf.correction"} <= names
        assert any(name.startswith("sdf.feature.") for name in names)
        assert any(name.startswith("colour.") for name in names)
        assert any(name.startswith("sdf.shape.") for name in names) == (step >= 3), step


@pytest.mark.slow
def test_each_part_learns_at_its_own_rate(scene_folder, prior_file, tmp_path):
    rates = {"geometry": 3e-5, "code": 2e-2, "pose": 4e-4}
    options = [f"method.objective.{name}_learning_rate={rate}" for name, rate in rates.items()]
    options += ["method.objective.learning_rate=7e-4", f"prior.path={prior_file}", "steps=4"]
    cfg, folder = configured(scene_folder, tmp_path, *SMALL, *options)
    system = run.prepare(cfg, folder).system
    found = [group["lr"] for group in system.configure_optimizers()["optimizer"].param_groups]
    assert found == [3e-5, 7e-4, 2e-2, 4e-4]  # geometry, appearance, code, pose


@pytest.mark.slow
def test_the_penalty_is_the_squared_length_of_the_code(scene_folder, prior_file, tmp_path):
    totals = []
    for weight in (0.0, 0.5):
        options = [f"method.objective.code_weight={weight}", f"prior.path={prior_file}", "steps=4"]
        cfg, folder = configured(scene_folder, tmp_path, *SMALL, *options)
        task = run.prepare(cfg, folder)
        with torch.no_grad():
            task.system.sdf.code.fill_(2.0)
        totals.append(float(task.system.losses(task.data.sampler(0), 0).total.detach()))
    assert totals[1] - totals[0] == pytest.approx(0.5 * 4.0, rel=1e-4)


@pytest.mark.slow
def test_a_short_run_recovers_the_ellipsoid_and_says_what_it_started_from(scene_folder, prior_file, tmp_path):
    task, finished = trained(scene_folder, tmp_path, *SMALL, f"prior.path={prior_file}", "steps=60")
    metrics = reported(task)
    assert finished and metrics["prior"] == "ellipsoids" and metrics["method"] == "h3dnet"
    mesh = trimesh.load(tmp_path / "mesh.ply", process=False)
    # IDR takes 700 steps to 1.5 %; the shape model has the shape already, 10 % too small
    assert ellipsoid.distance_mm(np.asarray(mesh.vertices)).mean() < 0.02 * ellipsoid.SEMI_AXES_MM.mean()
    assert json.loads((tmp_path / "metrics.json").read_text())["views"] == [0, 1, 2, 3]


@pytest.mark.slow
def test_a_resumed_run_equals_one_that_was_never_stopped(scene_folder, prior_file, tmp_path, monkeypatch):
    options = [*SMALL, f"prior.path={prior_file}", "steps=6"]
    whole, _ = trained(scene_folder, tmp_path / "whole", *options)
    cfg, folder = configured(scene_folder, tmp_path / "parts", *options)
    task = run.prepare(cfg, folder)
    run.record(cfg, options, folder)
    losses = task.system.losses

    def interrupted(batch, step):
        if step == 1:  # in phase 1; phase 2 comes after the pause
            os.kill(os.getpid(), signal.SIGTERM)
        return losses(batch, step)

    monkeypatch.setattr(task.system, "losses", interrupted)
    assert not stages.train(task)
    again, finished = resumed(folder)
    assert finished and same(dict(whole.system.state_dict()), dict(again.system.state_dict()))


def test_methods_bring_the_priors_that_ship():
    cfg = composed()
    assert cfg.method.name == "instant" and cfg.prior._target_ == "recon.priors.PCAPrior"
    cfg = composed("method=h3dnet")
    assert cfg.method.name == "h3dnet" and cfg.prior._target_ == "recon.priors.DeepSDFPrior"
    assert composed("prior=mean_head").prior._target_ == "recon.priors.MeanHeadPrior"
    assert composed("method=idr").prior._target_ == "recon.priors.SpherePrior"


def test_a_missing_prior_is_named_before_any_work(scene_folder, tmp_path):
    cfg, folder = configured(scene_folder, tmp_path / "run", *SMALL, "prior.path=/nowhere/p.safetensors")
    with pytest.raises(PriorError, match=r"/nowhere/p\.safetensors"):
        run.prepare(cfg, folder)
    assert not folder.exists()


@pytest.mark.slow
def test_a_head_outside_the_family_is_reconstructed_without_it(scene_folder, prior_file, tmp_path, caplog):
    # no ellipsoid of the shape model comes closer to the outlines than a hair's breadth
    options = [*SMALL, f"prior.path={prior_file}", "steps=3", "prior.out_of_distribution_mm=1e-6"]
    network = ["field.sdf.width=64", "field.sdf.depth=2", "field.sdf.skip=[]"]
    task, finished = trained(scene_folder, tmp_path, *options, *network, "fallback=idr")
    assert (
        finished
        and task.start_name == "sphere"
        and task.cfg.method.name == "idr"
        and task.cfg.asked.method == "h3dnet"
    )
    assert "without the prior" in caplog.text and "out_of_distribution_mm" in caplog.text
    idr = composed("method=idr", "trainer.accelerator=cpu")
    assert task.cfg.method.objective.learning_rate == idr.method.objective.learning_rate
    assert task.cfg.method.objective.frozen == 0.0
    cfg, folder = configured(scene_folder, tmp_path / "stop", *options)
    with pytest.raises(PriorError, match="no head of ellipsoids"):
        run.prepare(cfg, folder)
