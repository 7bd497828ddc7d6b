"""Runs of a benchmark as they lie on disk: each cell with its numbers and how they were made."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recon.errors import ConfigError
from recon.systems.benchmark.plan import Cell


@dataclass(frozen=True)
class Run:
    """One cell and what is known of it.

    Attributes:
        cell: which.
        metrics: its metrics.json; empty for a run that failed.
        made: how it was made: command, date, machine, revision, workers.
        error: why it has no numbers; None if it has.
    """

    cell: Cell
    metrics: Mapping[str, Any]
    made: Mapping[str, Any]
    error: str | None = None

    @property
    def time_s(self) -> float | None:
        """Seconds from opening the scene to the last picture; None for a run that was interrupted, which knows
        those of its last part only.
        """
        return None if self.made.get("resumed") else self.metrics.get("wall_s")


def collect(out: Path) -> list[Run]:
    """All runs that there are in a benchmark's folder, failed ones too, by views, method, scene and seed.

    Raises:
        ConfigError: there are none, or a file cannot be read.
    """
    found = []
    for path in sorted((out / "runs").glob("*/*/*/metrics.json")):
        record = path.with_name("benchmark.json")
        found.append(Run(_cell(path.parent), _read(path), _read(record) if record.is_file() else {}))
    for path in sorted((out / "runs").glob("*/*/*.failed.json")):
        made = _read(path)
        found.append(
            Run(_cell(path.with_name(path.name.removesuffix(".failed.json"))), {}, made, made["error"])
        )
    if not found:
        raise ConfigError(f"out={out}: there are no runs in {out / 'runs'}")
    return sorted(found, key=lambda run: (run.cell.views, run.cell.method, run.cell.scene, run.cell.seed))


def _cell(folder: Path) -> Cell:
    scene, _, seed = folder.name.rpartition("-")
    if not (scene and seed.isdecimal() and folder.parent.name.isdecimal()):
        raise ConfigError(f"{folder} is no run of a benchmark: expected runs/<method>/<views>/<scene>-<seed>")
    return Cell(folder.parents[1].name, int(folder.parent.name), scene, int(seed))


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}; remove it to have the run done again") from error
    return content
