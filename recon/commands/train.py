"""Reconstruct a head from a few photographs: headrecon scene=demo views=3."""

import atexit
import gc
import logging
import os
import sys
import warnings
from contextlib import nullcontext
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

# OpenMP threads that spin while they wait make training ten times slower on a machine that does
# anything else. To be set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # those of numpy always spin; its matrices here are small
# Nothing of what is imported here is ever garbage: looking for it would take a second now, and another at the exit.
gc.disable()
atexit.register(gc.freeze)
warnings.filterwarnings(
    "ignore", "`isinstance\\(treespec, LeafSpec\\)`"
)  # pytorch-lightning 2.6 with torch 2.13

from recon.commands import command_line
from recon.errors import ReconError
from recon.run_folders import claimed, discard_if_empty
from recon.systems import config, run
from recon.systems.options.stored import whole
from recon.systems.timeline import Timeline, process_age_s

gc.freeze()
gc.enable()
log = logging.getLogger("train")


def command(cfg: DictConfig) -> None:
    """Scene and views in; training; mesh, renders and metrics out."""
    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    timeline = Timeline()
    if job.mode != RunMode.MULTIRUN:  # the jobs of a sweep share a process
        timeline.before("import", process_age_s())
    try:
        resumed = cfg.resume is not None
        stored = whole(folder / "config.yaml") if resumed else nullcontext()
        with claimed(folder, resumed=resumed) as folder, stored:
            cfg = config.settle(cfg, list(job.overrides.task))
            run.reconstruct(cfg, folder, list(job.overrides.task), timeline)
    except ReconError as error:
        log.error("%s", error)
        discard_if_empty(folder)
        if job.mode == RunMode.MULTIRUN:
            raise  # Hydra goes on with the other jobs and reports this one
        sys.exit(1)
    except KeyboardInterrupt as stop:
        command_line.end_of_run(log, stop, "headrecon", folder)


def main() -> None:
    """Run the command with the options of `sys.argv`."""
    try:
        sys.argv[1:] = config.expand_tags(sys.argv[1:])
    except ReconError as error:
        sys.exit(str(error))
    command_line.run("train", command)


if __name__ == "__main__":
    main()
