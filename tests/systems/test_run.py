"""Whole runs on the closed-form ellipsoid: through the configuration, Lightning, meshing and metrics."""

import csv
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
import trimesh
from omegaconf import OmegaConf
from PIL import Image

from recon import scene as scenes
from recon.errors import ConfigError, SceneError
from recon.systems import config, run, stages
from recon.systems.checkpoint import load_checkpoint
from tests.support import ellipsoid
from tests.support.runs import ROOT, SMALL, TINY, composed, configured, reported, resumed, same, trained

config.register_resolvers()


@pytest.fixture(scope="module")
def scene_folder(tmp_path_factory):
    return ellipsoid.write_idr_scene(tmp_path_factory.mktemp("scenes") / "ellipsoid", 6)


def test_priors_hear_of_ignored_pixels(tmp_path):
    folder = ellipsoid.write_idr_scene(tmp_path / "ellipsoid", 3)
    bar = np.zeros((ellipsoid.HEIGHT, ellipsoid.WIDTH), dtype=bool)
    bar[:, 60:80] = True
    (folder / "ignore").mkdir()
    (mask,) = folder.glob("mask/*1.png")
    Image.fromarray(bar).save(folder / "ignore" / mask.name)
    scene = scenes.open(folder)
    observations = stages.observe(scene, [1, 0])
    np.testing.assert_array_equal(observations.ignored[0], bar)
    assert not observations.ignored[1].any()


@pytest.mark.slow
def test_ellipsoid_is_recovered_from_four_views(tmp_path):
    scene = ellipsoid.write_idr_scene(tmp_path / "scene", 4)
    task, finished = trained(
        scene,
        tmp_path / "run",
        *SMALL,
        "steps=700",
        "method.objective.learning_rate=1e-3",
        "mesh.resolution=160",
    )
    metrics = reported(task)
    mesh = trimesh.load(tmp_path / "run" / "mesh.ply", process=False)
    error = ellipsoid.distance_mm(np.asarray(mesh.vertices))
    assert finished and mesh.is_watertight and mesh.volume > 0
    assert error.mean() < 0.015 * ellipsoid.SEMI_AXES_MM.mean()
    assert metrics["mask_iou_input"] > 0.97 and metrics["psnr_input"] > 20


@pytest.mark.slow
def test_a_run_folder_holds_what_the_contract_says(scene_folder, tmp_path):
    task, finished = trained(scene_folder, tmp_path, *TINY, "render.heldout=1")
    metrics = reported(task)
    assert finished
    for name in (
        "mesh.ply",
        "mesh.glb",
        "metrics.json",
        "config.yaml",
        "overrides.yaml",
        "metrics.csv",
        "checkpoints/last.ckpt",
    ):
        assert (tmp_path / name).stat().st_size > 0, name
    assert sorted(p.name for p in (tmp_path / "renders").iterdir()) == [
        "heldout_0004.png",
        *(f"input_000{i}.png" for i in range(4)),
        *(f"overlay_000{i}.png" for i in range(4)),
        "uncertainty.png",
    ]
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    keys = (
        "scene views method prior seed device steps train_s mesh_s wall_s peak_rss_mb mesh_vertices "
        "psnr_input psnr_heldout face_mm head_mm face_mm_strict head_mm_strict ears_mm_strict timeline "
        "outline_mm outline_worst_mm seen_share std_mm std_holds life_size warnings"
    )
    assert set(keys.split()) <= set(metrics)
    assert metrics["face_mm"] is None and metrics["views"] == [0, 1, 2, 3] and metrics["peak_rss_mb"] > 100
    spans = metrics["timeline"]
    assert list(spans) == ["open", "observe", "initialise", "train", "mesh", "report"]
    assert list(metrics["timeline_parts"]) == ["initialise", "report"]
    assert metrics["asked"] is None and metrics["refused"] is None
    assert abs(sum(spans.values()) - metrics["wall_s"]) < 0.5
    with (tmp_path / "metrics.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [2, 4, 6, 8]
    mesh = trimesh.load(tmp_path / "mesh.ply", process=False)
    assert np.linalg.norm(mesh.centroid - ellipsoid.CENTRE_MM) < 60  # world mm


def test_a_folder_that_holds_a_run_is_refused(scene_folder, tmp_path):
    trained(scene_folder, tmp_path / "run", *TINY)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    cfg, folder = configured(scene_folder, tmp_path / "run", *TINY)
    with pytest.raises(ConfigError, match=r"already holds a run.*resume="):
        run.prepare(cfg, folder)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}


@pytest.mark.slow
def test_stopped_and_resumed_equals_never_stopped_bit_for_bit(scene_folder, tmp_path, monkeypatch):
    refined = [*TINY, "method.refine_cameras=true"]
    trained(scene_folder, tmp_path / "whole", *refined)

    cfg, folder = configured(scene_folder, tmp_path / "parts", *refined)
    task = run.prepare(cfg, folder)
    run.record(cfg, [], folder)
    losses, count = task.system.losses, 0

    def interrupted(batch, step):
        nonlocal count
        count += 1
        if count == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return losses(batch, step)

    monkeypatch.setattr(task.system, "losses", interrupted)
    assert not stages.train(task)
    halfway = load_checkpoint(folder / "checkpoints" / "last.ckpt")
    assert halfway["global_step"] == 5

    assert resumed(folder)[1]
    whole, parts = (
        load_checkpoint(tmp_path / name / "checkpoints" / "last.ckpt") for name in ("whole", "parts")
    )
    assert whole["global_step"] == parts["global_step"] == 8
    assert same(whole["state_dict"], parts["state_dict"])
    assert same(whole["optimizer_states"], parts["optimizer_states"])
    assert not same(whole["state_dict"], halfway["state_dict"])
    with (folder / "metrics.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [2, 4, 6, 8]


@pytest.mark.slow
def test_same_seed_same_weights_other_seed_others(scene_folder, tmp_path):
    states = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        task, _ = trained(scene_folder, tmp_path / name, *TINY, f"seed={seed}")
        states.append(task.system.state_dict())
    assert same(states[0], states[1]) and not same(states[0], states[2])


def test_deterministic_runs_ask_pytorch_for_it(scene_folder, tmp_path):
    try:
        trained(scene_folder, tmp_path, *TINY, "deterministic=true", "steps=2")
        assert torch.are_deterministic_algorithms_enabled()  # an operation that is not would have raised
    finally:
        torch.use_deterministic_algorithms(False)


def test_losses_that_are_not_finite_never_reach_the_weights(scene_folder, tmp_path, monkeypatch):
    cfg, folder = configured(scene_folder, tmp_path, *TINY)
    task = run.prepare(cfg, folder)
    losses = task.system.losses

    def poisoned(batch, step):
        terms = losses(batch, step)
        return type(terms)(terms.total * (float("nan") if step == 3 else 1.0), terms.shown)

    monkeypatch.setattr(task.system, "losses", poisoned)
    assert stages.train(task)
    assert all(torch.isfinite(p).all() for p in task.system.parameters())


def command(*arguments, folder):
    return subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *arguments, f"hydra.run.dir={folder}"],
        capture_output=True, text=True, cwd=ROOT, timeout=300,
    )  # fmt: skip


@pytest.mark.slow
def test_bad_input_is_one_clear_error_and_leaves_nothing(scene_folder, tmp_path):
    result = command("scene=no_such_scene", folder=tmp_path / "run")
    assert result.returncode == 1
    assert (
        "no_such_scene" in result.stdout + result.stderr and "Traceback" not in result.stdout + result.stderr
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_an_option_that_hydra_itself_refuses_leaves_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "train.py", "scene=demo", "preset=GPU"],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, list(tmp_path.iterdir())) == (1, [])
    assert done.stderr.strip().splitlines()[-1] == "preset=GPU: choose auto, cpu, gpu, paper"


@pytest.mark.parametrize("views", ["9", "[0,0,1]", "[0,17]", "none"])
def test_bad_views_are_refused(scene_folder, tmp_path, views):
    cfg, folder = configured(scene_folder, tmp_path)
    cfg.views = (
        [int(v) for v in views[1:-1].split(",")]
        if views.startswith("[")
        else (int(views) if views.isdigit() else views)
    )
    with pytest.raises(Exception, match="view") as caught:
        run.prepare(cfg, folder)
    assert type(caught.value).__name__ in ("SceneError", "ConfigError")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["field=mlp", "field.sdf.width=10", "field.sdf.skip=[2]"], r"field\.sdf: .*width is 10"),
        (["field=hash", "field.sdf.first=64"], r"field\.sdf: .*first=64"),
        (["field=dense", "field.sdf.finest=65536"], r"field\.sdf: .*does not fit into the \d+ MB"),
        (
            ["field.colour.feature_size=32", "field.sdf.feature_size=16"],
            r"field\.colour\.feature_size=32.*=16",
        ),
    ],
)
def test_networks_that_cannot_be_made_are_refused_before_any_work(tmp_path, overrides, said):
    cfg, folder = configured("no/scene/is/looked/for", tmp_path, *overrides)
    with pytest.raises(ConfigError, match=said):
        run.prepare(cfg, folder)


def test_looking_at_networks_draws_no_random_numbers():
    before = torch.random.get_rng_state()
    stages.check_networks(composed("method=instant_grid"))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_missing_mask_stops_the_run_before_it_starts(tmp_path):
    scene = ellipsoid.write_idr_scene(tmp_path / "scene", 3)
    (scene / "mask" / "001.png").unlink()
    cfg, folder = configured(scene, tmp_path / "run", "views=[0,1,2]")
    with pytest.raises(SceneError, match="001"):
        run.prepare(cfg, folder)


def test_the_configuration_is_there_before_the_work_and_after_it_with_what_was_chosen(scene_folder, tmp_path):
    cfg, folder = configured(scene_folder, tmp_path / "run", *TINY)
    with run.recorded(cfg, ["steps=8"], folder):
        early = OmegaConf.load(folder / "config.yaml")
        assert early.start is None and OmegaConf.load(folder / "overrides.yaml") == ["steps=8"]
        cfg.start = "sphere"
    assert OmegaConf.load(folder / "config.yaml").start == "sphere"
    assert sorted(path.name for path in folder.iterdir()) == ["config.yaml", "overrides.yaml"]


def test_a_refused_run_takes_its_configuration_back_and_leaves_that_of_another(scene_folder, tmp_path):
    cfg, folder = configured(scene_folder, tmp_path / "run", *TINY)
    with pytest.raises(SceneError), run.recorded(cfg, [], folder):
        raise SceneError("no")
    assert list(folder.iterdir()) == []
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints/last.ckpt").write_bytes(b"x")
    (folder / "config.yaml").write_text("seed: 7\n")
    with pytest.raises(ConfigError, match="already holds a run"), run.recorded(cfg, [], folder):
        raise AssertionError("it has begun")
    assert (folder / "config.yaml").read_text() == "seed: 7\n"


def test_a_run_killed_before_its_first_checkpoint_is_resumed_from_the_beginning(scene_folder, tmp_path):
    cfg, folder = configured(scene_folder, tmp_path / "run", *TINY)
    with pytest.raises(KeyboardInterrupt), run.recorded(cfg, [], folder):
        raise KeyboardInterrupt
    again = config.settle(composed(f"resume={folder}"), [f"resume={folder}"])
    assert again.scene == cfg.scene and again.steps == 8
    with run.recorded(again, [], folder):
        again.start = "sphere"
    stored = OmegaConf.load(folder / "config.yaml")
    assert stored.start == "sphere" and stored.resume is None  # a second resume does not choose again
