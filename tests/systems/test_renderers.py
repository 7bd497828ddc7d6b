"""renderer=cached in whole runs: stopping, resuming, and the same surface as renderer=sphere_tracing."""

import os
import signal

import pytest
import torch

from recon.errors import ReconError
from recon.rendering.cached import CachedTracer
from recon.systems import run
from tests.support import ellipsoid
from tests.support.runs import TINY, composed, configured, resumed, same, trained

CACHED = [
    *TINY,
    "renderer=cached",
    "renderer.cells=32",
    "renderer.refresh_interval=1",
    "renderer.longest_refresh_interval=4",
]


@pytest.fixture(scope="module")
def scene_folder(tmp_path_factory):
    return ellipsoid.write_idr_scene(tmp_path_factory.mktemp("scenes") / "ellipsoid", 4)


@pytest.mark.slow
def test_a_resumed_run_equals_one_that_was_never_stopped(scene_folder, tmp_path, monkeypatch):
    whole, _ = trained(scene_folder, tmp_path / "whole", *CACHED)
    assert isinstance(whole.system.tracer, CachedTracer)
    cfg, folder = configured(scene_folder, tmp_path / "parts", *CACHED)
    task = run.prepare(cfg, folder)
    run.record(cfg, CACHED, folder)
    losses = task.system.losses

    def interrupted(batch, step):
        if step == 1:  # the grid is of step 1 and stays until step 3
            os.kill(os.getpid(), signal.SIGTERM)
        return losses(batch, step)

    monkeypatch.setattr(task.system, "losses", interrupted)
    assert not run.train(task)
    again, finished = resumed(folder)
    assert finished and same(dict(whole.system.state_dict()), dict(again.system.state_dict()))


def test_settings_that_make_no_sense_are_refused_before_any_work(scene_folder, tmp_path):
    cfg, folder = configured(scene_folder, tmp_path, *CACHED, "renderer.cells=30")
    with pytest.raises(run.ConfigError, match=r"renderer\.cells=30"):
        run.prepare(cfg, folder)


def test_all_settings_of_the_reference_are_there():
    assert set(composed("renderer=sphere_tracing").renderer) <= set(composed("renderer=cached").renderer)


@pytest.mark.slow
@pytest.mark.parametrize("fixed", ["false", "true"])
def test_a_run_of_bad_losses_ends_the_training_with_good_weights(scene_folder, tmp_path, monkeypatch, fixed):
    options = [*CACHED, f"renderer.fixed_shapes={fixed}", "steps=70"]
    cfg, folder = configured(scene_folder, tmp_path, *options)
    task = run.prepare(cfg, folder)
    losses, seen = task.system.losses, []

    def poisoned(batch, step):
        seen.append(step)
        terms = losses(batch, step)
        return type(terms)(terms.total * (float("nan") if step >= 5 else 1.0), terms.shown)

    monkeypatch.setattr(task.system, "losses", poisoned)
    with pytest.raises(ReconError, match="not finite in 20 steps in a row"):
        run.train(task)
    assert 24 <= seen[-1] < 45  # at once, or at the next look
    assert all(torch.isfinite(parameter).all() for parameter in task.system.parameters())
