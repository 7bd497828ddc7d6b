"""What faults cost: means over subjects for each fault and variant, and their ratios to the clean scenes'."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from recon.evaluation.tables import markdown_table
from recon.synth.datasets.faults import CLEAN, FAULTS
from recon.systems.benchmark.results import Run
from recon.systems.benchmark.robustness.plan import fault_and_subject
from recon.systems.benchmark.summary import ERRORS
from recon.systems.benchmark.tables import made_elsewhere

FORMAT = "headrecon-robustness-1"


@dataclass(frozen=True)
class Row:
    """One fault and one variant.

    Attributes:
        fault: name of `FAULTS`.
        variant: name.
        subjects: that have all errors.
        errors: means over subjects by name of `ERRORS`, mm of the world before a fault scaled it; empty without
            subjects.
        ratios: the same divided by those of the clean scenes under the same variant, over the subjects that have
            both; empty where there are none.
        time_s: mean seconds of a run, None where they are not known.
        failed: number of runs without numbers.
    """

    fault: str
    variant: str
    subjects: tuple[str, ...]
    errors: Mapping[str, float]
    ratios: Mapping[str, float]
    time_s: float | None
    failed: int


@dataclass(frozen=True)
class RobustnessReport:
    """The tables of a benchmark of faults.

    Attributes:
        runs: all of them, with one number of views and one seed; failures too.
        data: name of the data.
        variants: order of the columns; others follow.
        context: command, date, machine and revision of this report, method, views, seed and notes.
    """

    runs: Sequence[Run]
    data: str
    variants: Sequence[str]
    context: Mapping[str, Any]

    @property
    def variants_present(self) -> list[str]:
        """Variants that there are runs of, in order."""
        present = {run.cell.method for run in self.runs}
        return [name for name in self.variants if name in present] + sorted(present - set(self.variants))

    @property
    def failed(self) -> list[Run]:
        """Runs that have no numbers."""
        return [run for run in self.runs if run.error is not None]

    @cached_property
    def rows(self) -> list[Row]:
        """A row for each fault and variant that there are runs of, in the order of `FAULTS`."""
        groups: dict[tuple[str, str], dict[str, Run]] = {}
        for run in self.runs:
            fault, subject = fault_and_subject(run.cell.scene)
            groups.setdefault((fault, run.cell.method), {})[subject] = run
        return [
            _row(fault, variant, groups[fault, variant], groups.get((CLEAN, variant), {}))
            for fault in FAULTS
            for variant in self.variants_present
            if (fault, variant) in groups
        ]

    def worst(self, variant: str) -> dict[str, tuple[str, float]]:
        """By error, the single fault that costs the variant most, and its ratio to the clean scenes; what is
        together (`phone`) does not count.
        """
        worst: dict[str, tuple[str, float]] = {}
        for row in self.rows:
            if row.variant == variant and row.fault not in (CLEAN, "phone"):
                for key, ratio in row.ratios.items():
                    if key not in worst or ratio > worst[key][1]:
                        worst[key] = row.fault, ratio
        return worst

    def json(self) -> str:
        """Everything: the rows and each run."""
        content = {
            "format": FORMAT,
            "data": self.data,
            **self.context,
            "faults": {name: vars(fault) for name, fault in FAULTS.items()},
            "rows": [vars(row) for row in self.rows],
            "runs": [
                {"cell": vars(run.cell), "metrics": run.metrics, "error": run.error, "made": run.made}
                for run in self.runs
            ],
        }
        return json.dumps(content, indent=1) + "\n"


def _row(fault: str, variant: str, runs: Mapping[str, Run], clean: Mapping[str, Run]) -> Row:
    errors = {name: _errors(run) for name, run in runs.items()}
    good = {name: values for name, values in errors.items() if values is not None}
    plain = {name: _errors(run) for name, run in clean.items()}
    pairs = [(values, plain[name]) for name, values in good.items() if plain.get(name) is not None]
    times = [runs[name].time_s for name in good]
    known = [time for time in times if time is not None]
    return Row(
        fault,
        variant,
        tuple(good),
        {key: float(np.mean([values[key] for values in good.values()])) for key in ERRORS} if good else {},
        {key: sum(a[key] for a, _ in pairs) / sum(b[key] for _, b in pairs if b) for key in ERRORS}
        if pairs
        else {},
        float(np.mean(known)) if known else None,
        sum(run.error is not None for run in runs.values()),
    )


def _errors(run: Run) -> dict[str, float] | None:
    """All errors of a run, without the factor by which its fault scaled the world; None where one is missing."""
    values = {key: run.metrics.get(key) for key in ERRORS}
    scale = FAULTS[fault_and_subject(run.cell.scene)[0]].scale
    known = {key: value / scale for key, value in values.items() if value is not None}
    return known if len(known) == len(ERRORS) else None


def markdown(report: RobustnessReport) -> str:
    """All tables of a report."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: RobustnessReport) -> Iterator[str]:
    context = report.context
    yield f"# Robustness of method={context['method']} on {report.data}, {context['views']} views\n"
    yield from _provenance(report)
    yield "\n## What faults cost, face / head in mm; mean over subjects; official protocol\n"
    yield from _matrix(report, "errors", "face_mm", "head_mm")
    yield "\n## The same; strict protocol\n"
    yield from _matrix(report, "errors", "face_mm_strict", "head_mm_strict")
    yield "\n## Ratio to the clean scenes under the same variant, face / head; official protocol\n"
    yield from _matrix(report, "ratios", "face_mm", "head_mm")
    yield ""
    for variant in report.variants_present:
        if worst := report.worst(variant):
            (face, by_face), (head, by_head) = worst["face_mm"], worst["head_mm"]
            yield f"- {variant}: single faults cost at most {by_face:.2f} ({face}) / {by_head:.2f} ({head})"
    yield "\n## Every row\n"
    yield from markdown_table(_HEADER, [_line(row) for row in report.rows])
    if report.failed:
        yield "\n## Failed\n"
        yield from (f"- {run.cell}: {run.error}" for run in report.failed)


def _provenance(report: RobustnessReport) -> Iterator[str]:
    """Command, date, machine, code, and the options of each variant."""
    context, machine = report.context, report.context["machine"]
    gpus = f", {', '.join(machine['gpus'])}" if machine["gpus"] else ""
    made = [run.made for run in report.runs if run.made]
    workers = sorted({record["workers"] for record in made})
    yield f"`{context['command']}`\n"
    yield (
        f"{context['date'][:10]}; {machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']:g} GB{gpus}; "
        f"PyTorch {machine['torch']}; runs: {' or '.join(map(str, workers)) or 'none'} at a time; "
        f"revision {context['revision'] or 'unknown'}; seed {context['seed']}."
    )
    yield from made_elsewhere(context, made)
    yield from context["notes"]
    yield ""
    yield from (
        f"- {name}: `{' '.join(context['overrides'][name]) or 'nothing switched off'}`"
        for name in report.variants_present
        if name in context["overrides"]
    )


_HEADER = [
    "fault", "variant", "subjects", "face", "head", "× clean face", "× clean head", "face strict", "head strict",
    "× clean face strict", "× clean head strict", "time s", "failed",
]  # fmt: skip


def _line(row: Row) -> list[str]:
    pair, strict = ("face_mm", "head_mm"), ("face_mm_strict", "head_mm_strict")
    numbers = [row.errors.get(key) for key in pair] + [row.ratios.get(key) for key in pair]
    numbers += [row.errors.get(key) for key in strict] + [row.ratios.get(key) for key in strict]
    time = "" if row.time_s is None else f"{row.time_s:.0f}"
    failed = str(row.failed) if row.failed else ""
    return [row.fault, row.variant, ", ".join(row.subjects), *map(_number, numbers), time, failed]


def _matrix(report: RobustnessReport, what: str, face: str, head: str) -> Iterator[str]:
    """Fault by variant, two numbers in each cell; where subjects are missing, how many there are."""
    everyone = {subject for row in report.rows for subject in row.subjects}
    cells = {(row.fault, row.variant): row for row in report.rows}
    lines = []
    for fault in dict.fromkeys(row.fault for row in report.rows):
        line = [FAULTS[fault].shows]
        for variant in report.variants_present:
            row = cells.get((fault, variant))
            values = getattr(row, what) if row else {}
            few = (
                f" ({len(row.subjects)} of {len(everyone)})"
                if row and len(row.subjects) < len(everyone)
                else ""
            )
            line.append(f"{values[face]:.2f} / {values[head]:.2f}{few}" if values else "")
        lines.append(line)
    yield from markdown_table(["fault", *report.variants_present], lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
