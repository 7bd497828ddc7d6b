"""The benchmark of faults with a trainer that only pretends: what is run, what is refused, what tables say."""

import json
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from PIL import Image

import recon.scene
from recon.commands import robustness as robustness_command
from recon.errors import ConfigError
from recon.synth.datasets.faults import FAULTS
from recon.systems import config
from recon.systems.benchmark.plan import Cell
from recon.systems.benchmark.results import Run
from recon.systems.benchmark.robustness import plan as robustness
from recon.systems.benchmark.robustness.summary import RobustnessReport, markdown
from recon.systems.help import options as help_options
from tests.support import official_cases as cases
from tests.support.ellipsoid import CENTRE_MM, write_idr_scene

ROOT = Path(__file__).parents[3]
# Its errors grow with what the scene's record says of the fault.
PRETENDER = """
import json, pathlib, sys
given = dict(a.partition("=")[::2] for a in sys.argv[1:])
folder, scene = (pathlib.Path(given[key].strip("'")) for key in ("hydra.run.dir", "scene"))
folder.mkdir(parents=True)
with open(folder.parents[3] / "calls", "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
(folder / "overrides.yaml").write_text(json.dumps([a for a in sys.argv[1:] if not a.startswith("hydra.")]))
fault = json.loads((scene / "fault.json").read_text())["fault"]
error = (1 + fault["jitter_px"] / 10) * fault["scale"]
metrics = {"face_mm": error, "head_mm": 3 * error, "face_mm_strict": error / 2, "head_mm_strict": error, "wall_s": 4.0}
(folder / "metrics.json").write_text(json.dumps(metrics))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """An H3DS root of two small scenes."""
    root = tmp_path_factory.mktemp("data")
    photographs = recon.scene.open(write_idr_scene(root / "photographs", 3))
    mesh, landmarks, regions = cases.ground_truth()
    mesh.vertices += CENTRE_MM - cases.PLACE
    for name in ("ann", "bob-2"):
        recon.scene.h3ds.write_scene(
            root / "heads", name, images=[v.image() for v in photographs.views],
            masks=[v.mask() for v in photographs.views], cameras=[v.camera for v in photographs.views],
            scale_mat=photographs.scale_mat, mesh=mesh, landmarks=landmarks, regions=regions,
        )  # fmt: skip
    return root / "heads"


@pytest.fixture
def script(tmp_path, monkeypatch):
    """The command, with the pretender in place of the trainer."""
    (tmp_path / "train.py").write_text(PRETENDER)
    real = robustness.plan
    command = (sys.executable, "-S", str(tmp_path / "train.py"))
    monkeypatch.setattr(robustness, "plan", lambda *given: real(*given, command=command))
    return robustness_command


def configured(*overrides):
    config.register_resolvers()
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        return compose("robustness", overrides=list(overrides))


VARIANTS = ("overrides.no_cameras=['render.step=7']", "variants=[all,no_cameras]")


def command(data, out, *more):
    return configured(f"data={data}", f"out={out}", "method_name=idr", "workers=2", *more)


def calls(out):
    return [json.loads(line) for line in (out / "calls").read_text().splitlines()]


@pytest.mark.slow
def test_from_the_command_to_tables_and_nothing_is_done_twice(script, data, tmp_path):
    out = tmp_path / "out"
    options = ["preset=full", "faults=[mask_5px,pose]", *VARIANTS]
    assert script.run(command(data, out, "subjects=1", *options)) == 0
    first = calls(out)
    assert len(first) == 6  # clean and two faults under two variants
    switched_off = [call for call in first if "render.step=7" in call]
    assert len(switched_off) == 3 and all("method=idr" in call and "views=3" in call for call in first)
    with Image.open(out / "faults.png") as sheet:
        assert sheet.size == (3 * 3 * 256, 276)

    assert script.run(command(data, out, "subjects=2", *options)) == 0
    later = calls(out)[6:]
    assert len(later) == 6 and all(any("bob-2" in word for word in call) for call in later)
    results = json.loads((out / "results.json").read_text())
    rows = {(row["fault"], row["variant"]): row for row in results["rows"]}
    assert set(rows) == {(f, v) for f in ("clean", "mask_5px", "pose") for v in ("all", "no_cameras")}
    jitter, pose = rows["mask_5px", "all"], rows["pose", "no_cameras"]
    assert jitter["subjects"] == ["ann", "bob-2"] and jitter["time_s"] == 4.0
    assert jitter["errors"]["head_mm"] == pytest.approx(4.5)
    assert jitter["ratios"]["head_mm_strict"] == pytest.approx(1.5)
    # What grew with the world is no error.
    assert pose["errors"]["face_mm"] == pytest.approx(1.0) and pose["ratios"]["face_mm"] == pytest.approx(1)
    assert {"cpu", "cores"} <= set(results["machine"])
    assert results["command"].startswith("headrecon-benchmark-robustness")
    text = (out / "results.md").read_text()
    assert "| mask jitter 5 px | 1.50 / 4.50 | 1.50 / 4.50 |" in text
    assert "single faults cost at most 1.50 (mask_5px) / 1.50 (mask_5px)" in text
    assert "- no_cameras: `render.step=7`" in text

    (out / "results.md").unlink()
    assert script.run(command(data, out, "subjects=2", "report_only=true", *options)) == 0
    assert (out / "results.md").read_text().count("mask jitter 5 px") == 3 and len(calls(out)) == 12


def test_scenes_that_another_seed_made_are_refused(script, data, tmp_path):
    options = ["subjects=1", "faults=[gain]", "variants=[all]", f"scenes={tmp_path}/scenes"]
    assert script.run(command(data, tmp_path / "out", *options)) == 0
    assert (tmp_path / "scenes" / "3" / "gain" / "ann" / "fault.json").is_file()
    with pytest.raises(Exception, match="another seed"):
        script.run(command(data, tmp_path / "out", "seed=1", *options))


def test_light_faults_take_synthetic_heads(script, data, tmp_path):
    with pytest.raises(Exception, match="only synthetic heads"):
        script.run(command(data, tmp_path / "out", "subjects=1", "faults=[highlights]", "variants=[all]"))
    assert not (tmp_path / "out" / "calls").exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("preset=half", "quick or full"),
        ("faults=[fog]", "fog.*mask_1px"),
        ("faults=[]", "empty"),
        ("variants=[none]", "none.*no_shading"),
        ("method_name=nothing", "h3dnet"),
        ("views=0", "views"),
        ("seed=-1", "seed"),
        ("workers=0", "workers"),
        ("size=laptop", "laptop"),
        ("extra=[steps]", "key=value"),
        ("overrides.all=0", "key=value"),
        ("+overrides={a-b:[]}", "name for a variant"),
        ("preset=full", r"variant no_shading: Could not override 'prior\.solver\.shading'"),
    ],
)
def test_bad_options_are_refused_before_any_work(script, data, tmp_path, option, message):
    with pytest.raises(ConfigError, match=message):
        script.run(command(data, tmp_path / "out", "subjects=1", option))
    assert not (tmp_path / "out").exists()


def test_presets():
    options = {**json.loads(json.dumps(dict(configured("method_name=idr")), default=_plain))}
    quick = robustness.choice(options)
    assert list(quick.variants) == ["all"] and len(quick.faults) == 13 and quick.faults[0] == "clean"
    full = robustness.choice({**options, "preset": "full"})
    mitigations = ("shading", "cameras", "weights", "photometric", "brightness", "sdf_offset")
    assert list(full.variants) == ["all", *(f"no_{name}" for name in mitigations)]
    assert len(full.subjects) == 3 and list(full.faults) == list(FAULTS)
    assert set(quick.subjects) < set(full.subjects)
    assert all(comment for _, _, comment in help_options(config.CONF / "robustness.yaml"))


def _plain(value):
    from omegaconf import OmegaConf

    return OmegaConf.to_container(value)


def measured(fault, subject, face, variant="all"):
    keys = ("face_mm", "head_mm", "face_mm_strict", "head_mm_strict")
    metrics = {**dict.fromkeys(keys, face), "wall_s": 2.0}
    return Run(Cell(variant, 3, f"{fault}-{subject}", 0), metrics, {})


def test_ratios_are_over_the_subjects_that_both_have_and_failures_are_told():
    context = {
        "date": "2026-11-21T12:00:00", "command": "c", "revision": None, "method": "instant", "views": 3, "seed": 0,
        "machine": {"cpu": "a processor", "cores": 2, "memory_gb": 8.0, "gpus": [], "torch": "2"},
        "overrides": {"all": [], "no_cameras": ["x=1"]}, "notes": [],
    }  # fmt: skip
    runs = [
        measured("clean", "a", 1.0),
        measured("clean", "b-2", 2.0),
        measured("gain", "a", 1.5),
        measured("gain", "c", 9.0),
        measured("phone", "a", 5.0),
        measured("gain", "a", 4.0, "no_cameras"),
        Run(Cell("all", 3, "gain-b-2", 0), {}, {}, "no surface"),
    ]
    report = RobustnessReport(runs, "heads", ["all", "no_cameras"], context)
    rows = {(row.fault, row.variant): row for row in report.rows}
    gain = rows["gain", "all"]
    assert (gain.subjects, gain.failed, gain.ratios["face_mm"]) == (("a", "c"), 1, 1.5)
    assert gain.errors["face_mm"] == pytest.approx(5.25)
    assert rows["clean", "all"].ratios["head_mm"] == 1.0
    assert rows["gain", "no_cameras"].ratios == {}  # that variant has no clean run
    assert report.worst("all")["face_mm"] == ("gain", 1.5)
    text = markdown(report)
    assert "| colour gain ±20 % | 5.25 / 5.25 (2 of 3) | 4.00 / 4.00 (1 of 3) |" in text
    assert "all, gain-b-2, 3 views, seed 0: no surface" in text and "a processor, 2 cores" in text
    assert json.loads(report.json())["faults"]["gain"]["gain"] == 0.2
    with pytest.raises(ConfigError, match="no run of this benchmark"):
        _ = RobustnessReport([measured("fog", "a", 1.0)], "heads", [], context).rows
