"""The program as pip installs it: a wheel in an environment of its own, run from an empty folder."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILT_FROM = ("recon", "conf", "priors", "pyproject.toml", "setup.py", "README.md", "LICENSE")
QUICKEST = (
    "steps=2", "mesh.resolution=48", "evaluate=false", "render.heldout=0", "render.step=8",
    "data.sampler.rays=64", "trainer.accelerator=cpu",
)  # fmt: skip


def succeed(*command, cwd):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder of the programs of an environment into which the wheel is installed, and this environment's packages
    are seen.
    """
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in BUILT_FROM:
        ignored = shutil.ignore_patterns("__pycache__")
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name, **({"ignore": ignored} if copy is shutil.copytree else {}))
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    succeed(*pip, "wheel", ".", "--no-deps", "--no-build-isolation", "-w", folder / "dist", cwd=source)
    shutil.rmtree(source)
    environment = folder / "venv"
    venv.create(environment, with_pip=False)
    own = Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))
    (wheel,) = (folder / "dist").glob("*.whl")
    # Programs begin with the Python that pip is told to install for.
    python = environment / "bin" / "python"
    succeed(*pip, "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    # After the environment's own packages, and without what an editable install of this checkout would add.
    (own / "these.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment / "bin"


@pytest.mark.slow
def test_the_demo_runs_from_an_empty_folder(installed, tmp_path):
    where = succeed(installed / "python", "-c", "import recon; print(recon.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)
    text = succeed(installed / "headrecon", "method=idr", "preset=cpu", "--help", cwd=tmp_path)
    assert "\nmethod=idr " in text and "\n  method.steps=900 " in text
    assert list(tmp_path.iterdir()) == []
    succeed(installed / "headrecon", "scene=demo", "views=1", *QUICKEST, "hydra.run.dir=run", cwd=tmp_path)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["method"] == "instant" and (tmp_path / "run" / "mesh.ply").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.slow
def test_all_files_that_ship_are_there(installed):
    code = "from recon.resources import CHECKOUT, CONF, PRIORS; print(CHECKOUT, CONF, PRIORS, sep='\\n')"
    checkout, *folders = succeed(installed / "python", "-c", code, cwd=installed).splitlines()
    assert checkout == "None"
    for name, folder in zip(("conf", "priors"), map(Path, folders), strict=True):
        for path in (ROOT / name).rglob("*"):
            assert path.is_dir() or (folder / path.relative_to(ROOT / name)).is_file(), path


@pytest.mark.slow
def test_a_benchmark_in_a_wheel_finds_its_trainer(installed, tmp_path):
    code = """
import subprocess
from recon.systems.benchmark.plan import TRAIN
from recon.systems.benchmark.runs import environment
done = subprocess.run([*TRAIN, "--cfg", "job"], env=environment(0), capture_output=True, text=True)
print(done.stderr + done.stdout)
"""
    assert "\nscene: demo" in "\n" + succeed(installed / "python", "-c", code, cwd=tmp_path)
