"""Entry points, scripts/ and train.py: all there, all light, and one clear line where something is wrong."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from recon.commands import command_line, entry
from recon.resources import CONF
from tests.support.scenes import make_h3ds

ROOT = Path(__file__).parents[2]
SCRIPTS = [ROOT / "train.py", *sorted((ROOT / "scripts").glob("*.py"))]
COMMANDS = sorted(path.stem for path in CONF.glob("[a-z]*.yaml"))


def run(*command, cwd=ROOT):
    return subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, cwd=cwd, timeout=120
    )


def test_every_command_is_installed_and_has_a_script():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    functions = sorted(each.partition(":")[2] for each in project["scripts"].values())
    assert functions == COMMANDS
    assert all(callable(getattr(entry, name)) for name in COMMANDS)
    named = [path for name in COMMANDS for path in SCRIPTS if f"entry.{name}()" in path.read_text()]
    assert sorted(named) == sorted(SCRIPTS)


def test_the_modules_bear_the_names_of_their_options():
    for name in COMMANDS:
        assert len(list((ROOT / "recon" / "commands").rglob(f"{name}.py"))) == 1


def test_help_needs_neither_the_command_nor_torch(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["headrecon", "method=idr", "--help"])
    monkeypatch.setitem(sys.modules, "recon.commands.train", None)
    entry.train()
    assert "\nmethod=idr " in capsys.readouterr().out


def test_workers_import_an_entry_point_and_nothing_else():
    code = """
import sys
import recon.commands.entry
assert not {"torch", "hydra", "numpy"} & set(sys.modules)
"""
    done = run("-c", code)
    assert done.returncode == 0, done.stderr


def test_an_unknown_option_in_a_line_that_asks_for_help_is_one_line(monkeypatch, caplog):
    monkeypatch.setattr(sys, "argv", ["headrecon", "method.stps=3", "--help"])
    with pytest.raises(SystemExit) as end:
        entry.train()
    assert end.value.code == 1 and len(caplog.messages) == 1 and "method.stps" in caplog.messages[0]


@pytest.mark.slow
def test_a_script_takes_its_old_flags_from_any_folder(tmp_path):
    folder = make_h3ds(tmp_path / "made")
    done = run(
        ROOT / "scripts" / "validate_scene.py", folder, "views=[0,2]", "--sheet", "sheet.png", cwd=tmp_path
    )
    assert done.returncode == 0 and done.stdout.rstrip().endswith("ok")
    assert "headrecon-validate" in done.stderr and (tmp_path / "sheet.png").is_file()
    done = run(ROOT / "scripts" / "export_scene.py", "scene=nowhere", "format=idr", "out=o", cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr and "nowhere" in done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.name != "made"] == ["sheet.png"]


@pytest.mark.slow
def test_early_settings_come_before_torch():
    code = """
import os, sys
from recon.commands import entry
sys.argv = ["headrecon", "--cfg", "job"]
entry.train()
assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE" and os.environ["OPENBLAS_NUM_THREADS"] == "1"
import gc
assert gc.isenabled() and gc.get_freeze_count() > 100_000
"""
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    text = (ROOT / "recon" / "commands" / "train.py").read_text()
    assert text.index("OMP_WAIT_POLICY") < text.index("from recon")


def test_help_leaves_other_flags_out(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["headrecon", "-m", "--help", "steps=5"])
    command_line.print_help("train")
    assert "\n  steps=5 " in capsys.readouterr().out
