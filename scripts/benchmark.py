"""Compare methods over subjects and views: python scripts/benchmark.py views=3 subjects=2 preset=cpu."""

import logging
import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import hydra
import torch
from omegaconf import DictConfig, OmegaConf

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from recon.errors import ConfigError, ReconError
from recon.files import replacing
from recon.systems import benchmark, benchmark_data, benchmark_grid, benchmark_runs
from recon.systems.benchmark import Plan
from recon.systems.benchmark_data import Subjects
from recon.systems.benchmark_report import Report
from recon.systems.benchmark_results import collect
from recon.systems.benchmark_runs import Outcome
from recon.systems.benchmark_tables import markdown
from recon.systems.config import CONF, PRESETS, register_resolvers
from recon.systems.machine import cores, machine, revision

log = logging.getLogger("benchmark")
register_resolvers()


@hydra.main(config_path="../conf", config_name="benchmark", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Runs, then tables and pictures; exit code 1 if a run failed or on bad input, 130 when stopped."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        failed = run(cfg)
    except ReconError as error:
        log.error("%s", error)
        sys.exit(1)
    except KeyboardInterrupt:
        log.error("stopped; the same command goes on from here")
        sys.exit(130)
    sys.exit(1 if failed else 0)


def run(cfg: DictConfig) -> int:
    """Does what is missing, writes the tables after each run and the grid at the end; number of failures."""
    options: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    for name in ("views", "methods", "seeds"):
        options[name] = options[name] if isinstance(options[name], list) else [options[name]]
    check_options(options)
    workers = options["workers"] or torch.cuda.device_count() or max(cores() // 2, 1)
    out = Path(options["out"]).expanduser().resolve()
    subjects = find_subjects(options)
    context = {
        "date": benchmark_runs.now(),
        "command": " ".join(["python scripts/benchmark.py", *map(shell_word, sys.argv[1:])]),
        "revision": revision(),
        "machine": machine(),
        "notes": subjects.notes,
    }

    def report() -> Report:
        written = Report(collect(out), subjects.data, options["reference"], options["methods"], context)
        write(written, out)
        return written

    if not options["report_only"]:
        perform(plan_of(options, out, subjects), workers, report)
    final = report()
    print("\n" + markdown(final))
    if options["grid"] and final.good:
        benchmark_grid.write(final, subjects.folders, out, options["grid_views"], options["clip_mm"], say)
    print(f"written to {out}")
    return len(final.failed)


def perform(plan: Plan, workers: int, report: Callable[[], Report]) -> None:
    """Runs the cells that have no numbers yet, with a line for each."""
    benchmark.check(plan)
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
    """What a run's line says."""
    (run,) = [run for run in collect(out) if run.cell == outcome.cell]
    face, head = run.metrics.get("face_mm"), run.metrics.get("head_mm")
    errors = "not scored" if face is None or head is None else f"face {face:.2f} mm, head {head:.2f} mm"
    return f"{errors}, {outcome.seconds:.0f} s"


def check_options(options: dict[str, Any]) -> None:
    """Refuses what cannot be run, before anything is.

    Raises:
        ConfigError: an option is of a wrong kind, or names a method that there is not.
    """
    for name in ("views", "seeds"):
        least = 1 if name == "views" else 0
        if not options[name] or not all(type(n) is int and n >= least for n in options[name]):
            raise ConfigError(f"{name}={options[name]}: expected a number from {least} on, or a list of them")
    if options["workers"] is not None and (type(options["workers"]) is not int or options["workers"] < 1):
        raise ConfigError(f"workers={options['workers']}: how many runs at a time, at least 1")
    if options["preset"] not in ("auto", *PRESETS):
        raise ConfigError(f"preset={options['preset']}: choose auto, {', '.join(PRESETS)}")
    overrides = options["overrides"] or {}
    for setting in [*options["extra"], *(each for own in overrides.values() for each in own)]:
        if not isinstance(setting, str) or "=" not in setting:
            raise ConfigError(f"{setting!r} is no option of train.py: expected 'key=value' in quotes")
    if unknown := set(overrides) - set(options["methods"]):
        raise ConfigError(
            f"overrides: {', '.join(sorted(unknown))} is not among methods={options['methods']}"
        )
    known = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))
    for method in options["methods"]:
        says = [o for o in (*options["extra"], *overrides.get(method, ())) if o.startswith("method=")]
        if method not in known and not says:
            raise ConfigError(f"methods: there is no {method!r}; choose from {', '.join(known)}")


def find_subjects(options: dict[str, Any]) -> Subjects:
    """Who is reconstructed; SynthHeads-10 is made where it is missing."""
    wanted = options["subjects"]
    if options["data"] == "h3ds":
        return benchmark_data.h3ds(options["h3ds_root"], options["h3ds_tag"], wanted)
    workers = 0 if options["report_only"] else cores()
    return benchmark_data.folder(Path(options["data"]), wanted, workers, say)


def plan_of(options: dict[str, Any], out: Path, subjects: Subjects) -> Plan:
    """The plan that the options describe."""
    return Plan(
        out,
        subjects.folders,
        options["views"],
        options["methods"],
        options["seeds"],
        options["preset"],
        options["extra"],
        options["overrides"] or {},
    )


def write(report: Report, out: Path) -> None:
    """The tables in both forms."""
    for name, content in {"results.json": report.json(), "results.md": markdown(report)}.items():
        with replacing(out / name) as temporary:
            temporary.write_text(content)


def shell_word(argument: str) -> str:
    """An argument as one types it: in double quotes rather than with escaped single ones."""
    plain = "'" in argument and not set(argument) & set('"$`\\!')
    return f'"{argument}"' if plain else shlex.quote(argument)


def say(text: str) -> None:
    """A line, at once."""
    print(text, flush=True)


def clock(seconds: float) -> str:
    """Hours and minutes."""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
