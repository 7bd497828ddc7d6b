"""Adds to the program what a contributor would add: one module of `recon`, one yaml of `conf`."""

import sys
import types
from pathlib import Path

import pytest


def add_module(monkeypatch: pytest.MonkeyPatch, name: str, source: str) -> None:
    """Makes source importable as the module `name` of `recon`, as if its file lay there, until the test ends."""
    module = types.ModuleType(name)
    parent, _, stem = name.rpartition(".")
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(sys.modules[parent], stem, module, raising=False)
    exec(compile(source, f"{stem}.py", "exec"), module.__dict__)


def add_yaml(folder: Path, group: str, name: str, text: str) -> str:
    """Writes `group/name.yaml` and gives the override that lets Hydra find it beside those of `conf`."""
    path = folder / "conf" / group / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return f"hydra.searchpath=[file://{folder / 'conf'}]"
