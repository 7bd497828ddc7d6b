"""What faults of the input cost, with and without each mend: python scripts/benchmark_robustness.py preset=quick."""

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

from recon.errors import ReconError
from recon.files import replacing
from recon.synth.faults import CLEAN
from recon.systems import benchmark, benchmark_data, benchmark_runs, robustness, robustness_sheet
from recon.systems.benchmark import Plan
from recon.systems.benchmark_data import Subjects
from recon.systems.benchmark_results import collect
from recon.systems.benchmark_runs import Outcome
from recon.systems.config import register_resolvers
from recon.systems.machine import cores, machine, revision
from recon.systems.robustness import Choice
from recon.systems.robustness_report import RobustnessReport, markdown

log = logging.getLogger("benchmark_robustness")
register_resolvers()


@hydra.main(config_path="../conf", config_name="robustness", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Scenes, runs, tables; exit code 1 if a run failed or on bad input, 130 when stopped."""
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
    """Does what is missing and writes the tables after each run; number of failures."""
    options: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    chosen = robustness.choice(options)
    out = Path(options["out"]).expanduser().resolve()
    making = 0 if options["report_only"] else cores()
    subjects = benchmark_data.folder(Path(options["data"]), chosen.subjects, making, say)
    context = {
        "date": benchmark_runs.now(),
        "command": " ".join(["python scripts/benchmark_robustness.py", *map(shell_word, sys.argv[1:])]),
        "revision": revision(),
        "machine": machine(),
        "method": options["method_name"],
        "views": chosen.views,
        "seed": chosen.seed,
        "overrides": options["overrides"],
        "notes": subjects.notes,
    }

    def report() -> RobustnessReport:
        mine = [r for r in collect(out) if (r.cell.views, r.cell.seed) == (chosen.views, chosen.seed)]
        written = RobustnessReport(mine, subjects.data, list(options["overrides"]), context)
        write(written, out)
        return written

    if not options["report_only"]:
        sources = {robustness.scene_name(CLEAN, name): folder for name, folder in subjects.folders.items()}
        robustness.check(robustness.plan(chosen, sources, out, options))
        plan = plan_of(options, chosen, subjects, out)
        benchmark.check(plan)
        perform(plan, workers_of(options), report)
    final = report()
    print("\n" + markdown(final))
    print(f"written to {out}")
    return len(final.failed)


def plan_of(options: dict[str, Any], chosen: Choice, subjects: Subjects, out: Path) -> Plan:
    """The runs; their scenes are made, and those of the first subject drawn."""
    root = Path(options["scenes"]).expanduser().resolve() if options["scenes"] else out / "scenes"
    folders = robustness.faulty_scenes(subjects.folders, chosen, root, say)
    first = next(iter(subjects.folders))
    shown = {fault: folders[robustness.scene_name(fault, first)] for fault in chosen.faults}
    say(f"drew {robustness_sheet.write(out / 'faults.png', shown)}: look at it")
    return robustness.plan(chosen, folders, out, options)


def workers_of(options: dict[str, Any]) -> int:
    """Runs at a time."""
    return options["workers"] or torch.cuda.device_count() or max(cores() // 2, 1)


def perform(plan: Plan, workers: int, report: Callable[[], RobustnessReport]) -> None:
    """Runs the cells that have no numbers yet, with a line for each."""
    cells = plan.cells()
    missing = [cell for cell in cells if not cell.done(plan.out)]
    say(f"{len(cells)} runs, {len(cells) - len(missing)} of them done; {workers} at a time, in {plan.out}")
    started, count = time.monotonic(), 0

    def done(outcome: Outcome) -> None:
        nonlocal count
        count += 1
        rest = (time.monotonic() - started) / count * (len(missing) - count)
        (metrics,) = [each.metrics for each in report().runs if each.cell == outcome.cell]
        face, head = metrics.get("face_mm"), metrics.get("head_mm")
        errors = "not scored" if face is None or head is None else f"face {face:.2f} mm, head {head:.2f} mm"
        what = f"failed: {outcome.error}" if outcome.error else f"{errors}, {outcome.seconds:.0f} s"
        say(f"[{count}/{len(missing)}] {outcome.cell}: {what}; {rest / 60:.0f} min left")

    benchmark_runs.run(plan, missing, workers, done)


def write(report: RobustnessReport, out: Path) -> None:
    """The tables in both forms."""
    for name, content in {"results.json": report.json(), "results.md": markdown(report)}.items():
        with replacing(out / name) as temporary:
            temporary.write_text(content, encoding="utf-8")


def shell_word(argument: str) -> str:
    """An argument as one types it: in double quotes rather than with escaped single ones."""
    plain = "'" in argument and not set(argument) & set('"$`\\!')
    return f'"{argument}"' if plain else shlex.quote(argument)


def say(text: str) -> None:
    """A line, at once."""
    print(text, flush=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
