"""Compare methods over subjects and views: headrecon-benchmark views=3 subjects=2 preset=cpu."""

import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from recon.commands import command_line
from recon.commands.command_line import run_series, say
from recon.systems.benchmark import picture_grid as benchmark_grid
from recon.systems.benchmark import plan as benchmark
from recon.systems.benchmark import script as benchmark_script
from recon.systems.benchmark import subjects as benchmark_data
from recon.systems.benchmark.options import check_options
from recon.systems.benchmark.plan import Plan
from recon.systems.benchmark.results import collect
from recon.systems.benchmark.subjects import Subjects
from recon.systems.benchmark.summary import Report
from recon.systems.benchmark.tables import markdown
from recon.threads import cores

log = logging.getLogger("benchmark")


def command(cfg: DictConfig) -> None:
    """Runs, then tables and pictures; exit code 1 if a run failed or on bad input."""
    run_series(log, run, cfg)


def run(cfg: DictConfig) -> int:
    """Does what is missing, writes the tables after each run and the grid at the end; number of failures."""
    options: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    for name in ("views", "methods", "seeds"):
        options[name] = options[name] if isinstance(options[name], list) else [options[name]]
    check_options(options)
    out = Path(options["out"]).resolve()
    subjects = find_subjects(options)
    context = {**benchmark_script.context("headrecon-benchmark"), "notes": subjects.notes}

    def report() -> Report:
        written = Report(collect(out), subjects.data, options["reference"], options["methods"], context)
        benchmark_script.write(out, written.json(), markdown(written))
        return written

    if not options["report_only"]:
        plan = plan_of(options, out, subjects)
        benchmark.check(plan)
        benchmark_script.perform(plan, benchmark_script.workers_of(options), report, say)
    final = report()
    print("\n" + markdown(final))
    if options["grid"] and final.good:
        benchmark_grid.write(final, subjects.folders, out, options["grid_views"], options["clip_mm"], say)
    print(f"written to {out}")
    return len(final.failed)


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


def main() -> None:
    """Run the command with the options of `sys.argv`."""
    command_line.run("benchmark", command)


if __name__ == "__main__":
    main()
