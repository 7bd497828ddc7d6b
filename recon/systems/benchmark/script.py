"""What the command lines of benchmarks share: how they were called, their runs with a line for each, their files."""

import shlex
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from recon.files import replacing
from recon.systems.benchmark import runs as benchmark_runs
from recon.systems.benchmark.machine import machine, revision
from recon.systems.benchmark.plan import Plan
from recon.systems.benchmark.results import collect
from recon.systems.benchmark.runs import Outcome
from recon.threads import cores


def context(command: str) -> dict[str, Any]:
    """When, how, on what and with which code a report is made.

    Args:
        command: as one types it: `headrecon-benchmark`.
    """
    return {
        "date": benchmark_runs.now(),
        "command": " ".join([command, *map(shell_word, sys.argv[1:])]),
        "revision": revision(),
        "machine": machine(),
    }


def shell_word(argument: str) -> str:
    """An argument as one types it: in double quotes rather than with escaped single ones."""
    plain = "'" in argument and not set(argument) & set('"$`\\!')
    return f'"{argument}"' if plain else shlex.quote(argument)


def workers_of(options: Mapping[str, Any]) -> int:
    """Runs at a time: as asked for, else one for each GPU, else one for two cores."""
    return options["workers"] or torch.cuda.device_count() or max(cores() // 2, 1)


def perform(plan: Plan, workers: int, report: Callable[[], Any], say: Callable[[str], None]) -> None:
    """Runs the cells that have no numbers yet.

    Args:
        plan: which, and how.
        workers: processes at a time.
        report: called after each run, to write the tables anew.
        say: told of each run.
    """
    cells = plan.cells()
    missing = [cell for cell in cells if not cell.done(plan.out)]
    say(f"{len(cells)} runs, {len(cells) - len(missing)} of them done; {workers} at a time, in {plan.out}")
    started, count = time.monotonic(), 0

    def done(outcome: Outcome) -> None:
        nonlocal count
        count += 1
        rest = (time.monotonic() - started) / count * (len(missing) - count)
        what = f"failed: {outcome.error}" if outcome.error else errors_of(outcome, plan.out)
        say(f"[{count}/{len(missing)}] {outcome.cell}: {what}; {clock(rest)} left")
        report()

    benchmark_runs.run(plan, missing, workers, done)


def errors_of(outcome: Outcome, out: Path) -> str:
    """What the line of a run that has its numbers says."""
    (run,) = [run for run in collect(out) if run.cell == outcome.cell]
    face, head = run.metrics.get("face_mm"), run.metrics.get("head_mm")
    errors = "not scored" if face is None or head is None else f"face {face:.2f} mm, head {head:.2f} mm"
    return f"{errors}, {outcome.seconds:.0f} s"


def clock(seconds: float) -> str:
    """Hours and minutes."""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def write(out: Path, json: str, markdown: str) -> None:
    """Writes the tables of a benchmark in both forms into its folder."""
    for name, content in {"results.json": json, "results.md": markdown}.items():
        with replacing(out / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
