"""What a benchmark found, for reading: the published table's layout, and the published rows apart from it."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from recon.evaluation.published import ROWS
from recon.evaluation.tables import Row, markdown_table, parts_of
from recon.systems.benchmark.summary import MODES, Report

_PLACE = ("scene=", "views=", "seed=", "hydra.run.dir=", "resume=")


def markdown(report: Report) -> str:
    """All tables of a report."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"# Benchmark on {report.data}\n"
    yield from _provenance(report)
    everyone = {run.cell.scene for run in report.good}
    yield from _errors(report, everyone, "mean over subjects")
    shared = report.shared_subjects()
    if shared and shared != everyone:
        who = f"mean over the subjects that every cell has ({', '.join(sorted(shared))})"
        yield from _errors(report, shared, who)
    yield f"\n## Ratios to {report.reference}, over the subjects that both have\n"
    names = ["views", "method", "subjects", *report.errors.values(), "time"]
    ratios = [
        [str(line["views"]), line["method"], str(line["subjects"])]
        + [_number(line[key]) for key in (*report.errors, "time_s")]
        for line in report.ratios()
    ]
    yield from _table(names, ratios)
    yield "\n## Time and memory: mean seconds of a whole run / highest peak memory in MB\n"
    yield from _table(["method", *map(_views, report.views)], list(_cost(report)))
    yield "\n## Every run, errors in mm\n"
    costs = ["time s", "training s", "peak MB"]
    header = ["views", "method", "subject", "seed", *report.errors.values(), *costs]
    yield from _table(header, list(_each(report)))
    if report.failed:
        yield "\n## Failed\n"
        yield from (f"- {run.cell}: {run.error}" for run in report.failed)
    yield from _published()


def made_elsewhere(context: Mapping[str, Any], made: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Which runs are not of the report's own machine and revision, a sentence each.

    Args:
        context: of the report.
        made: how the runs were made.
    """
    for what, mine, all_of_them in (
        ("on other machines", context["machine"]["cpu"], {record["machine"]["cpu"] for record in made}),
        ("at other revisions", context["revision"], {record["revision"] or "unknown" for record in made}),
    ):
        if others := sorted(all_of_them - {mine}):
            yield f"Some runs were made {what}: {', '.join(others)}."


def _provenance(report: Report) -> Iterator[str]:
    """Command, date, machine, code, and the options of each row."""
    context, machine = report.context, report.context["machine"]
    gpus = f", {', '.join(machine['gpus'])}" if machine["gpus"] else ""
    made = [run.made for run in report.good if run.made]
    workers = sorted({record["workers"] for record in made})
    at_a_time = (
        f"{' or '.join(map(str, workers))} at a time" if workers else "how many at a time is not known"
    )
    yield f"`{context['command']}`\n"
    yield (
        f"{context['date'][:10]}; {machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']:g} GB{gpus}; "
        f"PyTorch {machine['torch']}; runs: {at_a_time}; revision {context['revision'] or 'unknown'}."
    )
    yield from made_elsewhere(context, made)
    yield from context.get("notes", ())
    yield ""
    for method in report.rows_present:
        runs = [run.made for run in report.good if run.cell.method == method and run.made]
        settings = {
            " ".join(a for a in record["command"] if "=" in a and not a.startswith(_PLACE))
            for record in runs
            if not record["resumed"]
        }
        yield from (f"- {method}: `headrecon {each}`" for each in sorted(settings))


def _errors(report: Report, subjects: Collection[str], who: str) -> Iterator[str]:
    header = ["method", *map(_views, report.views)]
    for mode, (_, protocol) in MODES.items():
        table = report.table(mode, subjects)
        yield f"\n## {mode.capitalize()} errors, {parts_of(table)} in mm: {who}; {protocol}\n"
        yield from _table(header, [_row(row, report.views, len(subjects)) for row in table])


def _row(row: Row, views: Sequence[int], subjects: int) -> list[str]:
    """A method's means; where subjects are missing, how many there are."""
    cells = []
    for count in views:
        cell = row.cells.get(count)
        few = f" ({cell.scenes} of {subjects})" if cell and cell.scenes != subjects else ""
        cells.append(cell.text() + few if cell else "")
    return [row.method, *cells]


def _cost(report: Report) -> Iterator[list[str]]:
    for method in report.rows_present:
        line = [method]
        for views in report.views:
            runs = [r for r in report.good if (r.cell.method, r.cell.views) == (method, views)]
            times = [run.time_s for run in runs if run.time_s is not None]
            peaks = [run.metrics["peak_rss_mb"] for run in runs if run.metrics.get("peak_rss_mb")]
            seconds = _number(float(np.mean(times)), 0) if times else "unknown"
            line.append(f"{seconds} / {max(peaks):.0f}" if peaks else "")
        yield line


def _each(report: Report) -> Iterator[list[str]]:
    rank = {method: number for number, method in enumerate(report.rows_present)}
    for run in sorted(report.good, key=lambda run: (run.cell.views, rank[run.cell.method])):
        cell, metrics = run.cell, run.metrics
        cost = (run.time_s, metrics.get("train_s"), metrics.get("peak_rss_mb"))
        yield [
            str(cell.views), cell.method, cell.scene, str(cell.seed),
            *(_number(metrics.get(key)) for key in report.errors), *(_number(value, 0) for value in cost),
        ]  # fmt: skip


def _published() -> Iterator[str]:
    """Results of others, which are no runs of ours and stand in a table of their own."""
    yield "\n## Published by others on H3DS: not runs of ours\n"
    yield (
        "Official protocol, as printed in the README of the h3ds package; face / head in mm. "
        "Comparable only with runs on the scenes that a row names.\n"
    )
    views = sorted({count for row in ROWS for count in row.errors_mm})
    lines = [
        [f"{row.method} (published)", f"H3DS {row.release.removeprefix('config_')}", row.scenes]
        + [_pair(row.errors_mm[count]) if count in row.errors_mm else "" for count in views]
        for row in ROWS
    ]
    yield from _table(["method", "data", "scenes", *map(_views, views)], lines)


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    yield from markdown_table(header, lines) if lines else ["None yet."]


def _views(count: int) -> str:
    return f"{count} view{'s' if count > 1 else ''}"


def _pair(pair: Sequence[float]) -> str:
    return f"{pair[0]:.2f} / {pair[1]:.2f}"


def _number(value: float | None, decimals: int = 2) -> str:
    return "" if value is None else f"{value:.{decimals}f}"
