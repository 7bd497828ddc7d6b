"""Runs of a benchmark as they lie on disk: each cell with its numbers and how they were made."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recon.errors import ConfigError
from recon.reading import integer, listed, number, read_json, reading, table, text
from recon.systems.benchmark.plan import Cell

FIGURES = (
    *("face_mm", "head_mm", "face_mm_strict", "head_mm_strict", "ears_mm_strict"),
    *("wall_s", "train_s", "peak_rss_mb"),
)
"""Figures of a metrics.json that the tables use."""


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
        found.append(Run(_cell(path.parent), _metrics(path), _made(record) if record.is_file() else {}))
    for path in sorted((out / "runs").glob("*/*/*.failed.json")):
        made = _failure(path)
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


def _metrics(path: Path) -> dict[str, Any]:
    """The content of a metrics.json, whose figures are numbers or null."""
    with _reading(path):
        metrics = table(read_json(path))
        for name in FIGURES:
            if metrics.get(name) is not None:
                number(metrics[name], name)
        return metrics


def _made(path: Path) -> dict[str, Any]:
    """The content of a benchmark.json, see `Run.made`."""
    with _reading(path):
        return _checked_record(table(read_json(path)))


def _failure(path: Path) -> dict[str, Any]:
    """The content of a failed.json: why, and how the run was made."""
    with _reading(path):
        made = _checked_record(table(read_json(path)))
        text(made["error"], "error")
        return made


def _checked_record(made: dict[str, Any]) -> dict[str, Any]:
    """How a run was made, as the tables need it.

    Raises:
        ValueError: A part is of another kind.
        KeyError: One is missing.
    """
    for argument in listed(made["command"], "command"):
        text(argument, "command")
    text(table(made["machine"], "machine")["cpu"], "cpu")
    if made["revision"] is not None:
        text(made["revision"], "revision")
    integer(made["workers"], "workers")
    integer(int(made["resumed"]), "resumed", 0, 1)
    return made


def _reading(path: Path) -> AbstractContextManager[None]:
    """A context in which whatever a file makes go wrong names it."""
    return reading(path, ConfigError, "a record of a benchmark", "remove it to have the run done again")
