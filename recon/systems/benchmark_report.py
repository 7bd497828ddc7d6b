"""What a benchmark found: tables in the published layout, ratios, every run, and the published rows apart."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recon.errors import ConfigError
from recon.evaluation import official, strict
from recon.evaluation.batch import Score
from recon.evaluation.predictions import Job
from recon.evaluation.published import ROWS
from recon.evaluation.tables import Row, rows
from recon.systems.benchmark import Cell

FORMAT = "headrecon-benchmark-1"
_ERRORS = ("face_mm", "head_mm", "face_mm_strict", "head_mm_strict")
_MODES = {"official": ("", official.PROTOCOL), "strict": ("_strict", strict.PROTOCOL)}


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


@dataclass(frozen=True)
class Report:
    """The tables of a benchmark.

    Attributes:
        runs: all of them, failures too.
        data: name of the data.
        reference: method that ratios are to.
        methods: order of the rows; others follow.
        context: machine, date, command and revision of this report, and notes on the data.
    """

    runs: Sequence[Run]
    data: str
    reference: str
    methods: Sequence[str]
    context: Mapping[str, Any]

    @property
    def good(self) -> list[Run]:
        """Runs that have numbers."""
        return [run for run in self.runs if run.error is None]

    @property
    def failed(self) -> list[Run]:
        """Runs that have none."""
        return [run for run in self.runs if run.error is not None]

    @property
    def views(self) -> list[int]:
        """Numbers of views that there are runs of."""
        return sorted({run.cell.views for run in self.good})

    @property
    def rows_present(self) -> list[str]:
        """Methods that there are runs of, in the order of the rows."""
        present = {run.cell.method for run in self.good}
        return [m for m in self.methods if m in present] + sorted(present - set(self.methods))

    def table(self, mode: str) -> list[Row]:
        """Means over subjects (of a subject's seeds first) under one protocol, a row for each method."""
        suffix = _MODES[mode][0]
        scores = []
        for (method, views, scene), runs in self._by_subject():
            pair = [_mean(runs, f"{part}_mm{suffix}") for part in ("face", "head")]
            if None not in pair:
                numbers = {mode: {p: {"mean_mm": v} for p, v in zip(("face", "head"), pair, strict=True)}}
                scores.append(Score(Job(method, scene, views, Path()), numbers))
        return sorted(rows(scores, mode, self.data), key=lambda row: self.rows_present.index(row.method))

    def ratios(self) -> list[dict[str, Any]]:
        """Each method's means divided by the reference's, over the subjects that both have."""
        subjects = dict(self._by_subject())
        lines = []
        for views in self.views:
            for method in self.rows_present:
                common = [
                    (runs, subjects[self.reference, views, scene])
                    for (m, v, scene), runs in subjects.items()
                    if (m, v) == (method, views) and (self.reference, views, scene) in subjects
                ]
                if method != self.reference and common:
                    line = {key: _ratio(common, key) for key in (*_ERRORS, "time_s")}
                    lines.append({"views": views, "method": method, "subjects": len(common), **line})
        return lines

    def json(self) -> str:
        """Everything: each run with its cell, the means, the ratios, and the published rows apart."""
        content = {
            "format": FORMAT,
            "data": self.data,
            **self.context,
            "reference": self.reference,
            "means": {mode: [_row_json(row) for row in self.table(mode)] for mode in _MODES},
            "ratios": self.ratios(),
            "runs": [
                {"cell": vars(run.cell), "metrics": run.metrics, "error": run.error, "made": run.made}
                for run in self.runs
            ],
            "published_on_h3ds": [vars(row) for row in ROWS],
        }
        return json.dumps(content, indent=1) + "\n"

    def markdown(self) -> str:
        """The tables for reading."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield f"# Benchmark on {self.data}\n"
        yield from self._provenance()
        subjects = len({run.cell.scene for run in self.good})
        for mode, (_, protocol) in _MODES.items():
            yield f"\n## {mode.capitalize()} errors: face / head in mm, mean over subjects ({protocol})\n"
            header = ["method", *map(_views, self.views)]
            yield from _table(header, [self._row(row, subjects) for row in self.table(mode)])
        yield f"\n## Ratios to {self.reference}, over the subjects that both have\n"
        names = ["views", "method", "subjects", "face", "head", "face strict", "head strict", "time"]
        keys = ("views", "method", "subjects", *_ERRORS, "time_s")
        yield from _table(names, [[_text(line[key]) for key in keys] for line in self.ratios()])
        yield "\n## Time and memory: mean seconds of a whole run / highest peak memory in MB\n"
        yield from _table(["method", *map(_views, self.views)], list(self._cost()))
        yield "\n## Every run, errors in mm\n"
        yield from _table(_RUN_HEADER, list(self._each()))
        if self.failed:
            yield "\n## Not done\n"
            yield from (f"- {run.cell}: {run.error}" for run in self.failed)
        yield "\n## Published by others on H3DS: not runs of ours, and not of the table above\n"
        yield (
            "Official protocol, as printed in the README of the h3ds package; face / head in mm. "
            "Comparable only with runs on the scenes that a row names.\n"
        )
        views = sorted({v for row in ROWS for v in row.errors_mm})
        lines = [
            [f"{row.method} (published)", f"H3DS {row.release.removeprefix('config_')}", row.scenes]
            + [_pair(row.errors_mm[v]) if v in row.errors_mm else "" for v in views]
            for row in ROWS
        ]
        yield from _table(["method", "data", "scenes", *map(_views, views)], lines)

    def _provenance(self) -> Iterator[str]:
        machine = self.context["machine"]
        gpus = f", {', '.join(machine['gpus'])}" if machine["gpus"] else ""
        workers = sorted({run.made["workers"] for run in self.good if "workers" in run.made})
        yield f"`{self.context['command']}`\n"
        yield (
            f"{self.context['date'][:10]}; {machine['cpu']}, {machine['cores']} cores, "
            f"{machine['memory_gb']:g} GB{gpus}; PyTorch {machine['torch']}; "
            f"{' or '.join(map(str, workers)) or 'an unknown number of'} runs at a time; "
            f"revision {self.context['revision'] or 'unknown'}."
        )
        others = {
            run.made["machine"]["cpu"] for run in self.good if "machine" in run.made
        } - {machine["cpu"]}  # fmt: skip
        if others:
            yield f"Some runs were made on other machines: {', '.join(sorted(others))}."
        yield from self.context.get("notes", ())

    def _row(self, row: Row, subjects: int) -> list[str]:
        cells = []
        for views in self.views:
            cell = row.cells.get(views)
            few = f" ({cell.scenes} of {subjects})" if cell and cell.scenes != subjects else ""
            cells.append(_pair(cell.mean) + few if cell else "")
        return [row.method, *cells]

    def _cost(self) -> Iterator[list[str]]:
        for method in self.rows_present:
            line = [method]
            for views in self.views:
                runs = [r for r in self.good if (r.cell.method, r.cell.views) == (method, views)]
                times = [run.time_s for run in runs if run.time_s is not None]
                peaks = [run.metrics["peak_rss_mb"] for run in runs if run.metrics.get("peak_rss_mb")]
                seconds = f"{np.mean(times):.0f}" if times else "unknown"
                line.append(f"{seconds} / {max(peaks):.0f}" if peaks else "")
            yield line

    def _each(self) -> Iterator[list[str]]:
        for views in self.views:
            for method in self.rows_present:
                runs = [r for r in self.good if (r.cell.method, r.cell.views) == (method, views)]
                for run in runs:
                    errors = [_text(run.metrics.get(key)) for key in _ERRORS]
                    cost = [
                        _whole(value)
                        for value in (run.time_s, run.metrics.get("train_s"), run.metrics.get("peak_rss_mb"))
                    ]
                    yield [str(views), method, run.cell.scene, str(run.cell.seed), *errors, *cost]

    def _by_subject(self) -> list[tuple[tuple[str, int, str], list[Run]]]:
        """The seeds of each subject."""
        groups: dict[tuple[str, int, str], list[Run]] = {}
        for run in self.good:
            groups.setdefault((run.cell.method, run.cell.views, run.cell.scene), []).append(run)
        return list(groups.items())


_RUN_HEADER = [
    "views", "method", "subject", "seed", "face", "head", "face strict", "head strict", "time s", "training s",
    "peak MB",
]  # fmt: skip


def _mean(runs: Sequence[Run], key: str) -> float | None:
    """Mean of a figure over the runs that have it."""
    values = [run.time_s if key == "time_s" else run.metrics.get(key) for run in runs]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _ratio(common: Sequence[tuple[list[Run], list[Run]]], key: str) -> float | None:
    pairs = [(_mean(ours, key), _mean(theirs, key)) for ours, theirs in common]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    return sum(a for a, _ in known) / sum(b for _, b in known) if known else None


def _row_json(row: Row) -> dict[str, Any]:
    cells = {
        str(views): {"subjects": c.scenes, "face_mm": c.mean[0], "head_mm": c.mean[1], "std_mm": list(c.std)}
        for views, c in row.cells.items()
    }
    return {"method": row.method, "protocol": row.protocol, "views": cells}


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    if not lines:
        yield "None yet."
        return
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    yield from ("| " + " | ".join(line) + " |" for line in lines)


def _views(count: int) -> str:
    return f"{count} view{'s' if count > 1 else ''}"


def _pair(pair: Sequence[float]) -> str:
    return f"{pair[0]:.2f} / {pair[1]:.2f}"


def _text(value: float | str | None) -> str:
    return "" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"
