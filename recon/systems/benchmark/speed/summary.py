"""The speed benchmark's file: its headline, its parts, and the same as tables to read."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from recon.errors import ConfigError
from recon.evaluation.tables import markdown_table
from recon.files import replacing

HEADLINE = ("step_s_reference", "step_s_cached", "step_ratio", "surface_gap_mm", "step_s_cached_graphs")


def read(path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """The parts that an earlier, interrupted command of the same options left in a file.

    Raises:
        ConfigError: the file is another's, or was made with other options.
    """
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text())
        parts, before = found["parts"], found["options"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"out={path} is no file of this benchmark: give another, or remove it") from error
    if before != dict(options):
        raise ConfigError(
            f"out={path} was made with other options ({before}): give another, remove it, or fresh=true"
        )
    return dict(parts)


def write(
    path: Path, options: Mapping[str, Any], context: Mapping[str, Any], parts: Mapping[str, Any]
) -> None:
    """The file as far as it goes, and its tables beside it; what is not measured yet is null."""
    report = {**headline(parts), "options": dict(options), **context, "parts": dict(parts)}
    for name, text in {
        path: json.dumps(report, indent=1) + "\n",
        path.with_suffix(".md"): markdown(report),
    }.items():
        with replacing(name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def headline(parts: Mapping[str, Any]) -> dict[str, float | None]:
    """The numbers that matter, null where there is none, such as graphs without a GPU; the gap is that of the first
    training compared, with the networks of the step.
    """
    step, gaps = parts.get("step", {}), list(parts.get("gap", {}).values())
    gap_mm = gaps[0]["mean"] if gaps else None
    return {name: gap_mm if name == "surface_gap_mm" else step.get(name) for name in HEADLINE}


def markdown(report: Mapping[str, Any]) -> str:
    """All tables."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    parts, machine = report["parts"], report["machine"]
    names: tuple[str, ...]
    yield "# Speed\n"
    gpus = f", {', '.join(machine['gpus'])}" if machine["gpus"] else ""
    yield f"{report['date']}, {machine['cpu']}, {machine['cores']} cores{gpus}, torch {machine['torch']}, "
    yield f"commit {report['revision']}, load {report['load']}: `{report['command']}`\n"
    yield from markdown_table(HEADLINE, [[report[name] for name in HEADLINE]])
    if "step" in parts:
        yield "\n## A step of IDR: 8 layers of 512\n"
        names = ("step_s", "plain_s", "fastest_s", "renewals_s", "whole_s", "surface_s", "steps", "peak_mb")
        rows = [
            [
                each["rays"],
                drawn,
                each["device"],
                name,
                *(each[name].get(key) for key in names),
                each["step_ratio"],
            ]
            for drawn, each in parts["step"]["drawn"].items()
            for name in ("sphere_tracing", "cached", "cached_graphs")
            if name in each
        ]
        yield from markdown_table(("rays", "drawn", "device", "renderer", *names, "ratio"), rows)
    if "table" in parts:
        yield "\n## By field, rays and renderer\n"
        names = ("field", "rays", "renderer", "device", "step_s", "renewals_s", "peak_mb")
        yield from markdown_table(names, [[line[name] for name in names] for line in parts["table"]])
    for name, lines in parts.get("growth", {}).items():
        yield f"\n## renderer=cached by {name}\n"
        names = tuple(
            key for key in lines[0] if key in ("views", "size", "cells", "step_s", "renewals_s", "peak_mb")
        )
        yield from markdown_table(names, [[line[key] for key in names] for line in lines])
    if "gap" in parts:
        yield "\n## Between the surfaces of both renderers after equal steps, mm\n"
        yield "`redrawn`: mean between the reference and itself with other random draws.\n"
        names = ("before", "steps", "mean", "median", "p95", "max", "redrawn")
        yield from markdown_table(
            ("training", *names), [[m, *(g[n] for n in names)] for m, g in parts["gap"].items()]
        )
    if "curves" in parts:
        yield "\n## Error against seconds (official protocol, mm)\n"
        names = ("step", "seconds", "face_mm", "head_mm")
        points = [
            [run, *(p[n] for n in names)] for run, each in parts["curves"].items() for p in each["points"]
        ]
        yield from markdown_table(("run", *names), points)
