"""The rules of the house: floors import only downwards, the core knows no shell, optional packages stay optional."""

import ast
import importlib
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tools.floors import FLOORS

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "recon").rglob("*.py"))
SHELL = [ROOT / "train.py", *sorted((ROOT / "scripts").glob("*.py")), *sorted((ROOT / "tools").glob("*.py"))]
MOST_LINES = {"module": 450, "function": 60}
LONGER = {
    "recon/scene/h3ds/writer.py: write_scene": "18 options with a line of explanation each; 14 lines of code",
}
"""What may be longer than `MOST_LINES`, and why."""
LEAST_LINES, MOST_FILES = 40, 16
SHORTER = {
    "recon/compiled.py": "the one place that knows numba",
    "recon/fields/encoding.py": "shared by three kinds of network",
    "recon/resources.py": "where conf/ and priors/ lie, for all rooms",
}
"""Modules that may be shorter than `LEAST_LINES`, and why."""
ROOMS = [
    "recon.evaluation", "recon.fields", "recon.fitting", "recon.geometry", "recon.meshing", "recon.priors",
    "recon.priors.data", "recon.priors.pca", "recon.rendering", "recon.scene", "recon.scene.h3ds", "recon.synth",
    "recon.synth.body", "recon.synth.datasets", "recon.synth.hair", "recon.synth.model", "recon.synth.render",
]  # fmt: skip
"""Packages that others use through the names that they export."""


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
        if room not in ("systems", "commands"):
            assert parts[0] not in {"pytorch_lightning", "lightning_fabric", "hydra", "omegaconf"}, (
                f"{path} imports {name}"
            )


def module_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_no_module_imports_itself_in_a_circle():
    modules = {module_of(path): path for path in MODULES}

    def nearest(name):
        while name and name not in modules:
            name = name.rpartition(".")[0]
        return name

    # A package's own __init__ only exports; what counts is which module needs which.
    needs = {
        name: {nearest(each) for each in imported(path) if each.startswith("recon")} - {name, ""}
        for name, path in modules.items()
        if path.name != "__init__.py"
    }
    needs = {name: found & needs.keys() for name, found in needs.items()}
    while free := {name for name, found in needs.items() if not found}:
        needs = {name: found - free for name, found in needs.items() if name not in free}
    assert needs == {}, "these import each other in a circle, or one that does"


def test_folders_and_modules_are_neither_crowded_nor_crumbs():
    folders = Counter(
        path.parent.relative_to(ROOT).as_posix() for path in MODULES if path.name != "__init__.py"
    )
    assert [folder for folder, count in folders.items() if count > MOST_FILES] == []
    short = {
        path.relative_to(ROOT).as_posix()
        for path in MODULES
        if path.name != "__init__.py" and len(path.read_text().splitlines()) < LEAST_LINES
    }
    assert sorted(short - set(SHORTER)) == [], "let the file that uses them take them up"
    assert sorted(set(SHORTER) - short) == [], "these are no short files any more"


@pytest.mark.parametrize("room", ROOMS)
def test_public_names_of_a_room_are_those_of_all(room):
    module = importlib.import_module(room)
    names = list(module.__all__)
    assert names == sorted(set(names), key=names.index) and len(names) >= 3
    assert [name for name in names if not hasattr(module, name)] == []
    assert [name for name in names if name.startswith("_")] == []
    tree = ast.parse(Path(module.__file__).read_text())
    exported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert exported <= {*names, "annotations", "TYPE_CHECKING", "Any", "import_module", "Mapping"}, (
        "exported, but not in __all__"
    )


def test_tests_share_by_support_and_assert_no_time():
    for path in sorted((ROOT / "tests").rglob("*.py")):
        text = path.read_text()
        if path.name != "test_house.py":
            assert not re.search(r"^from tests\.(\w+\.)*test_|^from \.test_", text, re.M), (
                f"{path} imports a test"
            )
            assert not re.search(r"assert .*(process_time|perf_counter)\(", text), f"{path} asserts a time"


def too_long(path):
    """What of a file is longer than it may be, as in `LONGER`."""
    text, name = path.read_text(), path.relative_to(ROOT).as_posix()
    if len(text.splitlines()) > MOST_LINES["module"]:
        yield name
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= MOST_LINES["function"]:
            yield f"{name}: {node.name}"


@pytest.mark.slow
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


@pytest.mark.slow
def test_optional_packages_are_imported_only_where_they_are_asked_for():
    blocked = [
        "wandb",
        "tensorboard",
        "tinycudann",
        "gdown",
        "h3ds",
        "cv2",
        "beartype",
        "pillow_heif",
        "onnxruntime",
    ]
    code = f"""
import sys
for name in {blocked}:
    sys.modules[name] = None
import recon.scene, recon.scene.export, recon.fields, recon.rendering, recon.losses, recon.meshing, recon.evaluation
import recon.systems.config, recon.systems.report.reporter, recon.systems.run
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_readme_snippet_runs():
    text = (ROOT / "README.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["mesh"].is_watertight and len(names["head"].views) >= 20
