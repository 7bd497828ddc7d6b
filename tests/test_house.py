"""The rules of the house: floors import only downwards, the core knows no shell, optional packages stay optional."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = [
    {"errors", "files", "compiled", "threads", "losses", "fields", "meshing"},
    {"geometry"},
    {"evaluation"},
    {"scene"},
    {"perception", "fitting", "rendering", "synth"},
    {"priors", "calibration", "morphable", "hair", "appearance"},
    {"systems"},
]
MODULES = sorted((ROOT / "recon").rglob("*.py"))
SHELL = [ROOT / "train.py", *sorted((ROOT / "scripts").glob("*.py"))]
MOST_LINES = {"module": 450, "function": 60}
LONGER = {
    "recon/scene/h3ds/writer.py: write_scene": "18 options with a line of explanation each; 14 lines of code",
}
"""What may be longer than `MOST_LINES`, and why."""


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor_of(room):
    return next((number for number, floor in enumerate(FLOORS) if room in floor), None)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_go_down_and_the_core_knows_no_shell(path):
    room = path.relative_to(ROOT / "recon").parts[0].removesuffix(".py")
    here = floor_of(room)
    if room == "__init__":
        return
    assert here is not None, f"{room} stands on no floor: name it in FLOORS"
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "recon" and len(parts) > 1:
            other = floor_of(parts[1])
            assert other is None or other <= here, f"{path} imports {name} from a higher floor"
        if room != "systems":
            assert parts[0] not in {"pytorch_lightning", "lightning_fabric", "hydra", "omegaconf"}, (
                f"{path} imports {name}"
            )


def too_long(path):
    """What of a file is longer than it may be, as in `LONGER`."""
    text, name = path.read_text(), path.relative_to(ROOT).as_posix()
    if len(text.splitlines()) > MOST_LINES["module"]:
        yield name
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= MOST_LINES["function"]:
            yield f"{name}: {node.name}"


def test_modules_and_functions_are_short():
    found = {each for path in [*MODULES, *SHELL] for each in too_long(path)}
    assert sorted(found - set(LONGER)) == [], "split them by meaning"
    assert sorted(set(LONGER) - found) == [], "these are short by now: no exceptions any more"


def test_length_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "a.py"
    path.write_text("class A:\n    def f(self):\n" + 59 * "        pass\n")
    assert list(too_long(path)) == []
    path.write_text(path.read_text() + "        pass\n" + 390 * "\n")
    assert list(too_long(path)) == ["a.py", "a.py: f"]


def test_optional_packages_are_imported_only_where_they_are_asked_for():
    blocked = ["wandb", "tensorboard", "tinycudann", "gdown", "h3ds", "cv2", "beartype", "pillow_heif", "onnxruntime"]
    code = f"""
import sys
for name in {blocked}:
    sys.modules[name] = None
import recon.scene, recon.scene.export, recon.fields, recon.rendering, recon.losses, recon.meshing, recon.evaluation
import recon.perception, recon.perception.onnx
import recon.systems.config, recon.systems.report.outputs, recon.systems.run
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_readme_snippet_runs():
    text = (ROOT / "README.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["mesh"].is_watertight and len(names["head"].views) >= 20
