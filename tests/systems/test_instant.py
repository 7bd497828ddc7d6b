"""method=instant from photographs to a run folder, with the prior and the head that ship."""

import json

import numpy as np
import pytest
import torch
import trimesh

from recon.errors import OutsidePriorError, PriorError
from recon.fitting import SolverSettings
from recon.priors import LinearPrior
from recon.priors.shipped import shipped
from recon.systems import outputs, run
from tests import ellipsoid
from tests.systems.test_run import ROOT, configured

DEMO = ROOT / "recon" / "assets" / "heads" / "demo"


@pytest.mark.slow
def test_the_demo_head_from_three_photographs(tmp_path):
    cfg, folder = configured(
        DEMO, tmp_path, "method=instant", "views=3", "trainer.accelerator=cpu", "mesh.resolution=320",
        "render.heldout=2", "render.step=4", "steps=25",
    )  # fmt: skip
    task = run.prepare(cfg, folder)
    run.record(cfg, [], folder)
    before = {name: value.clone() for name, value in task.system.sdf.shape.state_dict().items()}
    assert run.train(task)
    metrics = outputs.write(task)
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
    assert json.loads((folder / "metrics.json").read_text())["method"] == "instant"


def test_what_is_no_head_goes_on_as_another_method(tmp_path):
    scene = ellipsoid.write_idr_scene(tmp_path / "scene", 4)
    options = ["method=instant", "trainer.accelerator=cpu", "prior.outside_mm=0.5"]
    cfg, folder = configured(scene, tmp_path / "run", *options)
    task = run.prepare(cfg, folder)
    assert task.prior == "sphere" and not task.cfg.method.surface_points
    cfg, folder = configured(scene, tmp_path / "run2", *options, "method.outside=null")
    with pytest.raises(OutsidePriorError, match="outlines are"):
        run.prepare(cfg, folder)


def test_unknown_settings_are_named():
    with pytest.raises(PriorError, match="silhouette_steps"):
        LinearPrior(str(shipped("linear-synth-v1.safetensors")), solver={"steps": 3})
    prior = LinearPrior(str(shipped("linear-synth-v1.safetensors")), solver={"pixels": 100})
    assert prior.settings == SolverSettings(pixels=100)
