"""A short soak, and proof that the harness sees what it looks for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

WRITERS = """
import os, sys
from pathlib import Path
from recon.files import replacing
from tests.soak.strikes import Strike, struck

base = Path(sys.argv[1])

def carelessly():
    (root / "a").write_text("1234")
    os.replace(root / "a", root / "b")

def atomically():
    with replacing(root / "b") as temporary:
        temporary.write_text("1234")

for write in (carelessly, atomically):
    for kind in ("none", "KILL", "ENOSPC", "short write"):
        for moment in (1, 2, 3) if kind != "none" else (0,):
            root = base / f"{write.__name__}-{kind}-{moment}"
            outcome = struck(write, Strike(kind, moment), root)
            left = {p.name: p.read_text() for p in root.iterdir() if ".tmp-" not in p.name}
            print(write.__name__, kind, moment, outcome.code, len(outcome.moments), left)
"""


def test_the_harness_strikes_where_it_says(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WRITERS, str(tmp_path)],
        capture_output=True, text=True, cwd=ROOT, timeout=120, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert "carelessly none 0 0 2 {'b': '1234'}" in lines
    assert "carelessly KILL 1 -9 1 {}" in lines  # before the file is opened
    assert "carelessly KILL 2 -9 2 {'a': '1234'}" in lines  # before it is renamed
    assert "carelessly ENOSPC 2 70 2 {'a': '1234'}" in lines
    for kind in ("KILL", "ENOSPC"):
        for moment in (1, 2, 3):
            line = next(line for line in lines if line.startswith(f"atomically {kind} {moment} "))
            assert line.endswith("{}") or line.endswith("{'b': '1234'}"), line


@pytest.mark.slow
def test_struck_runs_go_on_to_the_same_bytes():
    """Kills, signals and a failing disk, each at some moment of a run; `make soak` does hundreds."""
    command = "strikes=5 subjects=reconstruction kinds=KILL,TERM,ENOSPC,EIO seed=3"
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", *command.split()],
        capture_output=True, text=True, cwd=ROOT, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1])["strikes"] == {
        "KILL": 2,
        "TERM": 1,
        "ENOSPC": 1,
        "EIO": 1,
    }
