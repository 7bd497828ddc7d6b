"""What faults of the input cost, with and without each mend: headrecon-benchmark-robustness preset=quick."""

import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from recon.commands import command_line
from recon.commands.command_line import run_series, say
from recon.synth.datasets.faults import CLEAN
from recon.systems.benchmark import plan as benchmark
from recon.systems.benchmark import script as benchmark_script
from recon.systems.benchmark import subjects as benchmark_data
from recon.systems.benchmark.plan import Plan
from recon.systems.benchmark.results import collect
from recon.systems.benchmark.robustness import fault_sheet as robustness_sheet
from recon.systems.benchmark.robustness import plan as robustness
from recon.systems.benchmark.robustness.plan import Choice
from recon.systems.benchmark.robustness.summary import RobustnessReport, markdown
from recon.systems.benchmark.subjects import Subjects
from recon.threads import cores

log = logging.getLogger("benchmark_robustness")


def command(cfg: DictConfig) -> None:
    """Scenes, runs, tables; exit code 1 if a run failed or on bad input."""
    run_series(log, run, cfg)


def run(cfg: DictConfig) -> int:
    """Does what is missing and writes the tables after each run; number of failures."""
    options: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    chosen = robustness.choice(options)
    out = Path(options["out"]).resolve()
    making = 0 if options["report_only"] else cores()
    subjects = benchmark_data.folder(Path(options["data"]), chosen.subjects, making, say)
    context = {
        **benchmark_script.context("headrecon-benchmark-robustness"),
        "method": options["method_name"],
        "views": chosen.views,
        "seed": chosen.seed,
        "overrides": options["overrides"],
        "notes": subjects.notes,
    }

    def report() -> RobustnessReport:
        mine = [r for r in collect(out) if (r.cell.views, r.cell.seed) == (chosen.views, chosen.seed)]
        written = RobustnessReport(mine, subjects.data, list(options["overrides"]), context)
        benchmark_script.write(out, written.json(), markdown(written))
        return written

    if not options["report_only"]:
        sources = {robustness.scene_name(CLEAN, name): folder for name, folder in subjects.folders.items()}
        robustness.check(robustness.plan(chosen, sources, out, options))
        plan = plan_of(options, chosen, subjects, out)
        benchmark.check(plan)
        benchmark_script.perform(plan, benchmark_script.workers_of(options), report, say)
    final = report()
    print("\n" + markdown(final))
    print(f"written to {out}")
    return len(final.failed)


def plan_of(options: dict[str, Any], chosen: Choice, subjects: Subjects, out: Path) -> Plan:
    """The runs; their scenes are made, and those of the first subject drawn."""
    root = Path(options["scenes"]).resolve() if options["scenes"] else out / "scenes"
    folders = robustness.faulty_scenes(subjects.folders, chosen, root, say)
    first = next(iter(subjects.folders))
    shown = {fault: folders[robustness.scene_name(fault, first)] for fault in chosen.faults}
    say(f"drew {robustness_sheet.write(out / 'faults.png', shown)}: look at it")
    return robustness.plan(chosen, folders, out, options)


def main() -> None:
    """Run the command with the options of `sys.argv`."""
    command_line.run("robustness", command)


if __name__ == "__main__":
    main()
