import json
import subprocess
import sys

import numpy as np
import pytest
import trimesh
from hydra import compose, initialize_config_dir

from recon.commands import evaluate
from recon.errors import ReconError
from recon.meshing import save
from recon.resources import CONF
from tests.support import official_cases as cases
from tests.support.runs import ROOT


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "root"
    scene = cases.write_root(root, *cases.ground_truth())
    return root, scene


def configured(*overrides):
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        return compose("evaluate", overrides=list(overrides))


@pytest.mark.slow
def test_faces_without_occluded_parts_are_said_to_be_no_official_ones(data, tmp_path, capsys):
    root, scene = data
    gt, _, _ = cases.ground_truth()
    wrong = gt.vertices + 2.0 * np.sin(gt.vertices / 20)
    save(trimesh.Trimesh(wrong, gt.faces, process=False), tmp_path / "mine" / f"{scene}_3.ply")
    given = (
        f"pred={tmp_path}/mine",
        f"data={root}",
        "heatmaps=false",
        "strict=false",
        "include_occluded=false",
    )
    assert not evaluate.run(configured(*given))
    assert "not comparable with official numbers" in capsys.readouterr().out
    assert "include_occluded=false" in (tmp_path / "mine" / "evaluation" / "table.md").read_text()


@pytest.mark.slow
def test_a_folder_becomes_tables(data, tmp_path, capsys):
    root, scene = data
    gt, _, _ = cases.ground_truth()
    for views, amount in ((3, 3.0), (8, 1.0)):
        wrong = gt.vertices + amount * np.sin(gt.vertices / 20)
        save(trimesh.Trimesh(wrong, gt.faces, process=False), tmp_path / "mine" / f"{scene}_{views}.ply")
    failed = evaluate.run(
        configured(f"pred={tmp_path}/mine", f"data={root}", "config=config_v1", "heatmaps=false")
    )
    assert not failed
    out = capsys.readouterr().out
    assert "mine" in out and "IDR (published)" in out and "H3DS v2" not in out
    folder = tmp_path / "mine" / "evaluation"
    assert sorted(p.name for p in folder.iterdir()) == ["scores.csv", "scores.json", "table.md", "table.txt"]
    table = json.loads((folder / "scores.json").read_text())["table"]
    assert {row["protocol"] for row in table} == {"H3DS 0.4.0 official", "strict 1"}
    assert table[0]["views"]["8"]["head"]["mean"] < table[0]["views"]["3"]["head"]["mean"]
    # the tables it wrote are no predictions when the folder is scored again
    assert not evaluate.run(
        configured(f"pred={tmp_path}/mine", f"data={root}", "views=3", "heatmaps=false", "strict=false")
    )


def test_a_single_mesh_with_views_named(data, tmp_path):
    root, _ = data
    save(cases.ground_truth()[0], tmp_path / "head.ply")
    options = ["views=3", f"out={tmp_path}/out", "heatmaps=false", "strict=false"]
    assert not evaluate.run(configured(f"pred={tmp_path}/head.ply", f"data={root}", *options))
    assert (tmp_path / "out" / "table.md").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("option", ["method_name", "method"])
def test_a_row_of_the_table_is_named_on_the_command_line(data, tmp_path, option):
    root, _ = data
    save(cases.ground_truth()[0], tmp_path / "head.ply")
    given = [f"pred={tmp_path}/head.ply", f"data={root}", "views=3", "heatmaps=false", "strict=false"]
    command = [sys.executable, ROOT / "scripts/evaluate.py", *given, f"{option}=mine"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "evaluation/scores.json").read_text())["table"][0]["method"] == "mine"


def test_errors_name_the_remedy(data, tmp_path):
    root, scene = data
    save(cases.ground_truth()[0], tmp_path / f"{scene}_3.ply")
    pred = f"pred={tmp_path}/{scene}_3.ply"
    for overrides, message in (
        ([f"data={tmp_path}/nowhere"], "no such folder"),
        ([f"data={root}", "config=config_v3"], "choose one of config_v1"),
        ([f"data={root}", "scenes=[other]"], "full_head.obj"),
    ):
        with pytest.raises(ReconError, match=message):
            evaluate.run(configured(pred, *overrides))
    (root / "version.txt").write_text("0.4\n")
    with pytest.raises(ReconError, match="must not be mixed"):
        evaluate.run(configured(pred, f"data={root}", "config=config_v1"))
