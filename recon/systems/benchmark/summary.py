"""What a benchmark found, in numbers: means, ratios, and every run."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recon.evaluation import official, strict
from recon.evaluation.batch import Score
from recon.evaluation.predictions import Job
from recon.evaluation.published import ROWS
from recon.evaluation.tables import Row, rows
from recon.systems.benchmark.results import Run

FORMAT = "headrecon-benchmark-1"
ERRORS = ("face_mm", "head_mm", "face_mm_strict", "head_mm_strict")
"""Errors that every scored run has."""
EARS = "ears_mm_strict"
"""Error of the ears, null where the truth shows none."""
_HEADINGS = dict(
    zip((*ERRORS, EARS), ("face", "head", "face strict", "head strict", "ears strict"), strict=True)
)
MODES = {"official": ("", official.PROTOCOL), "strict": ("_strict", strict.PROTOCOL)}
"""Protocols: ending of their keys in metrics.json, and name."""


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

    @property
    def errors(self) -> dict[str, str]:
        """Keys of the errors in metrics.json, with their headings: the ears where some run has them."""
        ears = any(run.metrics.get(EARS) is not None for run in self.good)
        return {key: _HEADINGS[key] for key in (*ERRORS, *((EARS,) if ears else ()))}

    def table(self, mode: str, subjects: Collection[str] | None = None) -> list[Row]:
        """Means over subjects (of a subject's seeds first) under one protocol, a row for each method.

        Args:
            mode: `official` or `strict`.
            subjects: whom to take the means over; None for all that have numbers.
        """
        suffix = MODES[mode][0]
        scores = []
        for (method, views, scene), runs in self.by_subject():
            pair = [_mean(runs, f"{part}_mm{suffix}") for part in ("face", "head")]
            if None not in pair and (subjects is None or scene in subjects):
                numbers = {p: {"mean_mm": v} for p, v in zip(("face", "head"), pair, strict=True)}
                ears = _mean(runs, EARS) if mode == "strict" else None
                if ears is not None:
                    numbers["ears"] = {"mean_mm": ears}
                scores.append(Score(Job(method, scene, views, Path()), {mode: numbers}))
        return sorted(rows(scores, mode, self.data), key=lambda row: self.rows_present.index(row.method))

    def ratios(self) -> list[dict[str, Any]]:
        """Each method's means divided by the reference's, over the subjects that have all errors of both; ears and
        time over those of them that have these of both.
        """
        subjects = {
            key: runs for key, runs in self.by_subject() if all(_mean(runs, e) is not None for e in ERRORS)
        }
        lines = []
        for views in self.views:
            for method in self.rows_present:
                common = [
                    (runs, subjects[self.reference, views, scene])
                    for (m, v, scene), runs in subjects.items()
                    if (m, v) == (method, views) and (self.reference, views, scene) in subjects
                ]
                if method != self.reference and common:
                    line = {key: _ratio(common, key) for key in (*self.errors, "time_s")}
                    lines.append({"views": views, "method": method, "subjects": len(common), **line})
        return lines

    def shared_subjects(self) -> set[str]:
        """Subjects that every method has at every number of views at which it has any: means over them can be
        compared along a row too.
        """
        cells: dict[tuple[str, int], set[str]] = {}
        for (method, views, scene), _ in self.by_subject():
            cells.setdefault((method, views), set()).add(scene)
        return set.intersection(*cells.values()) if cells else set()

    def by_subject(self) -> list[tuple[tuple[str, int, str], list[Run]]]:
        """The runs, one for each seed, of every (method, views, scene)."""
        groups: dict[tuple[str, int, str], list[Run]] = {}
        for run in self.good:
            groups.setdefault((run.cell.method, run.cell.views, run.cell.scene), []).append(run)
        return list(groups.items())

    def json(self) -> str:
        """Everything: each run with its cell, the means, the ratios, and the published rows apart."""
        content = {
            "format": FORMAT,
            "data": self.data,
            **self.context,
            "reference": self.reference,
            "means": {mode: [_row_json(row) for row in self.table(mode)] for mode in MODES},
            "ratios": self.ratios(),
            "runs": [
                {"cell": vars(run.cell), "metrics": run.metrics, "error": run.error, "made": run.made}
                for run in self.runs
            ],
            "published_on_h3ds": [vars(row) for row in ROWS],
        }
        return json.dumps(content, indent=1) + "\n"


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
        str(views): {
            "subjects": c.scenes, "face_mm": c.mean[0], "head_mm": c.mean[1], "std_mm": list(c.std), "ears_mm": c.ears
        }
        for views, c in row.cells.items()
    }  # fmt: skip
    return {"method": row.method, "protocol": row.protocol, "views": cells}
