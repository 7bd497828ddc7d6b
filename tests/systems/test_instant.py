"""method=instant from photographs to a run folder, with the prior and the head that ship."""

import json

import numpy as np
import pytest
import torch
import trimesh

from recon.errors import OutOfDistributionError, PriorError
from recon.fitting import SolverSettings
from recon.priors import PCAPrior
from recon.priors.shipped import PCA, shipped
from recon.systems import run, stages
from recon.systems.report.reporter import Reporter
from tests.support import ellipsoid
from tests.support.runs import ROOT, configured, reported

DEMO = ROOT / "recon" / "assets" / "heads" / "demo"


def prepared(tmp_path, *options):
    """The demo head from three photographs, ready to train."""
    cfg, folder = configured(DEMO, tmp_path, "views=3", "trainer.accelerator=cpu", *options)
    task = run.prepare(cfg, folder)
    run.record(cfg, [], folder)
    return task


@pytest.mark.slow
def test_the_demo_head_from_three_photographs(tmp_path):
    task = prepared(
        tmp_path, "method=instant", "mesh.resolution=320", "render.heldout=2", "render.step=4", "steps=25"
    )
    folder = task.folder
    before = {name: value.clone() for name, value in task.system.sdf.shape.state_dict().items()}
    with Reporter(task) as reporter:  # the surface is found beside the training
        assert stages.train(task)
        reporter.surface()
        metrics = reporter.write()
    assert metrics["face_mm"] < 1.0 and metrics["head_mm"] < 2.5
    assert metrics["face_mm_strict"] < 0.6
    assert metrics["mask_iou_heldout"] > 0.95 and metrics["psnr_input"] > 19
    assert metrics["outline_mm"] < 1.0 and 0.9 < metrics["life_size"] < 1.1
    assert 0.5 < metrics["std_mm"] < 4.0 and metrics["warnings"] == []
    assert 0.5 < metrics["std_holds"] < 0.95
    for name, value in task.system.sdf.shape.state_dict().items():  # only the appearance learned
        assert torch.equal(value, before[name]), name
    held = trimesh.load(folder / "mesh.ply", process=False)
    stored = held.metadata["_ply_raw"]["vertex"]["data"]
    seen, deviation = np.asarray(stored["seen"]).ravel(), np.asarray(stored["std_mm"]).ravel()
    assert deviation[seen == 0].mean() > 1.2 * deviation[seen == 3].mean()  # the unseen is less certain
    written = json.loads((folder / "metrics.json").read_text())
    assert written["method"] == "instant" and written["landmarks"] is True
    truth = task.scene.ground_truth
    marks = json.loads((folder / "mesh.landmarks.json").read_text())
    for name, vertex in truth.landmarks.items():  # lips part or not; the others are within a few cells
        away = np.linalg.norm(held.vertices[marks[name]] - np.asarray(truth.mesh().vertices)[vertex])
        assert away < (5.0 if "lips" in name else 3.0), name


@pytest.mark.slow
def test_a_residual_on_grids_learns_over_the_fitted_head(tmp_path):
    task = prepared(
        tmp_path,
        "method=instant_grid",
        "mesh.resolution=256",
        "render.heldout=1",
        "render.step=8",
        "steps=12",
    )
    field = task.system.sdf
    points = torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    with torch.no_grad():
        torch.testing.assert_close(field.sdf(points), field.head.sdf(points))  # nothing is added yet
    before = field.head.shape.grid.values.clone()
    assert stages.train(task)
    metrics = reported(task)
    assert torch.equal(field.head.shape.grid.values, before)
    moved = field.residual.correction(points).detach().abs()
    assert 0 < moved.max() < 0.01
    assert (
        metrics["face_mm_strict"] < 0.6 and metrics["std_mm"] is None
    )  # the fit's deviation is not this surface's
    with pytest.raises(PriorError, match=r"prior\.residual"):
        PCAPrior(str(shipped(PCA)), residual="all")


@pytest.mark.slow
def test_what_is_no_head_goes_on_as_another_method(tmp_path):
    scene = ellipsoid.write_idr_scene(tmp_path / "scene", 4)
    options = ["method=instant", "trainer.accelerator=cpu", "prior.out_of_distribution_mm=0.5"]
    cfg, folder = configured(scene, tmp_path / "run", *options, "fallback=idr")
    task = run.prepare(cfg, folder)
    assert task.start_name == "sphere" and not task.cfg.method.surface_points
    cfg, folder = configured(scene, tmp_path / "run2", *options)
    with pytest.raises(
        OutOfDistributionError, match=r"outlines are .* headrecon 'scene=a b' seed=1 fallback=idr"
    ):
        run.prepare(cfg, folder, overrides=["scene=a b", "fallback=ask", "seed=1"])
    assert not folder.exists()


def test_unknown_settings_are_named():
    with pytest.raises(PriorError, match="silhouette_steps"):
        PCAPrior(str(shipped(PCA)), solver={"steps": 3})
    prior = PCAPrior(str(shipped(PCA)), solver={"pixels": 100})
    assert prior.settings == SolverSettings(pixels=100)
