"""What a run writes: one writer more is one entry in a tuple."""

import json
import re

import pytest

from recon.systems import run
from recon.systems.report import reporter
from recon.systems.report.reporter import Writer
from tests.support import ellipsoid
from tests.support.runs import TINY, configured, reported, trained


def write_cameras(prepared):
    """A picture, or here a text file, that a run leaves besides."""
    path = prepared.folder / "cameras.txt"
    path.write_text("\n".join(str(prepared.scene.views[view].camera.centre) for view in prepared.views))
    return {"cameras_written": len(prepared.views)}


@pytest.mark.slow
@pytest.mark.parametrize("when", ["early", "beside", "in turn"])
def test_a_writer_is_added_by_one_entry(tmp_path, monkeypatch, when):
    scene = ellipsoid.write_idr_scene(tmp_path / "scene", 4)
    prepared, _ = trained(scene, tmp_path / "run", *TINY, "steps=1", "render.heldout=0", "render.step=8")
    monkeypatch.setattr(reporter, "WRITERS", (*reporter.WRITERS, Writer("cameras", write_cameras, when)))
    metrics = reported(prepared)
    assert len((tmp_path / "run" / "cameras.txt").read_text().splitlines()) == 4
    assert metrics["cameras_written"] == 4 and "cameras" in metrics["timeline_parts"]["report"]
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == metrics


@pytest.mark.slow
def test_every_stage_has_a_function_and_a_time(tmp_path, caplog):
    scene = ellipsoid.write_idr_scene(tmp_path / "scene", 4)
    cfg, folder = configured(scene, tmp_path / "run", *TINY, "steps=1", "render.heldout=0", "render.step=8")
    with caplog.at_level("INFO"):
        metrics = run.reconstruct(cfg, folder, ["steps=1"])
    assert list(metrics["timeline"]) == ["open", "observe", "initialise", "train", "mesh", "report"]
    assert (folder / "overrides.yaml").is_file() and (folder / "mesh.glb").is_file()
    assert metrics["mesh_s"] == metrics["timeline"]["mesh"]
    (done,) = (
        re.match(r"done in ([\d.]+) s", each) for each in caplog.messages if each.startswith("done in")
    )
    (line,) = (each for each in caplog.messages if each.startswith("time line: "))
    assert line.endswith(f"= {done[1]} s") and f"mesh {metrics['mesh_s']:.1f}, " in line
