"""The benchmark with a trainer that only pretends, numbers worked out by hand, and one small picture grid."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hydra import compose, initialize_config_dir
from PIL import Image

from recon.commands import benchmark as benchmark_command
from recon.errors import ConfigError
from recon.evaluation.published import ROWS
from recon.synth.datasets import batch
from recon.systems import config
from recon.systems.benchmark import subjects as benchmark_data
from recon.systems.benchmark.plan import Cell, Plan, check
from recon.systems.benchmark.results import Run, collect
from recon.systems.benchmark.runs import alone, environment, run
from recon.systems.benchmark.summary import Report
from recon.systems.benchmark.tables import markdown
from recon.systems.help import options as help_options
from tests.support import ellipsoid
from tests.support import official_cases as cases

ROOT = Path(__file__).parents[3]
# It knows what to do by the subject's name, and writes down how it was called.
PRETENDER = """
import json, os, pathlib, shutil, signal, sys, time
given = dict(a.partition("=")[::2] for a in sys.argv[1:])
folder = pathlib.Path((given.get("resume") or given["hydra.run.dir"]).strip("'"))
folder.mkdir(parents=True, exist_ok=True)
with open(folder.parents[3] / "calls", "a") as calls:
    calls.write(json.dumps([sys.argv[1:], os.environ.get("OMP_NUM_THREADS")]) + "\\n")
if "resume" not in given:
    names = ("hydra.run.dir", "resume")
    (folder / "overrides.yaml").write_text(json.dumps([a for a in sys.argv[1:] if not a.startswith(names)]))
if "bad" in folder.name:
    print("12:00:00 E the masks are empty:")
    print("look at mask_0001.png")
    sys.exit(1)
if "crash" in folder.name:
    os.kill(os.getpid(), signal.SIGKILL)
if "slow" in folder.name and "resume" not in given:
    def save(*_):
        (folder / "checkpoints").mkdir()
        (folder / "checkpoints" / "last.ckpt").write_text("half")
        sys.exit(130)
    signal.signal(signal.SIGTERM, save)
    (folder / "ready").touch()
    time.sleep(60)
views = int(folder.parent.name)
metrics = {"scene": folder.name, "views": list(range(views)), "wall_s": 10.0, "train_s": 8.0, "peak_rss_mb": 900.0}
for key in ("face_mm", "head_mm", "face_mm_strict", "head_mm_strict"):
    metrics[key] = 3.0 / views
if "scene" in given:
    truth = pathlib.Path(given["scene"].strip("'")) / "full_head.obj"
    if truth.is_file():
        shutil.copy(truth.with_name("prediction.ply"), folder / "mesh.ply")
(folder / "metrics.json").write_text(json.dumps(metrics))
"""


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "train.py").write_text(PRETENDER)

    def made(subjects, views=(3,), methods=("idr",), **others):
        folders = {name: tmp_path / "data" / name for name in subjects}
        command = (sys.executable, "-S", str(tmp_path / "train.py"))
        return Plan(tmp_path / "out", folders, views, methods, command=command, **others)

    return made


def performed(plan, workers=2):
    """Outcomes by cell of those that have no numbers yet."""
    outcomes = {}
    missing = [cell for cell in plan.cells() if not cell.done(plan.out)]
    run(plan, missing, workers, lambda outcome: outcomes.update({outcome.cell: outcome}))
    return outcomes


def calls(plan):
    return [json.loads(line) for line in (plan.out / "calls").read_text().splitlines()]


def test_cells_compare_methods_first_and_seeds_last(plan):
    cells = plan(["aldo", "bela"], views=(3, 8), methods=("h3dnet", "idr"), seeds=(0, 1)).cells()
    assert len(cells) == 16
    assert cells[:5] == [
        Cell("h3dnet", 3, "aldo", 0),
        Cell("idr", 3, "aldo", 0),
        Cell("h3dnet", 3, "bela", 0),
        Cell("idr", 3, "bela", 0),
        Cell("h3dnet", 8, "aldo", 0),
    ]
    assert [cell.seed for cell in cells] == [0] * 8 + [1] * 8


def test_options_reach_train_py_and_the_last_of_one_kind_counts(plan):
    made = plan(
        ["it's a=b"],
        methods=("long", "idr"),
        extra=["method.steps=5", "field.sdf.skip=[2]"],
        overrides={"long": ["method=idr", "method.steps=7"]},
    )
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        config.register_resolvers()
        for cell, steps in zip(made.cells(), (7, 5), strict=True):
            arguments = [a for a in made.arguments(cell) if not a.startswith("hydra.")]
            cfg = compose("train", overrides=arguments)
            assert (cfg.method.name, cfg.method.steps, cfg.views, cfg.seed) == ("idr", steps, 3, 0)
            assert cfg.scene == str(made.subjects["it's a=b"]) and list(cfg.field.sdf.skip) == [2]


def test_finished_cells_are_not_run_again(plan):
    first = plan(["aldo", "bela"])
    assert all(outcome.error is None for outcome in performed(first).values())
    wider = plan(["aldo", "bela", "chen"], views=(3, 8))
    check(wider)
    assert set(performed(wider)) == {
        Cell("idr", 3, "chen", 0),
        *(Cell("idr", 8, name, 0) for name in wider.subjects),
    }
    assert len(calls(wider)) == 6 and {threads for _, threads in calls(wider)} == {"1"}
    record = json.loads((Cell("idr", 8, "chen", 0).folder(wider.out) / "benchmark.json").read_text())
    assert record["workers"] == 2 and "views=8" in record["command"] and record["machine"]["cores"] >= 1


def test_a_failing_run_is_kept_with_its_error_and_the_rest_goes_on(plan):
    made = plan(["bad", "crash", "aldo"])
    outcomes = {outcome.cell.scene: outcome.error for outcome in performed(made).values()}
    assert outcomes["aldo"] is None
    assert outcomes["bad"] == "the masks are empty: look at mask_0001.png"
    assert "SIGKILL" in outcomes["crash"] and "memory" in outcomes["crash"]
    failed = {r.cell.scene: r.error for r in collect(made.out) if r.error}
    assert failed == {"bad": outcomes["bad"], "crash": outcomes["crash"]}
    assert "look at mask_0001" in Cell("idr", 3, "bad", 0).log(made.out).read_text()
    assert {cell.scene for cell in performed(made)} == {"bad", "crash"}  # tried again, aldo not


def test_an_interruption_stops_the_children_and_the_next_call_resumes_them(plan):
    # A shell without job control starts its background commands with the signal ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    made = plan(["slow1", "slow2"])
    folders = [cell.folder(made.out) for cell in made.cells()]

    def interrupt():
        while not all((folder / "ready").is_file() for folder in folders):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        performed(made)
    assert all((folder / "checkpoints" / "last.ckpt").is_file() for folder in folders)
    assert not any(cell.done(made.out) or cell.failure(made.out).exists() for cell in made.cells())

    assert all(outcome.error is None for outcome in performed(made).values())
    resumed = sorted(arguments for arguments, _ in calls(made)[2:])  # side by side, in any order
    assert resumed == sorted([f"resume='{folder}'"] for folder in folders)
    assert [each.time_s for each in collect(made.out)] == [None, None]  # of a part only


def test_runs_with_other_options_are_refused_before_any_work(plan):
    performed(plan(["aldo"], extra=["method.steps=5"]))
    other = plan(["aldo"], extra=["method.steps=6"])
    with pytest.raises(ConfigError, match=r"there method\.steps=5; now method\.steps=6"):
        check(other)


def test_two_benchmarks_do_not_share_a_folder(tmp_path):
    with alone(tmp_path), pytest.raises(ConfigError, match="another benchmark"), alone(tmp_path):
        pass
    with alone(tmp_path):
        pass


CONTEXT = {
    "date": "2026-11-21T12:00:00+00:00",
    "command": "headrecon-benchmark",
    "revision": "abc",
    "machine": {"cpu": "a processor", "cores": 2, "memory_gb": 8.0, "gpus": [], "torch": "2.13.0"},
    "notes": ["All files are the published ones."],
}


def measured(method, scene, face, head, wall, *, views=3, seed=0, resumed=False):
    metrics = {
        "face_mm": face, "head_mm": head, "face_mm_strict": face / 2, "head_mm_strict": head / 2,
        "wall_s": wall, "train_s": wall - 10, "peak_rss_mb": 1000.0 + seed,
    }  # fmt: skip
    made = {"resumed": resumed, "workers": 1, "command": [f"method={method}"], "revision": "abc"}
    return Run(Cell(method, views, scene, seed), metrics, {**made, "machine": CONTEXT["machine"]})


RUNS = [
    measured("h3dnet", "a", 1.0, 6.0, 100.0),
    measured("h3dnet", "b", 2.0, 8.0, 140.0, seed=0),
    measured("h3dnet", "b", 3.0, 10.0, 160.0, seed=1),
    measured("h3dnet", "c", 9.0, 30.0, 900.0),
    measured("h3dnet", "a", 0.5, 3.0, 100.0, views=8),
    measured("idr", "a", 3.0, 10.0, 400.0),
    measured("idr", "b", 4.0, 20.0, 999.0, resumed=True),
    Run(Cell("idr", 3, "c", 0), {}, {}, "no surface"),
]


def report(runs=tuple(RUNS), **others):
    return Report(runs, "SynthHeads-10", "idr", ["h3dnet", "idr"], CONTEXT, **others)


def test_means_are_over_subjects_of_the_means_over_seeds():
    ours, idr = report().table("official")
    assert (ours.method, idr.method) == ("h3dnet", "idr")
    assert ours.cells[3].mean == pytest.approx(((1 + 2.5 + 9) / 3, (6 + 9 + 30) / 3))
    assert ours.cells[3].scenes == 3 and idr.cells[3].scenes == 2
    assert idr.cells[3].mean == pytest.approx((3.5, 15.0))
    assert report().table("strict")[1].cells[3].mean == pytest.approx((1.75, 7.5))


def test_ratios_are_over_the_subjects_that_both_have():
    (line,) = report().ratios()
    assert (line["views"], line["method"], line["subjects"]) == (3, "h3dnet", 2)
    assert line["face_mm"] == pytest.approx((1 + 2.5) / (3 + 4))
    assert line["head_mm"] == pytest.approx((6 + 9) / (10 + 20))
    assert line["time_s"] == pytest.approx(100 / 400)  # b's time with idr is not known


def test_tables_for_reading():
    text = markdown(report())
    official = text.split("## Official errors")[1].split("\n## ")[0]
    assert "| h3dnet | 4.17 / 15.00 | 0.50 / 3.00 (1 of 3) |" in official
    assert "| idr | 3.50 / 15.00 (2 of 3) |  |" in official
    shared = text.split("## Official errors")[2].split("\n## ")[0]
    assert "every cell has (a)" in shared and "| h3dnet | 1.00 / 6.00 | 0.50 / 3.00 |" in shared
    assert "| 3 | h3dnet | 2 | 0.50 | 0.50 | 0.50 | 0.50 | 0.25 |" in text
    assert "| h3dnet | 325 / 1001 | 100 / 1000 |" in text
    assert "| 3 | idr | b | 0 | 4.00 | 20.00 | 2.00 | 10.00 |  | 989 | 1000 |" in text
    assert "idr, c, 3 views, seed 0: no surface" in text
    assert "a processor, 2 cores" in text and "All files are the published ones." in text


def test_ears_have_a_column_where_some_run_has_them():
    assert "ears" not in markdown(report())
    runs = [measured("h3dnet", name, 1.0, 6.0, 100.0) for name in "abc"]
    runs += [measured("idr", name, 2.0, 12.0, 100.0) for name in "abc"]
    for each, ears in zip(runs, (1.0, 2.0, None, 4.0, 8.0, None), strict=True):
        each.metrics["ears_mm_strict"] = ears  # hair covers those of c
    text = markdown(report(runs))
    assert "| seed | face | head | face strict | head strict | ears strict | time s |" in text
    assert "| 3 | h3dnet | a | 0 | 1.00 | 6.00 | 0.50 | 3.00 | 1.00 |" in text
    assert "| 3 | h3dnet | c | 0 | 1.00 | 6.00 | 0.50 | 3.00 |  |" in text
    strict = text.split("## Strict errors")[1].split("\n## ")[0]
    assert "| h3dnet | 0.50 / 3.00 / 1.50 |" in strict and "| idr | 1.00 / 6.00 / 6.00 |" in strict
    assert "| 3 | h3dnet | 3 | 0.50 | 0.50 | 0.50 | 0.50 | 0.25 | 1.00 |" in text
    assert "/ ears" not in text.split("## Official errors")[1].split("\n## ")[0]


def test_published_rows_stand_apart():
    ours, _, theirs = markdown(report()).partition("## Published by others on H3DS: not runs of ours")
    assert "(published)" not in ours and "SIRA" not in ours and theirs.count("(published)") == len(ROWS)
    content = json.loads(report().json())
    assert {row["method"] for rows in content["means"].values() for row in rows} == {"h3dnet", "idr"}
    assert len(content["runs"]) == len(RUNS) and content["runs"][-1]["error"] == "no surface"
    assert [row["method"] for row in content["published_on_h3ds"]] == [row.method for row in ROWS]


def configured(*overrides):
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        return compose("benchmark", overrides=list(overrides))


def test_from_the_command_to_tables_and_grid(plan, tmp_path, monkeypatch, capsys):
    gt, landmarks, regions = cases.ground_truth()
    root = tmp_path / "data"
    scene = cases.write_root(root, gt, landmarks, regions)
    ellipsoid.write_idr_scene(tmp_path / "photographs", 3)
    for source in ("image", "mask", "cameras.npz"):
        (tmp_path / "photographs" / source).rename(root / scene / source)
    for path in sorted((root / scene / "image").iterdir()):
        Image.open(path).save(path.with_name(f"img_0{path.stem}.jpg"))
        path.unlink()
    for path in sorted((root / scene / "mask").iterdir()):
        path.rename(path.with_name(f"mask_0{path.stem}.png"))
    wavy = gt.vertices + 4 * np.sin(gt.vertices / 20)
    trimesh.Trimesh(wavy, gt.faces, process=False).export(root / scene / "prediction.ply")
    command = plan([]).command
    monkeypatch.setattr(
        benchmark_command,
        "plan_of",
        lambda options, out, subjects: Plan(
            out, subjects.folders, options["views"], options["methods"], command=command
        ),
    )
    options = [f"data={root}", f"out={tmp_path / 'out'}", "views=3", "methods=[h3dnet,idr]"]
    assert benchmark_command.run(configured(*options)) == 0
    assert "[2/2]" in capsys.readouterr().out
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["data"] == "data" and len(results["runs"]) == 2 and results["ratios"][0]["face_mm"] == 1.0
    assert {"cpu", "cores", "memory_gb", "torch"} <= set(results["machine"])
    with Image.open(tmp_path / "out" / "grid.png") as grid:
        picture = np.asarray(grid)
    assert picture.shape[1] == 6 * 300 + 110  # photograph, truth, two heads, two errors, scale
    tiles = picture[60:360, :1800].reshape(300, 6, 300, 3).swapaxes(0, 1)
    assert all(tile.std() > 20 for tile in tiles)  # none is empty
    coloured = [np.ptp(tile.astype(int), axis=-1).max() for tile in tiles]
    assert max(coloured[1:4]) < 30 < min(coloured[4:])

    (tmp_path / "out" / "results.md").unlink()
    assert benchmark_command.run(configured(*options, "report_only=true", "grid=false")) == 0
    assert (tmp_path / "out" / "results.md").is_file() and len(calls(plan([]))) == 2


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("views=[3,0]", "views"),
        ("views=many", "views"),
        ("methods=[idr,nothing]", "nothing"),
        ("preset=laptop", "laptop"),
        ("workers=0", "workers"),
        ("extra=[steps]", "key=value"),
        ("overrides={other:['steps=1']}", "not among methods"),
        ("data=h3ds", "H3DS_ROOT"),
    ],
)
def test_bad_options_are_refused_before_any_work(tmp_path, monkeypatch, option, message):
    monkeypatch.delenv("H3DS_ROOT", raising=False)
    with pytest.raises(ConfigError, match=message):
        benchmark_command.run(
            configured(f"data={tmp_path}/none", f"out={tmp_path}/out", "methods=idr", option)
        )
    assert not (tmp_path / "out").exists()


def test_every_option_is_explained():
    assert all(comment for _, _, comment in help_options(config.CONF / "benchmark.yaml"))


def test_synthheads_that_are_missing_are_made_and_no_others(tmp_path, monkeypatch):
    made = []

    def make_scenes(root, recipes, settings, *, workers):
        made.append(([recipe["name"] for recipe in recipes], settings, workers))
        yield batch.SceneProgress("bela", "buzz", True, 1, 1)

    monkeypatch.setattr(benchmark_data, "make_scenes", make_scenes)
    monkeypatch.setattr(benchmark_data, "load_head_model", lambda: None)
    (tmp_path / "aldo").mkdir()
    (tmp_path / "aldo" / "full_head.obj").touch()
    subjects = benchmark_data.folder(tmp_path, 2, 3, lambda line: None)
    assert made == [(["bela"], batch.SceneSettings(), 3)]
    assert list(subjects.folders) == ["aldo", "bela"] and subjects.data == "SynthHeads-10"
    assert list(benchmark_data.folder(tmp_path, ["jana", "aldo"], 0, print).folders) == ["jana", "aldo"]
    with pytest.raises(ConfigError, match="has 10, ask for 1 to 10"):
        benchmark_data.folder(tmp_path, 11, 1, print)


def test_without_the_head_model_the_commands_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("H3D_HEAD_MODEL", str(tmp_path / "nowhere.npz"))
    with pytest.raises(
        ConfigError, match=r"headrecon-get-head-model.*headrecon-make-scenes split=synthheads10 out="
    ):
        benchmark_data.folder(tmp_path / "data", 1, 1, print)


def test_h3ds_by_its_release_and_tag(tmp_path):
    (tmp_path / "version.txt").write_text("0.2\n")
    with pytest.raises(ConfigError, match="lacks 1b2a8613401e42a8"):
        benchmark_data.h3ds(str(tmp_path), "h3d-net", None)
    (tmp_path / "1b2a8613401e42a8").mkdir()
    (tmp_path / "1b2a8613401e42a8" / "full_head.obj").touch()
    subjects = benchmark_data.h3ds(str(tmp_path), "h3d-net", 1)
    assert (subjects.data, subjects.release) == ("H3DS v1, tag h3d-net", "config_v1")
    assert list(subjects.folders) == ["1b2a8613401e42a8"]
    (tmp_path / "version.txt").write_text("generated-1\n")
    with pytest.raises(ConfigError, match=r"version\.txt"):
        benchmark_data.h3ds(str(tmp_path), None, None)


def test_threads_and_gpus_of_a_run(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for gpus, slot, threads, device in ((0, 1, "1", None), (1, 1, None, None), (4, 6, None, "2")):
        monkeypatch.setattr("torch.cuda.device_count", lambda gpus=gpus: gpus)
        env = environment(slot)
        assert (env.get("OMP_NUM_THREADS"), env.get("CUDA_VISIBLE_DEVICES")) == (threads, device)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7,8,9")
    assert environment(1)["CUDA_VISIBLE_DEVICES"] == "7"


MADE = '{"command": ["a=b"], "machine": {"cpu": "x"}, "revision": null, "workers": 1, "resumed": false'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("chen-0/metrics.json", "[]"),
        ("chen-0/metrics.json", '{"face_mm": "x"}'),
        ("chen-0/metrics.json", '{"head_mm": NaN}'),
        ("chen-0/metrics.json", '{"peak_rss_mb": "9"}'),
        ("chen-0/metrics.json", "[" * 100_000),
        ("chen-0/benchmark.json", "[1]"),
        ("chen-0/benchmark.json", '{"command": []}'),
        ("chen-0/benchmark.json", MADE.replace('"a=b"', "1") + "}"),
        ("chen-0.failed.json", "[]"),
        ("chen-0.failed.json", MADE + "}"),
        ("chen-0.failed.json", MADE + ', "error": 3}'),
    ],
)
def test_a_damaged_record_is_named(tmp_path, name, content):
    folder = tmp_path / "runs/idr/3"
    (folder / "chen-0").mkdir(parents=True)
    (folder / "chen-0/metrics.json").write_text("{}")
    (folder / name).write_text(content)
    with pytest.raises(ConfigError, match=rf"{name}.* cannot be read as a record .*remove it"):
        collect(tmp_path)


@pytest.mark.parametrize("content", ["3\n", "- {a: 1}\n", "!!python/object/apply:os.system [id]\n", "- [\n"])
def test_damaged_overrides_are_named(plan, content):
    made = plan(["aldo"])
    path = made.cells()[0].folder(made.out) / "overrides.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"overrides\.yaml cannot be read"):
        check(made)
